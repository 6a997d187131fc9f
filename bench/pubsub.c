/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/pubsub.c - how many messages a second does a broker relay, and at what cost of its processor?
 *
 *     bench_pubsub sub   --stream S --subs 10 --conns 10 --count N --warm-up W [--progress FILE]
 *     bench_pubsub pub   --stream S --size 1024 --batch 64 --count N --warm-up W --subs 10
 *                        [--window BYTES] [--progress FILE] [--acks batch|none]
 *     bench_pubsub acked --stream S --size 256 --inflight 64 --count N --warm-up W
 *     bench_pubsub stall --stream S
 *
 * Publisher and subscribers are processes of their own. `sub` checks the sequence of every
 * subscriber and ends when the last has the last message: that moment is the end of the run. `pub`
 * keeps at most --window bytes of payload ahead of the slowest subscriber, so that what is measured
 * is relaying and not dropping. `acked` sends every message as a frame of its own and the next when
 * one is acknowledged. `stall` subscribes and never reads.
 */
#include "load.h"

#include <semaphore.h>
#include <time.h>

/* --- sub --- */

typedef struct receiver {
    flx_subscriber *subscriber;
    _Atomic uint64_t *slot; /* how many it has; for the publisher and for us */
    uint64_t own;           /* the slot when there is no --progress */
    uint64_t next;          /* sequence expected */
    uint64_t gaps;
    uint64_t wrong; /* out of sequence */
    uint64_t end_ns;
} receiver;

static uint64_t warm_count;
static uint64_t whole_count;
static _Atomic uint64_t receivers_warm;
static _Atomic uint64_t receivers_done;

static void on_message(void *arg, const flx_message *message)
{
    receiver *r = arg;
    uint64_t sequence = 0;
    if (message->kind != FLX_MESSAGE_RECORD) {
        r->gaps++;
        return;
    }
    memcpy(&sequence, message->payload.ptr, sizeof sequence);
    r->wrong += sequence != r->next;
    r->next = sequence + 1;
    const uint64_t have = atomic_load_explicit(r->slot, memory_order_relaxed) + 1;
    atomic_store_explicit(r->slot, have, memory_order_relaxed);
    if (have == warm_count) {
        atomic_fetch_add(&receivers_warm, 1);
    }
    if (have == whole_count) {
        r->end_ns = flx_clock_monotonic_ns();
        atomic_fetch_add(&receivers_done, 1);
    }
}

static uint64_t received_by_all(const receiver *receivers, uint64_t count)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        sum += atomic_load_explicit(receivers[i].slot, memory_order_relaxed);
    }
    return sum;
}

/* Until `counter` is `count`; false: nothing came for LOAD_STALL_MS. */
static bool wait_for(_Atomic uint64_t *counter, uint64_t count, const receiver *receivers)
{
    uint64_t last = 0;
    uint64_t quiet_ms = 0;
    while (atomic_load(counter) < count) {
        load_sleep_us(2000);
        const uint64_t now = received_by_all(receivers, count);
        quiet_ms = now == last ? quiet_ms + 2 : 0;
        last = now;
        if (quiet_ms > LOAD_STALL_MS) {
            return false;
        }
    }
    return true;
}

static void subscribe(receiver *receivers, uint64_t count, flx_client **clients,
                      uint32_t client_count, _Atomic uint64_t *progress)
{
    flx_error error = {0};
    for (uint64_t i = 0; i < count; i++) {
        receiver *r = &receivers[i];
        flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
        options.message_fn = on_message;
        options.arg = r;
        r->slot = progress != NULL ? &progress[i] : (_Atomic uint64_t *)&r->own;
        if (flx_subscriber_new(clients[i % client_count], load_text("--stream", "bench"), &options,
                               &r->subscriber, &error) != FLX_OK) {
            load_die("subscribe: %s", error.message);
        }
    }
    for (uint64_t i = 0; i < count; i++) {
        if (flx_subscriber_wait(receivers[i].subscriber, LOAD_WAIT_MS, &error) != FLX_OK) {
            load_die("subscribe: %s", error.message);
        }
    }
}

static void report_received(const receiver *receivers, uint64_t count, double cpu_s)
{
    uint64_t gaps = 0;
    uint64_t wrong = 0;
    uint64_t end_ns = 0;
    const uint64_t expected = count * whole_count;
    const uint64_t received = received_by_all(receivers, count);
    for (uint64_t i = 0; i < count; i++) {
        gaps += receivers[i].gaps;
        wrong += receivers[i].wrong;
        end_ns = receivers[i].end_ns > end_ns ? receivers[i].end_ns : end_ns;
    }
    load_say("{\"event\":\"result\",\"received\":%llu,\"lost\":%lld,\"gaps\":%llu,\"wrong\":%llu,"
             "\"end_ns\":%llu,\"cpu_s\":%.6f}",
             (unsigned long long)received, (long long)(expected - received),
             (unsigned long long)gaps, (unsigned long long)wrong, (unsigned long long)end_ns,
             cpu_s);
}

static void sub(void)
{
    const uint64_t count = load_number("--subs", 1);
    const uint64_t conns = load_number("--conns", count);
    const uint32_t client_count =
        (uint32_t)((conns + LOAD_CONNECTIONS_MAX - 1) / LOAD_CONNECTIONS_MAX);
    receiver *receivers = calloc(count, sizeof *receivers);
    flx_client **clients = calloc(client_count, sizeof(flx_client *));
    LOAD_CHECK(receivers != NULL && clients != NULL && count > 0);
    warm_count = load_number("--warm-up", 1000);
    whole_count = warm_count + load_number("--count", 100000);
    LOAD_CHECK(warm_count > 0);
    for (uint32_t i = 0; i < client_count; i++) {
        clients[i] = load_connect((uint32_t)((conns + client_count - 1) / client_count), 0);
    }
    subscribe(receivers, count, clients, client_count, load_progress(count));
    load_say("{\"event\":\"ready\"}");
    (void)wait_for(&receivers_warm, count, receivers);
    const double cpu_s = load_cpu_s();
    load_say("{\"event\":\"warm\"}");
    (void)wait_for(&receivers_done, count, receivers);
    report_received(receivers, count, load_cpu_s() - cpu_s);
    (void)load_await_line();
    for (uint32_t i = 0; i < client_count; i++) {
        clients[i] = flx_client_free(clients[i]);
    }
    for (uint64_t i = 0; i < count; i++) {
        flx_subscriber_free(receivers[i].subscriber);
    }
    free(clients);
    free(receivers);
}

/* --- pub --- */

typedef struct sender {
    flx_publisher *publisher;
    uint64_t size;
    uint64_t batch;
    uint64_t sequence; /* of the next message */
    uint64_t subs;
    uint64_t window;   /* messages ahead of the slowest subscriber */
    uint64_t slowest;  /* as seen last */
    uint8_t *bytes;    /* `batch` payloads */
    flx_slice *slices; /* of them */
    _Atomic uint64_t *progress;
} sender;

static void look_at_slowest(sender *s)
{
    uint64_t slowest = UINT64_MAX;
    for (uint64_t i = 0; i < s->subs; i++) {
        const uint64_t have = atomic_load_explicit(&s->progress[i], memory_order_relaxed);
        slowest = have < slowest ? have : slowest;
    }
    s->slowest = slowest;
}

static void wait_for_room(sender *s)
{
    if (s->progress == NULL || s->subs == 0) {
        return;
    }
    for (uint64_t tries = 0; s->sequence - s->slowest > s->window; tries++) {
        look_at_slowest(s);
        if (s->sequence - s->slowest > s->window) {
            load_sleep_us(50);
        }
        LOAD_CHECK(tries < LOAD_STALL_MS * 10);
    }
}

static void send(sender *s, uint64_t count)
{
    flx_error error = {0};
    while (count > 0) {
        const uint64_t n = count < s->batch ? count : s->batch;
        wait_for_room(s);
        for (uint64_t i = 0; i < n; i++) {
            const load_stamp stamp = {s->sequence + i, 0};
            memcpy(s->bytes + i * s->size, &stamp, sizeof stamp);
        }
        if (flx_publisher_publish_batch(s->publisher, NULL, s->slices, n, NULL, NULL, &error) !=
            FLX_OK) {
            load_die("publish: %s", error.message);
        }
        s->sequence += n;
        count -= n;
    }
    if (flx_publisher_flush(s->publisher, LOAD_WAIT_MS, &error) != FLX_OK) {
        load_die("flush: %s", error.message);
    }
}

static void sender_init(sender *s)
{
    s->size = load_number("--size", 1024);
    s->batch = load_number("--batch", 64);
    s->subs = load_number("--subs", 1);
    LOAD_CHECK(s->size >= sizeof(load_stamp) && s->batch > 0);
    s->window = load_number("--window", 8 << 20) / s->size;
    s->window = s->window < 2 * s->batch ? 2 * s->batch : s->window;
    s->bytes = calloc(s->batch, s->size);
    s->slices = calloc(s->batch, sizeof *s->slices);
    LOAD_CHECK(s->bytes != NULL && s->slices != NULL);
    for (uint64_t i = 0; i < s->batch; i++) {
        s->slices[i] = (flx_slice){s->bytes + i * s->size, s->size};
    }
    s->progress = load_progress(s->subs);
}

static void pub(void)
{
    static sender s;
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    flx_publisher_stats stats = {.struct_size = sizeof stats};
    flx_error error = {0};
    options.acks =
        strcmp(load_text("--acks", "batch"), "none") == 0 ? FLX_ACKS_NONE : FLX_ACKS_PER_BATCH;
    options.block_ms = LOAD_WAIT_MS;
    sender_init(&s);
    flx_client *client = load_connect(1, 0);
    if (flx_publisher_new(client, load_text("--stream", "bench"), &options, &s.publisher, &error) !=
        FLX_OK) {
        load_die("publisher: %s", error.message);
    }
    send(&s, load_number("--warm-up", 1000));
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    const uint64_t start_ns = flx_clock_monotonic_ns();
    send(&s, load_number("--count", 100000));
    const uint64_t end_ns = flx_clock_monotonic_ns();
    flx_publisher_get_stats(s.publisher, &stats);
    load_say("{\"event\":\"result\",\"acked\":%llu,\"failed\":%llu,\"batches\":%llu,"
             "\"start_ns\":%llu,\"end_ns\":%llu,\"cpu_s\":%.6f}",
             (unsigned long long)stats.acked, (unsigned long long)stats.failed,
             (unsigned long long)stats.batches, (unsigned long long)start_ns,
             (unsigned long long)end_ns, load_cpu_s() - cpu_s);
    flx_publisher_free(s.publisher);
    flx_client_free(client);
    free(s.bytes);
    free(s.slices);
}

/* --- acked --- */

typedef struct acker {
    flx_publisher *publisher;
    flx_slice payload;
    uint64_t left;  /* still to be sent in this phase */
    uint64_t going; /* sent and not answered */
    uint64_t failed;
    sem_t done;
    flx_histogram latency;
    uint64_t sent_ns[4096]; /* of each slot in flight */
} acker;
static acker the_acker;

static void acked_one(void *arg, const flx_publish_result *result);

static void send_one(uint64_t *sent_ns)
{
    flx_error error = {0};
    *sent_ns = flx_clock_monotonic_ns();
    if (flx_publisher_publish(the_acker.publisher, NULL, the_acker.payload, acked_one, sent_ns,
                              &error) != FLX_OK) {
        load_die("publish: %s", error.message);
    }
}

static void acked_one(void *arg, const flx_publish_result *result)
{
    acker *a = &the_acker;
    uint64_t *sent_ns = arg;
    a->failed += result->status != FLX_OK;
    flx_histogram_record(&a->latency, flx_clock_monotonic_ns() - *sent_ns);
    if (a->left > 0) {
        a->left--;
        send_one(sent_ns);
    } else if (--a->going == 0) {
        (void)sem_post(&a->done);
    }
}

static void run_acked(uint64_t count, uint64_t inflight)
{
    acker *a = &the_acker;
    flx_histogram_init(&a->latency);
    inflight = inflight < count ? inflight : count;
    a->left = count - inflight;
    a->going = inflight;
    for (uint64_t i = 0; i < inflight; i++) {
        send_one(&a->sent_ns[i]);
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 300;
    LOAD_CHECK(sem_timedwait(&a->done, &until) == 0);
}

static void acked(void)
{
    acker *a = &the_acker;
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    flx_error error = {0};
    char latency[256];
    const size_t size = (size_t)load_number("--size", 256);
    const uint64_t inflight = load_number("--inflight", 64);
    LOAD_CHECK(inflight > 0 && inflight <= 4096);
    uint8_t *bytes = calloc(1, size);
    LOAD_CHECK(bytes != NULL && sem_init(&a->done, 0, 0) == 0);
    a->payload = (flx_slice){bytes, size};
    options.acks = FLX_ACKS_PER_MESSAGE;
    flx_client *client = load_connect(1, 0);
    if (flx_publisher_new(client, load_text("--stream", "bench"), &options, &a->publisher,
                          &error) != FLX_OK) {
        load_die("publisher: %s", error.message);
    }
    run_acked(load_number("--warm-up", 1000), inflight);
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    const uint64_t start_ns = flx_clock_monotonic_ns();
    run_acked(load_number("--count", 100000), inflight);
    load_histogram_text(&a->latency, latency, sizeof latency);
    load_say("{\"event\":\"result\",\"failed\":%llu,\"start_ns\":%llu,\"end_ns\":%llu,"
             "\"cpu_s\":%.6f,%s}",
             (unsigned long long)a->failed, (unsigned long long)start_ns,
             (unsigned long long)flx_clock_monotonic_ns(), load_cpu_s() - cpu_s, latency);
    flx_publisher_free(a->publisher);
    flx_client_free(client);
    free(bytes);
}

/* --- stall --- */

static void stall(void)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber = NULL;
    flx_error error = {0};
    flx_client *client = load_connect(1, 0);
    if (flx_subscriber_new(client, load_text("--stream", "bench"), &options, &subscriber, &error) !=
            FLX_OK ||
        flx_subscriber_wait(subscriber, LOAD_WAIT_MS, &error) != FLX_OK) {
        load_die("subscribe: %s", error.message);
    }
    load_say("{\"event\":\"ready\"}");
    while (load_await_line()) {
    }
    flx_subscriber_free(subscriber);
    flx_client_free(client);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } roles[] = {{"pub", pub}, {"sub", sub}, {"acked", acked}, {"stall", stall}};
    load_init(argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(argv[1], roles[i].name) == 0) {
            roles[i].run();
            return EXIT_SUCCESS;
        }
    }
    load_die("the first word is pub, sub, acked or stall");
}
