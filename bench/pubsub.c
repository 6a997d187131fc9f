/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/pubsub.c - how many messages a second does a broker relay, and at what cost of its processor?
 *
 *     bench_pubsub sub   --stream S --subs 10 --conns 10 --count N --warm-up W [--progress FILE]
 *     bench_pubsub pub   --stream S --size 1024 --batch 64 --count N --warm-up W --subs 10
 *                        [--window BYTES] [--progress FILE] [--acks batch|none]
 *                        [--publishers 4 --publisher 0]
 *     bench_pubsub acked --stream S --size 256 --inflight 64 --count N --warm-up W
 *     bench_pubsub replay --stream S --subs 10 --conns 10 --count N
 *     bench_pubsub stall --stream S
 *
 * Publishers and subscribers are processes of their own. `sub` checks the sequence of every
 * subscriber and ends when the last has the last message: that moment is the end of the run. `pub`
 * keeps at most --window bytes of payload ahead of the slowest subscriber, so that what is measured
 * is relaying and not dropping; with --publishers it is one of several. `acked` sends every message as a frame of its own and the next when
 * one is acknowledged. `replay` asks for the N messages that a stream already has, from the earliest
 * on; it begins when the driver says so and ends as `sub` does. `stall` subscribes and never reads.
 */
#include "load.h"
#include "pace.h"
#include "receive.h"

#include <semaphore.h>
#include <time.h>

/* --- sub --- */

typedef struct subscription {
    flx_subscriber *subscriber;
    load_receiver *receiver;
} subscription;
static load_receivers receivers;

static void on_message(void *arg, const flx_message *message)
{
    subscription *s = arg;
    if (message->kind != FLX_MESSAGE_RECORD) {
        s->receiver->gaps++;
        return;
    }
    load_received(&receivers, s->receiver, message->payload,
                  message->has_offset ? message->offset : UINT64_MAX);
}

static void subscribe(subscription *subs, flx_client **clients, flx_from from)
{
    flx_error error = {0};
    for (uint64_t i = 0; i < receivers.count; i++) {
        flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
        options.from = from;
        options.message_fn = on_message;
        options.arg = &subs[i];
        subs[i].receiver = &receivers.all[i];
        if (flx_subscriber_new(clients[i % receivers.threads], load_text("--stream", "bench"),
                               &options, &subs[i].subscriber, &error) != FLX_OK) {
            load_die("subscribe: %s", error.message);
        }
    }
    for (uint64_t i = 0; i < receivers.count; i++) {
        if (flx_subscriber_wait(subs[i].subscriber, LOAD_WAIT_MS, &error) != FLX_OK) {
            load_die("subscribe: %s", error.message);
        }
    }
}

/* What `sub` and `replay` share: receivers, and clients that carry them. */
typedef struct reading {
    subscription *subs;
    flx_client **clients;
    uint64_t client_count;
} reading;

static reading reading_open(void)
{
    const uint64_t conns = load_number("--conns", load_number("--subs", 1));
    const uint64_t client_count = (conns + LOAD_CONNECTIONS_MAX - 1) / LOAD_CONNECTIONS_MAX;
    load_receivers_init(&receivers, client_count); /* a client is a loop thread */
    const reading r = {calloc(receivers.count, sizeof(subscription)),
                       calloc(client_count, sizeof(flx_client *)), client_count};
    LOAD_CHECK(r.subs != NULL && r.clients != NULL);
    for (uint64_t i = 0; i < client_count; i++) {
        r.clients[i] = load_connect((uint32_t)((conns + client_count - 1) / client_count), 0);
    }
    return r;
}

static void reading_close(reading *r)
{
    (void)load_await_line();
    for (uint64_t i = 0; i < r->client_count; i++) {
        r->clients[i] = flx_client_free(r->clients[i]);
    }
    for (uint64_t i = 0; i < receivers.count; i++) {
        flx_subscriber_free(r->subs[i].subscriber);
    }
    free(r->clients);
    free(r->subs);
    load_receivers_done(&receivers);
}

static void sub(void)
{
    reading r = reading_open();
    LOAD_CHECK(receivers.warm > 0);
    subscribe(r.subs, r.clients, FLX_FROM_LATEST);
    load_say("{\"event\":\"ready\"}");
    (void)load_receivers_wait(&receivers, &receivers.warm_ones);
    const double cpu_s = load_cpu_s();
    load_say("{\"event\":\"warm\"}");
    (void)load_receivers_wait(&receivers, &receivers.whole_ones);
    load_receivers_report(&receivers, load_cpu_s() - cpu_s);
    reading_close(&r);
}

/* --- replay --- */

static void replay(void)
{
    reading r = reading_open();
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    load_say("{\"event\":\"began\",\"start_ns\":%llu}",
             (unsigned long long)flx_clock_monotonic_ns());
    subscribe(r.subs, r.clients, FLX_FROM_EARLIEST);
    (void)load_receivers_wait(&receivers, &receivers.whole_ones);
    load_receivers_report(&receivers, load_cpu_s() - cpu_s);
    reading_close(&r);
}

/* --- pub --- */

typedef struct sender {
    load_pace pace;
    flx_publisher *publisher;
    uint8_t *bytes;    /* a batch of payloads */
    flx_slice *slices; /* of them */
} sender;

static void send(sender *s, uint64_t count)
{
    flx_error error = {0};
    while (count > 0) {
        const uint64_t n = count < s->pace.batch ? count : s->pace.batch;
        load_pace_wait(&s->pace);
        load_pace_stamp(&s->pace, s->bytes, s->pace.size, n);
        if (flx_publisher_publish_batch(s->publisher, NULL, s->slices, n, NULL, NULL, &error) !=
            FLX_OK) {
            load_die("publish: %s", error.message);
        }
        s->pace.sequence += n;
        count -= n;
    }
    if (flx_publisher_flush(s->publisher, LOAD_WAIT_MS, &error) != FLX_OK) {
        load_die("flush: %s", error.message);
    }
}

static void sender_init(sender *s)
{
    load_pace_init(&s->pace);
    s->bytes = calloc(s->pace.batch, s->pace.size + 1);
    s->slices = calloc(s->pace.batch, sizeof *s->slices);
    LOAD_CHECK(s->bytes != NULL && s->slices != NULL);
    for (uint64_t i = 0; i < s->pace.batch; i++) {
        s->slices[i] = (flx_slice){s->bytes + i * s->pace.size, s->pace.size};
    }
}

static flx_acks acks_wanted(void)
{
    return strcmp(load_text("--acks", "batch"), "none") == 0 ? FLX_ACKS_NONE : FLX_ACKS_PER_BATCH;
}

static void pub(void)
{
    static sender s;
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    flx_publisher_stats stats = {.struct_size = sizeof stats};
    flx_error error = {0};
    options.acks = acks_wanted();
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
    } roles[] = {
        {"pub", pub}, {"sub", sub}, {"acked", acked}, {"replay", replay}, {"stall", stall}};
    load_init(argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(argv[1], roles[i].name) == 0) {
            roles[i].run();
            return EXIT_SUCCESS;
        }
    }
    load_die("the first word is pub, sub, acked, replay or stall");
}
