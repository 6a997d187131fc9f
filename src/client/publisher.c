/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The callers' side of a publisher: messages go into the open frame under the publisher's lock, and
 * the loop is poked once a tick. Everything that leads to the broker is in pump.c.
 */
#include "client/publisher_int.h"
#include "client/waiter.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"

#include <string.h>

static void default_u32(uint32_t *value, uint32_t fallback)
{
    if (*value == 0)
        *value = fallback;
}

static flx_status read_options(const flx_publisher_options *from, flx_publisher_options *options,
                               flx_error *reterr)
{
    memset(options, 0, sizeof(*options));
    if (from != NULL) {
        if (from->struct_size < sizeof(size_t) || from->struct_size > sizeof(*options))
            return flx_fail(reterr, FLX_ERR_INVALID,
                            "options.struct_size is not one of this library");
        memcpy(options, from, from->struct_size);
    }
    default_u32(&options->batch_count_max, 1024);
    default_u32(&options->batch_bytes_max, 64U << 10);
    default_u32(&options->inflight_bytes_max, 16U << 20);
    default_u32(&options->inflight_count_max, 65536);
    default_u32(&options->inflight_batches_max, 1024);
    default_u32(&options->unsent_timeout_ms, 30000);
    if (options->acks > FLX_ACKS_NONE)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.acks is none of flx_acks");
    if (options->inflight_batches_max > 65536)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.inflight_batches_max is above 65536");
    return FLX_OK;
}

static flx_status init_pending(flx_publisher *publisher, flx_error *reterr)
{
    const flx_publisher_options *options = &publisher->options;
    const flx_pending_options pending = {.tenant = flx_slice_of(publisher->name.tenant),
                                         .namespace_ = flx_slice_of(publisher->name.namespace_),
                                         .stream = flx_slice_of(publisher->name.name),
                                         .acks = options->acks,
                                         .batch_count_max = options->batch_count_max,
                                         .batch_bytes_max = options->batch_bytes_max,
                                         .inflight_bytes_max = options->inflight_bytes_max,
                                         .inflight_count_max = options->inflight_count_max,
                                         .inflight_batches_max = options->inflight_batches_max,
                                         .keep_sent = options->retry_timeout_ms > 0 &&
                                                      options->acks != FLX_ACKS_NONE};
    return flx_pending_init(&publisher->pending, &pending, reterr);
}

flx_status flx_publisher_new(flx_client *client, const char *stream,
                             const flx_publisher_options *options, flx_publisher **ret_publisher,
                             flx_error *reterr)
{
    flx_publisher *publisher = flx_calloc(1, sizeof(*publisher));
    if (publisher == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a publisher");
    flx_status status = read_options(options, &publisher->options, reterr);
    if (status == FLX_OK)
        status =
            flx_scoped_name_parse(stream, client->options.tenant, client->options.default_namespace,
                                  "stream", &publisher->name, reterr);
    if (status == FLX_OK)
        status = init_pending(publisher, reterr);
    if (status == FLX_OK) {
        status = flx_member_init(&publisher->member, &flx_publisher_ops, client, reterr);
        if (status != FLX_OK)
            flx_pending_done_all(&publisher->pending);
    }
    if (status != FLX_OK) {
        flx_free(publisher);
        return status;
    }
    (void)pthread_mutex_init(&publisher->mutex, NULL);
    flx_cond_init(&publisher->changed);
    publisher->flush_end = UINT64_MAX;
    publisher->timer = (flx_timer){.fire = flx_publisher_timer_fired, .arg = publisher};
    publisher->backoff = (flx_backoff){.min_ms = client->options.backoff_min_ms,
                                       .max_ms = client->options.backoff_max_ms};
    flx_seat_init(&publisher->seat, &publisher->member, &publisher->name, FLX_PLACEMENT_PUBLISH, 0);
    flx_member_poke(&publisher->member); /* authenticates its stream before the first message */
    *ret_publisher = publisher;
    return FLX_OK;
}

flx_publisher *flx_publisher_free(flx_publisher *publisher)
{
    if (publisher != NULL)
        flx_member_free(&publisher->member);
    return NULL;
}

/* ---- publishing ---- */

/* One message, or one batch. */
typedef struct offering {
    const flx_slice *key;
    const flx_slice *payloads;
    size_t count;
    bool whole; /* one frame, one callback */
    flx_publish_fn done;
    void *arg;
} offering;

static flx_status add(flx_publisher *publisher, const offering *what, flx_error *reterr)
{
    const uint64_t now_ns = flx_clock_monotonic_ns();
    flx_pending *pending = &publisher->pending;
    if (publisher->closed)
        return flx_fail(reterr, FLX_ERR_CLOSED, "the publisher or its client was freed");
    if (what->whole)
        return flx_pending_add_batch(pending, what->key, what->payloads, what->count, what->done,
                                     what->arg, now_ns, reterr);
    return flx_pending_add(pending, what->key, what->payloads[0], what->done, what->arg, now_ns,
                           reterr);
}

static flx_status add_waiting(flx_publisher *publisher, const offering *what, uint64_t deadline_ns,
                              flx_error *reterr)
{
    flx_client *client = publisher->member.client;
    flx_status status = add(publisher, what, reterr);
    while (status == FLX_ERR_AGAIN && deadline_ns != 0) {
        flx_pending_seal(&publisher->pending);
        flx_member_poke(&publisher->member);
        publisher->waiting++;
        const bool in_time =
            flx_client_wait(client, &publisher->mutex, &publisher->changed, deadline_ns);
        publisher->waiting--;
        status = add(publisher, what, reterr);
        if (!in_time)
            break;
    }
    return status;
}

/* Whether the loop has something to do with this, or it can stay in the open frame for now. */
static bool needs_poke(const flx_publisher *publisher)
{
    if (publisher->options.linger_us == 0 || flx_pending_has_unsent(&publisher->pending))
        return true;
    return publisher->pending.open && publisher->pending.head.count == 1; /* starts the linger */
}

static flx_status publish(flx_publisher *publisher, const offering *what, uint64_t deadline_ns,
                          flx_error *reterr)
{
    (void)pthread_mutex_lock(&publisher->mutex);
    const flx_status status = add_waiting(publisher, what, deadline_ns, reterr);
    bool poke = true;
    if (status == FLX_OK) {
        publisher->stats.accepted += what->count;
        for (size_t i = 0; i < what->count; i++)
            publisher->stats.bytes += what->payloads[i].len;
        poke = needs_poke(publisher);
    } else if (status == FLX_ERR_AGAIN) {
        publisher->room_wanted = publisher->options.room_fn != NULL;
        flx_pending_seal(&publisher->pending); /* room comes only from what has left */
    }
    (void)pthread_mutex_unlock(&publisher->mutex);
    if (poke)
        flx_member_poke(&publisher->member);
    return status;
}

/* A callback cannot wait for the loop it runs on, so block_ms does not apply there. */
static uint64_t block_deadline_ns(flx_publisher *publisher)
{
    if (publisher->options.block_ms == 0 ||
        flx_client_may_wait(publisher->member.client, NULL) != FLX_OK)
        return 0;
    return flx_deadline_ns(publisher->options.block_ms);
}

flx_status flx_publisher_publish(flx_publisher *publisher, const flx_slice *key, flx_slice payload,
                                 flx_publish_fn done, void *arg, flx_error *reterr)
{
    const offering what = {.key = key, .payloads = &payload, .count = 1, .done = done, .arg = arg};
    return publish(publisher, &what, block_deadline_ns(publisher), reterr);
}

flx_status flx_publisher_publish_batch(flx_publisher *publisher, const flx_slice *key,
                                       const flx_slice *payloads, size_t count, flx_publish_fn done,
                                       void *arg, flx_error *reterr)
{
    if (count == 0)
        return flx_fail(reterr, FLX_ERR_INVALID, "a batch of no messages");
    const offering what = {
        .key = key, .payloads = payloads, .count = count, .whole = true, .done = done, .arg = arg};
    return publish(publisher, &what, block_deadline_ns(publisher), reterr);
}

/* ---- waiting for one answer ---- */

/* Shared by the caller, who may give up first, and the callback, which comes in any case. */
typedef struct publish_wait {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    uint32_t refs;
    bool done;
    bool has_offset;
    uint64_t offset;
    flx_status status;
    flx_error error;
} publish_wait;

static void unref_wait(publish_wait *wait)
{
    (void)pthread_mutex_lock(&wait->mutex);
    const uint32_t left = --wait->refs;
    (void)pthread_mutex_unlock(&wait->mutex);
    if (left > 0)
        return;
    (void)pthread_cond_destroy(&wait->cond);
    (void)pthread_mutex_destroy(&wait->mutex);
    flx_free(wait);
}

static void publish_wait_done(void *arg, const flx_publish_result *result)
{
    publish_wait *wait = arg;
    (void)pthread_mutex_lock(&wait->mutex);
    wait->done = true;
    wait->status = result->status;
    wait->has_offset = result->has_offset;
    wait->offset = result->offset;
    if (result->error != NULL)
        wait->error = *result->error;
    (void)pthread_cond_signal(&wait->cond);
    (void)pthread_mutex_unlock(&wait->mutex);
    unref_wait(wait);
}

static publish_wait *new_wait(void)
{
    publish_wait *wait = flx_calloc(1, sizeof(*wait));
    if (wait == NULL)
        return NULL;
    (void)pthread_mutex_init(&wait->mutex, NULL);
    flx_cond_init(&wait->cond);
    wait->refs = 2;
    return wait;
}

static flx_status await(flx_client *client, publish_wait *wait, uint64_t deadline_ns,
                        uint64_t *ret_offset, flx_error *reterr)
{
    flx_status status = FLX_OK;
    (void)pthread_mutex_lock(&wait->mutex);
    while (!wait->done && flx_client_wait(client, &wait->mutex, &wait->cond, deadline_ns))
        ;
    if (!wait->done) {
        status = flx_fail(reterr, FLX_ERR_TIMEOUT, "no answer yet; it may still arrive");
    } else if (wait->status != FLX_OK) {
        status = wait->status;
        if (reterr != NULL)
            *reterr = wait->error;
    } else if (ret_offset != NULL) {
        *ret_offset = wait->has_offset ? wait->offset : UINT64_MAX;
    }
    (void)pthread_mutex_unlock(&wait->mutex);
    return status;
}

flx_status flx_publisher_publish_wait(flx_publisher *publisher, const flx_slice *key,
                                      flx_slice payload, uint32_t timeout_ms, uint64_t *ret_offset,
                                      flx_error *reterr)
{
    flx_client *client = publisher->member.client;
    flx_status status = flx_client_may_wait(client, reterr);
    if (status != FLX_OK)
        return status;
    publish_wait *wait = new_wait();
    if (wait == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a waiting publish");
    const uint64_t deadline_ns = flx_deadline_ns(timeout_ms);
    const offering what = {
        .key = key, .payloads = &payload, .count = 1, .done = publish_wait_done, .arg = wait};
    status = publish(publisher, &what, deadline_ns, reterr);
    if (status == FLX_OK) {
        (void)flx_publisher_flush(publisher, 0, NULL); /* whoever waits does not linger */
        status = await(client, wait, deadline_ns, ret_offset, reterr);
    } else {
        unref_wait(wait); /* the callback's: it will not come */
    }
    unref_wait(wait);
    return status;
}

/* ---- flushing ---- */

static bool is_flushed(const flx_publisher *publisher, uint64_t end)
{
    return flx_pending_is_past(&publisher->pending, end) &&
           (publisher->options.acks != FLX_ACKS_NONE || publisher->held_bytes == 0);
}

static flx_status wait_flushed(flx_publisher *publisher, uint64_t end, uint64_t deadline_ns,
                               flx_error *reterr)
{
    flx_client *client = publisher->member.client;
    while (!is_flushed(publisher, end)) {
        if (publisher->closed)
            return flx_fail(reterr, FLX_ERR_CLOSED, "the publisher or its client was freed");
        if (end < publisher->flush_end)
            publisher->flush_end = end;
        if (!flx_client_wait(client, &publisher->mutex, &publisher->changed, deadline_ns))
            return flx_fail(reterr, FLX_ERR_TIMEOUT, "%llu bytes are still under way",
                            (unsigned long long)publisher->pending.inflight_bytes);
    }
    return FLX_OK;
}

flx_status flx_publisher_flush(flx_publisher *publisher, uint32_t timeout_ms, flx_error *reterr)
{
    flx_status status = FLX_OK;
    if (timeout_ms > 0) {
        status = flx_client_may_wait(publisher->member.client, reterr);
        if (status != FLX_OK)
            return status;
    }
    (void)pthread_mutex_lock(&publisher->mutex);
    flx_pending_seal(&publisher->pending);
    const uint64_t end = publisher->pending.next;
    publisher->flushing++;
    flx_member_poke(&publisher->member);
    if (timeout_ms > 0)
        status = wait_flushed(publisher, end, flx_deadline_ns(timeout_ms), reterr);
    publisher->flushing--;
    (void)pthread_mutex_unlock(&publisher->mutex);
    return status;
}

void flx_publisher_get_stats(flx_publisher *publisher, flx_publisher_stats *ret_stats)
{
    const size_t size = ret_stats->struct_size;
    (void)pthread_mutex_lock(&publisher->mutex);
    flx_publisher_stats stats = publisher->stats;
    stats.inflight_bytes = (uint32_t)publisher->pending.inflight_bytes;
    stats.inflight_batches = (uint32_t)(publisher->pending.next - publisher->pending.first);
    (void)pthread_mutex_unlock(&publisher->mutex);
    stats.struct_size = size;
    memcpy(ret_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
}
