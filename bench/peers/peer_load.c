/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/peers/peer_load.c - the load programs again, for a server that is not Felix.
 *
 *     bench_peer_load sub     --protocol nats|redis|mqtt --port P --ca-file F --stream T --subs 10 ...
 *     bench_peer_load pub     ... --size 1024 --batch 64 --count N --warm-up W --subs 10
 *     bench_peer_load latency ... --size 256 --subs 1 --count N
 *     bench_peer_load acked   ... --size 256 --inflight 64 --count N
 *     bench_peer_load fill    ... --size 1024 --batch 64 --count N [--keep-bytes B]
 *     bench_peer_load replay  ... --subs 1 --count N
 *     bench_peer_load cache   ... --op get|put --size 100 --outstanding 256 --conns 8 --count N
 *
 * Words, roles and the talk with the driver are those of bench_pubsub, bench_latency and
 * bench_cache_load, so that the driver measures all in one way. One thread a process: whatever it
 * costs leaves the server the more of the machine. bench/peers/README.md says what is comparable.
 */
#include "common/xorshift.h"
#include "pace.h"
#include "protocol.h"
#include "receive.h"

#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_MAX 128
#define TOPIC      "bench"

static const peer_protocol *protocol(void)
{
    static const peer_protocol *const all[] = {&peer_nats, &peer_redis, &peer_mqtt};
    const char *name = load_text("--protocol", "");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    load_die("--protocol is nats, redis or mqtt");
}

static const char *topic(void)
{
    return load_text("--stream", TOPIC);
}

/* All answers at hand; those that were refused count as wrong. */
static uint64_t take_answers(const peer_protocol *speak, peer_link *link, uint64_t *wrong)
{
    uint64_t count = 0;
    bool ok = false;
    for (peer_seen seen; (seen = speak->answer(link, &ok)) != PEER_SEEN_NONE;) {
        if (seen == PEER_SEEN_MESSAGE) {
            count++;
            *wrong += ok ? 0 : 1;
        }
    }
    return count;
}

/* A set of links of which one waits for any. */
typedef struct links {
    peer_link *all;
    uint64_t count;
    int epoll;
} links;

static links links_open(const peer_protocol *speak, uint64_t count)
{
    links set = {
        .all = calloc(count, sizeof(peer_link)), .count = count, .epoll = epoll_create1(0)};
    LOAD_CHECK(set.all != NULL && set.epoll >= 0);
    for (uint64_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        speak->hello(&set.all[i]);
        LOAD_CHECK(epoll_ctl(set.epoll, EPOLL_CTL_ADD, set.all[i].fd, &event) == 0);
    }
    return set;
}

static void links_close(links *set)
{
    for (uint64_t i = 0; i < set->count; i++) {
        peer_link_close(&set->all[i]);
    }
    (void)close(set->epoll);
    free(set->all);
}

/* --- sub --- */

/* The next message of a link, however it comes by them. */
typedef peer_seen next_message(const peer_protocol *speak, peer_link *link, flx_slice *ret_payload);

static peer_seen next_live(const peer_protocol *speak, peer_link *link, flx_slice *ret_payload)
{
    return speak->message(link, ret_payload);
}

static peer_seen next_kept(const peer_protocol *speak, peer_link *link, flx_slice *ret_payload)
{
    return speak->replayed(link, topic(), ret_payload);
}

/* Receives until `ones` receivers are there, or nothing came for LOAD_STALL_MS. */
static void receive_until(const peer_protocol *speak, next_message *next, links *set,
                          load_receivers *receivers, const _Atomic uint64_t *ones)
{
    struct epoll_event events[EVENTS_MAX];
    flx_slice payload = {NULL, 0};
    while (atomic_load(ones) < receivers->count) {
        const int ready = epoll_wait(set->epoll, events, EVENTS_MAX, LOAD_STALL_MS);
        if (ready <= 0) {
            return; /* the report says what is missing */
        }
        for (int i = 0; i < ready; i++) {
            peer_link *link = &set->all[events[i].data.u64];
            load_receiver *one = &receivers->all[events[i].data.u64];
            (void)peer_link_fill(link, false);
            for (peer_seen seen; (seen = next(speak, link, &payload)) != PEER_SEEN_NONE;) {
                if (seen == PEER_SEEN_MESSAGE) {
                    load_received(receivers, one, payload, UINT64_MAX);
                }
            }
        }
    }
}

static void sub(const peer_protocol *speak)
{
    static load_receivers receivers;
    load_receivers_init(&receivers, 1);
    links set = links_open(speak, receivers.count);
    for (uint64_t i = 0; i < set.count; i++) {
        speak->subscribe(&set.all[i], topic());
    }
    load_say("{\"event\":\"ready\"}");
    receive_until(speak, next_live, &set, &receivers, &receivers.warm_ones);
    const double cpu_s = load_cpu_s();
    load_say("{\"event\":\"warm\"}");
    receive_until(speak, next_live, &set, &receivers, &receivers.whole_ones);
    load_receivers_report(&receivers, load_cpu_s() - cpu_s);
    (void)load_await_line();
    links_close(&set);
    load_receivers_done(&receivers);
}

/* --- pub --- */

typedef struct sender {
    load_pace pace;
    const peer_protocol *speak;
    peer_link link;
    uint8_t *frames; /* a batch of whole frames; only the stamps change */
    size_t head;     /* bytes of a frame before its payload */
    size_t frame;
    uint64_t wrong;
} sender;

static void sender_init(sender *s, const peer_protocol *speak, peer_request request)
{
    uint8_t head[PEER_HEAD_MAX];
    const size_t tail = strlen(speak->tail);
    s->speak = speak;
    load_pace_init(&s->pace);
    s->head = speak->head(head, request, topic(), s->pace.size);
    s->frame = s->head + s->pace.size + tail;
    s->frames = calloc(s->pace.batch, s->frame);
    LOAD_CHECK(s->frames != NULL);
    for (uint64_t i = 0; i < s->pace.batch; i++) {
        uint8_t *frame = s->frames + i * s->frame;
        memcpy(frame, head, s->head);
        memset(frame + s->head, 'x', s->pace.size);
        memcpy(frame + s->head + s->pace.size, speak->tail, tail);
    }
    speak->hello(&s->link);
}

/* How many answers came meanwhile: Redis answers every PUBLISH; NATS pings. */
static uint64_t send_batches(sender *s, uint64_t count)
{
    uint64_t answered = 0;
    while (count > 0) {
        const uint64_t n = count < s->pace.batch ? count : s->pace.batch;
        load_pace_wait(&s->pace);
        load_pace_stamp(&s->pace, s->frames + s->head, s->frame, n);
        peer_link_write(&s->link, s->frames, n * s->frame);
        peer_link_flush(&s->link);
        s->pace.sequence += n;
        count -= n;
        if (peer_link_fill(&s->link, false) > 0) {
            answered += take_answers(s->speak, &s->link, &s->wrong);
        }
    }
    return answered;
}

static void pub(const peer_protocol *speak)
{
    static sender s;
    sender_init(&s, speak, PEER_PUBLISH);
    (void)send_batches(&s, load_number("--warm-up", 1000));
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    const uint64_t start_ns = flx_clock_monotonic_ns();
    (void)send_batches(&s, load_number("--count", 100000));
    load_say("{\"event\":\"result\",\"failed\":%llu,\"start_ns\":%llu,\"end_ns\":%llu,"
             "\"cpu_s\":%.6f}",
             (unsigned long long)s.wrong, (unsigned long long)start_ns,
             (unsigned long long)flx_clock_monotonic_ns(), load_cpu_s() - cpu_s);
    (void)load_await_line(); /* the last batch may still be on its way */
    peer_link_close(&s.link);
    free(s.frames);
}

/* --- fill, replay --- */

#define FILL_AHEAD 2048 /* messages that are not answered yet */

/* Messages that are kept, and their answers. */
static void fill(const peer_protocol *speak)
{
    static sender s;
    sender_init(&s, speak, PEER_PUBLISH_ACKED);
    speak->prepare(&s.link, topic());
    const uint64_t count = load_number("--count", 100000);
    uint64_t answered = 0;
    while (answered < count) {
        const uint64_t left = count - s.pace.sequence;
        const uint64_t n = left < s.pace.batch ? left : s.pace.batch;
        if (n > 0 && s.pace.sequence - answered < FILL_AHEAD) {
            answered += send_batches(&s, n);
        } else {
            (void)peer_link_fill(&s.link, true);
            answered += take_answers(speak, &s.link, &s.wrong);
        }
    }
    LOAD_CHECK(s.wrong == 0);
    load_say("{\"event\":\"warm\"}");
    (void)load_await_line();
    peer_link_close(&s.link);
    free(s.frames);
}

/* As bench_pubsub replay: what was kept, to --subs readers at once. */
static void replay(const peer_protocol *speak)
{
    static load_receivers receivers;
    LOAD_CHECK(speak->replay != NULL);
    load_receivers_init(&receivers, 1);
    links set = links_open(speak, receivers.count);
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    load_say("{\"event\":\"began\",\"start_ns\":%llu}",
             (unsigned long long)flx_clock_monotonic_ns());
    for (uint64_t i = 0; i < set.count; i++) {
        speak->replay(&set.all[i], topic());
    }
    receive_until(speak, next_kept, &set, &receivers, &receivers.whole_ones);
    load_receivers_report(&receivers, load_cpu_s() - cpu_s);
    (void)load_await_line();
    links_close(&set);
    load_receivers_done(&receivers);
}

/* --- latency --- */

typedef struct game {
    const peer_protocol *speak;
    peer_link publisher;
    peer_link *subs;
    uint64_t sub_count;
    uint8_t *frame;
    size_t head;
    size_t size;
    uint64_t sequence;
    uint64_t wrong;
} game;

static void catch_one(game *g, peer_link *link)
{
    flx_slice payload = {NULL, 0};
    load_stamp stamp = {0};
    peer_seen seen;
    while ((seen = g->speak->message(link, &payload)) != PEER_SEEN_MESSAGE) {
        if (seen == PEER_SEEN_NONE) {
            (void)peer_link_fill(link, true);
        }
    }
    LOAD_CHECK(payload.len == g->size);
    memcpy(&stamp, payload.ptr, sizeof stamp);
    g->wrong += stamp.sequence != g->sequence;
}

/* One message at a time; the next when the last subscriber has this one. */
static void play(game *g, uint64_t rounds, flx_histogram *latency)
{
    for (uint64_t i = 0; i < rounds; i++, g->sequence++) {
        const load_stamp stamp = {g->sequence, 0};
        memcpy(g->frame + g->head, &stamp, sizeof stamp);
        const uint64_t sent_ns = flx_clock_monotonic_ns();
        peer_link_write(&g->publisher, g->frame, g->head + g->size + strlen(g->speak->tail));
        peer_link_flush(&g->publisher);
        for (uint64_t k = 0; k < g->sub_count; k++) {
            catch_one(g, &g->subs[k]);
        }
        flx_histogram_record(latency, flx_clock_monotonic_ns() - sent_ns);
        if (peer_link_fill(&g->publisher, false) > 0) {
            (void)take_answers(g->speak, &g->publisher, &g->wrong);
        }
    }
}

static void latency(const peer_protocol *speak)
{
    static flx_histogram histogram;
    static game g;
    char text[256];
    g = (game){.speak = speak,
               .sub_count = load_number("--subs", 1),
               .size = (size_t)load_number("--size", 256)};
    g.subs = calloc(g.sub_count, sizeof *g.subs);
    g.frame = calloc(1, PEER_HEAD_MAX + g.size + 2);
    LOAD_CHECK(g.subs != NULL && g.frame != NULL && g.size >= sizeof(load_stamp));
    g.head = speak->head(g.frame, PEER_PUBLISH, topic(), g.size);
    memcpy(g.frame + g.head + g.size, speak->tail, strlen(speak->tail));
    for (uint64_t i = 0; i < g.sub_count; i++) {
        speak->hello(&g.subs[i]);
        speak->subscribe(&g.subs[i], topic());
    }
    speak->hello(&g.publisher);
    flx_histogram_init(&histogram);
    play(&g, load_number("--warm-up", 1000), &histogram);
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    flx_histogram_init(&histogram);
    play(&g, load_number("--count", 20000), &histogram);
    load_histogram_text(&histogram, text, sizeof text);
    load_say("{\"event\":\"result\",\"wrong\":%llu,\"cpu_s\":%.6f,%s}", (unsigned long long)g.wrong,
             load_cpu_s() - cpu_s, text);
    peer_link_close(&g.publisher);
    for (uint64_t i = 0; i < g.sub_count; i++) {
        peer_link_close(&g.subs[i]);
    }
    free(g.subs);
    free(g.frame);
}

/* --- acked, cache: requests answered one by one, in order on each link --- */

typedef struct asker {
    const peer_protocol *speak;
    links set;
    peer_request request;
    uint64_t keys;
    uint64_t random;
    uint64_t **sent_ns; /* a ring a link, as long as requests may be under way on it */
    uint64_t *sent;
    uint64_t *answered;
    uint64_t ring;
    uint64_t left;
    uint64_t going;
    uint64_t wrong;
    uint8_t *value; /* with the tail behind it */
    size_t size;
    flx_histogram latency;
} asker;

static void write_request(asker *a, uint64_t index, uint64_t key)
{
    uint8_t head[PEER_HEAD_MAX];
    char name[32];
    const bool keyed = a->request == PEER_PUT || a->request == PEER_GET;
    (void)snprintf(name, sizeof name, "key-%012llu", (unsigned long long)key);
    peer_link *link = &a->set.all[index];
    peer_link_write(link, head, a->speak->head(head, a->request, keyed ? name : topic(), a->size));
    if (a->request != PEER_GET) {
        peer_link_write(link, a->value, a->size + strlen(a->speak->tail));
    }
}

/* `count` more requests on a link, in one send. */
static void ask(asker *a, uint64_t index, uint64_t count)
{
    const uint64_t now_ns = flx_clock_monotonic_ns();
    for (uint64_t i = 0; i < count; i++) {
        a->sent_ns[index][a->sent[index]++ % a->ring] = now_ns;
        write_request(a, index, flx_xorshift(&a->random) % a->keys);
    }
    if (count > 0) {
        peer_link_flush(&a->set.all[index]);
    }
}

static void answers_came(asker *a, uint64_t index)
{
    const uint64_t count = take_answers(a->speak, &a->set.all[index], &a->wrong);
    const uint64_t now_ns = flx_clock_monotonic_ns();
    for (uint64_t i = 0; i < count; i++) {
        flx_histogram_record(&a->latency,
                             now_ns - a->sent_ns[index][a->answered[index]++ % a->ring]);
    }
    const uint64_t more = count < a->left ? count : a->left;
    a->left -= more;
    a->going -= count - more;
    ask(a, index, more);
}

static void run_requests(asker *a, uint64_t outstanding, uint64_t count)
{
    struct epoll_event events[EVENTS_MAX];
    flx_histogram_init(&a->latency);
    outstanding = outstanding < count ? outstanding : count;
    a->going = outstanding;
    a->left = count - outstanding;
    for (uint64_t i = 0; i < a->set.count; i++) {
        ask(a, i, outstanding / a->set.count + (i < outstanding % a->set.count ? 1 : 0));
    }
    while (a->going > 0) {
        if (a->set.count == 1) { /* no need to ask which: one call less */
            (void)peer_link_fill(&a->set.all[0], true);
            answers_came(a, 0);
            continue;
        }
        const int ready = epoll_wait(a->set.epoll, events, EVENTS_MAX, LOAD_STALL_MS);
        LOAD_CHECK(ready > 0);
        for (int i = 0; i < ready; i++) {
            if (peer_link_fill(&a->set.all[events[i].data.u64], false) > 0) {
                answers_came(a, events[i].data.u64);
            }
        }
    }
}

static void asker_init(asker *a, const peer_protocol *speak, uint64_t conns, uint64_t outstanding)
{
    const size_t tail = strlen(speak->tail);
    a->speak = speak;
    a->size = (size_t)load_number("--size", 256);
    a->keys = load_number("--keys", 1000);
    a->random = 88172645463325252U;
    a->ring = outstanding;
    a->sent_ns = calloc(conns, sizeof *a->sent_ns);
    a->sent = calloc(conns, sizeof *a->sent);
    a->answered = calloc(conns, sizeof *a->answered);
    a->value = malloc(a->size + tail + 1);
    LOAD_CHECK(a->sent_ns != NULL && a->sent != NULL && a->answered != NULL && a->value != NULL);
    LOAD_CHECK(conns > 0 && outstanding > 0 && a->keys > 0);
    memset(a->value, 'v', a->size);
    memcpy(a->value + a->size, speak->tail, tail);
    for (uint64_t i = 0; i < conns; i++) {
        a->sent_ns[i] = calloc(outstanding, sizeof *a->sent_ns[i]);
        LOAD_CHECK(a->sent_ns[i] != NULL);
    }
    a->set = links_open(speak, conns);
}

static void asker_done(asker *a)
{
    for (uint64_t i = 0; i < a->set.count; i++) {
        free(a->sent_ns[i]);
    }
    links_close(&a->set);
    free(a->sent_ns);
    free(a->sent);
    free(a->answered);
    free(a->value);
}

static void run_measured(asker *a, uint64_t outstanding)
{
    char text[256];
    run_requests(a, outstanding, load_number("--warm-up", 1000));
    load_say("{\"event\":\"warm\"}");
    if (!load_await_line()) {
        return;
    }
    const double cpu_s = load_cpu_s();
    const uint64_t start_ns = flx_clock_monotonic_ns();
    run_requests(a, outstanding, load_number("--count", 20000));
    load_histogram_text(&a->latency, text, sizeof text);
    load_say("{\"event\":\"result\",\"wrong\":%llu,\"failed\":%llu,\"start_ns\":%llu,"
             "\"end_ns\":%llu,\"cpu_s\":%.6f,%s}",
             (unsigned long long)a->wrong, (unsigned long long)a->wrong,
             (unsigned long long)start_ns, (unsigned long long)flx_clock_monotonic_ns(),
             load_cpu_s() - cpu_s, text);
}

static asker the_asker;

static void acked(const peer_protocol *speak)
{
    const uint64_t inflight = load_number("--inflight", 64);
    asker_init(&the_asker, speak, 1, inflight);
    the_asker.request = PEER_PUBLISH_ACKED;
    speak->prepare(&the_asker.set.all[0], topic());
    run_measured(&the_asker, inflight);
    asker_done(&the_asker);
}

static void cache(const peer_protocol *speak)
{
    asker *a = &the_asker;
    const uint64_t outstanding = load_number("--outstanding", 1);
    asker_init(a, speak, load_number("--conns", 1), outstanding);
    a->request = PEER_PUT; /* every key once, so that each get finds something */
    for (uint64_t key = 0; key < a->keys; key++) {
        write_request(a, 0, key);
    }
    peer_link_flush(&a->set.all[0]);
    for (uint64_t stored = 0; stored < a->keys;) {
        (void)peer_link_fill(&a->set.all[0], true);
        stored += take_answers(speak, &a->set.all[0], &a->wrong);
    }
    a->request = strcmp(load_text("--op", "get"), "put") == 0 ? PEER_PUT : PEER_GET;
    run_measured(a, outstanding);
    asker_done(a);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const peer_protocol *speak);
    } roles[] = {{"sub", sub},   {"pub", pub},       {"latency", latency}, {"acked", acked},
                 {"fill", fill}, {"replay", replay}, {"cache", cache}};
    load_init(argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(argv[1], roles[i].name) == 0) {
            peer_tls_init();
            roles[i].run(protocol());
            return EXIT_SUCCESS;
        }
    }
    load_die("the first word is sub, pub, latency, acked, fill, replay or cache");
}
