# SPDX-License-Identifier: Apache-2.0
# Tests of the broker drive whole workers through the harness.
file(GLOB harness CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/support/broker_harness*.c")
file(GLOB broker_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/unit/broker/test_*.c")
foreach(file ${broker_tests})
    get_filename_component(base ${file} NAME_WE)
    string(REPLACE "test_" "unit_broker_" target ${base})
    target_sources(${target} PRIVATE ${harness}
        "${PROJECT_SOURCE_DIR}/tests/support/sim_disk.c")
endforeach()
