/* SPDX-License-Identifier: Apache-2.0 */
/* Event batches: what decodes encodes to the same bytes. Input: the flags, then the payload. */
#include "common/assert.h"
#include "wire/bytes.h"
#include "wire/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const flx_slice payload = {data + 2, size - 2};
    flx_event_batch batch;
    if (flx_event_batch_decode(flx_get_u16(data), payload, &batch, NULL) != FLX_OK) {
        return 0;
    }
    uint8_t out[FLX_EVENT_HEAD_BYTES_MAX];
    const size_t head = flx_event_head_bytes(&batch);
    FLX_ASSERT(head <= sizeof out && head + batch.region.len == payload.len);
    FLX_ASSERT(flx_event_head_encode(&batch, out) == out + head);
    FLX_ASSERT(memcmp(out, payload.ptr, head) == 0);
    flx_event_iter iter;
    flx_event_record record;
    uint32_t count = 0;
    flx_event_iter_init(&iter, &batch);
    while (flx_event_iter_next(&iter, &record)) {
        FLX_ASSERT(record.offset == batch.base_offset + count);
        FLX_ASSERT(record.payload.ptr + record.payload.len <= data + size);
        count++;
    }
    FLX_ASSERT(count == batch.count);
    return 0;
}
