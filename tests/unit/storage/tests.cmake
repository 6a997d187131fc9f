# SPDX-License-Identifier: Apache-2.0
# Tests of the log run on a disk in memory. The executors' own is for the thread sanitizer too.
file(GLOB storage_tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/unit/storage/test_*.c")
foreach(file ${storage_tests})
    get_filename_component(base ${file} NAME_WE)
    string(REPLACE "test_" "unit_storage_" target ${base})
    target_sources(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/sim_disk.c"
        "${PROJECT_SOURCE_DIR}/tests/support/journal_harness.c")
endforeach()
set_property(TEST unit_storage_io APPEND PROPERTY LABELS threads)
