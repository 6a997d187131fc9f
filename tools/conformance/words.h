/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words.h - what checks of the protocol are written in. A check has `suite`, `result`, `frame` and the
 * label `done`, where a failed expectation goes.
 */
#ifndef FLX_CONFORMANCE_WORDS_H
#define FLX_CONFORMANCE_WORDS_H

#include "common/slice.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            result = check_fail(suite, __VA_ARGS__);                                               \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* The next frame, which must be this JSON message; otherwise *ret_got says what came. */
static inline bool next_msg(raw_stream *stream, flx_msg_type type, raw_frame *ret_frame,
                            char *ret_got, size_t cap)
{
    const raw_event event = raw_next(stream, ret_frame);
    if (event != RAW_FRAME) {
        (void)snprintf(ret_got, cap, "%s", raw_event_name(event));
        return false;
    }
    if (ret_frame->flags != 0 || ret_frame->msg.type != type) {
        (void)snprintf(ret_got, cap, "flags 0x%04x, '%.*s'", ret_frame->flags,
                       (int)(ret_frame->payload.len < 120 ? ret_frame->payload.len : 120),
                       (const char *)ret_frame->payload.ptr);
        return false;
    }
    return true;
}

#define EXPECT_MSG(stream, TYPE)                                                                   \
    do {                                                                                           \
        char got[200];                                                                             \
        const bool came = next_msg(stream, FLX_MSG_##TYPE, &frame, got, sizeof got);               \
        EXPECT(came, "expected %s, got %s", flx_msg_name(FLX_MSG_##TYPE), got);                    \
    } while (0)

#define EXPECT_END(stream)                                                                         \
    do {                                                                                           \
        const raw_event event = raw_next(stream, &frame);                                          \
        EXPECT(event == RAW_END || event == RAW_RESET, "expected the stream to end, got %s",       \
               raw_event_name(event));                                                             \
    } while (0)

#define EXPECT_CODE(stream, name)                                                                  \
    do {                                                                                           \
        EXPECT_MSG(stream, ERROR);                                                                 \
        EXPECT(frame.msg.error.has_code &&flx_slice_is(frame.msg.error.code, name),                \
               "expected code " name ", got '%.*s'", (int)frame.msg.error.code.len,                \
               (const char *)frame.msg.error.code.ptr);                                            \
    } while (0)

#endif /* FLX_CONFORMANCE_WORDS_H */
