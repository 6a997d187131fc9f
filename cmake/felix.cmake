# SPDX-License-Identifier: Apache-2.0
# The build in one page: flags, packages, and one function each for a room, a program, the shared
# library, the unit tests and the fuzz targets. Folders are globbed, so adding a file needs no edit.

option(FLX_LTO "link-time optimisation" OFF)
option(FLX_FUZZ "build the libFuzzer targets instead of the tests" OFF)
option(FLX_COVER "instrument for line coverage" OFF)
option(FLX_WERROR "warnings are errors (CI)" OFF)
set(FLX_SANITIZE "" CACHE STRING "sanitizers, as the compiler spells them")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # glibc's GNU interfaces; the language itself is C11
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)

find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_compile_definitions(_GNU_SOURCE FLX_VERSION="${PROJECT_VERSION}")
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Wundef -Wvla -Wformat=2 -Wcast-qual -fno-omit-frame-pointer
    -fno-strict-aliasing -fno-common
    -Wno-missing-field-initializers) # a row of a table names what differs; the rest is zero by rule
if(FLX_WERROR)
    add_compile_options(-Werror)
endif()
if(FLX_SANITIZE)
    add_compile_options(-O1 -fsanitize=${FLX_SANITIZE})
    if(FLX_SANITIZE MATCHES "undefined")
        add_compile_options(-fno-sanitize-recover=undefined)
    endif()
    add_link_options(-fsanitize=${FLX_SANITIZE})
    add_compile_definitions(FLX_DEBUG=1)
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    add_compile_options(-fstack-protector-strong)
    add_compile_definitions(_FORTIFY_SOURCE=2)
    add_link_options(-pie -Wl,-z,relro,-z,now)
else()
    add_compile_definitions(FLX_DEBUG=1)
endif()
if(FLX_COVER)
    add_compile_options(--coverage -O0 -fprofile-update=atomic)
    add_link_options(--coverage)
endif()
if(FLX_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
    add_compile_definitions(FLX_FUZZING=1)
endif()
if(FLX_LTO)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(GNUTLS REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(NGTCP2 REQUIRED IMPORTED_TARGET libngtcp2 libngtcp2_crypto_gnutls)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing)
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
find_library(FLX_IPSEC_MB IPSec_MB) # amd64 only; elsewhere GnuTLS seals the packets

# Programs link the packaged static ngtcp2 (no PLT on the packet path); libfelix.so cannot, the
# archives are not position-independent enough for a shared object.
add_library(flx_quic_static INTERFACE)
target_link_libraries(flx_quic_static INTERFACE -l:libngtcp2_crypto_gnutls.a -l:libngtcp2.a
    PkgConfig::GNUTLS)
# Pools of ngtcp2 start small or are shared, acknowledgements wait for company: src/transport/mem.c,
# nodes.c and acks.c, which -u pulls in wherever ngtcp2 is.
foreach(wrapped balloc_init balloc_get opl_pop opl_push acktr_require_active_ack)
    target_link_options(flx_quic_static INTERFACE -Wl,--wrap=ngtcp2_${wrapped}
        -Wl,-u,__wrap_ngtcp2_${wrapped})
endforeach()
add_library(flx_quic_shared INTERFACE)
target_link_libraries(flx_quic_shared INTERFACE PkgConfig::NGTCP2 PkgConfig::GNUTLS)
foreach(quic flx_quic_static flx_quic_shared)
    if(FLX_IPSEC_MB)
        target_link_libraries(${quic} INTERFACE ${FLX_IPSEC_MB})
    endif()
endforeach()

set_property(GLOBAL PROPERTY FLX_MODULES "")

# flx_module(NAME [LIBS ...]): src/NAME as one static archive; what it may include comes from LAYERS.
function(flx_module name)
    cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.c")
    if(NOT sources)
        return()
    endif()
    add_library(flx_${name} STATIC ${sources})
    target_include_directories(flx_${name} PUBLIC
        "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include")
    if(name STREQUAL "transport" AND FLX_IPSEC_MB)
        target_compile_definitions(flx_${name} PRIVATE FLX_HAVE_IPSEC_MB=1)
    endif()
    file(STRINGS "${PROJECT_SOURCE_DIR}/src/LAYERS" row REGEX "^${name}:")
    string(REGEX REPLACE "^${name}: *" "" below "${row}")
    separate_arguments(below)
    list(REVERSE below)
    foreach(module ${below})
        if(TARGET flx_${module})
            target_link_libraries(flx_${name} PUBLIC flx_${module})
        endif()
    endforeach()
    foreach(lib ${arg_LIBS})
        if(TARGET ${lib})
            target_link_libraries(flx_${name} PUBLIC ${lib})
        endif()
    endforeach()
    if(name STREQUAL "transport")
        # What transport needs must stand behind it on the link line of a program.
        target_link_libraries(flx_transport INTERFACE
            "$<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:flx_quic_static>")
    endif()
    target_link_libraries(flx_${name} PUBLIC Threads::Threads m)
    set_property(GLOBAL APPEND PROPERTY FLX_MODULES ${name})
endfunction()

# flx_program(NAME MODULES ... [SOURCES ...]): one executable from this folder's .c files.
function(flx_program name)
    cmake_parse_arguments(arg "NOINSTALL" "" "MODULES;SOURCES;LIBS" ${ARGN})
    if(NOT arg_SOURCES)
        file(GLOB arg_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.c")
    endif()
    add_executable(${name} ${arg_SOURCES})
    target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    foreach(module ${arg_MODULES})
        if(TARGET flx_${module})
            target_link_libraries(${name} PRIVATE flx_${module})
        endif()
    endforeach()
    target_link_libraries(${name} PRIVATE flx_quic_static ${arg_LIBS})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
    if(NOT arg_NOINSTALL)
        install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
endfunction()

# libfelix.so: the client and what it stands on, with only the symbols of felix.map visible. The
# target is felix_shared, because `felix` is the command.
function(flx_library)
    set(map "${PROJECT_SOURCE_DIR}/src/client/felix.map")
    if(NOT TARGET flx_client OR NOT EXISTS "${map}")
        return()
    endif()
    add_library(felix_shared SHARED "${PROJECT_SOURCE_DIR}/cmake/empty.c")
    target_link_libraries(felix_shared PRIVATE
        -Wl,--whole-archive flx_client -Wl,--no-whole-archive flx_quic_shared)
    target_link_options(felix_shared PRIVATE "-Wl,--version-script=${map}")
    set_target_properties(felix_shared PROPERTIES OUTPUT_NAME felix VERSION ${PROJECT_VERSION}
        SOVERSION 1 LINK_DEPENDS "${map}" LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
    install(TARGETS felix_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/felix" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
    # How others find it: pkg-config and find_package(felix CONFIG).
    set(config "${CMAKE_INSTALL_LIBDIR}/cmake/felix")
    file(RELATIVE_PATH FLX_CONFIG_TO_PREFIX "/${config}" "/")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/felix.pc.in" felix.pc @ONLY)
    configure_file("${PROJECT_SOURCE_DIR}/cmake/felix-config.cmake.in" felix-config.cmake @ONLY)
    install(FILES "${CMAKE_CURRENT_BINARY_DIR}/felix.pc"
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
    install(FILES "${CMAKE_CURRENT_BINARY_DIR}/felix-config.cmake" DESTINATION ${config})
    foreach(section 1 3)
        file(GLOB pages "${PROJECT_SOURCE_DIR}/docs/man/*.${section}")
        install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
    endforeach()
endfunction()

# tests/unit/MODULE/test_X.c -> program and CTest case unit_MODULE_X, linked with that module.
# tests/unit/MODULE/tests.cmake, where there is one, adds what a single test needs. The target
# threads_tests builds those labelled `threads`, which is what the thread sanitizer looks at.
function(flx_unit_tests)
    if(NOT CMOCKA_FOUND)
        message(FATAL_ERROR "libcmocka-dev is missing: run tools/setup")
    endif()
    get_property(modules GLOBAL PROPERTY FLX_MODULES)
    foreach(module ${modules})
        file(GLOB files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/unit/${module}/test_*.c")
        foreach(file ${files})
            get_filename_component(base ${file} NAME_WE)
            string(REPLACE "test_" "unit_${module}_" target ${base})
            add_executable(${target} ${file})
            target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support")
            target_compile_definitions(${target} PRIVATE
                FLX_TESTS_DIR="${PROJECT_SOURCE_DIR}/tests")
            target_link_libraries(${target} PRIVATE flx_${module} flx_quic_static PkgConfig::CMOCKA)
            add_test(NAME ${target} COMMAND ${target})
            set_tests_properties(${target} PROPERTIES TIMEOUT 120 LABELS "unit;${module}")
            list(APPEND tests ${target})
        endforeach()
        set(extra "${PROJECT_SOURCE_DIR}/tests/unit/${module}/tests.cmake")
        if(EXISTS "${extra}")
            include("${extra}")
        endif()
    endforeach()
    add_custom_target(threads_tests)
    foreach(target ${tests})
        get_property(labels TEST ${target} PROPERTY LABELS)
        if("threads" IN_LIST labels)
            add_dependencies(threads_tests ${target})
        endif()
    endforeach()
endfunction()

# tests/fuzz/MODULE_X.c -> fuzz_MODULE_X; seeds, where there are any, in tests/fuzz/corpus/MODULE_X/.
# The target fuzz_targets builds them and the rooms they stand on, nothing else.
function(flx_fuzz_targets)
    add_custom_target(fuzz_targets)
    file(GLOB files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/fuzz/*.c")
    foreach(file ${files})
        get_filename_component(base ${file} NAME_WE)
        string(REGEX REPLACE "_.*" "" module ${base})
        add_executable(fuzz_${base} ${file})
        add_dependencies(fuzz_targets fuzz_${base})
        target_link_options(fuzz_${base} PRIVATE -fsanitize=fuzzer)
        target_link_libraries(fuzz_${base} PRIVATE flx_${module} flx_quic_static)
        set_target_properties(fuzz_${base} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
    endforeach()
endfunction()
