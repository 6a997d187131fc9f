/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix-crash - kills a node with SIGKILL under load, round after round, and checks after each start that it
 * kept its word: README.md.
 *
 *     felix-crash --bin DIR [--rounds N] [--seed S] [--under DIR] [--sabotage tail|cache|twice]
 *
 * Exit 0: every rule held. 1: one was broken; the folder with log and data is kept and named. 2: usage.
 */
#include "admin.h"
#include "caches.h"
#include "common/clock.h"
#include "common/error.h"
#include "producer.h"
#include "streams.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS          60000  /* for whatever must come; a machine may be busy */
#define LOAD_US          120000 /* a round's load lasts so long at the most */
#define GENERATION       40 /* rounds, then all is read again, verified, removed and made anew */
#define EARLY_KILLS_MAX  3
#define SABOTAGE_ROUND   3
#define SEGMENT_HEAD_MAX 4096 /* a segment above has batches in it */
#define METRICS_EACH     4
#define LEFT_WAIT_MS     2000

typedef enum sabotage { NO_SABOTAGE, CUT_STREAM, CUT_CACHE, PUBLISH_TWICE } sabotage;

typedef struct crash {
    node node;
    streams streams;
    caches caches;
    scratch scratch;
    producer *producer;
    flx_client *steady; /* lives as long as a generation */
    flx_client *client; /* of a session */
    uint64_t random;
    uint64_t kills;
    uint64_t early_kills;
    uint64_t compactions; /* seen in every METRICS_EACH-th round */
    uint64_t generations;
    uint64_t left_logs; /* of removed streams, when the last generation ended */
    sabotage sabotage;
    char why[600];
} crash;

static void sleep_us(uint64_t us)
{
    const struct timespec span = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
    (void)nanosleep(&span, NULL);
}

/* Keeps the first reason. Always false. */
static bool fail(crash *c, const char *what, const char *more)
{
    if (c->why[0] == '\0') {
        (void)snprintf(c->why, sizeof c->why, "%s%s%s", what, more[0] != '\0' ? ": " : "", more);
    }
    return false;
}

/* Whether no rule was broken so far. */
static bool holds(crash *c)
{
    char buffer[400];
    const char *why = streams_why(&c->streams, buffer, sizeof buffer);
    why = why != NULL ? why : caches_why(&c->caches, buffer, sizeof buffer);
    if (why == NULL && atomic_load(&c->scratch.is_broken)) {
        why = c->scratch.why;
    }
    return c->why[0] == '\0' && (why == NULL || fail(c, why, ""));
}

/* --- lives of the node --- */

/* Starts it; now and then kills it before it serves, which is where it recovers. */
static bool start(crash *c, bool may_be_early)
{
    flx_error error = {0};
    const uint64_t usual_us =
        c->node.ready > 0 ? c->node.start_ns_sum / c->node.ready / FLX_NS_PER_US : 100000;
    for (int i = 0; may_be_early && i < EARLY_KILLS_MAX && ledger_random(&c->random) % 4 == 0;
         i++) {
        if (node_start(&c->node, &error) != FLX_OK) {
            return fail(c, error.message, "");
        }
        sleep_us(ledger_random(&c->random) % (usual_us * 5 / 4 + 1));
        node_kill(&c->node);
        c->early_kills++;
        c->kills++;
    }
    if (node_start(&c->node, &error) != FLX_OK || node_wait_ready(&c->node, &error) != FLX_OK) {
        return fail(c, error.message, "");
    }
    return true;
}

/* `is_steady`: it must notice by itself, and soon, that the node is another one; an idle connection learns that
 * from the answer to its next keepalive. */
static flx_client *connect_client(crash *c, bool is_steady)
{
    flx_client *client = NULL;
    flx_error error = {0};
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    options.addresses = c->node.address;
    options.tenant = "t1";
    options.token_file = c->node.token_file;
    options.ca_file = c->node.ca_file;
    options.server_name = "localhost";
    options.backoff_min_ms = 5;
    options.backoff_max_ms = 100;
    options.no_adaptive_poll = true;
    options.keepalive_ms = is_steady ? 20 : 0;
    options.connect_timeout_ms =
        is_steady ? 1000 : 0; /* it may be killed in the middle of a handshake */
    if (flx_client_connect(&options, WAIT_MS, &client, &error) != FLX_OK) {
        (void)fail(c, "connect", error.message);
    }
    return client;
}

static bool open_session(crash *c)
{
    flx_error error = {0};
    c->client = connect_client(c, false);
    c->steady = c->client != NULL && c->steady == NULL ? connect_client(c, true) : c->steady;
    if (c->client == NULL || c->steady == NULL) {
        return false;
    }
    if (streams_open(&c->streams, c->client, c->steady, &error) != FLX_OK ||
        caches_open(&c->caches, c->client, c->steady, &error) != FLX_OK) {
        return fail(c, "open", error.message);
    }
    return true;
}

/* The node is gone already, or is about to be. */
static void close_session(crash *c, bool forever)
{
    producer_pause(c->producer);
    streams_close(&c->streams, forever);
    caches_close(&c->caches, forever);
    scratch_stop(&c->scratch);
    c->client = flx_client_free(c->client);
    scratch_join(&c->scratch);
    if (forever) {
        c->steady = flx_client_free(c->steady);
    }
}

/* Calls `check` until it is true; everything that waits ends here when a rule is broken meanwhile. */
static bool await(crash *c, bool (*check)(crash *c), const char *what)
{
    const uint64_t start_ns = flx_clock_monotonic_ns();
    while (holds(c) && !check(c)) {
        if (flx_clock_monotonic_ns() - start_ns > WAIT_MS * FLX_NS_PER_MS) {
            streams_explain(&c->streams);
            caches_explain(&c->caches);
            return fail(c, "waited too long", what);
        }
        sleep_us(500);
    }
    return holds(c);
}

/* Every lane is acknowledged anew, and what was acknowledged before has been read by then. */
static bool is_verified(crash *c)
{
    streams_open_lanes(&c->streams);
    const bool is_settled = caches_are_settled(&c->caches);
    return streams_are_even(&c->streams) && is_settled;
}

static bool is_scratch_checked(crash *c)
{
    return atomic_load(&c->scratch.is_checked);
}

static bool is_quiet(crash *c)
{
    return streams_are_quiet(&c->streams) && caches_are_settled(&c->caches) &&
           caches_are_quiet(&c->caches);
}

static void load(crash *c)
{
    const uint64_t end_ns =
        flx_clock_monotonic_ns() + ledger_random(&c->random) % LOAD_US * FLX_NS_PER_US;
    producer_run(c->producer, true);
    do {
        streams_feed(&c->streams);
        if (caches_are_settled(&c->caches)) {
            caches_feed(&c->caches);
        }
        sleep_us(200);
    } while (flx_clock_monotonic_ns() < end_ns);
}

/* --- sabotage: what a checker must find --- */

static bool is_answered(crash *c)
{
    return streams_are_answered(&c->streams);
}

/* Where the last byte that is not 0 lies: segments may be longer than what is in them. */
static int64_t last_byte(const char *segment, int64_t bytes)
{
    FILE *file = fopen(segment, "re");
    int64_t at = -1;
    for (int64_t i = 0; file != NULL && i < bytes; i++) {
        const int byte = getc(file);
        at = byte > 0 ? i : at;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return at;
}

/* Cuts the last byte off a log, so that its last batch is lost: as if it was acknowledged and not synced. False: the
 * newest segment has nothing yet. */
static bool cut_tail(crash *c, const char *name, uint32_t shard)
{
    char segment[NODE_PATH_MAX];
    int64_t bytes = 0;
    if (!node_newest_segment(&c->node, name, shard, segment, &bytes)) {
        return false;
    }
    const int64_t at = last_byte(segment, bytes);
    return at > SEGMENT_HEAD_MAX && truncate(segment, at) == 0;
}

static bool do_sabotage(crash *c)
{
    flx_error error = {0};
    uint32_t shard = 0;
    bool is_done = false;
    if (!await(c, is_quiet, "nothing under way")) {
        return false;
    }
    switch (c->sabotage) {
    case CUT_STREAM:
        streams_publish_unread(&c->streams);
        if (!await(c, is_answered, "an answer")) {
            return false;
        }
        node_kill(&c->node);
        is_done = cut_tail(c, stream_kinds[0].name, 0);
        break;
    case CUT_CACHE:
        if (caches_put_last(&c->caches, &shard, &error) != FLX_OK) {
            return fail(c, "sabotage", error.message);
        }
        node_kill(&c->node);
        is_done = cut_tail(c, CACHE_NAME, shard);
        break;
    default:
        if (streams_forge(&c->streams, &error) != FLX_OK) {
            return fail(c, "sabotage", error.message);
        }
        is_done = true;
    }
    if (is_done) {
        /* Again in the next round: what was cut may have been the record of an expiry, which nobody misses. */
        (void)fprintf(stderr, "crash: sabotage was done\n");
    }
    return true;
}

/* --- rounds --- */

static void look_at_metrics(crash *c)
{
    admin a;
    if (admin_open(&a, &c->node, NULL) == FLX_OK) {
        c->compactions += admin_metric(&a, "felix_log_compactions_total");
    }
    admin_close(&a);
}

static bool one_round(crash *c, uint64_t number)
{
    if (!start(c, true) || !open_session(c)) {
        return false;
    }
    scratch_start(&c->scratch, &c->node, c->client);
    producer_run(c->producer, false);
    /* One in four is killed wherever it is, also while it is still being checked. */
    const bool is_blind = ledger_random(&c->random) % 4 == 0;
    if (!is_blind && !await(c, is_verified, "everything acknowledged to be read")) {
        return false;
    }
    if (!is_blind && ledger_random(&c->random) % 3 == 0 &&
        !await(c, is_scratch_checked, "the scratch stream to be what was answered")) {
        return false;
    }
    load(c);
    if (number % METRICS_EACH == 0) {
        look_at_metrics(c);
    }
    if (c->sabotage != NO_SABOTAGE && number >= SABOTAGE_ROUND && !is_blind) {
        producer_run(c->producer, false);
        if (!do_sabotage(c)) {
            return false;
        }
    }
    node_kill(&c->node);
    c->kills++;
    close_session(c, false);
    return holds(c);
}

/* Asks the same for every stream and the cache. What is not there counts as done. */
static bool each_item(crash *c, int (*ask)(const admin *a, const char *kind, const char *name),
                      uint64_t *ret_failed)
{
    admin a;
    flx_error error = {0};
    *ret_failed = 0;
    if (admin_open(&a, &c->node, &error) != FLX_OK) {
        return fail(c, "REST", error.message);
    }
    for (int i = 0; i <= STREAM_SLOTS; i++) {
        const int status = i < STREAM_SLOTS ? ask(&a, "streams", stream_kinds[i].name)
                                            : ask(&a, "caches", CACHE_NAME);
        *ret_failed += status == 0 || (status >= 300 && status != 404) ? 1 : 0;
    }
    admin_close(&a);
    return true;
}

static int make_item(const admin *a, const char *kind, const char *name)
{
    for (int i = 0; i < STREAM_SLOTS; i++) {
        if (strcmp(stream_kinds[i].name, name) == 0) {
            return admin_make(a, kind, name, stream_kinds[i].body);
        }
    }
    return admin_make(a, kind, name, CACHE_BODY);
}

/* The node dies while a few removals are on their way; what is left of them goes afterwards. */
static bool die_removing(crash *c)
{
    admin a;
    if (admin_open(&a, &c->node, NULL) == FLX_OK) {
        for (uint64_t i = ledger_random(&c->random) % STREAM_SLOTS; i < STREAM_SLOTS; i++) {
            (void)admin_remove(&a, "streams", stream_kinds[i].name);
        }
    }
    admin_close(&a);
    sleep_us(ledger_random(&c->random) % 5000);
    node_kill(&c->node);
    c->kills++;
    return start(c, true);
}

/* Everything again from the front; then the files; then all goes and comes back empty. */
static bool end_generation(crash *c, bool is_last)
{
    flx_error error = {0};
    uint64_t failed = 0;
    if (!start(c, false) || !open_session(c)) {
        return false;
    }
    producer_run(c->producer, false);
    if (!await(c, is_verified, "everything acknowledged to be read") ||
        !await(c, is_quiet, "the watch to equal the cache")) {
        return false;
    }
    if (streams_read_again(&c->streams, c->client, &error) != FLX_OK) {
        return fail(c, "read again", error.message);
    }
    if (!holds(c)) {
        return false;
    }
    const bool is_clean = ledger_random(&c->random) % 2 == 0;
    close_session(c, true);
    if (is_clean && node_stop(&c->node) != 0) {
        return fail(c, "the node did not stop cleanly", c->node.log);
    }
    node_kill(&c->node);
    if (node_verify(&c->node) != 0) {
        return fail(c, "felix log verify is not content", c->node.folder);
    }
    c->generations++;
    if (is_last) {
        return true;
    }
    if (!start(c, false) || !die_removing(c) || !each_item(c, admin_remove, &failed)) {
        return false;
    }
    admin a;
    const bool has_scratch = admin_open(&a, &c->node, NULL) == FLX_OK &&
                             admin_remove(&a, "streams", "crash-scratch") != 0;
    admin_close(&a);
    c->scratch.state = SCRATCH_ABSENT;
    if (failed > 0 || !has_scratch) {
        return fail(c, "something cannot be removed", "");
    }
    for (int ms = 0; ms < LEFT_WAIT_MS && node_logs(&c->node) > 0; ms++) {
        sleep_us(1000);
    }
    c->left_logs = (uint64_t)node_logs(&c->node);
    return c->left_logs == 0 || fail(c, "logs of removed streams are left", "");
}

static bool begin_generation(crash *c)
{
    uint64_t failed = 0;
    if (!each_item(c, make_item, &failed)) {
        return false;
    }
    streams_begin(&c->streams);
    caches_begin(&c->caches);
    producer_begin(c->producer);
    node_kill(&c->node);
    return failed == 0 || fail(c, "something cannot be made", "");
}

static bool all_rounds(crash *c, uint64_t rounds)
{
    if (!start(c, false) || !begin_generation(c)) {
        return false;
    }
    for (uint64_t i = 1; i <= rounds; i++) {
        const bool is_end = i % GENERATION == 0 || i == rounds;
        if (!one_round(c, i) || (is_end && !end_generation(c, i == rounds)) ||
            (is_end && i < rounds && !begin_generation(c))) {
            (void)fprintf(stderr, "crash: in round %" PRIu64 "\n", i);
            return false;
        }
    }
    return true;
}

/* --- the command --- */

static void report(crash *c, uint64_t rounds, uint64_t start_ns)
{
    const ledger_counts counts = streams_counts(&c->streams);
    (void)printf(
        "crash: %" PRIu64 " rounds in %.1f s: the node was killed %" PRIu64 " times, %" PRIu64
        " of them before it served; starts took %.0f ms, at the most %.0f\n"
        "crash: streams: %" PRIu64 " messages sent, %" PRIu64 " acknowledged, %" PRIu64
        " unanswered of which %" PRIu64 " are there, %" PRIu64 " refused, %" PRIu64
        " read; %" PRIu64 " batches sent again by the idempotent producer\n"
        "crash: cache: %" PRIu64 " requests answered, %" PRIu64 " unanswered, %" PRIu64
        " changes watched, %" PRIu64 " resets; scratch streams removed: %" PRIu64 "\n"
        "crash: logs: %" PRIu64 " torn tails cut, %" PRIu64
        " compactions seen in every %dth round, %" PRIu64
        " times all read again, verified and removed; %" PRIu64
        " logs of removed streams are left\n",
        rounds, (double)(flx_clock_monotonic_ns() - start_ns) / 1e9, c->kills, c->early_kills,
        c->node.ready > 0 ? (double)(c->node.start_ns_sum / c->node.ready) / 1e6 : 0.0,
        (double)c->node.start_ns_max / 1e6, counts.sent, counts.acked, counts.unanswered,
        counts.unanswered_read, counts.refused, counts.read, producer_repeats(c->producer),
        c->caches.acked, c->caches.unanswered, c->caches.changes, c->caches.resets,
        c->scratch.removals, c->node.tails_cut, c->compactions, METRICS_EACH, c->generations,
        c->left_logs);
}

typedef struct options {
    const char *bin;
    const char *under;
    uint64_t rounds;
    uint64_t seed;
    sabotage sabotage;
} options;

static bool read_options(int argc, char **argv, options *ret_options)
{
    static const char *const sabotages[] = {
        [CUT_STREAM] = "tail", [CUT_CACHE] = "cache", [PUBLISH_TWICE] = "twice"};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--bin") == 0) {
            ret_options->bin = value;
        } else if (strcmp(argv[i], "--under") == 0) {
            ret_options->under = value;
        } else if (strcmp(argv[i], "--rounds") == 0) {
            ret_options->rounds = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            ret_options->seed = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--sabotage") == 0) {
            for (int k = CUT_STREAM; k <= PUBLISH_TWICE; k++) {
                ret_options->sabotage =
                    strcmp(value, sabotages[k]) == 0 ? (sabotage)k : ret_options->sabotage;
            }
            if (ret_options->sabotage == NO_SABOTAGE) {
                return false;
            }
        } else {
            return false;
        }
    }
    return argc % 2 == 1 && ret_options->bin != NULL && ret_options->rounds > 0;
}

int main(int argc, char **argv)
{
    static crash c;
    flx_error error = {0};
    options o = {.under = "/tmp", .rounds = 100, .seed = flx_clock_wall_us()};
    if (!read_options(argc, argv, &o)) {
        (void)fprintf(stderr, "usage: felix-crash --bin DIR [--rounds N] [--seed S] [--under DIR] "
                              "[--sabotage tail|cache|twice]\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)printf("SEED=%" PRIu64 "\n", o.seed);
    (void)fflush(stdout);
    c.random = o.seed;
    c.sabotage = o.sabotage;
    if (flx_http_client_init(&error) != FLX_OK ||
        node_init(&c.node, o.bin, o.under, &error) != FLX_OK) {
        (void)fprintf(stderr, "crash: %s\n", error.message);
        return 1;
    }
    const uint64_t start_ns = flx_clock_monotonic_ns();
    streams_init(&c.streams, ledger_random(&c.random));
    caches_init(&c.caches, ledger_random(&c.random));
    c.producer = producer_new(&c.node, &c.streams, ledger_random(&c.random));
    const bool held = all_rounds(&c, o.rounds);
    node_kill(&c.node);
    close_session(&c, true);
    report(&c, o.rounds, start_ns);
    if (!held) {
        (void)fprintf(stderr, "crash: %s\ncrash: kept: %s; again with --seed %" PRIu64 "\n", c.why,
                      c.node.folder, o.seed);
    }
    c.producer = producer_free(c.producer);
    streams_done(&c.streams);
    caches_done(&c.caches);
    node_done(&c.node, held);
    return held ? 0 : 1;
}
