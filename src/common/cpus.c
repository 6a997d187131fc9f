/* SPDX-License-Identifier: Apache-2.0 */
/* common/cpus.c - see the header. */
#include "common/cpus.h"

#include "common/error.h"

#include <stdbool.h>

/* The digits at *at, which moves behind them. False: there are none, or the number is too large. */
static bool take_cpu(const char **at, uint32_t *ret_cpu)
{
    const char *start = *at;
    uint32_t cpu = 0;
    while (**at >= '0' && **at <= '9' && cpu <= FLX_CPU_MAX) {
        cpu = cpu * 10 + (uint32_t)(**at - '0');
        (*at)++;
    }
    *ret_cpu = cpu;
    return *at != start && cpu <= FLX_CPU_MAX;
}

flx_status flx_cpus_parse(const char *text, uint32_t *ret_cpus, size_t cap, size_t *ret_count,
                          flx_error *reterr)
{
    const char *at = text;
    size_t count = 0;
    while (*at != '\0') {
        uint32_t first = 0;
        bool good = take_cpu(&at, &first);
        uint32_t last = first;
        if (good && *at == '-') {
            at++;
            good = take_cpu(&at, &last) && last >= first;
        }
        if (!good || (*at == ',' ? at[1] == '\0' : *at != '\0')) {
            return flx_fail(reterr, FLX_ERR_INVALID,
                            "'%.60s' is no list of processors; write 0,2,4-7, each up to %d", text,
                            FLX_CPU_MAX);
        }
        for (uint32_t cpu = first; cpu <= last; cpu++) {
            if (count == cap) {
                return flx_fail(reterr, FLX_ERR_INVALID, "'%.60s' names more than %zu processors",
                                text, cap);
            }
            ret_cpus[count++] = cpu;
        }
        at += *at == ',';
    }
    *ret_count = count;
    return FLX_OK;
}
