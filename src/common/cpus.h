/* SPDX-License-Identifier: Apache-2.0 */
/* common/cpus.h - lists of processors as taskset and the kernel write them: "0,2,4-7". Pure. */
#ifndef FLX_COMMON_CPUS_H
#define FLX_COMMON_CPUS_H

#include <felix/status.h>

#include <stddef.h>
#include <stdint.h>

#define FLX_CPU_MAX 1023 /* what a cpu_set_t holds */

/*
 * The processors `text` names, in its order, at most `cap` of them; none for "".
 * FLX_ERR_INVALID: no such list, a processor above FLX_CPU_MAX, or more than `cap`.
 */
flx_status flx_cpus_parse(const char *text, uint32_t *ret_cpus, size_t cap, size_t *ret_count,
                          flx_error *reterr);

#endif /* FLX_COMMON_CPUS_H */
