# SPDX-License-Identifier: Apache-2.0
# It uses threads: `make tsan` runs what carries this label.
if(TARGET unit_http_server)
    set_property(TEST unit_http_server APPEND PROPERTY LABELS threads)
endif()
