/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of every kind against whole workers, over a transport that is a table of functions.
 *
 * Input: two bytes of set-up (workers, size of the mailboxes, publishers recorded, small limits), then
 * steps of `u8 what | u8 which stream | ...`. Some send what a real client would, so that the deep
 * states are reached; others send bytes and frames as they stand in the input. Streams are reset,
 * stopped, stalled and finished, connections go, catalogs change, memory runs out.
 *
 * What must hold, whatever comes: nothing crashes or leaks; the harness's own checks (nothing is given
 * back twice, nothing is written behind a FIN); what is unread stays within the window; when the
 * clients are gone, no connection, stream, subscription or byte in flight is counted any more.
 */
#include "../support/broker_harness.c"
#include "../support/broker_harness_client.c"
#include "../support/broker_harness_link.c"
#include "broker/worker_int.h"
#include "wire/operation.h"

#define CONNS_MAX    6
#define STREAMS_MAX  48
#define WINDOW_BYTES 70000

typedef struct input {
    const uint8_t *at;
    const uint8_t *end;
} input;

typedef struct client_stream {
    hx_stream *s;
    hx_conn *conn;
    bool ended; /* FIN or reset: the client may say nothing more */
} client_stream;

typedef struct world {
    hx *h;
    hx_conn *conns[CONNS_MAX];
    size_t conn_count;
    client_stream streams[STREAMS_MAX];
    size_t stream_count;
    bool memory_failed;
} world;

static uint8_t take(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static flx_slice take_bytes(input *in, size_t len)
{
    const size_t left = (size_t)(in->end - in->at);
    const flx_slice bytes = {in->at, len < left ? len : left};
    in->at += bytes.len;
    return bytes;
}

static const char *const names[] = {"demo", "wide", "newest", "oldest", "wait", "gone", "", "a/b"};
static const char *const starts[] = {"",
                                     ",\"start\":\"earliest\"",
                                     ",\"start\":\"latest\"",
                                     ",\"start\":{\"offset\":3}",
                                     ",\"shard\":3",
                                     ",\"queue_capacity\":1",
                                     ",\"subscription_id\":18446744073709551615",
                                     ",\"subscription_id\":9223372036854775806"};

/* Whether the window has room; a client that ignores it would be cut off by the transport. */
static bool may_send(const client_stream *c, size_t len)
{
    return !c->ended && hx_unconsumed(c->s) + len <= WINDOW_BYTES;
}

/* One to four operations: most of them well-formed, on handles that may be open or not. */
static void send_operations(client_stream *c, unsigned seed, input *in)
{
    uint8_t bytes[8192];
    uint8_t *end = bytes;
    static const uint8_t opcodes[] = {FLX_OPCODE_OPEN,         FLX_OPCODE_CACHE_GET,
                                      FLX_OPCODE_CACHE_PUT,    FLX_OPCODE_CACHE_DELETE,
                                      FLX_OPCODE_CACHE_PUT_IF, FLX_OPCODE_CACHE_DELETE_IF,
                                      FLX_OPCODE_PLACEMENT,    FLX_OPCODE_GROUP_DESCRIBE,
                                      FLX_OPCODE_COUNTER_ADD,  FLX_OPCODE_COUNTER_GET};
    static const uint8_t value[5000];
    for (unsigned i = 0; i < 1 + seed % 4; i++) {
        const uint8_t how = take(in);
        const flx_slice key = {(const uint8_t *)"k0k1k2k3", how % 8};
        const bool is_large = how % 16 == 7 && end - bytes < 2000;
        const flx_operation operation = {
            .opcode = opcodes[(how + i) % sizeof opcodes],
            .handle = seed % 3,
            .id = seed,
            .kind = how % 5 != 0,
            .version = how,
            .tenant = {(const uint8_t *)"t1", 2},
            .namespace_ = {(const uint8_t *)"default", 7},
            .name = {(const uint8_t *)(how % 2 == 0 ? "cached" : "wide"), how % 2 == 0 ? 6 : 4},
            .shard = how % 6,
            .key = key,
            .value = {value, is_large ? sizeof value : how}};
        end = flx_operation_encode(&operation, end);
    }
    if (seed % 32 == 31) { /* a length that may not add up */
        bytes[3] = (uint8_t)(bytes[3] ^ take(in));
    }
    if (may_send(c, (size_t)(end - bytes) + FLX_FRAME_HEADER_BYTES)) {
        hx_frame(c->s, FLX_FLAG_OPERATIONS, bytes, (size_t)(end - bytes));
    }
}

static void send_message(world *w, client_stream *c, input *in)
{
#define OF "\"tenant_id\":\"t1\",\"namespace\":\"default\""
    const char *name = names[take(in) % 8];
    const uint8_t kind = take(in);
    const unsigned id = take(in);
    if (!may_send(c, 1024)) {
        return;
    }
    switch (kind % 22) {
    case 0:
        hx_json(c->s, "{\"type\":\"subscribe\"," OF ",\"stream\":\"%s\"%s}", name, starts[id % 8]);
        break;
    case 1:
        hx_json(c->s,
                "{\"type\":\"publish\"," OF
                ",\"stream\":\"%s\",\"payload\":\"aGVsbG8=\",\"ack\":\"per_message\","
                "\"request_id\":%u}",
                name, id);
        break;
    case 2:
        hx_json(c->s,
                "{\"type\":\"publish_idempotent\"," OF
                ",\"stream\":\"%s\",\"payloads\":[\"YQ==\"],\"producer_id\":%u,\"sequence\":%u,"
                "\"request_id\":9}",
                name, id % 3, id / 3 % 4);
        break;
    case 3:
        hx_json(c->s,
                "{\"type\":\"publish_if\"," OF
                ",\"stream\":\"%s\",\"payloads\":[\"YQ==\",\"\"],\"expected_offset\":%u,"
                "\"request_id\":9}",
                name, id % 8);
        break;
    case 4:
        hx_json(c->s,
                "{\"type\":\"cache_put\"," OF
                ",\"cache\":\"cached\",\"key\":\"k%u\",\"value\":\"dmFsdWU=\",\"ttl_ms\":%u}",
                id % 16, id * 40);
        break;
    case 5:
        hx_json(c->s, "{\"type\":\"cache_get\"," OF ",\"cache\":\"%s\",\"key\":\"k%u\"}",
                id % 3 == 0 ? "primary" : "cached", id % 16);
        break;
    case 6:
        hx_json(c->s,
                "{\"type\":\"cache_delete\"," OF
                ",\"cache\":\"cached\",\"key\":\"k%u\",\"request_id\":1}",
                id % 16);
        break;
    case 7:
        hx_json(c->s,
                "{\"type\":\"stream_read\"," OF
                ",\"stream\":\"%s\",\"shard\":%u,\"from\":%u,\"request_id\":5}",
                name, id % 5, id / 5);
        break;
    case 8:
        hx_json(c->s,
                "{\"type\":\"offset_for_time\"," OF
                ",\"stream\":\"%s\",\"shard\":%u,\"at_micros\":%u,\"request_id\":4}",
                name, id % 5, id);
        break;
    case 9:
        hx_json(c->s,
                "{\"type\":\"shard_owners\"," OF
                ",\"name\":\"%s\",\"kind\":\"stream\",\"request_id\":4}",
                name);
        break;
    case 10:
        hx_json(c->s, "{\"type\":\"auth\",\"tenant_id\":\"%s\",\"token\":\"%s\"}",
                id % 2 ? "t2" : "t1", id % 4 == 0 ? "x" : hx_token_other(w->h));
        break;
    case 11:
        hx_json(c->s, "{\"type\":\"levitate\",\"request_id\":%u}", id);
        break;
    case 12:
        hx_json(c->s, "{\"type\":\"producer_init\"," OF ",\"request_id\":%u}", id);
        break;
    case 13:
        hx_json(c->s, "{\"type\":\"error\",\"message\":\"m\"}");
        break;
    case 14:
    case 15:
        send_operations(c, id, in);
        break;
    case 16:
    case 17: {
        static const char *const watches[] = {
            "\"prefix\":\"\"",
            "\"prefix\":\"k1\",\"retained\":true",
            "\"key\":\"k1\"",
            "\"key\":\"k2\",\"retained\":true",
            "\"prefix\":\"k\",\"from_offset\":0",
            "\"prefix\":\"\",\"shard\":3,\"retained\":true",
            "\"key\":\"k1\",\"prefix\":\"\"",
            "\"key\":\"k3\",\"from_offset\":18446744073709551615"};
        hx_json(c->s, "{\"type\":\"cache_watch\"," OF ",\"cache\":\"%s\",%s}",
                id % 3 == 0 ? "cached" : "primary", watches[id % 8]);
        break;
    }
    case 18:
        hx_json(c->s,
                "{\"type\":\"counter_add\"," OF
                ",\"cache\":\"primary\",\"key\":\"k%u\",\"delta\":%lld,\"request_id\":1}",
                id % 4, id % 5 == 0 ? INT64_MAX : (long long)id - 100);
        break;
    case 19:
        hx_json(c->s,
                "{\"type\":\"cache_put\"," OF
                ",\"cache\":\"primary\",\"key\":\"k%u\",\"value\":\"dmFsdWU=\",\"ttl_ms\":%u}",
                id % 16, id * 40);
        break;
    default:
        hx_publish(c->s, name, id % 4 == 0 ? 0 : id, id % 3 == 0 ? "key" : NULL, "text",
                   1 + id % 9);
        break;
    }
}

static void authenticate(world *w, client_stream *c, input *in)
{
    const unsigned flags = (unsigned)take(in) << 8 | take(in);
    const uint8_t how = take(in);
    if (!may_send(c, 1024)) {
        return;
    }
    const char *token = how % 8 == 0 ? hx_token_bare(w->h) : hx_token(w->h);
    if (how % 4 == 1) {
        hx_json(c->s, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", token);
        return;
    }
    hx_json(c->s,
            "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":%u,"
            "\"client_features\":%u,\"client_features_hi\":%u}",
            token, how % 4 == 2 ? 0x3ffu : flags, how % 4 == 2 ? 0xffffffffu : flags * 65599u,
            how % 4 == 2 ? FLX_FEATURE_HI_OPERATIONS : 0u);
}

static void open_stream(world *w, input *in)
{
    const uint8_t which = take(in);
    if (w->conn_count == 0 || w->stream_count == STREAMS_MAX) {
        return;
    }
    hx_conn *conn = w->conns[which / 4 % w->conn_count];
    w->streams[w->stream_count++] =
        (client_stream){.s = hx_open(conn, which % 4 != 0), .conn = conn};
}

static void connect_one(world *w, input *in)
{
    const uint8_t which = take(in);
    if (w->conn_count == CONNS_MAX) {
        return;
    }
    hx_conn *conn = hx_connect_from(w->h, which % w->h->count, which / 64);
    if (conn != NULL) {
        w->conns[w->conn_count++] = conn;
    }
}

static void on_stream(world *w, uint8_t what, client_stream *c, input *in)
{
    switch (what) {
    case 0:
    case 1:
        authenticate(w, c, in);
        break;
    case 2:
    case 3:
    case 4:
        send_message(w, c, in);
        break;
    case 5: {
        const flx_slice bytes = take_bytes(in, take(in));
        if (may_send(c, bytes.len)) {
            hx_send(c->s, bytes.ptr, bytes.len);
        }
        break;
    }
    case 6: {
        const uint16_t flags = (uint16_t)(take(in) << 8);
        const uint8_t low = take(in);
        const flx_slice bytes = take_bytes(in, take(in));
        if (may_send(c, FLX_FRAME_HEADER_BYTES + bytes.len)) {
            hx_frame(c->s, flags | low, bytes.ptr, bytes.len);
        }
        break;
    }
    case 7:
        if (!c->ended) {
            c->ended = true;
            hx_fin(c->s);
        }
        break;
    case 8:
        c->ended = true;
        hx_reset(c->s);
        break;
    case 9:
        hx_stop(c->s);
        break;
    default:
        hx_stall(c->s, what % 2 == 0);
        break;
    }
}

static void on_event_stream(world *w, input *in)
{
    const uint8_t which = take(in);
    if (w->conn_count == 0) {
        return;
    }
    hx_stream *events = hx_accept(w->conns[which / 8 % w->conn_count]);
    if (events != NULL && which % 8 == 0) {
        hx_stop(events);
    } else if (events != NULL) {
        hx_stall(events, which % 2 == 0);
    }
}

/* Everybody reads again: whatever was stalled must come to rest. */
static void unstall(world *w)
{
    for (hx_conn *conn = w->h->conns; conn != NULL; conn = conn->next) {
        for (hx_stream *s = conn->streams; s != NULL; s = s->next) {
            hx_stall(s, false);
        }
    }
}

static void on_world(world *w, uint8_t what, input *in)
{
    switch (what) {
    case 0:
    case 1:
        hx_step(w->h);
        break;
    case 2:
        HX_MUST(hx_run(w->h));
        break;
    case 3:
        hx_advance_ms(w->h, (uint64_t)take(in) * take(in));
        break;
    case 4:
        on_event_stream(w, in);
        break;
    case 5:
        if (w->conn_count > 0) {
            hx_disconnect(w->conns[take(in) % w->conn_count]);
        }
        break;
    case 6:
        if (w->conn_count > 0) {
            hx_conn *conn = w->conns[take(in) % w->conn_count];
            hx_conn_credit(conn, take(in) % 3);
        }
        break;
    case 7:
        flx_alloc_fail_nth(0);
        hx_set_catalog(w->h, take(in) % 2 == 0);
        break;
    case 8:
        flx_worker_drain(w->h->workers[take(in) % w->h->count]);
        break;
    default:
        flx_alloc_fail_nth(1 + take(in));
        w->memory_failed = true;
        break;
    }
}

static void check_bounds(const world *w)
{
    for (size_t i = 0; i < w->stream_count; i++) {
        HX_MUST(hx_unconsumed(w->streams[i].s) <= WINDOW_BYTES);
    }
    for (uint32_t i = 0; i < w->h->count; i++) {
        const flx_worker *worker = w->h->workers[i];
        HX_MUST(worker->ring_bytes <= worker->ring_bytes_max + (64u << 10));
        HX_MUST(worker->mirror_bytes <= worker->ring_bytes_max + (64u << 10));
    }
}

static void check_nothing_is_left(world *w)
{
    for (uint32_t i = 0; i < w->h->count; i++) {
        const flx_worker_stats *stats = flx_worker_stats_of(w->h->workers[i]);
        HX_MUST(flx_stat_get(&stats->connections) == 0);
        HX_MUST(flx_stat_get(&stats->lanes) == 0);
        HX_MUST(flx_stat_get(&stats->subscriptions) == 0);
        HX_MUST(flx_stat_get(&stats->watches) == 0);
        HX_MUST(w->h->workers[i]->answers_out == 0);
        HX_MUST(w->h->workers[i]->mirror_bytes == 0);
        HX_MUST(w->memory_failed || w->h->workers[i]->jobs_out == 0);
        HX_MUST(w->h->workers[i]->publish_bytes == 0);
        HX_MUST(w->h->workers[i]->outbox_count == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, data + size};
    const uint8_t first = take(&in);
    const uint8_t second = take(&in);
    hx_options options = {.workers = 1 + first % 3,
                          .mailbox = first / 4 % 4 == 0 ? 2 : 64,
                          .record_publishers = (first & 64) != 0};
    if ((first & 128) != 0) {
        options.limits = (flx_worker_limits){.preauth_frame_bytes_max = 2048,
                                             .preauth_streams_max = 2,
                                             .publish_window = 2,
                                             .subscriptions_max = 4,
                                             .process_publish_bytes = 3000,
                                             .tenant_records_per_s = second % 2 == 0 ? 20 : 0,
                                             .shard_ring_frames = 4,
                                             .shard_ring_bytes = 4096,
                                             .ring_bytes = 8192,
                                             .outbox_mails = 3,
                                             .pull_bytes = 512,
                                             .block_ms = 50,
                                             .frame_events_max = 4};
    }
    world w = {.h = hx_new(&options)};
    HX_MUST(w.h != NULL);
    input begin = {(const uint8_t *)"\0\1\2", (const uint8_t *)"\0\1\2" + 3};
    connect_one(&w, &begin);
    open_stream(&w, &begin);
    for (int steps = 0; in.at < in.end && steps < 2000; steps++) {
        const uint8_t what = take(&in);
        if (what >= 208) {
            connect_one(&w, &in);
        } else if (what >= 176) {
            open_stream(&w, &in);
        } else if (what >= 128) {
            on_world(&w, what % 10, &in);
        } else if (w.stream_count > 0) {
            client_stream *c = &w.streams[take(&in) % w.stream_count];
            on_stream(&w, what % 12, c, &in);
        }
        check_bounds(&w);
    }
    flx_alloc_fail_nth(0);
    unstall(&w);
    HX_MUST(hx_run(w.h));
    for (size_t i = 0; i < w.conn_count; i++) {
        hx_disconnect(w.conns[i]);
    }
    hx_advance_ms(w.h, 10000);
    HX_MUST(hx_run(w.h));
    check_nothing_is_left(&w);
    hx_free(w.h);
    return 0;
}
