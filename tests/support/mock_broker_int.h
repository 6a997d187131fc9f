/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/mock_broker_int.h - what the files of the mock broker share.
 *
 *     mock_broker.c          its thread and endpoint, sessions, the calls of a test
 *     mock_broker_streams.c  records, publishing, subscribing, events
 *     mock_broker_cache.c    the cache, asked in JSON and by operation frames
 *     mock_broker_watch.c    its watches
 */
#ifndef FLX_TESTS_MOCK_BROKER_INT_H
#define FLX_TESTS_MOCK_BROKER_INT_H

#include "common/alloc.h"
#include "common/assert.h"
#include "common/loop.h"
#include "mock_broker.h"
#include "pki.h"
#include "transport/quic.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/operation.h"

#include <pthread.h>

#define MOCK_SHARDS_MAX 16U
#define MOCK_KEYS_MAX   64U

typedef struct mock_record {
    uint8_t *bytes;
    size_t len;
} mock_record;

/* Record i has offset base + i. */
typedef struct mock_shard {
    mock_record *records;
    size_t count, cap;
    uint64_t base;
} mock_shard;

typedef struct mock_stream {
    char name[256];
    mock_shard shards[MOCK_SHARDS_MAX];
    struct mock_stream *next;
} mock_stream;

typedef struct mock_sub {
    flx_quic_stream *out;
    flx_quic_stream *control; /* to answer late; NULL once answered or gone */
    mock_shard *shard;
    uint64_t id, next_offset;
    uint16_t flags;
    struct mock_sub *next;
} mock_sub;

typedef struct mock_session {
    flx_quic_stream *control;
    flx_frame_reader reader;
    bool authenticated;
    uint16_t flags;
    uint32_t features;
    bool operations;    /* negotiated */
    bool watch_batches; /* negotiated */
    bool opened[FLX_OPERATION_HANDLE_MAX + 1];
    struct mock_session *next;
} mock_session;

typedef struct mock_conn {
    flx_quic_conn *quic;
    struct mock_conn *next;
} mock_conn;

typedef struct mock_entry {
    char key[256];
    uint8_t *value;
    size_t len;
    uint64_t version; /* 0: free */
} mock_entry;

struct mock_broker {
    pki pki;
    char address[64];
    char ca_file[128];
    flx_loop *loop;
    flx_quic_group *group;
    flx_credentials *credentials;
    flx_quic_endpoint *endpoint;
    flx_tick_hook hook;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards the call */
    pthread_cond_t done;
    void (*call)(mock_broker *broker, void *arg);
    void *call_arg;

    mock_rules rules;
    mock_counts counts;
    mock_stream *streams;
    mock_session *sessions;
    mock_conn *conns;
    mock_sub *subs;
    mock_entry entries[MOCK_KEYS_MAX];
    uint64_t versions;
    uint64_t ids;
    mock_watch_asked watch_asked;
    uint64_t watch_id;
    flx_quic_stream *watch_out;     /* of the newest watch; NULL: none, or gone */
    flx_quic_stream *watch_control; /* that waits for its answer */
    flx_arena arena;
    flx_chunk *scratch;
};

static inline uint32_t mock_shard_count(const mock_broker *broker)
{
    return broker->rules.shards == 0 ? 1 : broker->rules.shards;
}

/* mock_broker.c: to the client. */
void mock_send_msg(mock_broker *broker, flx_quic_stream *to, const flx_msg *msg);
void mock_send_bytes(flx_quic_stream *to, const uint8_t *bytes, size_t len);
void mock_send_error(mock_broker *broker, flx_quic_stream *to, uint16_t code, const char *text);

/* mock_broker_streams.c */
mock_stream *mock_stream_named(mock_broker *broker, flx_slice name); /* made when unknown */
void mock_append(mock_shard *to, flx_slice payload);
void mock_drop_first(mock_shard *from, size_t count);
void mock_publish(mock_broker *broker, mock_session *from, const flx_frame *frame);
void mock_subscribe(mock_broker *broker, mock_session *from, const struct flx_msg_subscribe *ask);
void mock_offset_for_time(mock_broker *broker, mock_session *from,
                          const struct flx_msg_offset_for_time *ask);
void mock_end_sub(mock_broker *broker, flx_quic_stream *out);
void mock_feed_all(mock_broker *broker); /* what subscriptions have not been sent yet */

/* mock_broker_cache.c */
void mock_cache(mock_broker *broker, mock_session *from, flx_msg *msg);
void mock_operations(mock_broker *broker, mock_session *from, const flx_frame *frame);

/* mock_broker_watch.c */
void mock_watch(mock_broker *broker, mock_session *from, const struct flx_msg_cache_watch *ask);
void mock_answer_watch(mock_broker *broker); /* the newest, when its answer is owed */
void mock_end_watch(mock_broker *broker, const flx_quic_stream *quic); /* a stream is gone */

#endif /* FLX_TESTS_MOCK_BROKER_INT_H */
