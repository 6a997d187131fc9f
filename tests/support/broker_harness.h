/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/broker_harness.h - workers of a broker in one thread, with a transport and a clock of
 * our own: what happens depends on the calls of the test and on nothing else.
 *
 *     hx *h = hx_new(&(hx_options){.workers = 2});
 *     hx_conn *conn = hx_connect(h, 0);
 *     hx_stream *s = hx_open(conn, true);
 *     hx_json(s, "{\"type\":\"auth\",...}");
 *     hx_run(h);                        runs ticks and moves mails until nothing moves
 *     assert_string_equal(hx_read_json(s), "{\"type\":\"ok\"}");
 *
 * Names of things: tenant t1, namespace default, streams "demo" (1 shard), "wide" (4 shards),
 * "newest", "oldest", "wait" (drop_new, drop_old, block), cache "primary" (1 shard), "cached" (4).
 * With a disk also durable ones: "logged" (synced), "logged4" (4 shards), "written", "accepted",
 * "kept" (synced, block) and "bounded" (synced, at most 40 records in segments as small as may be).
 * Durable caches: "safe" (1 shard), "safe4" (4).
 * A failed expectation of the harness itself stops the process.
 */
#ifndef FLX_TESTS_BROKER_HARNESS_H
#define FLX_TESTS_BROKER_HARNESS_H

#include "broker/worker.h"
#include "metadata/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hx hx;
typedef struct hx_conn hx_conn;
typedef struct hx_stream hx_stream;

typedef struct hx_options {
    uint32_t workers; /* 0: 1 */
    uint32_t mailbox; /* mails a mailbox holds; 0: 1024 */
    bool count_only;  /* keep no bytes of what is sent (benches) */
    bool record_publishers;
    uint32_t watch_features_hi; /* offered by hx_watch */
    const uint16_t *listener_ports;
    size_t listener_port_count;
    flx_worker_limits limits;
    flx_disk *disk;            /* borrowed; NULL: no durable streams */
    flx_promise cache_promise; /* of the durable cache "safe"; not durable: synced */
    uint64_t wall_ms;          /* how much later than usual it begins */
    bool manual_io; /* nothing is written until hx_io says so; otherwise as soon as it is asked */
} hx_options;

/* NULL only when an allocation was made to fail. */
hx *hx_new(const hx_options *options);
void hx_free(hx *h);

flx_worker *hx_worker(hx *h, uint32_t index);
/* Ticks, mails and pulls until nothing moves; false: not within a bound (a livelock). */
bool hx_run(hx *h);
/* One tick of each worker, mails delivered once. */
void hx_step(hx *h);
void hx_advance_ms(hx *h, uint64_t ms);
/* Does the waiting disk job at `index` of a worker (0: the oldest); false: fewer wait. */
bool hx_io(hx *h, uint32_t worker, size_t index);
size_t hx_io_waiting(const hx *h, uint32_t worker);
/* What was told of logs, as "opened t1/default/logged/0\n..."; and empties it. */
const char *hx_log_news(hx *h);
/* Deletes and makes again the durable streams (as others, with new ids). */
void hx_renew_durable(hx *h);
/* What a PATCH may change of a durable stream. */
typedef struct hx_policy {
    const char *stream;
    flx_ack_rule ack;
    flx_fsync_rule fsync;
    uint32_t fsync_ms;
    uint64_t retain_records;
} hx_policy;
/* A new catalog in which one durable stream has this policy; the others are as they were at first. */
void hx_set_policy(hx *h, const hx_policy *policy);
uint64_t hx_wall_us(const hx *h);
/* Mails that workers have posted and mailboxes have taken. */
uint64_t hx_mails(const hx *h);
/* A new catalog without (or with) the stream "demo" and the cache "primary". */
void hx_set_catalog(hx *h, bool with_demo);

/* A new catalog in which the cache "safe" promises something else. */
void hx_set_cache_promise(hx *h, const flx_promise *promise);

/* Tokens: everything in t1; nothing in t1; everything in t2; a broken one. */
const char *hx_token(const hx *h);
const char *hx_token_bare(const hx *h);
const char *hx_token_other(const hx *h);

/* A connection on that worker from 10.0.0.<source>; NULL when refused. */
hx_conn *hx_connect(hx *h, uint32_t worker);
hx_conn *hx_connect_from(hx *h, uint32_t worker, uint8_t source);
void hx_disconnect(hx_conn *conn);
/* 0: open; otherwise the application code the worker closed it with, plus 1. */
uint64_t hx_conn_closed(const hx_conn *conn);
/* How many uni streams the worker may open now. */
void hx_conn_credit(hx_conn *conn, uint32_t streams);

hx_stream *hx_open(hx_conn *conn, bool bidirectional);
hx *hx_of(const hx_stream *s);
/* A copy of its own exact size goes in, so that reading past it is seen. */
void hx_send(hx_stream *s, const void *bytes, size_t len);
/* The same without the copy, for benches: the worker reads the caller's bytes. */
void hx_feed(hx_stream *s, const void *bytes, size_t len);
void hx_fin(hx_stream *s);
void hx_reset(hx_stream *s); /* RESET_STREAM from the client */
void hx_stop(hx_stream *s);  /* STOP_SENDING from the client */
void hx_frame(hx_stream *s, uint16_t flags, const void *payload, size_t len);
void hx_json(hx_stream *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Legacy auth, and auth with flags and features; both run and expect the answer to be positive. */
void hx_auth(hx_stream *s);
void hx_auth_as(hx_stream *s, uint16_t flags, uint32_t features);
void hx_auth_hi(hx_stream *s, uint16_t flags, uint32_t features, uint32_t features_hi);
/* A binary publish of `count` payloads "<text>", "<text>+1", ...; request_id 0: no ack wanted. */
void hx_publish(hx_stream *s, const char *stream, uint64_t request_id, const char *key,
                const char *text, uint32_t count);
/* Bytes for a benchmark: a whole publish frame; returns its length. */
size_t hx_publish_frame(uint8_t *to, size_t cap, const char *stream, uint64_t request_id,
                        size_t payload_len, uint32_t count);

/* What the client sees of a stream. */
typedef struct hx_got {
    bool is_frame; /* false: there is no whole frame */
    uint16_t flags;
    const uint8_t *payload;
    size_t len;
} hx_got;
hx_got hx_read(hx_stream *s);
/* The next frame as text; "" when there is none. Valid until the next call. Must be JSON. */
const char *hx_read_json(hx_stream *s);
bool hx_is_finished(const hx_stream *s); /* the broker's FIN, everything read */
bool hx_is_reset(const hx_stream *s);
bool hx_is_stopped(const hx_stream *s);
/* Bytes sent by the client that the worker has not given back. */
size_t hx_unconsumed(const hx_stream *s);
/* Nothing leaves a stalled stream: what the worker writes stays queued, and is not pulled. */
void hx_stall(hx_stream *s, bool stalled);
size_t hx_queued(const hx_stream *s);
uint64_t hx_bytes_out(const hx_stream *s);
/* The newest uni stream the worker opened that was not asked for before; NULL: none. */
hx_stream *hx_accept(hx_conn *conn);

/* Subscribes on a stream of its own, with FIN; `extra` goes into the JSON (",\"start\":...").
 * Expects success; returns the event stream after its hello. */
hx_stream *hx_subscribe(hx_conn *conn, const char *stream, const char *extra, uint16_t flags,
                        uint32_t features);

/* Events of an event stream, one by one. */
typedef struct hx_event {
    bool is_event; /* false: nothing whole is there (or the stream ended) */
    bool is_lagged;
    uint64_t offset; /* of the event, or where to resume */
    char text[512];  /* payload, cut */
    size_t len;
} hx_event;
hx_event hx_next_event(hx_stream *s);

/* Watches a cache on a stream of its own, with FIN; `what` goes into the JSON ("\"prefix\":\"a\"").
 * Returns the event stream after its hello; NULL: `answer` says why not. */
hx_stream *hx_watch(hx_conn *conn, const char *cache, const char *what, char answer[512]);

/* What a watch is told, one by one. */
typedef struct hx_change {
    bool is_change; /* false: nothing whole is there (or the stream ended) */
    bool is_lagged;
    bool is_progress;
    bool is_mark;     /* the end of a batch: all below `offset` was told */
    bool is_retained; /* of a batch of the snapshot */
    bool has_value;   /* false: a delete */
    uint64_t offset;  /* of the change, or where to resume */
    uint64_t expires; /* ms; 0: never */
    char key[64];
    char value[512]; /* cut */
    size_t len;
} hx_change;
hx_change hx_next_told(hx_stream *s);
hx_change hx_next_change(hx_stream *s); /* the same, past the marks */

#endif /* FLX_TESTS_BROKER_HARNESS_H */
