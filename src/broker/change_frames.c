/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/change_frames.c - the two forms a watch may hear changes in.
 *
 * A batch is completed when it ends: its head says how many records and bytes there are. Of a
 * snapshot one that would pass the limit of a frame is completed early, and the next one begun.
 * Changes are not torn apart: what a shard gathers in one sealed frame is below the limit.
 */
#include "broker/change_frames.h"

#include "common/assert.h"
#include "wire/frame.h"
#include "wire/message.h"

#define HEAD_BYTES (FLX_FRAME_HEADER_BYTES + FLX_CHANGE_BATCH_HEAD_BYTES)

static_assert(HEAD_BYTES == FLX_CHANGE_MARK_BYTES, "a mark is a head and no record");

void flx_change_frames_begin(flx_change_frames *frames, flx_buffer *to, flx_change_form form,
                             flx_change_batch_kind kind, uint64_t end)
{
    *frames = (flx_change_frames){.to = to, .form = form, .kind = kind, .end = end};
    to->max = FLX_CHANGE_FRAMES_BYTES_MAX;
}

static flx_status reserve(flx_change_frames *frames, size_t len, uint8_t **ret_to)
{
    return flx_buffer_reserve(frames->to, len, ret_to) == FLX_OK ? FLX_OK : FLX_ERR_NOMEM;
}

static flx_status add_json(flx_change_frames *frames, uint64_t offset, const flx_change *change)
{
    flx_msg msg = {.type = FLX_MSG_CACHE_EVENT};
    msg.cache_event.key = change->key;
    msg.cache_event.has_value = change->kind == FLX_CHANGE_KIND_PUT;
    msg.cache_event.value = change->value;
    msg.cache_event.offset = offset;
    msg.cache_event.expires_at_millis = change->expires_at_ms;
    const size_t len = flx_msg_frame_bytes(&msg);
    uint8_t *to;
    if (len > FLX_FRAME_BYTES_MAX + FLX_FRAME_HEADER_BYTES) {
        return FLX_ERR_TOO_LARGE;
    }
    const flx_status status = reserve(frames, len, &to);
    if (status != FLX_OK) {
        return status;
    }
    flx_writer writer;
    flx_writer_init(&writer, to, len);
    flx_msg_encode_frame(&msg, &writer);
    FLX_ASSERT(writer.len == len);
    frames->to->len += len;
    return FLX_OK;
}

static flx_status add_record(flx_change_frames *frames, uint64_t offset, const flx_change *change)
{
    const size_t len = flx_change_batch_record_bytes(frames->end, offset, change);
    if (len + FLX_CHANGE_BATCH_HEAD_BYTES > FLX_FRAME_BYTES_MAX) {
        return FLX_ERR_TOO_LARGE;
    }
    if (frames->records > 0 &&
        frames->to->len - frames->batch_at + len > FLX_FRAME_BYTES_MAX + FLX_FRAME_HEADER_BYTES) {
        if (frames->kind != FLX_CHANGE_BATCH_SNAPSHOT) {
            return FLX_ERR_TOO_LARGE;
        }
        flx_change_frames_end(frames);
    }
    const size_t head = frames->records == 0 ? HEAD_BYTES : 0;
    uint8_t *to;
    const flx_status status = reserve(frames, head + len, &to);
    if (status != FLX_OK) {
        return status;
    }
    if (frames->records == 0) {
        frames->batch_at = frames->to->len;
    }
    (void)flx_change_batch_record_put(to + head, frames->end, offset, change);
    frames->to->len += head + len;
    frames->records++;
    return FLX_OK;
}

flx_status flx_change_frames_add(flx_change_frames *frames, uint64_t offset,
                                 const flx_change *change)
{
    const flx_status status = frames->form == FLX_FLAG_CHANGE_BATCH
                                  ? add_record(frames, offset, change)
                                  : add_json(frames, offset, change);
    frames->added += status == FLX_OK ? 1 : 0;
    return status;
}

static uint8_t *head_put(uint8_t *to, flx_change_batch_kind kind, uint64_t end, uint32_t records,
                         size_t bytes)
{
    flx_frame_header_encode(FLX_FLAG_CHANGE_BATCH, (uint32_t)(bytes - FLX_FRAME_HEADER_BYTES), to);
    return flx_change_batch_head_put(to + FLX_FRAME_HEADER_BYTES, kind, end, records);
}

void flx_change_frames_end(flx_change_frames *frames)
{
    if (frames->records > 0) {
        (void)head_put(frames->to->data + frames->batch_at, frames->kind, frames->end,
                       frames->records, frames->to->len - frames->batch_at);
        frames->records = 0;
    }
}

uint8_t *flx_change_mark_put(uint8_t *to, uint64_t end)
{
    return head_put(to, FLX_CHANGE_BATCH_CHANGES, end, 0, FLX_CHANGE_MARK_BYTES);
}
