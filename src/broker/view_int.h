/* SPDX-License-Identifier: Apache-2.0 */
/* broker/view_int.h - a shard as this worker's subscribers see it, and frames rewritten for them. */
#ifndef FLX_BROKER_VIEW_INT_H
#define FLX_BROKER_VIEW_INT_H

#include "broker/feed.h"
#include "broker/worker.h"
#include "common/list.h"

typedef struct flx_watchers flx_watchers;

#define FLX_VARIANTS 64 /* rewritten frames a view keeps for the other readers of the same form */

/* A frame in another than its primary form, made for the first reader and shared by the rest. */
typedef struct flx_variant {
    uint64_t sequence;
    uint16_t flags;
    bool is_made;
    uint8_t count; /* of ranges */
    uint32_t bytes;
    uint32_t records;
    flx_range ranges[2]; /* owned */
} flx_variant;

typedef struct flx_variants {
    flx_variant *at; /* [sequence % FLX_VARIANTS], NULL before the first */
    uint64_t bytes;
} flx_variants;

/* A shard as this worker's subscribers see it. */
typedef struct flx_view {
    flx_feed *feed;
    flx_variants variants;
    flx_watchers *watchers; /* cache: NULL before the first watch */
    flx_list idle;          /* subscriptions that have read everything */
    flx_list active;        /* those that have not, or whose stream is not open yet */
    uint32_t count;         /* of both, and of those still being resolved */
    uint32_t capacity_min;  /* of all there ever were */
    uint32_t id;
    uint32_t shard;
    uint8_t policy; /* flx_slow_policy */
    bool is_durable;
} flx_view;

/* delivery.c */
void flx_view_done(flx_view *view);
void flx_variants_clear(flx_variants *variants); /* drops what was rewritten for others */
void flx_variants_done(flx_variants *variants);

/* subscribe.c */
/* `block`: the sequence at which the slowest reader's room ends. */
uint64_t flx_view_allowance(const flx_view *view);
void flx_view_evict(flx_worker *worker, flx_view *view, uint64_t sequence);

#endif /* FLX_BROKER_VIEW_INT_H */
