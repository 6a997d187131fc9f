# SPDX-License-Identifier: Apache-2.0
# Tests that talk over QUIC have a broker in their own process.
file(GLOB client_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/unit/client/test_*.c")
foreach(file ${client_tests})
    get_filename_component(base ${file} NAME_WE)
    string(REPLACE "test_" "unit_client_" target ${base})
    target_sources(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/mock_broker.c")
    set_property(TEST ${target} APPEND PROPERTY LABELS threads)
endforeach()
