# SPDX-License-Identifier: Apache-2.0
# These use threads: `make tsan` runs what carries this label.
foreach(test loop mailbox log)
    if(TARGET unit_common_${test})
        set_property(TEST unit_common_${test} APPEND PROPERTY LABELS threads)
    endif()
endforeach()
