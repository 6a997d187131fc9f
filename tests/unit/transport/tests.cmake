# SPDX-License-Identifier: Apache-2.0
# Workers on real threads: `make tsan` runs it.
if(TARGET unit_transport_many)
    set_tests_properties(unit_transport_many PROPERTIES LABELS "unit;transport;threads")
endif()
