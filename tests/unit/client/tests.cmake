# SPDX-License-Identifier: Apache-2.0
# Tests that talk over QUIC have a broker in their own process.
file(GLOB mock_broker CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/support/mock_broker*.c")
file(GLOB client_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/unit/client/test_*.c")
foreach(file ${client_tests})
    get_filename_component(base ${file} NAME_WE)
    string(REPLACE "test_" "unit_client_" target ${base})
    target_sources(${target} PRIVATE ${mock_broker})
    set_property(TEST ${target} APPEND PROPERTY LABELS threads)
endforeach()

add_test(NAME client_headers COMMAND "${PROJECT_SOURCE_DIR}/tests/unit/client/check_headers"
    "${PROJECT_SOURCE_DIR}/include" "${CMAKE_C_COMPILER}")
set_tests_properties(client_headers PROPERTIES LABELS "unit;client")

# What links -lfelix: only the public headers, only the shared library.
if(TARGET felix_shared)
    add_test(NAME client_symbols COMMAND "${PROJECT_SOURCE_DIR}/tests/unit/client/check_symbols"
        "$<TARGET_FILE:felix_shared>" "${PROJECT_SOURCE_DIR}/include/felix/felix.symbols")
    set_tests_properties(client_symbols PROPERTIES LABELS "unit;client")
    foreach(example publish subscribe cache)
        add_executable(example_${example} "${PROJECT_SOURCE_DIR}/examples/${example}.c")
        target_include_directories(example_${example} PRIVATE "${PROJECT_SOURCE_DIR}/include")
        target_link_libraries(example_${example} PRIVATE felix_shared)
        set_target_properties(example_${example} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
        add_dependencies(unit_client_examples example_${example})
    endforeach()
    target_compile_definitions(unit_client_examples PRIVATE
        FLX_EXAMPLES_DIR="${PROJECT_BINARY_DIR}/examples")
endif()
