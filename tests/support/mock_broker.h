/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mock_broker.h - a small broker in the test's own process, for what a real one does too rarely.
 *
 * It has a loop and a thread of its own, real QUIC on loopback, streams in memory and a cache, and
 * it misbehaves on request: refuses, stays silent, closes, forgets, lags. Rules are read when the
 * thing they are about happens, so a test may change them as it goes. Any thread.
 */
#ifndef FLX_TESTS_MOCK_BROKER_H
#define FLX_TESTS_MOCK_BROKER_H

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mock_broker mock_broker;

/* How it behaves; mock_broker_set() changes it all at once. Zero: a good broker. */
typedef struct mock_rules {
    uint16_t flags_withheld;    /* not offered */
    uint32_t features_withheld; /* not offered */
    uint32_t shards;            /* of every stream; 0: one */
    uint32_t publish_window;    /* 0: 64 */
    bool stream_unknown;        /* streams and caches do not exist */
    bool auth_refused;
    bool publish_silent;      /* publishes are stored and not answered */
    uint32_t publish_refused; /* so many publishes are refused with the code below */
    uint16_t refuse_code;
    bool cache_silent;
    bool own_ids;       /* subscriptions get ids of the broker's choice, told late */
    bool json_events;   /* events in JSON instead of binary batches */
    bool no_offsets;    /* events without offsets */
    bool tells_start;   /* says where a subscription starts */
    bool late_record;   /* one record comes between an offset_for_time and the next request */
    uint32_t batch_max; /* records in an event frame; 0: 64 */
    /* Operation frames, docs/spec/extensions.md 1. The key "silent" never gets an answer in them. */
    uint32_t operation_window; /* 0: not offered */
    bool answers_backwards;    /* those of a frame, last one first */
    bool operations_unserved;  /* all of them answered "unsupported" */
    bool placement_astray;     /* names a worker that the broker does not have */
    /* What a cache_watch is answered with; what comes then is the test's: mock_broker_watch_send(). */
    struct {
        uint64_t resume_offset;
        uint64_t retained_count; /* told when it was asked for */
        bool resnapshot;
        bool is_in_future; /* instead, when it names an offset */
        bool is_held;      /* until mock_broker_watch_answer() */
        bool has_batches;  /* offered: docs/spec/extensions.md 3 */
    } watch;
} mock_rules;

/* The last cache_watch. */
typedef struct mock_watch_asked {
    uint32_t count; /* of them, since start */
    bool in_batches;
    bool is_key;
    char text[64]; /* key or prefix */
    bool retained;
    bool has_from_offset;
    uint64_t from_offset;
} mock_watch_asked;

typedef struct mock_counts {
    uint32_t connections; /* accepted since start */
    uint32_t auths;
    uint32_t publishes; /* frames */
    uint32_t records;
    uint32_t subscribes;
    uint32_t time_questions; /* offset_for_time: the record at offset n has the time n */
    uint32_t cache_requests;
    uint32_t operation_frames;
    uint32_t protocol_errors; /* things a client must never send */
} mock_counts;

/* Starts it on a free port of 127.0.0.1. Aborts the test when it cannot. */
mock_broker *mock_broker_start(void);
void mock_broker_stop(mock_broker *broker);

const char *mock_broker_address(const mock_broker *broker); /* "127.0.0.1:port" */
const char *mock_broker_ca_file(const mock_broker *broker);
mock_counts mock_broker_counts(mock_broker *broker);

void mock_broker_set(mock_broker *broker, const mock_rules *rules);
/* Closes every connection, as a restart would. */
void mock_broker_kick(mock_broker *broker);
/* Forgets all records: the next offset is 0 again. */
void mock_broker_forget(mock_broker *broker);
/* Drops the oldest records of every stream, so that `oldest` is the first one left. */
void mock_broker_trim(mock_broker *broker, uint64_t oldest);
/* Jumps `count` offsets ahead in every shard, as lost records would. */
void mock_broker_skip(mock_broker *broker, uint64_t count);
/* Ends every subscription with subscription_lagged at `resume_from`. */
void mock_broker_lag(mock_broker *broker, uint64_t resume_from);
/* Of the newest watch: the answer that was held; bytes of its event stream, and whether they are the
 * last. */
mock_watch_asked mock_broker_watch_asked(mock_broker *broker);
void mock_broker_watch_answer(mock_broker *broker);
void mock_broker_watch_send(mock_broker *broker, const uint8_t *bytes, size_t len, bool fin);
/* Appends one record to a shard of a stream, which is made when unknown. */
void mock_broker_append(mock_broker *broker, const char *stream_name, uint32_t shard_index,
                        const char *text);

#endif /* FLX_TESTS_MOCK_BROKER_H */
