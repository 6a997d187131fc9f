/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/admission.c - what may come in: byte budgets, tenant quotas, and the deadline's exemption.
 *
 * Budgets count publishes that wait for another worker or for a slow reader; one that is appended at
 * once is never in flight. A budget with nothing in it admits one publish of any size. A tenant over
 * its quota is refused until its debt is paid; a publish is admitted whenever there is none, and
 * then takes its whole cost, so that a large batch is not refused for ever.
 */
#include "broker/admission_int.h"
#include "broker/lane_int.h"
#include "broker/mail_int.h"
#include "broker/publish_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/slice.h"

#include <string.h>

#define DEBT_MS_MAX 5000 /* of rate: what a tenant can owe at most */
#define BUCKETS_MAX 65536

static bool is_over(uint64_t used, uint64_t len, uint64_t limit)
{
    return used > 0 && used + len > limit;
}

static flx_bucket *bucket_get(flx_worker *worker, flx_identity *identity)
{
    if (identity->bucket != 0) {
        return &worker->buckets[identity->bucket - 1];
    }
    const flx_slice tenant = flx_grants_tenant(identity->grants);
    if (tenant.len > FLX_NAME_MAX) {
        return NULL;
    }
    for (uint32_t i = 0; i < worker->bucket_count; i++) {
        flx_bucket *bucket = &worker->buckets[i];
        if (flx_slice_is(tenant, bucket->tenant)) {
            identity->bucket = i + 1;
            return bucket;
        }
    }
    if (worker->bucket_count == BUCKETS_MAX) {
        return NULL;
    }
    flx_bucket *buckets =
        flx_realloc(worker->buckets, (worker->bucket_count + 1) * sizeof *buckets);
    if (buckets == NULL) {
        return NULL;
    }
    worker->buckets = buckets;
    flx_bucket *bucket = &buckets[worker->bucket_count++];
    memset(bucket, 0, sizeof *bucket);
    memcpy(bucket->tenant, tenant.ptr, tenant.len);
    bucket->bytes = INT64_MAX; /* filled up to the burst below */
    bucket->records = INT64_MAX;
    bucket->filled_ns = worker->now_ns;
    identity->bucket = worker->bucket_count;
    return bucket;
}

/* Adds what `elapsed_ns` earned, up to a burst. */
static void refill(int64_t *level, uint64_t rate, uint64_t elapsed_ns, uint32_t burst_ms)
{
    const double burst = (double)rate * burst_ms / 1000.0;
    double next = (double)*level + (double)rate * ((double)elapsed_ns / 1e9);
    next = next > burst ? burst : next;
    *level = (int64_t)next;
}

static void take(int64_t *level, uint64_t rate, uint64_t cost)
{
    const int64_t floor = -(int64_t)(rate * (DEBT_MS_MAX / 1000));
    *level = cost > (uint64_t)INT64_MAX / 2 ? floor : *level - (int64_t)cost;
    *level = *level < floor ? floor : *level;
}

/* How long until `level` is above 0. */
static uint32_t wait_ms(int64_t level, uint64_t rate)
{
    return level > 0 ? 0 : (uint32_t)((uint64_t)(-level) * 1000 / rate + 1);
}

/* 0: admitted and paid. Otherwise the milliseconds to wait. */
static uint32_t quota_take(flx_worker *worker, flx_identity *identity,
                           const flx_publish_request *request)
{
    const flx_worker_limits *limits = &worker->limits;
    flx_bucket *bucket = bucket_get(worker, identity);
    if (bucket == NULL) {
        return 0;
    }
    const uint64_t elapsed_ns = worker->now_ns - bucket->filled_ns;
    uint32_t wait = 0;
    bucket->filled_ns = worker->now_ns;
    if (limits->tenant_bytes_per_s > 0) {
        refill(&bucket->bytes, limits->tenant_bytes_per_s, elapsed_ns, limits->tenant_burst_ms);
        wait = wait_ms(bucket->bytes, limits->tenant_bytes_per_s);
    }
    if (limits->tenant_records_per_s > 0) {
        refill(&bucket->records, limits->tenant_records_per_s, elapsed_ns, limits->tenant_burst_ms);
        const uint32_t records = wait_ms(bucket->records, limits->tenant_records_per_s);
        wait = records > wait ? records : wait;
    }
    if (wait == 0) {
        take(&bucket->bytes, limits->tenant_bytes_per_s, request->region.len);
        take(&bucket->records, limits->tenant_records_per_s, request->count);
    }
    return wait;
}

flx_code flx_admit(flx_lane *lane, const flx_publish_request *request, const char **ret_reason,
                   uint32_t *ret_retry_after_ms)
{
    const flx_peer *peer = lane->peer;
    flx_worker *worker = peer->worker;
    const flx_worker_limits *limits = &worker->limits;
    const uint64_t len = request->region.len;
    if (is_over(lane->identity->publish_bytes, len, limits->identity_publish_bytes) ||
        is_over(peer->publish_bytes, len, limits->conn_publish_bytes) ||
        is_over(worker->publish_bytes, len, worker->publish_bytes_max)) {
        *ret_reason = "publish_queue_full";
        *ret_retry_after_ms = 100;
        return FLX_CODE_OVERLOADED;
    }
    if (limits->tenant_bytes_per_s > 0 || limits->tenant_records_per_s > 0) {
        const uint32_t wait = quota_take(worker, lane->identity, request);
        if (wait > 0) {
            *ret_reason = "tenant_quota";
            *ret_retry_after_ms = wait;
            return FLX_CODE_OVERLOADED;
        }
    }
    return FLX_CODE_NONE;
}

void flx_admit_charge(flx_lane *lane, uint32_t bytes)
{
    lane->identity->publish_bytes += bytes;
    lane->peer->publish_bytes += bytes;
    lane->peer->worker->publish_bytes += bytes;
    flx_stat_set(&lane->peer->worker->stats.publish_bytes, lane->peer->worker->publish_bytes);
}

void flx_admit_release(flx_lane *lane, uint32_t bytes)
{
    if (bytes == 0) {
        return;
    }
    FLX_ASSERT(lane->identity->publish_bytes >= bytes && lane->peer->publish_bytes >= bytes);
    lane->identity->publish_bytes -= bytes;
    lane->peer->publish_bytes -= bytes;
    lane->peer->worker->publish_bytes -= bytes;
    flx_stat_set(&lane->peer->worker->stats.publish_bytes, lane->peer->worker->publish_bytes);
}

/* ---- source addresses with an authenticated connection ---- */

static uint32_t source_hash(const uint8_t source[16])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < 16; i++) {
        hash = (hash ^ source[i]) * UINT64_C(0x100000001b3);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

static bool source_is_used(const flx_source *source)
{
    return source->connections > 0 || source->elsewhere > 0;
}

/* The entry of an address, or a free one; entries that went unused keep their address until the
 * table is rebuilt, so that probing passes over them. NULL: the table is empty. */
static flx_source *source_find(const flx_worker *worker, const uint8_t source[16])
{
    static const uint8_t nowhere[16];
    if (worker->source_cap == 0) {
        return NULL;
    }
    uint32_t at = source_hash(source) & (worker->source_cap - 1);
    while (memcmp(worker->sources[at].address, source, 16) != 0 &&
           memcmp(worker->sources[at].address, nowhere, 16) != 0) {
        at = (at + 1) & (worker->source_cap - 1);
    }
    return &worker->sources[at];
}

static bool sources_rebuild(flx_worker *worker)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < worker->source_cap; i++) {
        used += source_is_used(&worker->sources[i]) ? 1 : 0;
    }
    uint32_t cap = 64;
    while (cap < used * 4) {
        cap *= 2;
    }
    flx_source *old = worker->sources;
    const uint32_t old_cap = worker->source_cap;
    flx_source *sources = flx_calloc(cap, sizeof *sources);
    if (sources == NULL) {
        return false;
    }
    worker->sources = sources;
    worker->source_cap = cap;
    worker->source_count = used;
    for (uint32_t i = 0; i < old_cap; i++) {
        if (source_is_used(&old[i])) {
            *source_find(worker, old[i].address) = old[i];
        }
    }
    flx_free(old);
    return true;
}

static void source_announce(flx_worker *worker, const uint8_t source[16], bool gained)
{
    for (uint32_t to = 0; to < worker->count; to++) {
        if (to != worker->index) {
            flx_mail mail = {
                .kind = FLX_MAIL_SOURCE, .from = (uint8_t)worker->index, .flag = gained};
            memcpy(mail.source, source, 16);
            flx_outbox_post(worker, to, &mail);
        }
    }
}

void flx_source_change(flx_worker *worker, const uint8_t source[16], bool elsewhere, bool gained)
{
    static const uint8_t nowhere[16];
    if (memcmp(source, nowhere, 16) == 0) {
        return; /* the address nobody has */
    }
    if (worker->source_count * 2 >= worker->source_cap && gained && !sources_rebuild(worker)) {
        return; /* without memory the exemption is not given */
    }
    flx_source *entry = source_find(worker, source);
    if (entry == NULL) {
        return;
    }
    if (memcmp(entry->address, source, 16) != 0) {
        if (!gained) {
            return;
        }
        memcpy(entry->address, source, 16);
        worker->source_count++;
    }
    uint32_t *count = elsewhere ? &entry->elsewhere : &entry->connections;
    if (!gained && *count == 0) {
        return; /* was not counted when memory was out */
    }
    *count = gained ? *count + 1 : *count - 1;
    if (!elsewhere && *count == (gained ? 1 : 0)) {
        source_announce(worker, source, gained);
    }
}

bool flx_source_is_known(const flx_worker *worker, const uint8_t source[16])
{
    const flx_source *entry = source_find(worker, source);
    return entry != NULL && source_is_used(entry) && memcmp(entry->address, source, 16) == 0;
}
