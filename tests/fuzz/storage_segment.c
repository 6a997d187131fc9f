/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: what decodes lies inside the input and encodes to the same bytes. Input: bytes of a segment
 * behind its header, of the log whose id is zeros. */
#include "common/assert.h"
#include "storage/format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const flx_stored *stored, const uint8_t *at, size_t len)
{
    FLX_ASSERT(flx_stored_bytes(stored) == len);
    FLX_ASSERT(stored->region.ptr >= at && stored->region.ptr + stored->region.len <= at + len);
    FLX_ASSERT(flx_stored_end(stored) > stored->base_offset);
    uint8_t *made = malloc(len);
    FLX_ASSERT(made != NULL);
    uint8_t *end = flx_stored_head_encode(stored, made);
    memcpy(end, stored->region.ptr, stored->region.len);
    end = flx_stored_columns_encode(stored, end + stored->region.len);
    FLX_ASSERT(end == made + len);
    flx_stored again;
    size_t again_len = 0;
    const flx_slice bytes = {made, len};
    FLX_ASSERT(flx_stored_decode(bytes, stored->tag, &again, &again_len) == FLX_OK);
    free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t log_id[FLX_DISK_ID_BYTES] = {0};
    const uint32_t tag = flx_stored_tag(log_id);
    flx_slice rest = {data, size};
    flx_stored stored;
    size_t len = 0;
    while (flx_stored_decode(rest, tag, &stored, &len) == FLX_OK) {
        check(&stored, rest.ptr, len);
        rest.ptr += len;
        rest.len -= len;
    }
    rest = (flx_slice){data, size};
    while (flx_stored_next(&rest, &stored)) { /* without the CRC: still inside the input */
        FLX_ASSERT(stored.region.ptr + stored.region.len <= data + size);
        FLX_ASSERT(rest.ptr <= data + size);
    }
    for (size_t at = 0; at < size; at++) {
        const size_t found = flx_stored_seek_tag((flx_slice){data, size}, tag, at);
        FLX_ASSERT(found >= at);
        at = found;
    }
    return 0;
}
