/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/pool.h - which of a client's connections ends at a worker of the broker. Pure.
 */
#ifndef FLX_CLIENT_POOL_H
#define FLX_CLIENT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One place for a connection, as the choice sees it. */
typedef enum flx_berth_state {
    FLX_BERTH_FREE,   /* may be dialled */
    FLX_BERTH_ABROAD, /* in use, and ends somewhere else or nobody knows where */
    FLX_BERTH_COMING, /* being dialled to the worker in question */
    FLX_BERTH_THERE   /* up, and ends there */
} flx_berth_state;

typedef struct flx_berth {
    flx_berth_state state;
    uint32_t seats; /* publishers and subscribers that use it */
} flx_berth;

#define FLX_BERTH_NONE SIZE_MAX

/*
 * The berth to use: of those that are there the one with the fewest seats, else one that is coming,
 * else a free one to dial, else FLX_BERTH_NONE. Free berths count only from `free_from` on: the
 * first ones belong to connections that are kept up anyway.
 */
size_t flx_pool_choose(const flx_berth *berths, size_t count, size_t free_from);

#endif /* FLX_CLIENT_POOL_H */
