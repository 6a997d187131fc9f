# SPDX-License-Identifier: Apache-2.0
# It uses threads: `make tsan` runs what carries this label.
if(TARGET unit_controlplane_api)
    set_property(TEST unit_controlplane_api APPEND PROPERTY LABELS threads)
endif()
