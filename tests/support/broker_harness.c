/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/broker_harness.c - see the header. */
#include "broker_harness.h"

#include "authz/issuer.h"
#include "authz/token.h"
#include "common/alloc.h"
#include "crypto/jwks.h"
#include "crypto/key.h"
#include "metadata/catalog_builder.h"
#include "metadata/rules.h"
#include "wire/event.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: harness: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct mailbox {
    unsigned char (*mails)[FLX_WORKER_MAIL_BYTES];
    uint32_t cap, head, tail;
} mailbox;

struct hx_stream {
    hx_stream *next;
    hx_conn *conn;
    flx_lane *lane; /* NULL: closed for the worker */
    bool bidi, ours, accepted, stalled, want_pull;
    bool fin_in, fin_out, reset_out, stopped, dead;
    uint8_t *out;                            /* what the worker wrote */
    size_t out_len, out_cap, released, read; /* [read, released): the client's; then queued */
    size_t queued_only;                      /* with count_only */
    uint64_t total;
    uint8_t *in; /* what the client sent and could not hand over while it had no lane */
    size_t unconsumed;
    uint8_t *frame; /* the frame handed out last */
    /* events being read */
    flx_event_iter iter;
    bool iterating;
    uint8_t *event_frame;
};

struct hx_conn {
    hx_conn *next;
    hx *h;
    uint32_t worker;
    flx_peer *peer;
    hx_stream *streams;
    uint32_t credit;
    uint64_t close_code; /* +1 */
    bool stirred;        /* a stream of it may have something to do */
    bool dead;
};

struct hx {
    uint32_t count;
    hx_options options;
    flx_worker *workers[FLX_WORKERS_MAX];
    flx_verifier *verifiers[FLX_WORKERS_MAX];
    flx_seats *seats; /* NULL when memory was out: that is allowed */
    mailbox boxes[FLX_WORKERS_MAX];
    flx_keyset *keyset;
    flx_catalog *catalog;
    uint64_t version;
    char *tokens[3];
    hx_conn *conns;
    uint64_t now_ns, wall_us;
    uint64_t mails;
    bool moved;
    flx_store *logs;
    flx_io *io[FLX_WORKERS_MAX];
    uint32_t durable_ids; /* the first id of durable streams */
    char news[8192];
    char news_read[8192];
};

/* The tests' own memory never fails. */
static void *xalloc(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    MUST(memory != NULL);
    return memory;
}

/* ---- the transport ---- */

static void stir(hx_conn *conn)
{
    conn->stirred = true;
    conn->h->moved = true;
}

static flx_status link_write(void *stream, flx_range range)
{
    hx_stream *s = stream;
    const size_t len = flx_range_len(&range);
    if (s->fin_out || s->reset_out || s->dead) {
        flx_chunk_unref(range.chunk);
        return FLX_ERR_CLOSED;
    }
    s->total += len;
    stir(s->conn);
    if (s->conn->h->options.count_only) {
        s->queued_only += len;
    } else {
        if (s->out_len + len > s->out_cap) {
            s->out_cap = (s->out_len + len) * 2;
            s->out = realloc(s->out, s->out_cap);
            MUST(s->out != NULL);
        }
        memcpy(s->out + s->out_len, range.chunk->data + range.start, len);
        s->out_len += len;
    }
    flx_chunk_unref(range.chunk);
    return FLX_OK;
}

static void link_finish(void *stream)
{
    hx_stream *s = stream;
    MUST(!s->fin_out);
    s->fin_out = true;
    stir(s->conn);
}

static void link_reset(void *stream, uint64_t code)
{
    (void)code;
    hx_stream *s = stream;
    s->reset_out = true;
    stir(s->conn);
}

static void link_stop(void *stream, uint64_t code)
{
    (void)code;
    hx_stream *s = stream;
    s->stopped = true;
    s->conn->stirred = true;
}

static void link_consume(void *stream, size_t len)
{
    hx_stream *s = stream;
    MUST(s->unconsumed >= len);
    s->unconsumed -= len;
    s->conn->h->moved = true;
}

static void link_want_pull(void *stream, bool want)
{
    hx_stream *s = stream;
    if (want && !s->want_pull) {
        stir(s->conn);
    }
    s->want_pull = want;
}

size_t hx_queued(const hx_stream *s)
{
    return s->conn->h->options.count_only ? s->queued_only : s->out_len - s->released;
}

static size_t link_queued(const void *stream)
{
    return hx_queued(stream);
}

static hx_stream *stream_new(hx_conn *conn)
{
    hx_stream *s = xalloc(sizeof *s);
    s->conn = conn;
    hx_stream **link = &conn->streams;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = s;
    return s;
}

static flx_status link_open_uni(void *conn_handle, flx_lane *lane, void **ret_stream)
{
    hx_conn *conn = conn_handle;
    if (conn->close_code != 0) {
        return FLX_ERR_CLOSED;
    }
    if (conn->credit == 0) {
        return FLX_ERR_AGAIN;
    }
    conn->credit--;
    hx_stream *s = stream_new(conn);
    s->ours = true;
    s->lane = lane;
    *ret_stream = s;
    return FLX_OK;
}

static void link_conn_close(void *conn_handle, uint64_t code, const char *reason)
{
    hx_conn *conn = conn_handle;
    MUST(reason != NULL);
    if (conn->close_code == 0) {
        conn->close_code = code + 1;
    }
    conn->h->moved = true;
}

static bool post(void *arg, uint32_t to, const void *mail, size_t len)
{
    hx *h = arg;
    mailbox *box = &h->boxes[to];
    MUST(len <= FLX_WORKER_MAIL_BYTES);
    if (box->tail - box->head == box->cap) {
        return false;
    }
    memcpy(box->mails[box->tail++ % box->cap], mail, len);
    h->mails++;
    h->moved = true;
    return true;
}

/* ---- set-up ---- */

static flx_slice str(const char *text)
{
    return (flx_slice){(const uint8_t *)text, strlen(text)};
}

static flx_status add_stream(flx_catalog_builder *builder, uint32_t id, const char *name,
                             uint32_t shards, flx_slow_policy policy)
{
    flx_stream_info info;
    flx_stream_info_init(&info, "t1", "default", name);
    info.id = id;
    info.shards = shards;
    info.slow_policy = policy;
    return flx_catalog_builder_stream(builder, &info, NULL);
}

typedef struct durable_row {
    const char *name;
    uint32_t shards;
    flx_ack_rule ack;
    flx_slow_policy policy;
    uint64_t retain_records;
} durable_row;

static bool add_durable(flx_catalog_builder *builder, uint32_t first_id)
{
    static const durable_row rows[] = {
        {"logged", 1, FLX_ACK_SYNCED, FLX_SLOW_LAG, 0},
        {"logged4", 4, FLX_ACK_SYNCED, FLX_SLOW_LAG, 0},
        {"written", 1, FLX_ACK_WRITTEN, FLX_SLOW_LAG, 0},
        {"accepted", 1, FLX_ACK_ACCEPTED, FLX_SLOW_LAG, 0},
        {"kept", 1, FLX_ACK_SYNCED, FLX_SLOW_BLOCK, 0},
        {"bounded", 1, FLX_ACK_SYNCED, FLX_SLOW_LAG, 40},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        flx_stream_info info;
        flx_stream_info_init(&info, "t1", "default", rows[i].name);
        info.id = first_id + (uint32_t)i;
        info.shards = rows[i].shards;
        info.slow_policy = rows[i].policy;
        info.promise = flx_promise_durable(rows[i].ack);
        info.retention_records = rows[i].retain_records;
        if (flx_catalog_builder_stream(builder, &info, NULL) != FLX_OK) {
            return false;
        }
    }
    return true;
}

static flx_status add_cache(flx_catalog_builder *builder, uint32_t id, const char *name,
                            uint32_t shards, flx_promise promise)
{
    flx_cache_info info;
    flx_cache_info_init(&info, "t1", "default", name);
    info.id = id;
    info.shards = shards;
    info.promise = promise;
    return flx_catalog_builder_cache(builder, &info, NULL);
}

static flx_catalog *catalog_new(hx *h, bool with_demo)
{
    const flx_promise none = {0};
    const flx_promise synced = flx_promise_durable(FLX_ACK_SYNCED);
    flx_catalog *catalog = NULL;
    flx_catalog_builder *builder = flx_catalog_builder_new();
    bool ok = builder != NULL;
    ok = ok && (!with_demo || add_stream(builder, 1, "demo", 1, FLX_SLOW_LAG) == FLX_OK);
    ok = ok && add_stream(builder, 2, "wide", 4, FLX_SLOW_LAG) == FLX_OK;
    ok = ok && add_stream(builder, 3, "newest", 1, FLX_SLOW_DROP_NEW) == FLX_OK;
    ok = ok && add_stream(builder, 4, "oldest", 1, FLX_SLOW_DROP_OLD) == FLX_OK;
    ok = ok && add_stream(builder, 5, "wait", 1, FLX_SLOW_BLOCK) == FLX_OK;
    ok = ok && (h->options.disk == NULL || add_durable(builder, h->durable_ids));
    ok = ok && (!with_demo || add_cache(builder, 1, "primary", 1, none) == FLX_OK);
    ok = ok && add_cache(builder, 2, "cached", 4, none) == FLX_OK;
    if (h->options.disk != NULL) {
        const flx_promise *asked = &h->options.cache_promise;
        ok = ok && add_cache(builder, h->durable_ids, "safe", 1,
                             asked->durable ? *asked : synced) == FLX_OK;
        ok = ok && add_cache(builder, h->durable_ids + 1, "safe4", 4, synced) == FLX_OK;
    }
    ok = ok && flx_catalog_builder_finish(builder, ++h->version, &catalog, NULL) == FLX_OK;
    flx_catalog_builder_free(builder);
    return ok ? catalog : NULL;
}

static char *mint(const flx_signing_key *key, const char *tenant, const char *const *perms,
                  size_t count, uint64_t wall_s)
{
    flx_secret secret = {0};
    const flx_token_claims claims = {.tenant = tenant,
                                     .subject = "somebody",
                                     .perms = perms,
                                     .perm_count = count,
                                     .ttl_s = 86400};
    if (flx_issuer_mint(key, &claims, wall_s, &secret, NULL) != FLX_OK) {
        return NULL;
    }
    char *text = xalloc(secret.len + 1);
    memcpy(text, secret.bytes, secret.len);
    flx_secret_done(&secret);
    return text;
}

static bool tokens_new(hx *h)
{
    static const char *const all[] = {"stream.publish:stream:t1/*/*",
                                      "stream.subscribe:stream:t1/*/*", "cache.read:cache:t1/*/*",
                                      "cache.write:cache:t1/*/*"};
    static const char *const bare[] = {"stream.publish:stream:t1/default/elsewhere"};
    static const char *const other[] = {"stream.publish:stream:t2/*/*",
                                        "stream.subscribe:stream:t2/*/*"};
    static const uint8_t seed[32] = {7, 7, 7};
    flx_signing_key *key = NULL;
    char *jwks = NULL;
    if (flx_signing_key_from_seed((flx_slice){seed, sizeof seed}, &key, NULL) != FLX_OK) {
        return false;
    }
    flx_public_key *keys[1] = {flx_signing_key_public(key)};
    const uint64_t wall_s = h->wall_us / 1000000;
    bool ok = flx_jwks_encode(keys, 1, &jwks, NULL) == FLX_OK &&
              flx_keyset_parse_jwks(NULL, str(jwks), &h->keyset, NULL) == FLX_OK;
    flx_free(jwks);
    ok = ok && (h->tokens[0] = mint(key, "t1", all, 4, wall_s)) != NULL &&
         (h->tokens[1] = mint(key, "t1", bare, 1, wall_s)) != NULL &&
         (h->tokens[2] = mint(key, "t2", other, 2, wall_s)) != NULL;
    flx_signing_key_unref(key);
    return ok;
}

static void on_news(void *arg, const flx_log_news *news)
{
    static const char *const words[] = {"opened", "damaged", "full",    "room",
                                        "failed", "unread",  "removed", "left"};
    hx *h = arg;
    const size_t len = strlen(h->news);
    (void)snprintf(h->news + len, sizeof h->news - len, "%s %s\n", words[news->kind], news->label);
}

static bool worker_new(hx *h, uint32_t index)
{
    const flx_verifier_options verifier = {
        .issuer = FLX_TOKEN_ISSUER, .audience = FLX_TOKEN_AUDIENCE_BROKER, .leeway_s = 60};
    mailbox *box = &h->boxes[index];
    box->cap = h->options.mailbox == 0 ? 1024 : h->options.mailbox;
    box->mails = xalloc(box->cap * sizeof *box->mails);
    if (flx_verifier_new(&verifier, h->keyset, &h->verifiers[index], NULL) != FLX_OK) {
        return false;
    }
    if (h->logs != NULL && flx_io_manual_new(&h->io[index], NULL) != FLX_OK) {
        return false;
    }
    const flx_worker_options options = {
        .index = index,
        .count = h->count,
        .link = {.write_take = link_write,
                 .finish = link_finish,
                 .reset = link_reset,
                 .stop = link_stop,
                 .consume = link_consume,
                 .want_pull = link_want_pull,
                 .queued = link_queued,
                 .open_uni = link_open_uni,
                 .conn_close = link_conn_close},
        .post = post,
        .post_arg = h,
        .verifier = h->verifiers[index],
        .seats = h->seats,
        .catalog = h->catalog,
        .seed = 42,
        .listener_ports = h->options.listener_ports,
        .listener_port_count = h->options.listener_port_count,
        .record_publishers = h->options.record_publishers,
        .limits = h->options.limits,
        .logs = h->logs,
        .io = h->io[index],
        .log_news = on_news,
        .log_news_arg = h,
    };
    if (flx_worker_new(&options, &h->workers[index], NULL) != FLX_OK) {
        return false;
    }
    flx_worker_clock(h->workers[index], h->now_ns, h->wall_us);
    return true;
}

hx *hx_new(const hx_options *options)
{
    hx *h = xalloc(sizeof *h);
    h->options = *options;
    h->count = options->workers == 0 ? 1 : options->workers;
    h->now_ns = UINT64_C(1000000000);
    h->wall_us = UINT64_C(1700000000000000) + options->wall_ms * 1000;
    h->durable_ids = 10;
    (void)flx_seats_new(&h->seats, NULL);
    bool ok = tokens_new(h) && (h->catalog = catalog_new(h, true)) != NULL;
    ok = ok && (options->disk == NULL || flx_store_open(options->disk, FLX_STORE_CREATE, h->wall_us,
                                                        &h->logs, NULL) == FLX_OK);
    for (uint32_t i = 0; ok && i < h->count; i++) {
        ok = worker_new(h, i);
    }
    if (!ok) {
        hx_free(h);
        return NULL;
    }
    return h;
}

static void stream_close(hx_stream *s)
{
    if (s->lane != NULL) {
        flx_lane *lane = s->lane;
        s->lane = NULL;
        flx_worker_stream_closed(s->conn->h->workers[s->conn->worker], lane);
    }
    s->dead = true;
}

void hx_disconnect(hx_conn *conn)
{
    if (conn->dead) {
        return;
    }
    for (hx_stream *s = conn->streams; s != NULL; s = s->next) {
        stream_close(s);
    }
    conn->dead = true;
    flx_worker_conn_closed(conn->h->workers[conn->worker], conn->peer);
}

void hx_free(hx *h)
{
    for (hx_conn *conn = h->conns; conn != NULL;) {
        hx_conn *next = conn->next;
        hx_disconnect(conn);
        for (hx_stream *s = conn->streams; s != NULL;) {
            hx_stream *after = s->next;
            free(s->out);
            free(s->frame);
            free(s->event_frame);
            free(s);
            s = after;
        }
        free(conn);
        conn = next;
    }
    for (uint32_t i = 0; i < h->count; i++) {
        mailbox *box = &h->boxes[i];
        for (; box->mails != NULL && box->head != box->tail; box->head++) {
            flx_worker_mail_discard(box->mails[box->head % box->cap]);
        }
    }
    for (uint32_t i = 0; i < h->count; i++) {
        mailbox *box = &h->boxes[i];
        flx_worker_free(h->workers[i]);
        for (; box->mails != NULL && box->head != box->tail; box->head++) {
            flx_worker_mail_discard(box->mails[box->head % box->cap]);
        }
        flx_verifier_free(h->verifiers[i]);
    }
    for (uint32_t i = 0; i < h->count; i++) {
        free(h->boxes[i].mails);
        flx_io_free(h->io[i]);
    }
    flx_store_free(h->logs);
    h->seats = flx_seats_free(h->seats);
    flx_keyset_unref(h->keyset);
    flx_catalog_unref(h->catalog);
    for (size_t i = 0; i < 3; i++) {
        free(h->tokens[i]);
    }
    free(h);
}

flx_worker *hx_worker(hx *h, uint32_t index)
{
    return h->workers[index];
}

const char *hx_token(const hx *h)
{
    return h->tokens[0];
}

const char *hx_token_bare(const hx *h)
{
    return h->tokens[1];
}

const char *hx_token_other(const hx *h)
{
    return h->tokens[2];
}

void hx_set_catalog(hx *h, bool with_demo)
{
    flx_catalog *catalog = catalog_new(h, with_demo);
    MUST(catalog != NULL);
    for (uint32_t i = 0; i < h->count; i++) {
        flx_worker_set_catalog(h->workers[i], catalog);
    }
    flx_catalog_unref(h->catalog);
    h->catalog = catalog;
}

void hx_renew_durable(hx *h)
{
    h->durable_ids += 100;
    hx_set_catalog(h, true);
}

void hx_set_cache_promise(hx *h, const flx_promise *promise)
{
    h->options.cache_promise = *promise;
    hx_set_catalog(h, true);
}

const char *hx_log_news(hx *h)
{
    memcpy(h->news_read, h->news, sizeof h->news);
    h->news[0] = '\0';
    return h->news_read;
}

bool hx_io(hx *h, uint32_t worker, size_t index)
{
    return h->io[worker] != NULL && flx_io_manual_step(h->io[worker], index);
}

size_t hx_io_waiting(const hx *h, uint32_t worker)
{
    return h->io[worker] == NULL ? 0 : flx_io_in_flight(h->io[worker]);
}

/* ---- time and motion ---- */

void hx_advance_ms(hx *h, uint64_t ms)
{
    h->now_ns += ms * 1000000;
    h->wall_us += ms * 1000;
    for (uint32_t i = 0; i < h->count; i++) {
        flx_worker_clock(h->workers[i], h->now_ns, h->wall_us);
    }
}

uint64_t hx_wall_us(const hx *h)
{
    return h->wall_us;
}

uint64_t hx_mails(const hx *h)
{
    return h->mails;
}

static void flush_stream(hx *h, hx_stream *s)
{
    if (s->stalled || s->lane == NULL) {
        return;
    }
    if (hx_queued(s) > 0) {
        h->moved = true;
        s->released = s->out_len;
        s->queued_only = 0;
    }
    for (int rounds = 0; s->want_pull && !s->reset_out && hx_queued(s) < 65536 && rounds < 64;
         rounds++) {
        h->moved = true;
        flx_worker_stream_pull(h->workers[s->conn->worker], s->lane);
        s->released = s->out_len;
        s->queued_only = 0;
    }
    s->released = s->out_len;
    s->queued_only = 0;
    const bool out_done = s->fin_out || s->reset_out || (!s->bidi && !s->ours);
    const bool in_done = s->fin_in || s->stopped || s->ours;
    if (out_done && in_done && s->lane != NULL) {
        stream_close(s);
    }
}

void hx_step(hx *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        while (!h->options.manual_io && hx_io(h, i, 0)) {
            h->moved = true;
        }
        mailbox *box = &h->boxes[i];
        for (uint32_t left = box->tail - box->head; left > 0; left--) {
            unsigned char mail[FLX_WORKER_MAIL_BYTES];
            memcpy(mail, box->mails[box->head++ % box->cap], sizeof mail);
            h->moved = true;
            flx_worker_mail(h->workers[i], mail);
        }
        flx_worker_tick(h->workers[i]);
        h->moved = h->moved || (!h->options.manual_io && hx_io_waiting(h, i) > 0);
        for (hx_conn *conn = h->conns; conn != NULL; conn = conn->next) {
            if (conn->worker != i || conn->dead) {
                continue;
            }
            const bool stirred = conn->stirred;
            conn->stirred = false; /* before: flushing one may stir another */
            for (hx_stream *s = stirred ? conn->streams : NULL; s != NULL; s = s->next) {
                flush_stream(h, s);
                conn->stirred |= s->want_pull;
            }
            if (conn->close_code != 0) {
                hx_disconnect(conn);
            }
        }
    }
}

bool hx_run(hx *h)
{
    for (int i = 0; i < 2000; i++) {
        h->moved = false;
        hx_step(h);
        if (!h->moved) {
            return true;
        }
    }
    return false;
}

/* ---- the client ---- */

hx_conn *hx_connect_from(hx *h, uint32_t worker, uint8_t source)
{
    const uint8_t address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, source};
    hx_conn *conn = xalloc(sizeof *conn);
    conn->h = h;
    conn->worker = worker;
    conn->credit = 1024;
    if (flx_worker_conn_opened(h->workers[worker], conn, address, &conn->peer) != FLX_OK) {
        free(conn);
        return NULL;
    }
    conn->next = h->conns;
    h->conns = conn;
    return conn;
}

hx_conn *hx_connect(hx *h, uint32_t worker)
{
    static uint8_t source = 0;
    source = (uint8_t)(source % 250 + 1);
    return hx_connect_from(h, worker, source);
}

uint64_t hx_conn_closed(const hx_conn *conn)
{
    return conn->close_code;
}

void hx_conn_credit(hx_conn *conn, uint32_t streams)
{
    conn->credit = streams;
    if (streams > 0 && !conn->dead) {
        flx_worker_streams_available(conn->h->workers[conn->worker], conn->peer);
    }
}

hx_stream *hx_open(hx_conn *conn, bool bidirectional)
{
    hx_stream *s = stream_new(conn);
    s->bidi = bidirectional;
    if (conn->dead || flx_worker_stream_opened(conn->h->workers[conn->worker], conn->peer, s,
                                               bidirectional, &s->lane) != FLX_OK) {
        s->lane = NULL;
        s->dead = true;
    }
    return s;
}

hx *hx_of(const hx_stream *s)
{
    return s->conn->h;
}

void hx_feed(hx_stream *s, const void *bytes, size_t len)
{
    if (s->lane != NULL) {
        s->unconsumed += len;
        flx_worker_stream_data(s->conn->h->workers[s->conn->worker], s->lane,
                               (flx_slice){bytes, len}, false);
    }
}

void hx_send(hx_stream *s, const void *bytes, size_t len)
{
    uint8_t *copy = xalloc(len);
    memcpy(copy, bytes, len);
    hx_feed(s, copy, len);
    free(copy);
}

void hx_fin(hx_stream *s)
{
    s->fin_in = true;
    s->conn->stirred = true;
    if (s->lane != NULL) {
        flx_worker_stream_data(s->conn->h->workers[s->conn->worker], s->lane, (flx_slice){NULL, 0},
                               true);
    }
}

void hx_reset(hx_stream *s)
{
    s->fin_in = true;
    s->conn->stirred = true;
    if (s->lane != NULL) {
        flx_worker_stream_reset(s->conn->h->workers[s->conn->worker], s->lane, 7);
    }
}

void hx_stop(hx_stream *s)
{
    if (s->lane != NULL) {
        flx_worker_stream_stopped(s->conn->h->workers[s->conn->worker], s->lane, 7);
    }
}

void hx_frame(hx_stream *s, uint16_t flags, const void *payload, size_t len)
{
    uint8_t *bytes = xalloc(FLX_FRAME_HEADER_BYTES + len);
    flx_frame_header_encode(flags, (uint32_t)len, bytes);
    if (len > 0) {
        memcpy(bytes + FLX_FRAME_HEADER_BYTES, payload, len);
    }
    hx_send(s, bytes, FLX_FRAME_HEADER_BYTES + len);
    free(bytes);
}

void hx_json(hx_stream *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    const int len = vasprintf(&text, format, args);
    va_end(args);
    MUST(len >= 0);
    hx_frame(s, 0, text, (size_t)len);
    free(text);
}

void hx_auth(hx_stream *s)
{
    hx_json(s, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", hx_token(s->conn->h));
    (void)hx_run(s->conn->h);
    (void)hx_read(s);
}

void hx_auth_as(hx_stream *s, uint16_t flags, uint32_t features)
{
    hx_auth_hi(s, flags, features, 0);
}

void hx_auth_hi(hx_stream *s, uint16_t flags, uint32_t features, uint32_t features_hi)
{
    hx_json(s,
            "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\",\"client_flags\":%u,"
            "\"client_features\":%u,\"client_features_hi\":%u}",
            hx_token(s->conn->h), (unsigned)flags, (unsigned)features, (unsigned)features_hi);
    (void)hx_run(s->conn->h);
    (void)hx_read(s);
}

static size_t publish_encode(uint8_t *to, const flx_publish *publish)
{
    const size_t head = flx_publish_head_bytes(publish);
    flx_frame_header_encode(publish->flags, (uint32_t)(head + publish->region.len), to);
    uint8_t *end = flx_publish_head_encode(publish, to + FLX_FRAME_HEADER_BYTES);
    memcpy(end, publish->region.ptr, publish->region.len);
    return FLX_FRAME_HEADER_BYTES + head + publish->region.len;
}

static flx_publish publish_of(const char *stream, uint64_t request_id, const char *key,
                              uint32_t count, flx_slice region)
{
    flx_publish publish = {.flags = FLX_FLAG_BINARY_PUBLISH_BATCH,
                           .tenant_id = str("t1"),
                           .namespace_ = str("default"),
                           .stream = str(stream),
                           .count = count,
                           .region = region};
    if (request_id != 0) {
        publish.flags |= FLX_FLAG_BINARY_PUBLISH_ACKED;
        publish.ack = FLX_ACK_PER_BATCH;
        publish.request_id = request_id;
    }
    if (key != NULL) {
        publish.flags |= FLX_FLAG_BINARY_PUBLISH_KEYED;
        publish.key = str(key);
    }
    return publish;
}

void hx_publish(hx_stream *s, const char *stream, uint64_t request_id, const char *key,
                const char *text, uint32_t count)
{
    const size_t each = strlen(text) + 16;
    uint8_t *region = xalloc(count * (each + 4));
    uint8_t *end = region;
    for (uint32_t i = 0; i < count; i++) {
        char *payload = xalloc(each);
        (void)snprintf(payload, each, i == 0 ? "%s" : "%s+%u", text, i);
        end = flx_records_put(end, str(payload));
        free(payload);
    }
    const flx_publish publish =
        publish_of(stream, request_id, key, count, (flx_slice){region, (size_t)(end - region)});
    uint8_t *bytes =
        xalloc(FLX_FRAME_HEADER_BYTES + flx_publish_head_bytes(&publish) + publish.region.len);
    hx_send(s, bytes, publish_encode(bytes, &publish));
    free(bytes);
    free(region);
}

size_t hx_publish_frame(uint8_t *to, size_t cap, const char *stream, uint64_t request_id,
                        size_t payload_len, uint32_t count)
{
    uint8_t *region = xalloc(count * (payload_len + 4));
    uint8_t *payload = xalloc(payload_len);
    uint8_t *end = region;
    for (uint32_t i = 0; i < count; i++) {
        end = flx_records_put(end, (flx_slice){payload, payload_len});
    }
    const flx_publish publish =
        publish_of(stream, request_id, NULL, count, (flx_slice){region, (size_t)(end - region)});
    MUST(FLX_FRAME_HEADER_BYTES + flx_publish_head_bytes(&publish) + publish.region.len <= cap);
    const size_t len = publish_encode(to, &publish);
    free(region);
    free(payload);
    return len;
}

hx_got hx_read(hx_stream *s)
{
    flx_frame_header header;
    const flx_slice rest = {s->out == NULL ? (const uint8_t *)"" : s->out + s->read,
                            s->released - s->read};
    if (flx_frame_header_decode(rest, FLX_FRAME_BYTES_MAX, &header) != FLX_FRAME_CHECK_OK ||
        rest.len < FLX_FRAME_HEADER_BYTES + (size_t)header.len) {
        return (hx_got){0};
    }
    free(s->frame);
    s->frame = xalloc(header.len + 1);
    memcpy(s->frame, rest.ptr + FLX_FRAME_HEADER_BYTES, header.len);
    s->read += FLX_FRAME_HEADER_BYTES + header.len;
    return (hx_got){true, header.flags, s->frame, header.len};
}

const char *hx_read_json(hx_stream *s)
{
    const hx_got got = hx_read(s);
    if (!got.is_frame) {
        return "";
    }
    MUST(got.flags == 0);
    return (const char *)got.payload;
}

bool hx_is_finished(const hx_stream *s)
{
    return s->fin_out && s->read == s->out_len;
}

bool hx_is_reset(const hx_stream *s)
{
    return s->reset_out;
}

bool hx_is_stopped(const hx_stream *s)
{
    return s->stopped;
}

size_t hx_unconsumed(const hx_stream *s)
{
    return s->unconsumed;
}

void hx_stall(hx_stream *s, bool stalled)
{
    s->stalled = stalled;
    s->conn->stirred = true;
}

uint64_t hx_bytes_out(const hx_stream *s)
{
    return s->total;
}

hx_stream *hx_accept(hx_conn *conn)
{
    hx_stream *newest = NULL;
    for (hx_stream *s = conn->streams; s != NULL; s = s->next) {
        if (s->ours && !s->accepted) {
            newest = s;
        }
    }
    if (newest != NULL) {
        newest->accepted = true;
    }
    return newest;
}

hx_stream *hx_subscribe(hx_conn *conn, const char *stream, const char *extra, uint16_t flags,
                        uint32_t features)
{
    hx_stream *s = hx_open(conn, true);
    hx_auth_as(s, flags, features);
    hx_json(s,
            "{\"type\":\"subscribe\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
            "\"stream\":\"%s\"%s}",
            stream, extra);
    hx_fin(s);
    (void)hx_run(conn->h);
    if (strstr(hx_read_json(s), "\"subscribed\"") == NULL) {
        return NULL;
    }
    hx_stream *events = hx_accept(conn);
    if (events != NULL && strstr(hx_read_json(events), "event_stream_hello") == NULL) {
        return NULL;
    }
    return events;
}

hx_event hx_next_event(hx_stream *s)
{
    hx_event event = {0};
    flx_event_record record;
    while (true) {
        if (s->iterating && flx_event_iter_next(&s->iter, &record)) {
            event.is_event = true;
            event.offset = record.offset;
            event.len = record.payload.len;
            const size_t len = record.payload.len < sizeof event.text - 1 ? record.payload.len
                                                                          : sizeof event.text - 1;
            memcpy(event.text, record.payload.ptr, len);
            return event;
        }
        s->iterating = false;
        const hx_got got = hx_read(s);
        if (!got.is_frame) {
            return event;
        }
        if (got.flags == 0) {
            const char *from = strstr((const char *)got.payload, "\"resume_from\":");
            MUST(from != NULL);
            event.is_lagged = true;
            event.offset = strtoull(from + strlen("\"resume_from\":"), NULL, 10);
            return event;
        }
        free(s->event_frame);
        s->event_frame = s->frame;
        s->frame = NULL;
        flx_event_batch batch;
        MUST(flx_event_batch_decode(got.flags, (flx_slice){got.payload, got.len}, &batch, NULL) ==
             FLX_OK);
        flx_event_iter_init(&s->iter, &batch);
        s->iterating = true;
    }
}

hx_stream *hx_watch(hx_conn *conn, const char *cache, const char *what, char answer[512])
{
    hx_stream *s = hx_open(conn, true);
    hx_auth_hi(s, 0x7fff, 0xffffffff, conn->h->options.watch_features_hi);
    hx_json(s,
            "{\"type\":\"cache_watch\",\"tenant_id\":\"t1\",\"namespace\":\"default\","
            "\"cache\":\"%s\",%s}",
            cache, what);
    hx_fin(s);
    (void)hx_run(conn->h);
    (void)snprintf(answer, 512, "%s", hx_read_json(s));
    if (strstr(answer, "cache_watch_started") == NULL) {
        return NULL;
    }
    hx_stream *events = hx_accept(conn);
    if (events != NULL && strstr(hx_read_json(events), "event_stream_hello") == NULL) {
        return NULL;
    }
    return events;
}

static void change_take(hx_change *change, const struct flx_msg_cache_event *event)
{
    const size_t len =
        event->value.len < sizeof change->value ? event->value.len : sizeof change->value - 1;
    MUST(event->key.len < sizeof change->key);
    memcpy(change->key, event->key.ptr, event->key.len);
    if (event->has_value && len > 0) {
        memcpy(change->value, event->value.ptr, len);
    }
    change->is_change = true;
    change->has_value = event->has_value;
    change->len = event->has_value ? event->value.len : 0;
    change->offset = event->offset;
    change->expires = event->expires_at_millis;
}

hx_change hx_next_change(hx_stream *s)
{
    hx_change change = {0};
    const hx_got got = hx_read(s);
    if (!got.is_frame) {
        return change;
    }
    flx_arena arena;
    flx_arena_init(&arena, 1 << 20);
    flx_msg msg;
    MUST(got.flags == 0 && flx_msg_decode(&arena, s->frame, got.len, &msg, NULL) == FLX_OK);
    if (msg.type == FLX_MSG_CACHE_WATCH_PROGRESS) {
        change.is_progress = true;
        change.offset = msg.cache_watch_progress.resume_from;
    } else if (msg.type == FLX_MSG_CACHE_WATCH_LAGGED) {
        change.is_lagged = true;
        change.offset = msg.cache_watch_lagged.resume_from;
    } else {
        MUST(msg.type == FLX_MSG_CACHE_EVENT);
        change_take(&change, &msg.cache_event);
    }
    flx_arena_done(&arena);
    return change;
}
