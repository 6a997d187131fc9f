/* SPDX-License-Identifier: Apache-2.0 */
/* Publish acks: what decodes encodes to the same bytes. Input: the flags, then the payload. */
#include "common/assert.h"
#include "wire/ack.h"
#include "wire/bytes.h"
#include "wire/code.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const flx_slice payload = {data + 2, size - 2};
    flx_publish_ack ack;
    if (flx_publish_ack_decode(flx_get_u16(data), payload, &ack, NULL) != FLX_OK) {
        return 0;
    }
    FLX_ASSERT(flx_publish_ack_bytes(&ack) == payload.len);
    uint8_t *out = malloc(payload.len);
    FLX_ASSERT(out != NULL);
    FLX_ASSERT(flx_publish_ack_encode(&ack, out) == out + payload.len);
    FLX_ASSERT(memcmp(out, payload.ptr, payload.len) == 0);
    free(out);
    FLX_ASSERT(flx_retry_from_byte(ack.retry) != FLX_RETRY_NONE);
    return 0;
}
