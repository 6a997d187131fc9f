/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of frames, the ring of callbacks, and the chunks they are written to; see the header.
 *
 * An open frame's head is written twice: once to reserve its room, and once when the count and the length
 * are known. Nobody holds a range of it in between, so "bytes written never change" stays true for everybody else.
 */
#include "client/outbox.h"

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

static flx_outbox_frame *frame_at(const flx_outbox *outbox, uint64_t id)
{
    return &outbox->frames[id & outbox->mask];
}

flx_status flx_outbox_init(flx_outbox *outbox, const flx_outbox_options *options, flx_error *reterr)
{
    FLX_ASSERT(options->inflight_batches_max > 0 && options->inflight_batches_max <= 65536);
    memset(outbox, 0, sizeof(*outbox));
    outbox->options = *options;
    outbox->first = outbox->unsent = outbox->next = 1;
    const uint64_t cap = power_of_two(options->inflight_batches_max);
    outbox->mask = cap - 1;
    outbox->frames = flx_calloc(cap, sizeof(*outbox->frames));
    if (outbox->frames == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "window of %u batches",
                        options->inflight_batches_max);
    return FLX_OK;
}

void flx_outbox_done_all(flx_outbox *outbox)
{
    FLX_ASSERT(outbox->first == outbox->next);
    for (size_t i = 0; i < FLX_OUTBOX_SPARE_COUNT; i++)
        outbox->spare[i] = flx_chunk_unref(outbox->spare[i]);
    outbox->chunk = flx_chunk_unref(outbox->chunk);
    flx_free(outbox->key);
    flx_free(outbox->dones);
    flx_free(outbox->frames);
    memset(outbox, 0, sizeof(*outbox));
}

/* ---- chunks ---- */

static flx_chunk *find_spare(flx_outbox *outbox)
{
    for (size_t i = 0; i < FLX_OUTBOX_SPARE_COUNT; i++) {
        flx_chunk *chunk = outbox->spare[i];
        if (chunk != NULL && flx_chunk_is_sole(chunk)) {
            outbox->spare[i] = NULL;
            chunk->len = 0;
            return chunk;
        }
    }
    return NULL;
}

/* Keeps a full chunk to write it again once the transport let go; an odd size is not kept. */
static void retire(flx_outbox *outbox, flx_chunk *chunk)
{
    if (chunk == NULL || chunk->cap != FLX_OUTBOX_CHUNK_BYTES) {
        (void)flx_chunk_unref(chunk);
        return;
    }
    flx_chunk **slot = &outbox->spare[outbox->spare_next++ % FLX_OUTBOX_SPARE_COUNT];
    (void)flx_chunk_unref(*slot);
    *slot = chunk;
}

static bool make_room(flx_outbox *outbox, size_t bytes)
{
    if (outbox->chunk != NULL && flx_chunk_room(outbox->chunk) >= bytes)
        return true;
    if (outbox->chunk != NULL && outbox->chunk->cap >= bytes && flx_chunk_is_sole(outbox->chunk)) {
        outbox->chunk->len = 0;
        return true;
    }
    flx_chunk *chunk = bytes <= FLX_OUTBOX_CHUNK_BYTES ? find_spare(outbox) : NULL;
    if (chunk == NULL)
        chunk = flx_chunk_new(bytes > FLX_OUTBOX_CHUNK_BYTES ? bytes : FLX_OUTBOX_CHUNK_BYTES);
    if (chunk == NULL)
        return false;
    retire(outbox, outbox->chunk);
    outbox->chunk = chunk;
    return true;
}

/* ---- callbacks ---- */

static bool grow_dones(flx_outbox *outbox)
{
    const uint64_t cap = outbox->dones_cap == 0 ? DONES_CAP_MIN : outbox->dones_cap * 2;
    flx_outbox_done *dones = flx_calloc(cap, sizeof(*dones));
    if (dones == NULL)
        return false;
    for (uint64_t at = outbox->done_first; at < outbox->done_next; at++)
        dones[at & (cap - 1)] = outbox->dones[at & (outbox->dones_cap - 1)];
    flx_free(outbox->dones);
    outbox->dones = dones;
    outbox->dones_cap = cap;
    return true;
}

static flx_status reserve_done(flx_outbox *outbox, flx_error *reterr)
{
    const uint64_t count = outbox->done_next - outbox->done_first;
    if (count >= outbox->options.inflight_count_max)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%llu messages wait for their answer",
                        (unsigned long long)count);
    if (count == outbox->dones_cap && !grow_dones(outbox))
        return flx_fail(reterr, FLX_ERR_NOMEM, "callbacks of a publisher");
    return FLX_OK;
}

static void push_done(flx_outbox *outbox, flx_outbox_frame *frame, flx_publish_fn fn, void *arg,
                      uint32_t index)
{
    FLX_ASSERT(outbox->done_next - outbox->done_first < outbox->dones_cap);
    outbox->dones[outbox->done_next & (outbox->dones_cap - 1)] =
        (flx_outbox_done){.fn = fn, .arg = arg, .index = index};
    outbox->done_next++;
    frame->done_count++;
}

/* ---- frames ---- */

static bool set_key(flx_outbox *outbox, flx_slice key)
{
    if (key.len > outbox->key_cap) {
        uint8_t *memory = flx_realloc(outbox->key, key.len);
        if (memory == NULL)
            return false;
        outbox->key = memory;
        outbox->key_cap = key.len;
    }
    if (key.len > 0)
        memcpy(outbox->key, key.ptr, key.len);
    outbox->head.key = (flx_slice){outbox->key, key.len};
    return true;
}

static flx_publish make_head(const flx_outbox *outbox, const flx_slice *key)
{
    flx_publish head = {.flags = FLX_FLAG_BINARY_PUBLISH_BATCH,
                        .ack = FLX_ACK_NONE,
                        .tenant_id = outbox->options.tenant,
                        .namespace_ = outbox->options.namespace_,
                        .stream = outbox->options.stream};
    if (outbox->options.acks != FLX_ACKS_NONE) {
        head.flags |= FLX_FLAG_BINARY_PUBLISH_ACKED;
        head.ack =
            outbox->options.acks == FLX_ACKS_PER_MESSAGE ? FLX_ACK_PER_MESSAGE : FLX_ACK_PER_BATCH;
    }
    if (key != NULL) {
        head.flags |= FLX_FLAG_BINARY_PUBLISH_KEYED;
        head.key = *key;
    }
    return head;
}

/* The bounds that hold whatever the frame. One frame alone may be larger than the byte bound, or it
 * could never be sent. */
static flx_status check_bounds(const flx_outbox *outbox, size_t bytes, bool new_frame,
                               flx_error *reterr)
{
    if (outbox->inflight_bytes > 0 &&
        outbox->inflight_bytes + bytes > outbox->options.inflight_bytes_max)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%llu bytes wait for their answer",
                        (unsigned long long)outbox->inflight_bytes);
    if (new_frame && outbox->next - outbox->first >= outbox->options.inflight_batches_max)
        return flx_fail(reterr, FLX_ERR_AGAIN, "%u batches wait for their answer",
                        outbox->options.inflight_batches_max);
    return FLX_OK;
}

/* Opens a frame with room for `region_bytes` of records. */
static flx_status open_frame(flx_outbox *outbox, const flx_slice *key, size_t region_bytes,
                             uint64_t now_ns, flx_error *reterr)
{
    FLX_ASSERT(!outbox->open);
    const flx_publish head = make_head(outbox, key);
    const size_t head_bytes = flx_publish_head_bytes(&head);
    if (head_bytes + region_bytes > FLX_FRAME_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "a frame of %zu bytes (at most %u)",
                        head_bytes + region_bytes, FLX_FRAME_BYTES_MAX);
    const size_t prefix = FLX_FRAME_HEADER_BYTES + head_bytes;
    const flx_status status = check_bounds(outbox, prefix + region_bytes, true, reterr);
    if (status != FLX_OK)
        return status;
    if (!make_room(outbox, prefix + region_bytes))
        return flx_fail(reterr, FLX_ERR_NOMEM, "a frame of %zu bytes", prefix + region_bytes);
    outbox->head = head;
    if (key != NULL && !set_key(outbox, *key))
        return flx_fail(reterr, FLX_ERR_NOMEM, "a key of %zu bytes", key->len);

    outbox->head.request_id = outbox->next;
    outbox->open = true;
    outbox->open_start = outbox->chunk->len;
    outbox->open_payload_bytes = 0;
    outbox->chunk->len += (uint32_t)prefix;
    flx_outbox_frame *frame = frame_at(outbox, outbox->next);
    FLX_ASSERT(frame->state == FLX_OUTBOX_FREE);
    *frame = (flx_outbox_frame){.done_first = outbox->done_next,
                                .accepted_ns = now_ns,
                                .bytes = (uint32_t)prefix,
                                .flags = head.flags,
                                .state = FLX_OUTBOX_OPEN};
    outbox->inflight_bytes += prefix;
    outbox->next++;
    return FLX_OK;
}

static void put_record(flx_outbox *outbox, flx_outbox_frame *frame, flx_slice payload)
{
    const size_t bytes = flx_record_bytes(payload.len);
    FLX_ASSERT(flx_chunk_room(outbox->chunk) >= bytes);
    (void)flx_records_put(outbox->chunk->data + outbox->chunk->len, payload);
    outbox->chunk->len += (uint32_t)bytes;
    outbox->head.count++;
    outbox->open_payload_bytes += payload.len;
    outbox->inflight_bytes += bytes;
    frame->bytes += (uint32_t)bytes;
    frame->count++;
}

void flx_outbox_seal(flx_outbox *outbox)
{
    if (!outbox->open)
        return;
    flx_chunk *chunk = outbox->chunk;
    uint8_t *at = chunk->data + outbox->open_start;
    const size_t len = chunk->len - outbox->open_start;
    flx_frame_header_encode(outbox->head.flags, (uint32_t)(len - FLX_FRAME_HEADER_BYTES), at);
    (void)flx_publish_head_encode(&outbox->head, at + FLX_FRAME_HEADER_BYTES);

    flx_outbox_frame *frame = frame_at(outbox, outbox->next - 1);
    FLX_ASSERT(frame->state == FLX_OUTBOX_OPEN && frame->bytes == len);
    frame->range = (flx_range){flx_chunk_ref(chunk), (uint32_t)outbox->open_start, chunk->len};
    frame->state = FLX_OUTBOX_SEALED;
    outbox->open = false;
}

static bool key_is_open(const flx_outbox *outbox, const flx_slice *key)
{
    const bool keyed = (outbox->head.flags & FLX_FLAG_BINARY_PUBLISH_KEYED) != 0;
    if (key == NULL || !keyed)
        return key == NULL && !keyed;
    return key->len == outbox->head.key.len &&
           (key->len == 0 || memcmp(key->ptr, outbox->head.key.ptr, key->len) == 0);
}

static bool fits_open(const flx_outbox *outbox, const flx_slice *key, size_t payload_len)
{
    const flx_outbox_options *options = &outbox->options;
    return outbox->open && options->acks != FLX_ACKS_PER_MESSAGE &&
           outbox->head.count < options->batch_count_max &&
           outbox->open_payload_bytes + payload_len <= options->batch_bytes_max &&
           flx_chunk_room(outbox->chunk) >= flx_record_bytes(payload_len) &&
           key_is_open(outbox, key);
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

flx_status flx_outbox_add(flx_outbox *outbox, const flx_slice *key, flx_slice payload,
                          flx_publish_fn done, void *arg, uint64_t now_ns, flx_error *reterr)
{
    flx_status status = check_sizes(key, payload.len, reterr);
    if (status == FLX_OK && done != NULL)
        status = reserve_done(outbox, reterr);
    if (status != FLX_OK)
        return status;

    const size_t bytes = flx_record_bytes(payload.len);
    if (fits_open(outbox, key, payload.len)) {
        status = check_bounds(outbox, bytes, false, reterr);
    } else {
        flx_outbox_seal(outbox);
        status = open_frame(outbox, key, bytes, now_ns, reterr);
    }
    if (status != FLX_OK)
        return status;

    flx_outbox_frame *frame = frame_at(outbox, outbox->next - 1);
    if (done != NULL)
        push_done(outbox, frame, done, arg, frame->count);
    put_record(outbox, frame, payload);
    if (outbox->options.acks == FLX_ACKS_PER_MESSAGE ||
        frame->count == outbox->options.batch_count_max)
        flx_outbox_seal(outbox);
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

flx_status flx_outbox_add_batch(flx_outbox *outbox, const flx_slice *key, const flx_slice *payloads,
                                size_t count, flx_publish_fn done, void *arg, uint64_t now_ns,
                                flx_error *reterr)
{
    FLX_ASSERT(count > 0);
    size_t bytes;
    flx_status status = sum_region(key, payloads, count, &bytes, reterr);
    if (status == FLX_OK && done != NULL)
        status = reserve_done(outbox, reterr);
    if (status != FLX_OK)
        return status;

    flx_outbox_seal(outbox);
    status = open_frame(outbox, key, bytes, now_ns, reterr);
    if (status != FLX_OK)
        return status;
    flx_outbox_frame *frame = frame_at(outbox, outbox->next - 1);
    if (done != NULL)
        push_done(outbox, frame, done, arg, 0);
    for (size_t i = 0; i < count; i++)
        put_record(outbox, frame, payloads[i]);
    flx_outbox_seal(outbox);
    return FLX_OK;
}

/* ---- sending ---- */

/* Frames that were ended before they were sent leave holes in front of the cursor. */
static void skip_ended(flx_outbox *outbox)
{
    while (outbox->unsent < outbox->next) {
        const uint8_t state = frame_at(outbox, outbox->unsent)->state;
        if (state == FLX_OUTBOX_SEALED || state == FLX_OUTBOX_OPEN)
            break;
        outbox->unsent++;
    }
}

bool flx_outbox_has_unsent(const flx_outbox *outbox)
{
    return outbox->unsent < outbox->next &&
           frame_at(outbox, outbox->unsent)->state == FLX_OUTBOX_SEALED;
}

const flx_outbox_frame *flx_outbox_oldest_unsent(const flx_outbox *outbox)
{
    return outbox->unsent < outbox->next ? frame_at(outbox, outbox->unsent) : NULL;
}

uint16_t flx_outbox_next_flags(const flx_outbox *outbox)
{
    return flx_outbox_has_unsent(outbox) ? frame_at(outbox, outbox->unsent)->flags : 0;
}

/* SENT, with a reference for the caller; the frame keeps its own only to send it again. */
static void mark_sent(flx_outbox *outbox, flx_outbox_frame *frame, flx_range *ret_range)
{
    *ret_range = frame->range;
    if (outbox->options.keep_sent)
        (void)flx_chunk_ref(frame->range.chunk);
    else
        frame->range.chunk = NULL;
    frame->state = FLX_OUTBOX_SENT;
    outbox->sent_count++;
}

bool flx_outbox_take(flx_outbox *outbox, flx_range *ret_range, uint16_t *ret_flags,
                     uint64_t *ret_id)
{
    if (!flx_outbox_has_unsent(outbox))
        return false;
    flx_outbox_frame *frame = frame_at(outbox, outbox->unsent);
    *ret_flags = frame->flags;
    *ret_id = outbox->unsent;
    mark_sent(outbox, frame, ret_range);
    outbox->unsent++;
    skip_ended(outbox);
    return true;
}

bool flx_outbox_take_retry(flx_outbox *outbox, uint64_t now_ns, flx_range *ret_range,
                           uint64_t *ret_id)
{
    if (outbox->refused_count == 0)
        return false;
    for (uint64_t id = outbox->first; id < outbox->unsent; id++) {
        flx_outbox_frame *frame = frame_at(outbox, id);
        if (frame->state != FLX_OUTBOX_REFUSED || frame->retry_ns > now_ns)
            continue;
        outbox->refused_count--;
        mark_sent(outbox, frame, ret_range);
        *ret_id = id;
        return true;
    }
    return false;
}

uint64_t flx_outbox_retry_due_ns(const flx_outbox *outbox)
{
    uint64_t due_ns = UINT64_MAX;
    if (outbox->refused_count == 0)
        return due_ns;
    for (uint64_t id = outbox->first; id < outbox->unsent; id++) {
        const flx_outbox_frame *frame = frame_at(outbox, id);
        if (frame->state == FLX_OUTBOX_REFUSED && frame->retry_ns < due_ns)
            due_ns = frame->retry_ns;
    }
    return due_ns;
}

/* ---- ending ---- */

flx_outbox_frame *flx_outbox_find_sent(flx_outbox *outbox, uint64_t id)
{
    if (id < outbox->first || id >= outbox->unsent)
        return NULL;
    flx_outbox_frame *frame = frame_at(outbox, id);
    return frame->state == FLX_OUTBOX_SENT ? frame : NULL;
}

void flx_outbox_refuse(flx_outbox *outbox, uint64_t id, uint64_t retry_ns)
{
    flx_outbox_frame *frame = frame_at(outbox, id);
    FLX_ASSERT(frame->state == FLX_OUTBOX_SENT && frame->range.chunk != NULL);
    frame->state = FLX_OUTBOX_REFUSED;
    frame->retry_ns = retry_ns;
    outbox->sent_count--;
    outbox->refused_count++;
}

void flx_outbox_end(flx_outbox *outbox, uint64_t id)
{
    FLX_ASSERT(id >= outbox->first && id < outbox->next);
    flx_outbox_frame *frame = frame_at(outbox, id);
    if (frame->state == FLX_OUTBOX_OPEN)
        flx_outbox_seal(outbox);
    FLX_ASSERT(frame->state == FLX_OUTBOX_SEALED || frame->state == FLX_OUTBOX_SENT ||
               frame->state == FLX_OUTBOX_REFUSED);
    outbox->sent_count -= frame->state == FLX_OUTBOX_SENT;
    outbox->refused_count -= frame->state == FLX_OUTBOX_REFUSED;
    FLX_ASSERT(outbox->inflight_bytes >= frame->bytes);
    outbox->inflight_bytes -= frame->bytes;
    frame->range.chunk = flx_chunk_unref(frame->range.chunk);
    frame->state = FLX_OUTBOX_ENDING;
    skip_ended(outbox);
}

/* Frees the ended frames at the old end, and with them the callbacks they had. */
static void advance(flx_outbox *outbox)
{
    while (outbox->first < outbox->next &&
           frame_at(outbox, outbox->first)->state == FLX_OUTBOX_FREE)
        outbox->first++;
    outbox->done_first = outbox->first < outbox->next ? frame_at(outbox, outbox->first)->done_first
                                                      : outbox->done_next;
}

size_t flx_outbox_take_dones(flx_outbox *outbox, uint64_t id, flx_outbox_done *ret_dones,
                             size_t cap)
{
    FLX_ASSERT(id >= outbox->first && id < outbox->next);
    flx_outbox_frame *frame = frame_at(outbox, id);
    FLX_ASSERT(frame->state == FLX_OUTBOX_ENDING);
    size_t count = 0;
    while (count < cap && frame->done_taken < frame->done_count) {
        const uint64_t at = frame->done_first + frame->done_taken++;
        ret_dones[count++] = outbox->dones[at & (outbox->dones_cap - 1)];
    }
    if (count == 0) {
        frame->state = FLX_OUTBOX_FREE;
        advance(outbox);
    }
    return count;
}

bool flx_outbox_find(const flx_outbox *outbox, flx_frame_state state, uint64_t *id)
{
    for (uint64_t at = *id > outbox->first ? *id : outbox->first; at < outbox->next; at++) {
        if (frame_at(outbox, at)->state == (uint8_t)state) {
            *id = at;
            return true;
        }
    }
    return false;
}
