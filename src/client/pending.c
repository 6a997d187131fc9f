/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of frames, the ring of callbacks, and the chunks they are written to; see the header.
 *
 * An open frame's head is written twice: once to reserve its room, and once when the count and the length
 * are known. Nobody holds a range of it in between, so "bytes written never change" stays true for everybody else.
 */
#include "client/pending.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "wire/frame.h"
#include "wire/records.h"

#include <string.h>

#define DONES_CAP_MIN 64

static uint64_t power_of_two(uint64_t least)
{
    uint64_t value = 1;
    while (value < least)
        value <<= 1;
    return value;
}

static flx_pending_frame *frame_at(const flx_pending *pending, uint64_t id)
{
    return &pending->frames[id & pending->mask];
}

flx_status flx_pending_init(flx_pending *pending, const flx_pending_options *options,
                            flx_error *reterr)
{
    FLX_ASSERT(options->inflight_batches_max > 0 && options->inflight_batches_max <= 65536);
    memset(pending, 0, sizeof(*pending));
    pending->options = *options;
    pending->first = pending->unsent = pending->next = 1;
    const uint64_t cap = power_of_two(options->inflight_batches_max);
    pending->mask = cap - 1;
    pending->frames = flx_calloc(cap, sizeof(*pending->frames));
    if (pending->frames == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "window of %u batches",
                        options->inflight_batches_max);
    return FLX_OK;
}

void flx_pending_done_all(flx_pending *pending)
{
    FLX_ASSERT(pending->first == pending->next);
    for (size_t i = 0; i < FLX_PENDING_SPARE_COUNT; i++)
        pending->spare[i] = flx_chunk_unref(pending->spare[i]);
    pending->chunk = flx_chunk_unref(pending->chunk);
    flx_free(pending->key);
    flx_free(pending->dones);
    flx_free(pending->frames);
    memset(pending, 0, sizeof(*pending));
}

/* ---- chunks ---- */

static flx_chunk *find_spare(flx_pending *pending)
{
    for (size_t i = 0; i < FLX_PENDING_SPARE_COUNT; i++) {
        flx_chunk *chunk = pending->spare[i];
        if (chunk != NULL && flx_chunk_is_sole(chunk)) {
            pending->spare[i] = NULL;
            chunk->len = 0;
            return chunk;
        }
    }
    return NULL;
}

/* Keeps a full chunk to write it again once the transport let go; an odd size is not kept. */
static void retire(flx_pending *pending, flx_chunk *chunk)
{
    if (chunk == NULL || chunk->cap != FLX_PENDING_CHUNK_BYTES) {
        (void)flx_chunk_unref(chunk);
        return;
    }
    flx_chunk **slot = &pending->spare[pending->spare_next++ % FLX_PENDING_SPARE_COUNT];
    (void)flx_chunk_unref(*slot);
    *slot = chunk;
}

static bool make_room(flx_pending *pending, size_t bytes)
{
    if (pending->chunk != NULL && flx_chunk_room(pending->chunk) >= bytes)
        return true;
    if (pending->chunk != NULL && pending->chunk->cap >= bytes &&
        flx_chunk_is_sole(pending->chunk)) {
        pending->chunk->len = 0;
        return true;
    }
    flx_chunk *chunk = bytes <= FLX_PENDING_CHUNK_BYTES ? find_spare(pending) : NULL;
    if (chunk == NULL)
        chunk = flx_chunk_new(bytes > FLX_PENDING_CHUNK_BYTES ? bytes : FLX_PENDING_CHUNK_BYTES);
    if (chunk == NULL)
        return false;
    retire(pending, pending->chunk);
    pending->chunk = chunk;
    return true;
}

/* ---- callbacks ---- */

static bool grow_dones(flx_pending *pending)
{
    const uint64_t cap = pending->dones_cap == 0 ? DONES_CAP_MIN : pending->dones_cap * 2;
    flx_pending_done *dones = flx_calloc(cap, sizeof(*dones));
    if (dones == NULL)
        return false;
    for (uint64_t at = pending->done_first; at < pending->done_next; at++)
        dones[at & (cap - 1)] = pending->dones[at & (pending->dones_cap - 1)];
    flx_free(pending->dones);
    pending->dones = dones;
    pending->dones_cap = cap;
    return true;
}

static flx_status reserve_done(flx_pending *pending, flx_error *reterr)
{
    const uint64_t count = pending->done_next - pending->done_first;
    if (count >= pending->options.inflight_count_max)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%llu messages wait for their answer",
                        (unsigned long long)count);
    if (count == pending->dones_cap && !grow_dones(pending))
        return flx_fail(reterr, FLX_ERR_NOMEM, "callbacks of a publisher");
    return FLX_OK;
}

static void push_done(flx_pending *pending, flx_pending_frame *frame, flx_publish_fn fn, void *arg,
                      uint32_t index)
{
    FLX_ASSERT(pending->done_next - pending->done_first < pending->dones_cap);
    pending->dones[pending->done_next & (pending->dones_cap - 1)] =
        (flx_pending_done){.fn = fn, .arg = arg, .index = index};
    pending->done_next++;
    frame->done_count++;
}

/* ---- frames ---- */

static bool set_key(flx_pending *pending, flx_slice key)
{
    if (key.len > pending->key_cap) {
        uint8_t *memory = flx_realloc(pending->key, key.len);
        if (memory == NULL)
            return false;
        pending->key = memory;
        pending->key_cap = key.len;
    }
    if (key.len > 0)
        memcpy(pending->key, key.ptr, key.len);
    pending->head.key = (flx_slice){pending->key, key.len};
    return true;
}

static flx_publish make_head(const flx_pending *pending, const flx_slice *key)
{
    flx_publish head = {.flags = FLX_FLAG_BINARY_PUBLISH_BATCH,
                        .ack = FLX_ACK_NONE,
                        .tenant_id = pending->options.tenant,
                        .namespace_ = pending->options.namespace_,
                        .stream = pending->options.stream};
    if (pending->options.acks != FLX_ACKS_NONE) {
        head.flags |= FLX_FLAG_BINARY_PUBLISH_ACKED;
        head.ack =
            pending->options.acks == FLX_ACKS_PER_MESSAGE ? FLX_ACK_PER_MESSAGE : FLX_ACK_PER_BATCH;
    }
    if (key != NULL) {
        head.flags |= FLX_FLAG_BINARY_PUBLISH_KEYED;
        head.key = *key;
    }
    return head;
}

/* The bounds that hold whatever the frame. One frame alone may be larger than the byte bound, or it
 * could never be sent. */
static flx_status check_bounds(const flx_pending *pending, size_t bytes, bool new_frame,
                               flx_error *reterr)
{
    if (pending->inflight_bytes > 0 &&
        pending->inflight_bytes + bytes > pending->options.inflight_bytes_max)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%llu bytes wait for their answer",
                        (unsigned long long)pending->inflight_bytes);
    if (new_frame && pending->next - pending->first >= pending->options.inflight_batches_max)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%u batches wait for their answer",
                        pending->options.inflight_batches_max);
    return FLX_OK;
}

/* Opens a frame with room for `region_bytes` of records. */
static flx_status open_frame(flx_pending *pending, const flx_slice *key, size_t region_bytes,
                             uint64_t now_ns, flx_error *reterr)
{
    FLX_ASSERT(!pending->open);
    const flx_publish head = make_head(pending, key);
    const size_t head_bytes = flx_publish_head_bytes(&head);
    if (head_bytes + region_bytes > FLX_FRAME_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a frame of %zu bytes (at most %u)",
                        head_bytes + region_bytes, FLX_FRAME_BYTES_MAX);
    const size_t prefix = FLX_FRAME_HEADER_BYTES + head_bytes;
    const flx_status status = check_bounds(pending, prefix + region_bytes, true, reterr);
    if (status != FLX_OK)
        return status;
    if (!make_room(pending, prefix + region_bytes))
        return flx_fail(reterr, FLX_ERR_NOMEM, "a frame of %zu bytes", prefix + region_bytes);
    pending->head = head;
    if (key != NULL && !set_key(pending, *key))
        return flx_fail(reterr, FLX_ERR_NOMEM, "a key of %zu bytes", key->len);

    pending->head.request_id = pending->next;
    pending->open = true;
    pending->open_start = pending->chunk->len;
    pending->open_payload_bytes = 0;
    pending->chunk->len += (uint32_t)prefix;
    flx_pending_frame *frame = frame_at(pending, pending->next);
    FLX_ASSERT(frame->state == FLX_PENDING_FREE);
    *frame = (flx_pending_frame){.done_first = pending->done_next,
                                 .since_ns = now_ns,
                                 .bytes = (uint32_t)prefix,
                                 .flags = head.flags,
                                 .state = FLX_PENDING_OPEN};
    pending->inflight_bytes += prefix;
    pending->next++;
    return FLX_OK;
}

static void put_record(flx_pending *pending, flx_pending_frame *frame, flx_slice payload)
{
    const size_t bytes = flx_record_bytes(payload.len);
    FLX_ASSERT(flx_chunk_room(pending->chunk) >= bytes);
    (void)flx_records_put(pending->chunk->data + pending->chunk->len, payload);
    pending->chunk->len += (uint32_t)bytes;
    pending->head.count++;
    pending->open_payload_bytes += payload.len;
    pending->inflight_bytes += bytes;
    frame->bytes += (uint32_t)bytes;
    frame->count++;
}

void flx_pending_seal(flx_pending *pending)
{
    if (!pending->open)
        return;
    flx_chunk *chunk = pending->chunk;
    uint8_t *at = chunk->data + pending->open_start;
    const size_t len = chunk->len - pending->open_start;
    flx_frame_header_encode(pending->head.flags, (uint32_t)(len - FLX_FRAME_HEADER_BYTES), at);
    (void)flx_publish_head_encode(&pending->head, at + FLX_FRAME_HEADER_BYTES);

    flx_pending_frame *frame = frame_at(pending, pending->next - 1);
    FLX_ASSERT(frame->state == FLX_PENDING_OPEN && frame->bytes == len);
    frame->range = (flx_range){flx_chunk_ref(chunk), (uint32_t)pending->open_start, chunk->len};
    frame->state = FLX_PENDING_SEALED;
    pending->open = false;
}

static bool key_is_open(const flx_pending *pending, const flx_slice *key)
{
    const bool keyed = (pending->head.flags & FLX_FLAG_BINARY_PUBLISH_KEYED) != 0;
    if (key == NULL || !keyed)
        return key == NULL && !keyed;
    return key->len == pending->head.key.len &&
           (key->len == 0 || memcmp(key->ptr, pending->head.key.ptr, key->len) == 0);
}

static bool fits_open(const flx_pending *pending, const flx_slice *key, size_t payload_len)
{
    const flx_pending_options *options = &pending->options;
    return pending->open && options->acks != FLX_ACKS_PER_MESSAGE &&
           pending->head.count < options->batch_count_max &&
           pending->open_payload_bytes + payload_len <= options->batch_bytes_max &&
           flx_chunk_room(pending->chunk) >= flx_record_bytes(payload_len) &&
           key_is_open(pending, key);
}

static flx_status check_sizes(const flx_slice *key, size_t payload_len, flx_error *reterr)
{
    if (key != NULL && key->len > UINT16_MAX)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a key of %zu bytes (at most 65535)", key->len);
    if (payload_len > FLX_FRAME_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a message of %zu bytes (at most %u)",
                        payload_len, FLX_FRAME_BYTES_MAX);
    return FLX_OK;
}

flx_status flx_pending_add(flx_pending *pending, const flx_slice *key, flx_slice payload,
                           flx_publish_fn done, void *arg, uint64_t now_ns, flx_error *reterr)
{
    flx_status status = check_sizes(key, payload.len, reterr);
    if (status == FLX_OK && done != NULL)
        status = reserve_done(pending, reterr);
    if (status != FLX_OK)
        return status;

    const size_t bytes = flx_record_bytes(payload.len);
    if (fits_open(pending, key, payload.len)) {
        status = check_bounds(pending, bytes, false, reterr);
    } else {
        flx_pending_seal(pending);
        status = open_frame(pending, key, bytes, now_ns, reterr);
    }
    if (status != FLX_OK)
        return status;

    flx_pending_frame *frame = frame_at(pending, pending->next - 1);
    if (done != NULL)
        push_done(pending, frame, done, arg, frame->count);
    put_record(pending, frame, payload);
    if (pending->options.acks == FLX_ACKS_PER_MESSAGE ||
        frame->count == pending->options.batch_count_max)
        flx_pending_seal(pending);
    return FLX_OK;
}

static flx_status sum_region(const flx_slice *key, const flx_slice *payloads, size_t count,
                             size_t *ret_bytes, flx_error *reterr)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const flx_status status = check_sizes(key, payloads[i].len, reterr);
        if (status != FLX_OK)
            return status;
        bytes += flx_record_bytes(payloads[i].len);
        if (bytes > FLX_FRAME_BYTES_MAX)
            return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a batch of more than %u bytes",
                            FLX_FRAME_BYTES_MAX);
    }
    *ret_bytes = bytes;
    return FLX_OK;
}

flx_status flx_pending_add_batch(flx_pending *pending, const flx_slice *key,
                                 const flx_slice *payloads, size_t count, flx_publish_fn done,
                                 void *arg, uint64_t now_ns, flx_error *reterr)
{
    FLX_ASSERT(count > 0);
    size_t bytes = 0;
    flx_status status = sum_region(key, payloads, count, &bytes, reterr);
    if (status == FLX_OK && done != NULL)
        status = reserve_done(pending, reterr);
    if (status != FLX_OK)
        return status;

    flx_pending_seal(pending);
    status = open_frame(pending, key, bytes, now_ns, reterr);
    if (status != FLX_OK)
        return status;
    flx_pending_frame *frame = frame_at(pending, pending->next - 1);
    if (done != NULL)
        push_done(pending, frame, done, arg, 0);
    for (size_t i = 0; i < count; i++)
        put_record(pending, frame, payloads[i]);
    flx_pending_seal(pending);
    return FLX_OK;
}

/* ---- sending ---- */

/* Frames that were ended before they were sent leave holes in front of the cursor. */
static void skip_ended(flx_pending *pending)
{
    while (pending->unsent < pending->next) {
        const uint8_t state = frame_at(pending, pending->unsent)->state;
        if (state == FLX_PENDING_SEALED || state == FLX_PENDING_OPEN)
            break;
        pending->unsent++;
    }
}

bool flx_pending_has_unsent(const flx_pending *pending)
{
    return pending->unsent < pending->next &&
           frame_at(pending, pending->unsent)->state == FLX_PENDING_SEALED;
}

const flx_pending_frame *flx_pending_oldest_unsent(const flx_pending *pending)
{
    return pending->unsent < pending->next ? frame_at(pending, pending->unsent) : NULL;
}

uint16_t flx_pending_next_flags(const flx_pending *pending)
{
    return flx_pending_has_unsent(pending) ? frame_at(pending, pending->unsent)->flags : 0;
}

/* SENT, with a reference for the caller; the frame keeps its own only to send it again. */
static void mark_sent(flx_pending *pending, flx_pending_frame *frame, uint64_t now_ns,
                      flx_range *ret_range)
{
    frame->since_ns = now_ns;
    *ret_range = frame->range;
    if (pending->options.keep_sent)
        (void)flx_chunk_ref(frame->range.chunk);
    else
        frame->range.chunk = NULL;
    frame->state = FLX_PENDING_SENT;
    pending->sent_count++;
}

bool flx_pending_take(flx_pending *pending, uint64_t now_ns, flx_range *ret_range, uint64_t *ret_id)
{
    if (!flx_pending_has_unsent(pending))
        return false;
    flx_pending_frame *frame = frame_at(pending, pending->unsent);
    *ret_id = pending->unsent;
    mark_sent(pending, frame, now_ns, ret_range);
    pending->unsent++;
    skip_ended(pending);
    return true;
}

bool flx_pending_take_retry(flx_pending *pending, uint64_t now_ns, flx_range *ret_range,
                            uint64_t *ret_id)
{
    if (pending->refused_count == 0)
        return false;
    for (uint64_t id = pending->first; id < pending->unsent; id++) {
        flx_pending_frame *frame = frame_at(pending, id);
        if (frame->state != FLX_PENDING_REFUSED || frame->retry_ns > now_ns)
            continue;
        pending->refused_count--;
        mark_sent(pending, frame, now_ns, ret_range);
        *ret_id = id;
        return true;
    }
    return false;
}

void flx_pending_untake(flx_pending *pending, uint64_t id, flx_range range)
{
    flx_pending_frame *frame = frame_at(pending, id);
    FLX_ASSERT(frame->state == FLX_PENDING_SENT && id < pending->unsent);
    (void)flx_chunk_unref(frame->range.chunk); /* kept to be sent again: the same chunk */
    frame->range = range;
    pending->sent_count--;
    if (frame->give_up_ns != 0) {
        frame->state = FLX_PENDING_REFUSED;
        pending->refused_count++;
    } else {
        frame->state = FLX_PENDING_SEALED;
        pending->unsent = id;
    }
}

uint64_t flx_pending_retry_due_ns(const flx_pending *pending)
{
    uint64_t due_ns = UINT64_MAX;
    if (pending->refused_count == 0)
        return due_ns;
    for (uint64_t id = pending->first; id < pending->unsent; id++) {
        const flx_pending_frame *frame = frame_at(pending, id);
        if (frame->state == FLX_PENDING_REFUSED && frame->retry_ns < due_ns)
            due_ns = frame->retry_ns;
    }
    return due_ns;
}

/* ---- ending ---- */

flx_pending_frame *flx_pending_find_sent(flx_pending *pending, uint64_t id)
{
    if (id < pending->first || id >= pending->unsent)
        return NULL;
    flx_pending_frame *frame = frame_at(pending, id);
    return frame->state == FLX_PENDING_SENT ? frame : NULL;
}

void flx_pending_refuse(flx_pending *pending, uint64_t id, uint64_t retry_ns)
{
    flx_pending_frame *frame = frame_at(pending, id);
    FLX_ASSERT(frame->state == FLX_PENDING_SENT && frame->range.chunk != NULL);
    frame->state = FLX_PENDING_REFUSED;
    frame->retry_ns = retry_ns;
    pending->sent_count--;
    pending->refused_count++;
}

void flx_pending_end(flx_pending *pending, uint64_t id)
{
    FLX_ASSERT(id >= pending->first && id < pending->next);
    flx_pending_frame *frame = frame_at(pending, id);
    if (frame->state == FLX_PENDING_OPEN)
        flx_pending_seal(pending);
    FLX_ASSERT(frame->state == FLX_PENDING_SEALED || frame->state == FLX_PENDING_SENT ||
               frame->state == FLX_PENDING_REFUSED);
    pending->sent_count -= frame->state == FLX_PENDING_SENT;
    pending->refused_count -= frame->state == FLX_PENDING_REFUSED;
    FLX_ASSERT(pending->inflight_bytes >= frame->bytes);
    pending->inflight_bytes -= frame->bytes;
    frame->range.chunk = flx_chunk_unref(frame->range.chunk);
    frame->state = FLX_PENDING_ENDING;
    skip_ended(pending);
}

/* Frees the ended frames at the old end, and with them the callbacks they had. */
static void advance(flx_pending *pending)
{
    while (pending->first < pending->next &&
           frame_at(pending, pending->first)->state == FLX_PENDING_FREE)
        pending->first++;
    pending->done_first = pending->first < pending->next
                              ? frame_at(pending, pending->first)->done_first
                              : pending->done_next;
}

size_t flx_pending_take_dones(flx_pending *pending, uint64_t id, flx_pending_done *ret_dones,
                              size_t cap)
{
    FLX_ASSERT(id >= pending->first && id < pending->next);
    flx_pending_frame *frame = frame_at(pending, id);
    FLX_ASSERT(frame->state == FLX_PENDING_ENDING);
    size_t count = 0;
    while (count < cap && frame->done_taken < frame->done_count) {
        const uint64_t at = frame->done_first + frame->done_taken++;
        ret_dones[count++] = pending->dones[at & (pending->dones_cap - 1)];
    }
    if (count == 0) {
        frame->state = FLX_PENDING_FREE;
        advance(pending);
    }
    return count;
}

flx_pending_frame *flx_pending_at(flx_pending *pending, uint64_t id)
{
    FLX_ASSERT(id >= pending->first && id < pending->next);
    return frame_at(pending, id);
}

bool flx_pending_find(const flx_pending *pending, flx_pending_state state, uint64_t *id)
{
    for (uint64_t at = *id > pending->first ? *id : pending->first; at < pending->next; at++) {
        if (frame_at(pending, at)->state == (uint8_t)state) {
            *id = at;
            return true;
        }
    }
    return false;
}
