/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/worker.h - what one thread of a broker owns: client connections, shards, subscriptions.
 *
 * A worker is a pure machine. What happened in the world goes in (link events, mails of other
 * workers, new catalogs and keys, the time), what should happen comes out through two small
 * tables: flx_link_ops (the transport) and `post` (the other workers). It reads no clock and calls
 * no socket, so a test drives four of them in one thread, and a node drives each from its loop:
 *
 *     per wake-up:   flx_worker_clock()                 the time of everything that follows
 *                    flx_worker_mail()                  for each waiting mail
 *                    flx_worker_conn_*, _stream_*()     for each transport event
 *     once, last:    flx_worker_tick()                  seals frames, writes acks, posts mails;
 *                                                       must run before the transport's flush pass
 *
 * Shard s of the stream (or cache) with catalog id i lives on worker flx_worker_owner(i, s, count),
 * the same on every worker. What another worker must do travels as a mail: FLX_WORKER_MAIL_BYTES
 * copied by value, in which references to chunks change hands.
 *
 * Threads: everything here belongs to the worker's thread, except flx_worker_owner and
 * flx_worker_mail_discard (any) and flx_worker_stats (any thread, approximate).
 */
#ifndef FLX_BROKER_WORKER_H
#define FLX_BROKER_WORKER_H

#include "authz/token.h"
#include "broker/seats.h"
#include "broker/stats.h"
#include "common/chunk.h"
#include "metadata/catalog.h"
#include "storage/journal.h"
#include "wire/operation.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_WORKERS_MAX       64
#define FLX_WORKER_MAIL_BYTES 120 /* fits common/mailbox.h */
#define FLX_WORKER_NEVER      UINT64_MAX

typedef struct flx_worker flx_worker;
typedef struct flx_peer flx_peer; /* one client connection */
typedef struct flx_lane flx_lane; /* one QUIC stream of it, either direction */

/*
 * What a worker asks of the transport. `conn` and `stream` are the handles the node gave with
 * flx_worker_conn_opened / _stream_opened or open_uni answered; they stay valid until
 * flx_worker_conn_closed / _stream_closed was called for them. The meaning of each member is that
 * of its namesake in transport/quic.h.
 */
typedef struct flx_link_ops {
    flx_status (*write_take)(void *stream, flx_range range); /* takes the reference, always */
    void (*finish)(void *stream);
    void (*reset)(void *stream, uint64_t code);
    void (*stop)(void *stream, uint64_t code);
    void (*consume)(void *stream, size_t len);
    void (*want_pull)(void *stream, bool want);
    size_t (*queued)(const void *stream); /* bytes not yet in a packet */
    /* Opens a uni stream whose context is `lane`. FLX_ERR_AGAIN: no credit, streams_available
     * tells when. */
    flx_status (*open_uni)(void *conn, flx_lane *lane, void **ret_stream);
    /* Asynchronous: flx_worker_stream_closed and _conn_closed follow later, never from inside. */
    void (*conn_close)(void *conn, uint64_t code, const char *reason);
} flx_link_ops;

/* Zero means the default written beside a field; UINT32_MAX or UINT64_MAX switch a bound off where
 * the line says so. */
typedef struct flx_worker_limits {
    uint32_t frame_bytes_max;         /* 16 MiB payload of one frame */
    uint32_t preauth_frame_bytes_max; /* 64 KiB before auth */
    uint32_t preauth_streams_max;     /* 16 unauthenticated streams read at once, a connection */
    uint32_t auth_timeout_ms;         /* 30000; UINT32_MAX: never */
    uint32_t publish_window;          /* 256 unanswered publishes a stream; UINT32_MAX: none is
                                          granted (answers still come in order) */
    uint32_t subscriptions_max;       /* 4096 a connection */
    uint64_t identity_publish_bytes;  /* 16 MiB unanswered of one identity on one connection */
    uint64_t conn_publish_bytes;      /* 64 MiB unanswered of one connection */
    uint64_t process_publish_bytes;   /* 64 MiB; each worker takes its share */
    uint64_t tenant_bytes_per_s;      /* 0: no quota */
    uint64_t tenant_records_per_s;    /* 0: no quota */
    uint32_t tenant_burst_ms;         /* 1000 */
    uint32_t shard_ring_frames;       /* 16384 frames kept of a shard in memory */
    uint64_t shard_ring_bytes;        /* 64 MiB of a shard */
    uint64_t ring_bytes;              /* 512 MiB all shards of all workers; each takes its share */
    uint32_t queue_capacity_max;      /* 4096: the most a subscribe may ask for */
    uint32_t block_ms;                /* 2000: how long a slow reader may hold publishers up */
    uint32_t outbox_mails;            /* 4096 mails kept for one full mailbox */
    uint32_t pull_bytes;              /* 256 KiB queued on a stream at which delivery pauses */
    uint32_t frame_events_max;        /* 64 events gathered in one event frame */
    uint32_t frame_gather_bytes;      /* 64 KiB gathered in one event frame */
    uint64_t cache_bytes;             /* 256 MiB all cache shards; each worker takes its share */
    uint64_t log_segment_bytes;       /* 256 MiB of a segment of a durable shard's log */
    uint64_t log_pending_bytes;       /* 64 MiB of a log that wait for the disk */
    uint64_t log_read_cache_bytes;    /* 64 MiB of blocks read; each worker takes its share */
    uint32_t log_opens_max;           /* 4 logs opened at a time */
    uint64_t producer_memory_bytes;   /* 64 MiB of a log searched for idempotent producers */
    uint64_t counter_bytes;           /* 64 MiB all counters; each worker takes its share */
    uint32_t operation_window;        /* 1024 operations of a frame, and unanswered of a stream;
                                         UINT32_MAX: operation frames are not offered */
} flx_worker_limits;

/* What became of a durable shard's log, for the operator. Texts are valid during the call. */
typedef enum flx_log_news_kind {
    FLX_LOG_OPENED,  /* report */
    FLX_LOG_DAMAGED, /* error: could not be opened, the shard refuses everything */
    FLX_LOG_FULL,    /* error: the disk has no room, publishes are refused */
    FLX_LOG_ROOM,    /* there is room again */
    FLX_LOG_FAILED, /* error: a write or sync failed, the shard takes nothing until it is reopened */
    FLX_LOG_UNREAD,  /* error: a block could not be read */
    FLX_LOG_REMOVED, /* its stream is gone, and so is it now */
    FLX_LOG_LEFT     /* error: its stream is gone, but its files could not be removed */
} flx_log_news_kind;

typedef struct flx_log_news {
    flx_log_news_kind kind;
    const char *label; /* "tenant/namespace/stream/0" */
    const char *name;  /* of the log in its store */
    const flx_journal_report *report;
    const flx_error *error;
} flx_log_news;

typedef struct flx_worker_options {
    uint32_t index; /* 0 .. count-1 */
    uint32_t count; /* 1 .. FLX_WORKERS_MAX */
    flx_link_ops link;
    /* Hands `len` bytes to worker `to`; false: its mailbox is full, nothing was taken. May be NULL
     * when count is 1. */
    bool (*post)(void *arg, uint32_t to, const void *mail, size_t len);
    void *post_arg;
    flx_verifier *verifier;         /* borrowed until the worker is freed */
    flx_catalog *catalog;           /* a reference is taken */
    uint64_t seed;                  /* random bits: producer ids, never secrets */
    flx_seats *seats;               /* borrowed, of all workers together; may be NULL */
    const uint16_t *listener_ports; /* borrowed; sent in auth_ok when there are several */
    size_t listener_port_count;
    bool record_publishers; /* keep the token's subject with records; splits frames by publisher */
    flx_worker_limits limits;
    /* Durable streams: all borrowed until the worker is freed. NULL: they are refused. */
    flx_store *logs;
    flx_status logs_status; /* what is answered when there are none; FLX_OK: FLX_ERR_UNSUPPORTED */
    flx_io *io;
    void (*log_news)(void *arg, const flx_log_news *news); /* NULL: nobody wants to know */
    void *log_news_arg;
} flx_worker_options;

/* FLX_ERR_INVALID, FLX_ERR_NOMEM. */
flx_status flx_worker_new(const flx_worker_options *options, flx_worker **ret_worker,
                          flx_error *reterr);
/* All connections must be closed. Mails still in mailboxes go to flx_worker_mail_discard. Logs are
 * written, synced and closed: blocks until the executor has done it. */
flx_worker *flx_worker_free(flx_worker *worker);

/* The time of the events that follow: monotonic ns, and microseconds since 1970. Never backwards. */
void flx_worker_clock(flx_worker *worker, uint64_t now_ns, uint64_t wall_us);

/* `source`: 16 bytes, IPv4 mapped. FLX_ERR_NOMEM, FLX_ERR_UNAVAILABLE (draining): close it. */
flx_status flx_worker_conn_opened(flx_worker *worker, void *link_conn, const uint8_t source[16],
                                  flx_peer **ret_peer);
/* After its streams were told closed. The peer is gone when this returns. */
void flx_worker_conn_closed(flx_worker *worker, flx_peer *peer);
/* The peer allows more streams of ours. */
void flx_worker_streams_available(flx_worker *worker, flx_peer *peer);

/* A stream the client opened. FLX_ERR_NOMEM: reset and stop it. */
flx_status flx_worker_stream_opened(flx_worker *worker, flx_peer *peer, void *link_stream,
                                    bool bidirectional, flx_lane **ret_lane);
void flx_worker_stream_data(flx_worker *worker, flx_lane *lane, flx_slice data, bool fin);
void flx_worker_stream_pull(flx_worker *worker, flx_lane *lane);
void flx_worker_stream_reset(flx_worker *worker, flx_lane *lane, uint64_t code);
void flx_worker_stream_stopped(flx_worker *worker, flx_lane *lane, uint64_t code);
/* The last word about a stream; the lane is gone when this returns. */
void flx_worker_stream_closed(flx_worker *worker, flx_lane *lane);

/* One mail of another worker. */
void flx_worker_mail(flx_worker *worker, const void *mail);
/* Drops what a mail carries, for mailboxes that are torn down. */
void flx_worker_mail_discard(const void *mail);

/* Takes a reference; the old one is dropped. Streams that are gone answer not_found from now on. */
void flx_worker_set_catalog(flx_worker *worker, flx_catalog *catalog);
/* Takes a reference, for the verifier. Streams that authenticated stay so. */
void flx_worker_set_keys(flx_worker *worker, flx_keyset *keyset);

/* The end of a tick. Afterwards `flx_worker_deadline_ns` says when the next is due at the latest:
 * FLX_WORKER_NEVER when only an event can bring work, 0 when there is work at once (a mailbox was
 * full). */
void flx_worker_tick(flx_worker *worker);
uint64_t flx_worker_deadline_ns(const flx_worker *worker);

/* No new connections, streams or work: `draining` to what asks; what was accepted is finished.
 * Drained when nothing is unanswered and no connection is left to close; connections are closed
 * with code 0 by flx_worker_close_all. */
void flx_worker_drain(flx_worker *worker);
bool flx_worker_is_drained(const flx_worker *worker);
void flx_worker_close_all(flx_worker *worker);

/* Valid as long as the worker; other threads may read it, each figure on its own. */
const flx_worker_stats *flx_worker_stats_of(const flx_worker *worker);

/* What the log of a durable shard holds. */
typedef struct flx_log_figures {
    const char
        *state;     /* "opening", "loading" (a cache's index), "open", "full", "failed", "damaged";
                          static */
    uint64_t head;  /* offset of the oldest record kept */
    uint64_t tail;  /* offset the next record gets */
    uint64_t bytes; /* on disk */
    uint64_t pending_bytes;
    uint64_t last_sync_ms; /* ago, with has_synced */
    uint32_t segments;
    bool has_synced; /* since it was opened */
    bool is_cache;   /* and its index is there: what follows is said */
    uint64_t entries;
    uint64_t counters;
    uint64_t memory_bytes; /* of keys, index and the values that are in memory */
    uint64_t away;         /* entries whose value is in the log only */
    uint64_t away_bytes;   /* of those values */
    uint64_t live_bytes;   /* of the records that hold what is there: what compaction would leave */
    const char *compaction; /* "idle", "gathering", "sorting", "waiting", "running"; static */
} flx_log_figures;

/* Shards of streams and of caches are logs alike. Where one is named by an id, this bit tells a cache's
 * from a stream's. */
#define FLX_CACHE_LOG (UINT32_C(1) << 31)

/* False: the shard is not durable, not in use, or another worker's; *ret_figures is left alone. */
bool flx_worker_log_figures(flx_worker *worker, uint32_t id, uint32_t shard,
                            flx_log_figures *ret_figures);

/* Which worker owns a shard. */
uint32_t flx_worker_owner(uint32_t id, uint32_t shard, uint32_t count);
/* Which worker a client should be connected to for this: the answer to PLACEMENT. */
uint32_t flx_worker_placement(const flx_worker *worker, flx_placement_kind kind, uint32_t id,
                              uint32_t shard);

#endif /* FLX_BROKER_WORKER_H */
