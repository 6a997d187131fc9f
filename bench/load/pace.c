/* SPDX-License-Identifier: Apache-2.0 */
/* pace.c - see the header. */
#include "pace.h"

#define NEXT_LOOK_US  50
#define SIZE_AT_LEAST 64 /* what a tiny message counts for in the window */
#define LOOKS_MAX     (LOAD_STALL_MS * 1000 / NEXT_LOOK_US)

void load_pace_init(load_pace *pace)
{
    pace->size = load_number("--size", 1024);
    pace->batch = load_number("--batch", 64);
    pace->subs = load_number("--subs", 1);
    pace->publisher = load_number("--publisher", 0);
    pace->publishers = load_number("--publishers", 1);
    LOAD_CHECK(pace->batch > 0 && pace->publisher < pace->publishers);
    LOAD_CHECK(pace->publishers == 1 || pace->size >= sizeof(load_stamp));
    const uint64_t counted = pace->size < SIZE_AT_LEAST ? SIZE_AT_LEAST : pace->size;
    pace->window = load_number("--window", 8 << 20) / counted / pace->publishers;
    pace->window = pace->window < 2 * pace->batch ? 2 * pace->batch : pace->window;
    pace->progress = load_progress(pace->subs * pace->publishers);
}

static void look_at_slowest(load_pace *pace)
{
    uint64_t slowest = UINT64_MAX;
    for (uint64_t i = 0; i < pace->subs; i++) {
        const uint64_t have = atomic_load_explicit(
            &pace->progress[i * pace->publishers + pace->publisher], memory_order_relaxed);
        slowest = have < slowest ? have : slowest;
    }
    pace->slowest = slowest;
}

void load_pace_wait(load_pace *pace)
{
    if (pace->progress == NULL || pace->subs == 0) {
        return;
    }
    for (uint64_t looks = 0; pace->sequence - pace->slowest > pace->window; looks++) {
        look_at_slowest(pace);
        if (pace->sequence - pace->slowest > pace->window) {
            load_sleep_us(NEXT_LOOK_US);
        }
        LOAD_CHECK(looks < LOOKS_MAX); /* the subscribers stand still */
    }
}

void load_pace_stamp(const load_pace *pace, uint8_t *payloads, uint64_t stride, uint64_t count)
{
    if (pace->size < sizeof(load_stamp)) {
        return;
    }
    load_stamp stamp = {.sent_ns = flx_clock_monotonic_ns()};
    const uint64_t whose = pace->publisher << LOAD_SEQUENCE_BITS;
    for (uint64_t i = 0; i < count; i++) {
        stamp.sequence = whose | (pace->sequence + i);
        memcpy(payloads + i * stride, &stamp, sizeof stamp);
    }
}
