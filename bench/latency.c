/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/latency.c - how long does a message take from publish to delivery, one in flight?
 *
 *     bench_latency --stream S --size 256 --subs 1 --count 20000 [--one-conn] [--acks none]
 *                   [--busy-us N]
 *
 * The next message is published by whoever received the last one, on the client's loop thread, so
 * no thread has to be woken in the client. With several subscribers a sample ends when the last of
 * them has the message. Publisher and subscribers have a connection each, or with --one-conn share
 * one.
 */
#include "load.h"

#include <semaphore.h>
#include <time.h>

typedef struct game {
    flx_publisher *publisher;
    uint8_t *bytes;
    size_t size;
    uint64_t subs;
    uint64_t sequence;
    uint64_t warm_up;
    uint64_t end;
    uint64_t sent_ns;
    _Atomic uint64_t arrived; /* of the message under way */
    _Atomic uint64_t wrong;   /* gaps, foreign messages, refusals */
    double cpu_s;
    uint64_t start_ns;
    sem_t done;
    flx_histogram latency;
} game;
static game the_game;

static void on_answer(void *arg, const flx_publish_result *result)
{
    game *g = arg;
    if (result->status != FLX_OK) {
        atomic_fetch_add(&g->wrong, 1);
    }
}

static void throw(game * g)
{
    flx_error error = {0};
    const load_stamp stamp = {g->sequence, 0};
    memcpy(g->bytes, &stamp, sizeof stamp);
    atomic_store(&g->arrived, 0);
    g->sent_ns = flx_clock_monotonic_ns();
    if (flx_publisher_publish(g->publisher, NULL, (flx_slice){g->bytes, g->size}, on_answer, g,
                              &error) != FLX_OK) {
        load_die("publish: %s", error.message);
    }
}

/* The last subscriber has it: the next one, unless the driver wants a word in between. */
static void caught(game *g)
{
    const uint64_t now_ns = flx_clock_monotonic_ns();
    if (g->sequence >= g->warm_up) {
        flx_histogram_record(&g->latency, now_ns - g->sent_ns);
    }
    g->sequence++;
    if (g->sequence == g->warm_up || g->sequence == g->end) {
        (void)sem_post(&g->done);
    } else {
        throw(g);
    }
}

static void on_message(void *arg, const flx_message *message)
{
    game *g = arg;
    uint64_t sequence = UINT64_MAX;
    if (message->kind == FLX_MESSAGE_RECORD && message->payload.len == g->size) {
        memcpy(&sequence, message->payload.ptr, sizeof sequence);
    }
    if (sequence != g->sequence) {
        atomic_fetch_add(&g->wrong, 1);
        return;
    }
    if (atomic_fetch_add(&g->arrived, 1) + 1 == g->subs) {
        caught(g);
    }
}

static void await_round(game *g)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 300;
    LOAD_CHECK(sem_timedwait(&g->done, &until) == 0);
}

/* One client carries the publisher and as many subscribers as it has connections for. */
static void set_up(game *g, flx_client **clients, uint32_t client_count, flx_subscriber **subs)
{
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    flx_error error = {0};
    const char *stream = load_text("--stream", "bench");
    const uint32_t conns = load_flag("--one-conn") ? 1 : (uint32_t)(g->subs / client_count) + 1;
    options.acks =
        strcmp(load_text("--acks", "batch"), "none") == 0 ? FLX_ACKS_NONE : FLX_ACKS_PER_BATCH;
    for (uint32_t i = 0; i < client_count; i++) {
        clients[i] = load_connect(conns, 0);
    }
    if (flx_publisher_new(clients[0], stream, &options, &g->publisher, &error) != FLX_OK) {
        load_die("publisher: %s", error.message);
    }
    for (uint64_t i = 0; i < g->subs; i++) {
        flx_subscriber_options want = FLX_SUBSCRIBER_OPTIONS_INIT;
        want.message_fn = on_message;
        want.arg = g;
        if (flx_subscriber_new(clients[i % client_count], stream, &want, &subs[i], &error) !=
                FLX_OK ||
            flx_subscriber_wait(subs[i], LOAD_WAIT_MS, &error) != FLX_OK) {
            load_die("subscribe: %s", error.message);
        }
    }
}

int main(int argc, char **argv)
{
    load_init(argc, argv);
    game *g = &the_game;
    char latency[256];
    g->subs = load_number("--subs", 1);
    g->size = (size_t)load_number("--size", 256);
    g->warm_up = load_number("--warm-up", 1000);
    g->end = g->warm_up + load_number("--count", 20000);
    g->bytes = calloc(1, g->size);
    const uint32_t client_count =
        load_flag("--one-conn") ? 1 : (uint32_t)(g->subs / LOAD_CONNECTIONS_MAX) + 1;
    flx_client **clients = calloc(client_count, sizeof(flx_client *));
    flx_subscriber **subs = calloc(g->subs, sizeof(flx_subscriber *));
    LOAD_CHECK(g->bytes != NULL && clients != NULL && subs != NULL && g->warm_up > 0 &&
               g->end > g->warm_up && g->size >= sizeof(load_stamp));
    LOAD_CHECK(sem_init(&g->done, 0, 0) == 0);
    flx_histogram_init(&g->latency);
    set_up(g, clients, client_count, subs);
    throw(g);
    await_round(g);
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return EXIT_FAILURE;
    }
    g->cpu_s = load_cpu_s();
    throw(g);
    await_round(g);
    load_histogram_text(&g->latency, latency, sizeof latency);
    load_say("{\"event\":\"result\",\"wrong\":%llu,\"cpu_s\":%.6f,%s}",
             (unsigned long long)atomic_load(&g->wrong), load_cpu_s() - g->cpu_s, latency);
    for (uint32_t i = 0; i < client_count; i++) {
        clients[i] = flx_client_free(clients[i]);
    }
    flx_publisher_free(g->publisher);
    for (uint64_t i = 0; i < g->subs; i++) {
        flx_subscriber_free(subs[i]);
    }
    free(subs);
    free(clients);
    free(g->bytes);
    return EXIT_SUCCESS;
}
