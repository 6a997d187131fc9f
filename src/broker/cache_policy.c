/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/cache_policy.c - who must go: S3-FIFO (Yang and others, SOSP 2023) by bytes.
 *
 *      new ──► small (10 %) ──── read since it came ────► main (90 %) ──┐ read since: once more round
 *                │                                          │  ▲────────┘
 *                │ not read                                 │ not read
 *                ▼                                          ▼
 *              evicted, hash remembered in the ghosts     evicted
 *      new, and among the ghosts ──────────────────────► main
 *
 * Most keys of real traces are read once or never before they would be evicted. LRU lets each of
 * them walk through the whole cache; here they leave after a tenth of it, and what returns soon
 * after (a ghost) is let into main directly. Hit ratios are at or above LRU's (bench/cache_hit_ratio
 * asks that), and a read changes two bits of the entry instead of relinking it in a list: no writes
 * to neighbours, and none at all for entries that are already popular.
 *
 * One read in small earns a place in main. The paper asks for two; on our traces that is 0.1 points
 * better without scans and up to 1.4 points worse with them.
 *
 * Refused: LRU (scans flush it, and each hit writes six pointers), ARC and LIRS (patent history,
 * more state an entry), TinyLFU (a sketch to size and age; better only where frequency beats
 * recency for long), CLOCK alone (no protection from one-hit keys).
 *
 * The ghosts are a table of 32-bit slots, [16 bits of the hash | 16 bits of the time], in sets of
 * four, sized when the first entry is evicted: as many as there are entries, for 4 to 8 bytes each.
 * A false friend (4 in 65536) gets into main without merit, which harms nobody.
 */
#include "broker/cache_int.h"
#include "common/alloc.h"

#include <string.h>

#define SMALL_PART   10 /* small gets one part of these */
#define PROMOTE_USES 1  /* reads in small that earn a place in main */
#define SCAN_MAX     128 /* entries passed over for one victim; then the next one goes, read or not */
#define GHOST_WAYS   4
#define GHOST_MIN    1024
#define GHOST_MAX    ((uint32_t)1 << 26)

/* --- ghosts ------------------------------------------------------------------------------------- */

typedef struct ghost_place {
    uint32_t *ways;
    uint32_t mark; /* the upper half of its slot, never 0 */
} ghost_place;

static ghost_place ghost_place_of(const cache_policy *policy, const cache_entry *entry)
{
    const uint64_t mixed =
        (((uint64_t)entry->shard << 32) | entry->hash) * UINT64_C(0x9E3779B97F4A7C15);
    const uint32_t set = (uint32_t)(mixed >> 32) & (policy->ghost_cap / GHOST_WAYS - 1);
    const uint32_t mark = (uint32_t)(mixed >> 8) & 0xffff0000;
    return (ghost_place){policy->ghosts + (size_t)set * GHOST_WAYS, mark == 0 ? 0x10000 : mark};
}

/* Coarse time: a 1/4096 of the table's size, so that 16 bits wrap after 16 tables full. */
static uint32_t ghost_now(const cache_policy *policy)
{
    return (policy->ghost_clock / (policy->ghost_cap > 4096 ? policy->ghost_cap / 4096 : 1)) &
           0xffff;
}

static uint32_t ghost_age(const cache_policy *policy, uint32_t slot)
{
    return (ghost_now(policy) - slot) & 0xffff;
}

/* Whether the entry was evicted from small not longer ago than main is long; forgets it then. */
static bool ghost_take(cache_policy *policy, const cache_entry *entry)
{
    if (policy->ghosts == NULL) {
        return false;
    }
    const ghost_place at = ghost_place_of(policy, entry);
    const uint32_t unit = policy->ghost_cap > 4096 ? policy->ghost_cap / 4096 : 1;
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if ((at.ways[i] & 0xffff0000) == at.mark) {
            const bool is_recent = ghost_age(policy, at.ways[i]) <= policy->main_count / unit;
            at.ways[i] = 0;
            return is_recent;
        }
    }
    return false;
}

/* Makes the table, or a larger one when there are twice as many entries as it was made for. */
static void ghost_resize(cache_policy *policy)
{
    const uint32_t count = policy->small_count + policy->main_count;
    if (policy->ghosts != NULL && (count / 2 <= policy->ghost_cap || count > GHOST_MAX)) {
        return;
    }
    uint32_t cap = GHOST_MIN;
    while (cap < count && cap < GHOST_MAX) {
        cap *= 2;
    }
    uint32_t *ghosts = flx_calloc(cap, sizeof *ghosts);
    if (ghosts != NULL) { /* otherwise the old ones, or none, do: the policy is only less sharp */
        flx_free(policy->ghosts);
        policy->ghosts = ghosts;
        policy->ghost_cap = cap;
        policy->ghost_clock = 0;
    }
}

static void ghost_put(cache_policy *policy, const cache_entry *entry)
{
    ghost_resize(policy);
    if (policy->ghosts == NULL) {
        return;
    }
    const ghost_place at = ghost_place_of(policy, entry);
    unsigned oldest = 0;
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if (at.ways[i] == 0) {
            oldest = i;
            break;
        }
        if (ghost_age(policy, at.ways[i]) > ghost_age(policy, at.ways[oldest])) {
            oldest = i;
        }
    }
    at.ways[oldest] = at.mark | ghost_now(policy);
    policy->ghost_clock++;
}

/* --- queues ------------------------------------------------------------------------------------- */

static void enter(cache_policy *policy, cache_entry *entry, bool is_main)
{
    entry->is_main = is_main;
    if (is_main) {
        flx_list_push_front(&policy->main, &entry->queue);
        policy->main_count++;
    } else {
        flx_list_push_front(&policy->small, &entry->queue);
        policy->small_count++;
        policy->small_bytes += cache_entry_cost(entry);
    }
}

static void leave(cache_policy *policy, cache_entry *entry)
{
    flx_list_remove(&entry->queue);
    if (entry->is_main) {
        FLX_ASSERT(policy->main_count > 0);
        policy->main_count--;
    } else {
        const size_t cost = cache_entry_cost(entry);
        FLX_ASSERT(policy->small_count > 0 && policy->small_bytes >= cost);
        policy->small_count--;
        policy->small_bytes -= cost;
    }
}

static cache_entry *oldest_of(const flx_list *queue)
{
    flx_list *node = flx_list_last(queue);
    return node == NULL ? NULL : FLX_LIST_OWNER(node, cache_entry, queue);
}

void cache_policy_init(cache_policy *policy, uint64_t bytes_max)
{
    *policy = (cache_policy){.small_bytes_target = bytes_max / SMALL_PART};
    flx_list_init(&policy->small);
    flx_list_init(&policy->main);
}

void cache_policy_done(cache_policy *policy)
{
    FLX_ASSERT(policy->small_count == 0 && policy->main_count == 0);
    flx_free(policy->ghosts);
    policy->ghosts = NULL;
}

size_t cache_policy_bytes(const cache_policy *policy)
{
    return policy->ghosts == NULL ? 0 : cache_heap_bytes(policy->ghost_cap * sizeof(uint32_t));
}

void cache_policy_admit(cache_policy *policy, cache_entry *entry)
{
    entry->uses = 0;
    enter(policy, entry, ghost_take(policy, entry));
}

void cache_policy_replace(cache_policy *policy, cache_entry *old, cache_entry *entry)
{
    entry->uses = old->uses;
    entry->is_main = old->is_main;
    flx_list_insert_between(&entry->queue, &old->queue, old->queue.next);
    if (entry->is_main) {
        policy->main_count++;
    } else {
        policy->small_count++;
        policy->small_bytes += cache_entry_cost(entry);
    }
    leave(policy, old);
}

void cache_policy_forget(cache_policy *policy, cache_entry *entry)
{
    leave(policy, entry);
}

cache_entry *cache_policy_victim(cache_policy *policy, const cache_entry *keep)
{
    for (unsigned scanned = 0;; scanned++) {
        cache_entry *small = oldest_of(&policy->small);
        cache_entry *main = oldest_of(&policy->main);
        small = small == keep ? NULL : small; /* the newest: nobody is behind it */
        if (small != NULL && (policy->small_bytes > policy->small_bytes_target || main == NULL)) {
            if (small->uses < PROMOTE_USES || scanned >= SCAN_MAX) {
                ghost_put(policy, small);
                return small;
            }
            leave(policy, small);
            small->uses = 0;
            enter(policy, small, true);
            continue;
        }
        if (main == NULL) {
            return NULL;
        }
        if ((main->uses == 0 || scanned >= SCAN_MAX) && main != keep) {
            return main;
        }
        if (main == keep && policy->main_count == 1) {
            return small; /* NULL, or the last resort */
        }
        if (main->uses > 0) {
            main->uses--;
        }
        leave(policy, main);
        enter(policy, main, true);
    }
}
