# SPDX-License-Identifier: Apache-2.0
# A whole node and its clients in one process: `make tsan` runs it.
if(TARGET unit_node_threads)
    target_link_libraries(unit_node_threads PRIVATE flx_client)
    set_tests_properties(unit_node_threads PROPERTIES LABELS "unit;node;threads" TIMEOUT 240)
endif()
if(TARGET unit_node_placement)
    target_link_libraries(unit_node_placement PRIVATE flx_client)
    set_tests_properties(unit_node_placement PROPERTIES LABELS "unit;node;threads" TIMEOUT 240)
endif()
