/* SPDX-License-Identifier: Apache-2.0 */
/* Segment headers and footers. Input: a whole segment file. */
#include "common/assert.h"
#include "storage/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const flx_slice bytes = {data, size};
    flx_segment_header header;
    flx_error error;
    if (flx_segment_header_decode(bytes, &header, &error) == FLX_OK) {
        FLX_ASSERT(size >= FLX_SEGMENT_HEADER_BYTES);
    }
    flx_segment_trailer trailer;
    if (flx_segment_trailer_peek(bytes, size, &trailer) == FLX_OK) {
        FLX_ASSERT(trailer.data_end >= FLX_SEGMENT_HEADER_BYTES && trailer.data_end < size);
        const flx_slice footer = {data + trailer.data_end, size - (size_t)trailer.data_end};
        FLX_ASSERT(footer.len ==
                   FLX_SEGMENT_TRAILER_BYTES + (size_t)trailer.mark_count * FLX_SEGMENT_MARK_BYTES);
        (void)flx_segment_trailer_check(footer);
        for (uint32_t i = 0; i < trailer.mark_count; i++) {
            flx_segment_mark mark;
            flx_segment_mark_decode(footer.ptr + (size_t)i * FLX_SEGMENT_MARK_BYTES, &mark);
        }
    }
    return 0;
}
