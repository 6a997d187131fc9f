/* SPDX-License-Identifier: Apache-2.0 */
/* Publish batches: what decodes encodes to the same bytes. Input: the flags, then the payload. */
#include "common/assert.h"
#include "wire/bytes.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const uint16_t flags = flx_get_u16(data);
    const flx_slice payload = {data + 2, size - 2};
    flx_publish publish;
    uint64_t request_id = 0;
    const bool has_id = flx_publish_request_id(flags, payload, &request_id);
    if (flx_publish_decode(flags, payload, &publish, NULL) != FLX_OK) {
        return 0;
    }
    FLX_ASSERT(flx_flags_valid(flags, FLX_DIR_CLIENT));
    FLX_ASSERT(has_id == flx_publish_is_acked(&publish));
    FLX_ASSERT(!has_id || request_id == publish.request_id);
    const size_t head = flx_publish_head_bytes(&publish);
    FLX_ASSERT(head + publish.region.len == payload.len);
    uint8_t *out = malloc(head);
    FLX_ASSERT(out != NULL);
    FLX_ASSERT(flx_publish_head_encode(&publish, out) == out + head);
    FLX_ASSERT(memcmp(out, payload.ptr, head) == 0);
    free(out);
    uint32_t count = 0;
    flx_slice record;
    for (flx_slice region = publish.region; flx_records_next(&region, &record);) {
        count++;
    }
    FLX_ASSERT(count == publish.count);
    return 0;
}
