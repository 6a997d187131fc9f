/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in a stream: cut in pieces of any size, the same bytes give the same frames, the same
 * refusals and the same end as they do in one piece. Input: the size of a piece, then the stream.
 */
#include "common/assert.h"
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

#define PAYLOAD_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct tally {
    uint64_t hash; /* of all that was handed on, in order */
    bool failed;
    bool idle;
} tally;

static uint64_t mix(uint64_t hash, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static void count_frame(tally *tally, flx_frame_step step, const flx_frame *frame)
{
    const uint64_t facts[3] = {(uint64_t)step, frame->flags, frame->payload.len};
    tally->hash = mix(tally->hash, (const uint8_t *)facts, sizeof facts);
    if (step == FLX_FRAME_READY) {
        FLX_ASSERT((frame->flags == 0) == (frame->json != NULL));
        tally->hash = mix(tally->hash, frame->payload.ptr, frame->payload.len);
    }
}

static tally read_all(const uint8_t *bytes, size_t len, size_t piece)
{
    tally tally = {0, false, false};
    flx_frame_reader reader;
    flx_frame_reader_init(&reader, PAYLOAD_MAX);
    for (size_t at = 0; at < len && !tally.failed; at += piece) {
        flx_slice input = {bytes + at, len - at < piece ? len - at : piece};
        for (;;) {
            flx_frame frame;
            const flx_frame_step step = flx_frame_reader_next(&reader, &input, &frame, NULL);
            if (step == FLX_FRAME_MORE) {
                FLX_ASSERT(input.len == 0);
                break;
            }
            if (step == FLX_FRAME_FAILED) {
                tally.failed = true;
                break;
            }
            count_frame(&tally, step, &frame);
        }
    }
    tally.idle = flx_frame_reader_is_idle(&reader);
    flx_frame_reader_done(&reader);
    return tally;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const size_t piece = (size_t)data[0] + 1;
    const tally whole = read_all(data + 1, size - 1, size);
    const tally cut = read_all(data + 1, size - 1, piece);
    FLX_ASSERT(whole.hash == cut.hash);
    FLX_ASSERT(whole.failed == cut.failed);
    FLX_ASSERT(whole.idle == cut.idle);
    return 0;
}
