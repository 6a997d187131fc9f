/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of changes: what decodes encodes to the same bytes, and holds what a watch may be told. */
#include "common/assert.h"
#include "wire/change_batch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    flx_change_batch batch;
    if (flx_change_batch_decode((flx_slice){data, size}, &batch, NULL) != FLX_OK) {
        return 0;
    }
    const uint64_t end = batch.end;
    const bool is_snapshot = batch.kind == FLX_CHANGE_BATCH_SNAPSHOT;
    uint8_t *out = malloc(size);
    FLX_ASSERT(out != NULL);
    uint8_t *to = flx_change_batch_head_put(out, batch.kind, end, batch.count);
    uint32_t left = batch.count;
    uint64_t next = 0;
    uint64_t offset;
    flx_change change;
    for (; flx_change_batch_next(&batch, &offset, &change); left--) {
        FLX_ASSERT(offset < end && (is_snapshot || offset >= next));
        FLX_ASSERT(!is_snapshot || change.kind == FLX_CHANGE_KIND_PUT);
        FLX_ASSERT(flx_change_batch_record_bytes(end, offset, &change) <=
                   size - (size_t)(to - out));
        to = flx_change_batch_record_put(to, end, offset, &change);
        next = offset + 1;
    }
    FLX_ASSERT(left == 0 && to == out + size);
    FLX_ASSERT(memcmp(out, data, size) == 0);
    free(out);
    return 0;
}
