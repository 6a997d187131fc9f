# SPDX-License-Identifier: Apache-2.0
# It uses threads: `make tsan` runs what carries this label.
if(TARGET unit_metadata_store)
    set_property(TEST unit_metadata_store APPEND PROPERTY LABELS threads)
endif()
