/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_expect.h - what tests of subscriptions expect of an event stream whose records are their own
 * offsets, as text.
 */
#ifndef FLX_TESTS_BROKER_EXPECT_H
#define FLX_TESTS_BROKER_EXPECT_H

#include "broker_harness.h"
#include "unit.h"

#include <stdlib.h>

/* How many workers, and on which of them who is. */
typedef struct place {
    uint32_t workers;
    uint32_t publisher;
    uint32_t subscriber;
} place;
static const place places[] = {{1, 0, 0}, {2, 0, 0}, {2, 0, 1}, {2, 1, 0}, {2, 1, 1}, {4, 2, 3}};
#define PLACES (sizeof places / sizeof places[0])

/* The next `count` events, from offset `from` on, without a gap. */
static inline void expect(hx_stream *events, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        const hx_event event = hx_next_event(events);
        assert_true(event.is_event);
        assert_int_equal(event.offset, i);
        assert_int_equal(strtoull(event.text, NULL, 10), i);
    }
}

/* Nothing has come. */
static inline void expect_nothing(hx_stream *events)
{
    const hx_event event = hx_next_event(events);
    assert_false(event.is_event || event.is_lagged);
}

#endif /* FLX_TESTS_BROKER_EXPECT_H */
