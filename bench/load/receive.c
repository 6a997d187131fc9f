/* SPDX-License-Identifier: Apache-2.0 */
/* receive.c - see the header. */
#include "receive.h"

void load_receivers_init(load_receivers *r, uint64_t threads)
{
    r->count = load_number("--subs", 1);
    r->publishers = load_number("--publishers", 1);
    r->threads = threads;
    r->warm = load_number("--warm-up", 1000);
    r->whole = r->warm + load_number("--count", 100000);
    LOAD_CHECK(r->count > 0 && threads > 0 && r->whole > 0);
    LOAD_CHECK(r->publishers > 0 && r->publishers <= LOAD_PUBLISHERS_MAX);
    r->all = calloc(r->count, sizeof *r->all);
    r->latencies = calloc(threads, sizeof *r->latencies);
    LOAD_CHECK(r->all != NULL && r->latencies != NULL);
    for (uint64_t i = 0; i < threads; i++) {
        flx_histogram_init(&r->latencies[i]);
    }
    _Atomic uint64_t *slots = load_progress(r->count * r->publishers);
    if (slots == NULL) { /* nobody else looks */
        slots = calloc(r->count * r->publishers, sizeof *slots);
    }
    LOAD_CHECK(slots != NULL);
    for (uint64_t i = 0; i < r->count; i++) {
        r->all[i].slots = slots + i * r->publishers;
        r->all[i].latency = &r->latencies[i % threads];
        r->all[i].next_offset = UINT64_MAX;
    }
}

void load_receivers_done(load_receivers *r)
{
    free(r->all); /* the slots are mapped until the process ends */
    free(r->latencies);
}

/* Which publisher sent it and whether it is the next one of it. */
static uint64_t check_stamp(const load_receivers *r, load_receiver *one, const load_stamp *stamp)
{
    const uint64_t publisher = stamp->sequence >> LOAD_SEQUENCE_BITS;
    const uint64_t sequence = stamp->sequence & ((UINT64_C(1) << LOAD_SEQUENCE_BITS) - 1);
    if (publisher >= r->publishers) {
        one->wrong++;
        return 0;
    }
    one->wrong += sequence != atomic_load_explicit(&one->slots[publisher], memory_order_relaxed);
    return publisher;
}

void load_received(load_receivers *r, load_receiver *one, flx_slice payload, uint64_t offset)
{
    load_stamp stamp = {0};
    uint64_t publisher = 0;
    const uint64_t have = atomic_load_explicit(&one->received, memory_order_relaxed) + 1;
    if (payload.len >= sizeof stamp) {
        memcpy(&stamp, payload.ptr, sizeof stamp);
        publisher = check_stamp(r, one, &stamp);
    } else if (offset != UINT64_MAX) {
        one->wrong += one->next_offset != UINT64_MAX && offset != one->next_offset;
        one->next_offset = offset + 1;
    }
    const uint64_t of_it = atomic_load_explicit(&one->slots[publisher], memory_order_relaxed) + 1;
    atomic_store_explicit(&one->slots[publisher], of_it, memory_order_relaxed);
    atomic_store_explicit(&one->received, have, memory_order_relaxed);
    if (have > r->warm && stamp.sent_ns != 0 && stamp.sequence % LOAD_TIMED_EVERY == 0) {
        flx_histogram_record(one->latency, flx_clock_monotonic_ns() - stamp.sent_ns);
    }
    if (have == r->warm) {
        atomic_fetch_add(&r->warm_ones, 1);
    }
    if (have == r->whole) {
        one->end_ns = flx_clock_monotonic_ns();
        atomic_fetch_add(&r->whole_ones, 1);
    }
}

static uint64_t received_by_all(const load_receivers *r)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < r->count; i++) {
        sum += atomic_load_explicit(&r->all[i].received, memory_order_relaxed);
    }
    return sum;
}

bool load_receivers_wait(load_receivers *r, _Atomic uint64_t *ones)
{
    uint64_t last = 0;
    uint64_t quiet_ms = 0;
    while (atomic_load(ones) < r->count) {
        load_sleep_us(2000);
        const uint64_t now = received_by_all(r);
        quiet_ms = now == last ? quiet_ms + 2 : 0;
        last = now;
        if (quiet_ms > LOAD_STALL_MS) {
            return false;
        }
    }
    return true;
}

void load_receivers_report(const load_receivers *r, double cpu_s)
{
    uint64_t gaps = 0;
    uint64_t wrong = 0;
    uint64_t end_ns = 0;
    static flx_histogram latency;
    char text[256];
    flx_histogram_init(&latency);
    for (uint64_t i = 0; i < r->threads; i++) {
        flx_histogram_merge(&latency, &r->latencies[i]);
    }
    for (uint64_t i = 0; i < r->count; i++) {
        gaps += r->all[i].gaps;
        wrong += r->all[i].wrong;
        end_ns = r->all[i].end_ns > end_ns ? r->all[i].end_ns : end_ns;
    }
    const uint64_t received = received_by_all(r);
    load_histogram_text(&latency, text, sizeof text);
    load_say("{\"event\":\"result\",\"received\":%llu,\"lost\":%lld,\"gaps\":%llu,\"wrong\":%llu,"
             "\"end_ns\":%llu,\"cpu_s\":%.6f,%s}",
             (unsigned long long)received, (long long)(r->count * r->whole - received),
             (unsigned long long)gaps, (unsigned long long)wrong, (unsigned long long)end_ns, cpu_s,
             text);
}
