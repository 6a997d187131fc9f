/* SPDX-License-Identifier: Apache-2.0 */
/* broker/event.c - heads for the variants that are not the primary one. */
#include "broker/event.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "wire/event.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/records.h"

uint16_t flx_event_flags(uint16_t client_flags)
{
    const uint16_t parts =
        (uint16_t)(client_flags & (FLX_FLAG_EVENT_BATCH_OFFSETS | FLX_FLAG_EVENT_BATCH_PUBLISHER |
                                   FLX_FLAG_EVENT_BATCH_TIMESTAMPS));
    if ((client_flags & FLX_FLAG_BINARY_EVENT_BATCH_SHARED) != 0) {
        return (uint16_t)(parts | FLX_FLAG_BINARY_EVENT_BATCH_SHARED);
    }
    if ((client_flags & FLX_FLAG_BINARY_EVENT_BATCH) != 0) {
        return (uint16_t)(parts | FLX_FLAG_BINARY_EVENT_BATCH);
    }
    return 0;
}

void flx_event_primary_put(uint8_t *to, uint64_t base_offset, uint32_t count, uint32_t region_len)
{
    const flx_event_batch batch = {
        .flags = FLX_EVENT_PRIMARY_FLAGS,
        .count = count,
        .base_offset = base_offset,
        .region = {NULL, region_len},
    };
    const uint8_t *end = flx_event_frame_head_encode(&batch, to);
    FLX_ASSERT(end == to + FLX_EVENT_PRIMARY_BYTES);
}

/* The region without its first `skip` records. */
static flx_range region_after(const flx_sealed *frame, uint32_t skip)
{
    flx_range range = frame->region;
    flx_slice rest = flx_range_slice(&range);
    flx_slice payload;
    for (uint32_t i = 0; i < skip; i++) {
        const bool has_more = flx_records_next(&rest, &payload);
        FLX_ASSERT(has_more);
    }
    range.start = range.end - (uint32_t)rest.len;
    return range;
}

/* One JSON event_batch. For clients that offered neither binary form; nobody does in earnest, so it
 * may allocate. */
static flx_status json_range(const flx_sealed *frame, const flx_event_form *form, uint32_t skip,
                             flx_scratch *scratch, flx_range *ret_range)
{
    const uint32_t count = frame->count - skip;
    const flx_range region = region_after(frame, skip);
    flx_slice rest = flx_range_slice(&region);
    flx_slice *payloads = flx_alloc(count * sizeof *payloads);
    if (payloads == NULL) {
        return FLX_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)flx_records_next(&rest, &payloads[i]);
    }
    flx_msg msg = {.type = FLX_MSG_EVENT_BATCH};
    msg.event_batch.tenant_id = form->tenant;
    msg.event_batch.namespace_ = form->namespace_;
    msg.event_batch.stream = form->stream;
    msg.event_batch.payloads = payloads;
    msg.event_batch.payloads_count = count;
    const flx_status status = flx_scratch_message(scratch, &msg, ret_range);
    flx_free(payloads);
    return status;
}

static flx_status primary_ranges(const flx_sealed *frame, flx_range ret_ranges[2],
                                 size_t *ret_count)
{
    if (frame->joined) {
        ret_ranges[0] =
            (flx_range){flx_chunk_ref(frame->head.chunk), frame->head.start, frame->region.end};
        *ret_count = 1;
        return FLX_OK;
    }
    ret_ranges[0] = frame->head;
    ret_ranges[1] = frame->region;
    flx_chunk_ref(frame->head.chunk);
    flx_chunk_ref(frame->region.chunk);
    *ret_count = 2;
    return FLX_OK;
}

flx_status flx_event_ranges(const flx_sealed *frame, const flx_event_form *form, uint32_t skip,
                            flx_scratch *scratch, flx_range ret_ranges[2], size_t *ret_count)
{
    FLX_ASSERT(skip < frame->count);
    if (skip == 0 && form->flags == FLX_EVENT_PRIMARY_FLAGS) {
        return primary_ranges(frame, ret_ranges, ret_count);
    }
    if (form->flags == 0) {
        *ret_count = 1;
        return json_range(frame, form, skip, scratch, ret_ranges);
    }
    const flx_range region = region_after(frame, skip);
    flx_event_batch batch = {
        .flags = form->flags,
        .count = frame->count - skip,
        .subscription_id = form->subscription_id,
        .base_offset = frame->base_offset + skip,
        .region = flx_range_slice(&region),
    };
    if (frame->publisher == NULL) {
        batch.flags = (uint16_t)(batch.flags & ~FLX_FLAG_EVENT_BATCH_PUBLISHER);
    } else {
        batch.publisher = (flx_slice){frame->publisher->data, frame->publisher->len};
    }
    const bool is_stamped = (batch.flags & FLX_FLAG_EVENT_BATCH_TIMESTAMPS) != 0;
    const size_t plain_len = batch.region.len;
    if (is_stamped) {
        batch.region.len += (size_t)8 * batch.count;
    }
    const size_t head_len = FLX_FRAME_HEADER_BYTES + flx_event_head_bytes(&batch);
    if (head_len - FLX_FRAME_HEADER_BYTES + batch.region.len > FLX_FRAME_BYTES_MAX) {
        return FLX_ERR_TOO_LARGE;
    }
    const size_t need = is_stamped ? head_len + batch.region.len : head_len;
    uint8_t *to = flx_scratch_reserve(scratch, need);
    if (to == NULL) {
        return FLX_ERR_NOMEM;
    }
    uint8_t *end = flx_event_frame_head_encode(&batch, to);
    FLX_ASSERT(end == to + head_len);
    if (is_stamped) {
        (void)flx_event_region_stamp((flx_slice){batch.region.ptr, plain_len}, frame->wall_us, end);
    }
    ret_ranges[0] = flx_scratch_commit(scratch, need);
    *ret_count = 1;
    if (!is_stamped) {
        ret_ranges[1] = region;
        flx_chunk_ref(region.chunk);
        *ret_count = 2;
    }
    return FLX_OK;
}
