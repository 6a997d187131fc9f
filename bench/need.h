/* SPDX-License-Identifier: Apache-2.0 */
/* bench/need.h - ends a benchmark when a call of it fails; `error` is what the call was given. */
#ifndef FLX_BENCH_NEED_H
#define FLX_BENCH_NEED_H

#include <stdio.h>
#include <stdlib.h>

#define NEED(call)                                                                                 \
    do {                                                                                           \
        if ((call) != FLX_OK) {                                                                    \
            (void)fprintf(stderr, "bench: %s: %s\n", #call, error.message);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#endif /* FLX_BENCH_NEED_H */
