/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/worker_int.h - the structs of one worker, and what its files call of each other.
 *
 *     worker ── peers ── lanes (QUIC streams) ── answers in request order, the job waited for
 *        │          └─── identities (tokens seen on the connection), subscriptions
 *        ├── slots by stream or cache id ── shards owned here, views of shards owned elsewhere
 *        └── outbox by worker
 */
#ifndef FLX_BROKER_WORKER_INT_H
#define FLX_BROKER_WORKER_INT_H

#include "broker/backing.h"
#include "broker/cache.h"
#include "broker/counter.h"
#include "broker/event.h"
#include "broker/handles_int.h"
#include "broker/scratch.h"
#include "broker/shard.h"
#include "broker/worker.h"
#include "common/assert.h"
#include "common/buffer.h"
#include "common/inline.h"
#include "common/list.h"
#include "common/map.h"
#include "common/wheel.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/message.h"

#define FLX_LANE_CLOSE_CODE     1            /* RESET_STREAM and STOP_SENDING after broken input */
#define FLX_LANE_OUT_BYTES_MAX  (1u << 20)   /* answers unsent at which a lane is not read on */
#define FLX_LANE_READ_BYTES     (256u << 10) /* of a backlog at once; then others have their turn */
#define FLX_TRANSIT_CHUNK_BYTES (256u << 10)

/* ---- answers.c: the publishes of a lane that are not answered yet ---- */

typedef enum flx_answer_form { FLX_ANSWER_BINARY, FLX_ANSWER_JSON } flx_answer_form;

typedef enum flx_answer_kind {
    FLX_ANSWER_WAITING,
    FLX_ANSWER_OK,
    FLX_ANSWER_ERROR,
    FLX_ANSWER_REFUSED
} flx_answer_kind;

/* How a publish ended. */
typedef struct flx_outcome {
    uint8_t kind;    /* flx_answer_kind */
    uint8_t refusal; /* flx_refusal_kind, with REFUSED */
    uint16_t code;   /* flx_code, with ERROR */
    uint32_t retry_after_ms;
    uint64_t value;      /* offset with OK; expected or tail with REFUSED */
    const char *message; /* static text */
    const char *reason;  /* static text or NULL: detail.reason */
} flx_outcome;

typedef struct flx_answer {
    uint64_t request_id;
    flx_outcome outcome;
    uint64_t arrived_ns;
    uint32_t bytes;  /* charged to the budgets until it is known */
    uint8_t form;    /* flx_answer_form */
    bool has_offset; /* outcome.value may be told */
} flx_answer;

/* A ring that grows up to the window. Numbers count up: [number & (cap - 1)]. */
typedef struct flx_answers {
    flx_answer *ring;
    uint32_t cap;
    uint32_t head; /* oldest not sent */
    uint32_t tail; /* next */
} flx_answers;

/* ---- jobs: requests that wait for one answer, local or of another worker ---- */

typedef enum flx_job_kind {
    FLX_JOB_SUBSCRIBE,
    FLX_JOB_READ,
    FLX_JOB_TIME,
    FLX_JOB_CACHE,
    FLX_JOB_HISTORY,    /* a block of a log */
    FLX_JOB_OPERATIONS, /* a batch of them; its lanes are in its entries */
    FLX_JOB_WATCH,      /* may take several ticks on the owner */
    FLX_JOB_PAGE        /* of a snapshot */
} flx_job_kind;

typedef enum flx_cache_op {
    FLX_CACHE_OP_GET,
    FLX_CACHE_OP_PUT,
    FLX_CACHE_OP_DELETE,
    FLX_CACHE_OP_PUT_ABSENT,
    FLX_CACHE_OP_PUT_VERSION,
    FLX_CACHE_OP_DELETE_VERSION,
    FLX_CACHE_OP_COUNTER_ADD,
    FLX_CACHE_OP_COUNTER_GET
} flx_cache_op;

/* A request to one key of a cache, whatever form it came in. */
typedef struct flx_cache_request {
    uint8_t op; /* flx_cache_op */
    uint32_t shard;
    const flx_cache_info *info; /* of `catalog` */
    const flx_catalog *catalog; /* borrowed: whoever keeps the request has a reference */
    flx_slice key;
    flx_slice value;
    flx_chunk *chunk; /* what the value lies in, borrowed; NULL: bytes that must be copied */
    uint64_t version;
    uint64_t expires_at_ms; /* 0: never */
    int64_t delta;          /* COUNTER_ADD */
} flx_cache_request;

/* How far a request to a durable cache is. */
typedef enum flx_cache_step {
    FLX_CACHE_NEW,
    FLX_CACHE_SERVED, /* the answer may have to wait */
} flx_cache_step;

/* What became of it. `value` is the cache's own, until the next call on it. */
typedef struct flx_cache_reply {
    flx_status status;
    bool has_value; /* of a get or delete; of a counter: in `sum` */
    bool applied;   /* of a write */
    uint64_t version;
    flx_slice value;
    flx_chunk *chunk; /* what the value lies in; NULL: copy it */
    int64_t sum;
    /* Durable caches. */
    bool is_parked;    /* nothing was done: the log is not open yet */
    bool is_away;      /* the value is to be read from the record at `version` */
    uint64_t wait_end; /* the answer may leave when all below this offset is safe; 0: now */
} flx_cache_reply;

struct flx_op_batch;
typedef enum flx_watch_start {
    FLX_WATCH_LIVE,
    FLX_WATCH_OFFSET,
    FLX_WATCH_RETAINED /* what is there, then every change */
} flx_watch_start;

typedef struct flx_job {
    struct flx_job *next_free; /* or the next one parked at a log */
    uint8_t kind;              /* flx_job_kind */
    uint8_t from;              /* worker that asks */
    uint8_t start_kind;        /* WATCH: flx_watch_start */
    bool has_request_id;
    bool has_value;  /* time: in `offset` */
    bool is_prefix;  /* WATCH, PAGE: request.key is the beginning of keys */
    bool is_counted; /* WATCH: its start is fixed, and keys are being counted */
    bool resnapshot; /* WATCH: the offset asked for is not kept any more */
    uint64_t lane;   /* handle of the lane that waits */
    uint64_t sub;    /* handle of the subscription: SUBSCRIBE, WATCH, PAGE */
    uint64_t request_id;
    uint32_t id; /* of the stream or cache */
    uint32_t shard;
    uint32_t max_records;
    flx_shard_start start;
    uint64_t offset; /* in: start, from, time, PAGE: where the changes begin; out: start resolved,
                        found, next */
    uint64_t end;    /* READ: exclusive bound */
    uint64_t max_bytes;
    flx_status status;
    /* Frames on their way to the one who asked: owned. */
    flx_sealed *frames;
    size_t frame_count;
    uint64_t first_sequence;
    uint64_t end_sequence;
    uint64_t tail;
    bool is_durable;       /* SUBSCRIBE: the shard has a log, and `tail` is where live begins */
    uint64_t found;        /* WATCH: keys there at the start */
    flx_cache_cursor walk; /* WATCH: counted up to here; PAGE: in and out */
    /* CACHE, WATCH, PAGE. What `request` points to lies in `holder` once the job left its frame. */
    flx_cache_request request;
    flx_cache_reply reply;
    flx_chunk *holder;
    flx_range value; /* of the answer, or a block of a log; owned when its chunk is set */
    flx_catalog *catalog;
    struct flx_op_batch *batch; /* OPERATIONS: owned */
    uint8_t step;               /* CACHE, PAGE, OPERATIONS: flx_cache_step */
    flx_cache_cursor page_next; /* PAGE: where the next one begins */
    uint64_t wait_end;          /* while it waits for a mark: of the log it waits for */
} flx_job;

/* What running a job on its owner came to. */
typedef enum flx_job_step {
    FLX_STEP_DONE,
    FLX_STEP_AGAIN, /* it goes on in the next tick */
    FLX_STEP_PARKED /* it waits for a log, and comes back by flx_job_serve or flx_job_ready */
} flx_job_step;

/* ---- mails ---- */

typedef enum flx_mail_kind {
    FLX_MAIL_PUBLISH,   /* to the owner */
    FLX_MAIL_PUBLISHED, /* back: one outcome */
    FLX_MAIL_CREDIT,    /* back: bytes of un-acked publishes that are done */
    FLX_MAIL_FRAME,     /* owner to a worker with subscribers */
    FLX_MAIL_UNWATCH,   /* to the owner: nobody here reads this shard any more */
    FLX_MAIL_PROGRESS,  /* to the owner of a `block` shard: our readers' allowance */
    FLX_MAIL_EVICT,     /* owner of a `block` shard: who is behind this sequence has had its time */
    FLX_MAIL_JOB,       /* to the owner */
    FLX_MAIL_JOB_DONE,  /* back */
    FLX_MAIL_SOURCE     /* a source address gained or lost its last authenticated connection */
} flx_mail_kind;

typedef enum flx_publish_form {
    FLX_PUBLISH_PLAIN,
    FLX_PUBLISH_IDEMPOTENT,
    FLX_PUBLISH_IF
} flx_publish_form;

typedef struct flx_mail {
    uint8_t kind; /* flx_mail_kind */
    uint8_t from;
    uint8_t form; /* PUBLISH: flx_publish_form */
    uint8_t flag; /* PUBLISH: an answer is wanted; SOURCE: gained */
    uint32_t id;  /* stream */
    uint32_t shard;
    uint32_t number; /* PUBLISH, PUBLISHED: of the answer */
    uint64_t lane;   /* PUBLISH, PUBLISHED: who waits */
    union {
        struct {
            flx_range region; /* owned */
            flx_chunk *publisher;
            uint64_t a; /* producer id, or expected offset */
            uint64_t b; /* sequence */
            uint32_t count;
        } publish;
        flx_outcome published;
        struct {
            uint64_t sequence;
            flx_sealed frame; /* owned */
        } frame;
        flx_job *job;   /* owned */
        uint64_t value; /* CREDIT: bytes; PROGRESS, EVICT: sequence */
        uint8_t source[16];
    };
} flx_mail;

static_assert(sizeof(flx_mail) <= FLX_WORKER_MAIL_BYTES, "a mail is copied by value");

/* ---- streams and shards ---- */

#define FLX_VARIANTS 64 /* rewritten frames a view keeps for the other readers of the same form */

/* A frame in another than its primary form, made for the first reader and shared by the rest. */
typedef struct flx_variant {
    uint64_t sequence;
    uint16_t flags;
    bool is_made;
    uint8_t count; /* of ranges */
    uint32_t bytes;
    uint32_t records;
    flx_range ranges[2]; /* owned */
} flx_variant;

typedef struct flx_variants {
    flx_variant *at; /* [sequence % FLX_VARIANTS], NULL before the first */
    uint64_t bytes;
} flx_variants;

/* What watches of a cache shard ask for: one key, or all that begin with a prefix. Shared by all
 * that ask the same, so that a change is written once for them. */
typedef struct flx_filter {
    flx_list node;   /* prefixes: in watchers.prefixes */
    flx_list idle;   /* watches that have seen every change so far */
    flx_chunk *text; /* the key or prefix */
    uint32_t refs;
    bool is_prefix;
    flx_variants variants;
} flx_filter;

/* The watches of a cache shard on this worker. */
typedef struct flx_watchers {
    flx_map keys;      /* filters of one key, by it */
    flx_list prefixes; /* filters */
    uint32_t idle;     /* watches in all idle lists */
    uint64_t seen;     /* frames before this sequence have been looked at for idle ones */
    uint64_t seen_offset;
    flx_list quiet;       /* idle watches that hear progress; those of this round are behind */
    flx_list due;         /* in worker.progress_due */
    uint64_t due_ns;      /* linked: when the next round begins, or did */
    uint64_t told_offset; /* where a round that has begun found the shard */
    uint32_t round;
    bool is_in_round;
} flx_watchers;

/* A shard as this worker's subscribers see it. */
typedef struct flx_view {
    flx_feed *feed;
    flx_variants variants;
    flx_watchers *watchers; /* cache: NULL before the first watch */
    flx_list idle;          /* subscriptions that have read everything */
    flx_list active;        /* those that have not, or whose stream is not open yet */
    uint32_t count;         /* of both, and of those still being resolved */
    uint32_t capacity_min;  /* of all there ever were */
    uint32_t id;
    uint32_t shard;
    uint8_t policy; /* flx_slow_policy */
    bool is_durable;
} flx_view;

/* Who waits for the end of a publish, here or on another worker. */
typedef struct flx_asker {
    uint64_t lane;
    uint32_t number; /* of the answer */
    uint32_t bytes;  /* charged until it is known */
    uint32_t count;  /* records */
    uint8_t from;    /* worker */
    bool is_acked;
} flx_asker;

/* A publish that is in the log and waits for its mark. */
typedef struct flx_waiter {
    flx_asker asker;
    uint64_t end; /* answered when the mark of the ack rule is here */
    uint64_t offset;
} flx_waiter;

typedef enum flx_durable_state {
    FLX_DURABLE_OPENING, /* publishes are held, jobs parked */
    FLX_DURABLE_LOADING, /* the same: a cache's index is being made from the log */
    FLX_DURABLE_OPEN,
    FLX_DURABLE_BROKEN, /* could not be opened, or failed; nothing is taken */
    FLX_DURABLE_CLOSING /* its shard is gone */
} flx_durable_state;

typedef enum flx_recall_state {
    FLX_RECALL_NONE,
    FLX_RECALL_RUNNING,
    FLX_RECALL_DONE,
    FLX_RECALL_FAILED
} flx_recall_state;

/* What of the worker's figures is this log's. */
typedef struct flx_durable_counts {
    uint64_t bytes;
    uint64_t records;
    uint64_t segments;
    uint64_t pending_bytes;
} flx_durable_counts;

/* The log of a shard owned here, and who waits for it. */
typedef struct flx_durable {
    flx_worker *worker;
    struct flx_owned *owned; /* NULL while CLOSING */
    flx_journal *journal;    /* NULL: not open */
    flx_backing backing;
    flx_journal_opening opening;
    char name[FLX_LOG_NAME_MAX + 1];
    char label[FLX_LOG_STATE_LABEL_MAX];
    uint8_t state;  /* flx_durable_state */
    uint8_t ack;    /* flx_ack_rule */
    uint8_t recall; /* flx_recall_state */
    bool is_cache;
    uint64_t full_since_ns;
    bool is_full;        /* as was told */
    bool is_removed;     /* CLOSING: the files go too */
    bool is_released;    /* CLOSING was begun before the opening ended */
    flx_status status;   /* BROKEN: why */
    flx_waiter *waiters; /* a ring, [number & (waiter_cap - 1)] */
    uint32_t waiter_cap;
    uint32_t waiter_first;
    uint32_t waiter_end;
    flx_job *parked_first; /* until it is open */
    flx_job *parked_last;
    flx_job *settling_first; /* jobs of a cache that wait for a mark, oldest first */
    flx_job *settling_last;
    flx_list node;          /* in worker.durables */
    flx_list queued;        /* in worker.unopened_logs */
    flx_list moved;         /* in worker.moved_logs */
    flx_list staged;        /* in worker.staged_logs: has something to write */
    flx_wheel_timer timer;  /* in worker.log_wheel: its journal is due */
    uint64_t recovered_end; /* offset: what is below was there when it was opened */
    uint64_t recall_end;    /* offset */
    uint64_t recall_failed_ns;
    flx_journal_read recall_read;
    flx_io_job remove_job;
    uint64_t visible_seen; /* for the histogram of commits */
    flx_durable_counts counted;
    uint64_t write_began_ns; /* 0: nothing is on its way */
} flx_durable;

/* A shard owned here. */
typedef struct flx_owned {
    flx_shard shard;
    flx_view view;
    uint64_t announced;          /* sequence up to which other workers and readers were told */
    uint64_t watchers;           /* bit w: worker w has subscribers */
    uint64_t late;               /* bit w: frames from late_from on did not fit its outbox */
    uint64_t late_from;          /* sequence */
    flx_list late_node;          /* in worker.late_shards */
    uint64_t *progress;          /* `block`: by worker, its readers' allowance */
    flx_list dirty;              /* in worker.dirty_shards */
    flx_list warm;               /* in worker.warm_shards, coldest first */
    flx_list held_node;          /* in worker.held_shards */
    struct flx_held *held_first; /* publishes that wait for a slow reader */
    struct flx_held *held_last;
    uint32_t held_count;
    uint64_t held_bytes;
    uint64_t ring_bytes;           /* as counted in worker.ring_bytes */
    flx_durable *durable;          /* NULL: memory is all there is */
    struct flx_cache_state *cache; /* what the log of a cache is about; NULL: a stream, or unused */
    bool is_kept; /* cache: somebody watches or did, so the ring keeps the changes */
} flx_owned;

/* A shard of a cache: its values and counters above the log of their changes. */
typedef struct flx_cache_state {
    flx_worker *worker;
    flx_owned *owned;
    flx_cache_shard *shard;
    flx_counters counters;
    /* Durable (cache_log.c): */
    uint64_t delete_end;         /* offset behind the last delete somebody asked for */
    uint64_t counter_end;        /* offset behind the last change of a counter */
    struct flx_cache_load *load; /* while LOADING */
    struct flx_cache_compaction *compaction;
    uint64_t
        compacted_bytes; /* of the log when it was compacted last; 0: not since it was opened */
    uint32_t reads;      /* of values that are away, on their way */
    uint32_t old_reads;  /* those begun before the last gathering for a compaction ended */
    uint32_t round;      /* gatherings that ended */
    bool is_loaded;      /* the index is whole */
} flx_cache_state;

/* One publish waiting at a `block` shard. */
typedef struct flx_held {
    struct flx_held *next;
    uint64_t since_ns;
    flx_mail mail; /* a PUBLISH with its references */
} flx_held;

/* A window of a shard owned elsewhere. */
typedef struct flx_mirror {
    flx_feed feed;
    flx_view view;
    bool is_started;   /* the first subscribe was answered: sequence numbers are right */
    uint64_t reported; /* last PROGRESS */
    flx_list node;     /* in worker.block_mirrors */
    flx_list warm;     /* in worker.warm_mirrors */
    uint64_t bytes;    /* as counted in worker.mirror_bytes */
} flx_mirror;

/* A stream or a cache of the catalog. */
typedef struct flx_slot {
    const flx_stream_info *info;   /* stream: of worker.catalog; NULL: not there (any more) */
    bool has_cache;                /* a cache that is there */
    flx_cache_info *durable_cache; /* what it is, when it is durable; a copy */
    uint32_t shard_count;          /* of the arrays */
    flx_owned **owned;             /* [shard], NULL: elsewhere or unused */
    flx_mirror **mirrors;          /* [shard], NULL: nobody here reads it */
} flx_slot;

typedef struct flx_slots { /* [id] of the catalog */
    flx_slot **at;
    uint32_t cap;
} flx_slots;

/* A part of a snapshot, kept for the other watches that began at the same offset. */
#define FLX_PAGES 32
typedef struct flx_page {
    flx_chunk *filter; /* its text; NULL: free */
    flx_range events;  /* chunk NULL: there are none */
    uint32_t id;
    uint32_t shard;
    bool is_prefix;
    uint64_t until;
    uint64_t from; /* flx_cache_cursor.next in */
    flx_cache_cursor next;
} flx_page;

/* A name resolved once: what hot publishes compare with instead of looking up. */
typedef struct flx_route {
    const flx_stream_info *info; /* NULL: none */
    uint64_t epoch;              /* worker.catalog_epoch it was resolved in */
    uint32_t tenant_len, namespace_len, name_len;
} flx_route;

/* ---- connections ---- */

typedef struct flx_identity { /* one token on one connection */
    flx_list node;
    flx_grants *grants;
    flx_chunk *publisher; /* its subject */
    uint32_t refs;        /* lanes */
    uint64_t publish_bytes;
    uint32_t bucket; /* index + 1 in worker.buckets, 0: not looked up */
} flx_identity;

struct flx_peer {
    flx_list node;
    flx_list silent; /* in worker.silent_peers */
    flx_worker *worker;
    void *link;
    uint8_t source[16];
    flx_list lanes;
    flx_list waiting; /* lanes that may not be read yet: too many are unauthenticated */
    flx_list identities;
    flx_list opening;         /* subscriptions that wait for a stream of theirs */
    flx_list subs;            /* all of them */
    uint32_t unauthenticated; /* lanes being read before their auth */
    uint32_t subscriptions;
    uint64_t next_subscription_id;
    uint64_t publish_bytes;
    uint64_t backlog_bytes; /* of all lanes */
    uint64_t opened_ns;
    bool is_authenticated;
    bool is_closing;
};

typedef enum flx_lane_kind { FLX_LANE_CONTROL, FLX_LANE_PUBLISH, FLX_LANE_EVENTS } flx_lane_kind;

typedef enum flx_lane_state {
    FLX_LANE_WAITING, /* unauthenticated and not read */
    FLX_LANE_NEW,     /* read, not authenticated */
    FLX_LANE_OPEN,
    FLX_LANE_CLOSING /* said its last word; what arrives is thrown away */
} flx_lane_state;

struct flx_lane {
    flx_peer *peer;
    void *link;      /* NULL: an event stream that is not open */
    uint64_t handle; /* 0: none (event streams) */
    flx_list node;   /* in peer.lanes */
    flx_list wait;   /* in peer.waiting */
    flx_list dirty;  /* in worker.dirty_lanes: answers to write, or input to read on with */
    uint8_t kind;
    uint8_t state;
    bool fin; /* the client said its last byte */
    bool fin_sent;
    bool out_full;        /* waits for pull before it reads on */
    bool has_operations;  /* negotiated */
    bool hears_progress;  /* negotiated: of the watches it asks for */
    bool is_last;         /* closes when what it owes is written */
    uint32_t held;        /* un-acked publishes of it that wait at a `block` shard */
    uint16_t flags;       /* negotiated: client's */
    uint32_t features;    /* client's */
    uint32_t ops_out;     /* operations other workers have not answered */
    flx_slice ops_rest;   /* of an operation frame, not done yet; the lane is not read meanwhile */
    flx_chunk *ops_chunk; /* what it lies in; owned */
    uint16_t name_cap;
    struct flx_op_name **names; /* [handle], what OPEN made; NULL: not opened */
    flx_frame_reader reader;
    uint8_t *backlog; /* bytes that arrived and may not be read yet; not consumed */
    size_t backlog_start, backlog_len, backlog_cap; /* [start, start + len) of [0, cap) */
    flx_identity *identity;
    flx_route route;
    flx_answers answers;
    bool has_job;        /* a job that carries the handle is out */
    struct flx_sub *sub; /* EVENTS */
};

typedef enum flx_sub_state { FLX_SUB_RESOLVING, FLX_SUB_OPENING, FLX_SUB_LIVE } flx_sub_state;

/* What a watch is beside a subscription. */
typedef struct flx_watch {
    struct flx_sub *sub;
    flx_filter *filter;
    bool is_snapshot; /* reading what was there; changes come after it */
    bool is_idle;     /* in its filter's list */
    bool is_asked;    /* a PAGE job is out */
    bool has_page;
    bool must_restart;     /* an event was too large for any frame: only a new snapshot helps */
    uint8_t asks_left;     /* pages that may be asked for in this pull */
    uint64_t until;        /* entries of this version or later come as changes */
    flx_cache_cursor walk; /* pages before it were read */
    flx_range page;        /* events; chunk NULL: it has none. Owned. */
    flx_list paced;        /* in worker.paced_subs */
    flx_list quiet;        /* in watchers.quiet */
    uint32_t round;        /* of notices it was last looked at in */
    bool hears_progress;
} flx_watch;

#define FLX_NO_SKIP UINT64_MAX

typedef struct flx_sub {
    flx_list node;    /* in view.idle or view.active; an idle watch in its filter's list */
    flx_list opening; /* in peer.opening */
    flx_list of_peer; /* all of a peer */
    flx_view *view;
    flx_peer *peer;
    flx_lane *lane; /* its event stream; NULL before it is made */
    uint64_t handle;
    flx_event_form form;
    uint64_t cursor;    /* sequence of the next frame */
    uint64_t offset;    /* of the next record */
    uint64_t join;      /* frames from here on count against `capacity` */
    uint64_t skip_from; /* frames [skip_from, skip_to) are dropped; FLX_NO_SKIP: none */
    uint64_t skip_to;
    uint32_t capacity;           /* frames it may be behind */
    struct flx_history *history; /* reads the log until it meets the ring; NULL: reads the ring */
    uint8_t state;
    bool is_evicted; /* held publishers up for too long */
    bool has_asked_capacity;
    bool hears_lag;
    flx_watch *watch; /* NULL: it reads a stream */
} flx_sub;

/* ---- worker ---- */

typedef struct flx_outbox {
    flx_mail *ring; /* [number & (cap - 1)] */
    uint32_t cap;
    uint32_t head;
    uint32_t tail;
} flx_outbox;

typedef struct flx_bucket { /* tenant quota */
    char tenant[FLX_NAME_MAX + 1];
    int64_t bytes; /* may go below 0: debt */
    int64_t records;
    uint64_t filled_ns;
} flx_bucket;

typedef struct flx_source {
    uint8_t address[16];
    uint32_t connections; /* authenticated ones, here */
    uint32_t elsewhere;   /* workers that have some */
} flx_source;

struct flx_worker {
    uint32_t index;
    uint32_t count;
    flx_link_ops link;
    bool (*post)(void *arg, uint32_t to, const void *mail, size_t len);
    void *post_arg;
    flx_verifier *verifier;
    flx_seats *seats; /* NULL: not counted */
    flx_catalog *catalog;
    uint64_t catalog_epoch; /* +1 with each catalog */
    flx_worker_limits limits;
    const uint16_t *listener_ports;
    size_t listener_port_count;
    uint64_t now_ns;
    uint64_t wall_us;
    uint64_t random;
    flx_list peers; /* oldest first */
    flx_handles handles;
    flx_slots streams;
    flx_slots caches;
    const flx_stream_info **infos; /* [stream id] of `catalog`; NULL: memory was out */
    uint32_t info_cap;
    uint64_t lag_since_ns; /* since when stats.slowest_lag counts */
    flx_list dirty_lanes;
    flx_list stalled_lanes; /* not read until the outboxes are empty */
    flx_list dirty_shards;
    flx_list warm_shards;
    flx_list held_shards;
    flx_list late_shards;   /* frames of them did not fit an outbox */
    flx_list warm_mirrors;  /* coldest first */
    uint64_t mirror_bytes;  /* of all mirrors; bounded as ring_bytes is */
    flx_list block_mirrors; /* mirrors whose owner waits for our readers */
    flx_list silent_peers;  /* not authenticated, longest first */
    uint64_t ring_bytes;
    uint64_t ring_bytes_max;
    uint64_t publish_bytes;
    uint64_t publish_bytes_max;
    uint64_t credit[FLX_WORKERS_MAX]; /* bytes to give back at the end of the tick */
    flx_outbox outbox[FLX_WORKERS_MAX];
    uint32_t outbox_count; /* mails in all of them */
    uint32_t jobs_out;     /* answers awaited */
    uint32_t answers_out;
    flx_job *free_jobs;
    uint32_t opening_count; /* logs on their way to be open */
    uint32_t free_job_count;
    flx_scratch scratch; /* answers and heads */
    flx_scratch transit; /* regions on their way to another worker, and decoded JSON publishes */
    flx_arena arena;
    flx_bucket *buckets;
    uint32_t bucket_count;
    flx_source *sources; /* open addressing; address all zero with no counts: free */
    uint32_t source_cap;
    uint32_t source_count;
    flx_store *logs; /* NULL: no durable streams here */
    flx_io *io;
    flx_read_cache *read_cache;
    void (*log_news)(void *arg, const flx_log_news *news);
    void *log_news_arg;
    flx_list durables;      /* all, those that are closing too */
    flx_list unopened_logs; /* wait for their turn */
    flx_list moved_logs;    /* a mark moved, or the state changed */
    flx_list staged_logs;   /* to be written at the end of the tick */
    flx_wheel log_wheel;    /* when a journal is due, in ms of now_ns */
    flx_job *ready_first;   /* jobs whose log was read: finished in the next tick */
    flx_job *ready_last;
    flx_cache_pool *cache_pool; /* NULL until a cache is used */
    flx_counter_budget counters;
    flx_job *long_jobs;     /* those that go on in the next tick, oldest first */
    flx_job *long_job_last; /* of them */
    flx_list paced_subs;    /* watches that have read their share of a snapshot in this tick */
    flx_list progress_due;  /* watchers of shards that moved, in the order of due_ns */
    flx_buffer events;      /* where events of a watch are written before their size is known */
    flx_page pages[FLX_PAGES];
    struct flx_op_batch *batches[FLX_WORKERS_MAX]; /* [owner], being filled; NULL: none */
    struct flx_op_batch *free_batches;
    uint32_t batch_count; /* in `batches` */
    uint32_t free_batch_count;
    flx_chunk *frame_chunk; /* of the JSON frame being handled; borrowed */
    bool is_congested;      /* a mailbox is full and mails wait: publishers are not read */
    bool is_draining;
    bool has_opened_logs; /* the catalog was gone through once */
    bool record_publishers;
    flx_worker_stats stats;
};

/* worker.c */
void flx_worker_mark_lane(flx_worker *worker, flx_lane *lane);
flx_job *flx_job_new(flx_worker *worker, flx_job_kind kind);
void flx_job_drop(flx_worker *worker, flx_job *job); /* with all it carries */
/* Hands a job to the owner of its shard, or runs it here; the answer comes through flx_job_done. */
void flx_job_send(flx_worker *worker, flx_job *job, uint32_t owner);
/* Runs it on the owner; the answer goes out when it is there. */
void flx_job_serve(flx_worker *worker, flx_job *job);
/* Hands the answer to who asked, here or on another worker. */
void flx_job_finish(flx_worker *worker, flx_job *job);
/* The job goes on, here, in the next tick. */
void flx_job_again(flx_worker *worker, flx_job *job);
/* The answer of a job that was parked is there: goes out in the next tick. */
void flx_job_ready(flx_worker *worker, flx_job *job);
uint64_t flx_worker_random(flx_worker *worker);

/* outbox.c: mails that found a full mailbox wait in order. */
void flx_outbox_post(flx_worker *worker, uint32_t to, const flx_mail *mail);
/* False: there is no room, and the mail's references are still the caller's. */
bool flx_outbox_post_frame(flx_worker *worker, uint32_t to, const flx_mail *mail);
void flx_outbox_flush(flx_worker *worker);
void flx_outbox_done(flx_worker *worker);

/* streams.c: slots, shards, views. An `id` may carry FLX_CACHE_LOG. */
uint32_t flx_log_owner(const flx_worker *worker, uint32_t id, uint32_t shard);
flx_slot *flx_slot_get(flx_worker *worker, uint32_t id); /* NULL: no such stream or cache */
/* The slot of a cache, made at the first use; one of a stream is made by the calls below. */
flx_status flx_slot_open_cache(flx_worker *worker, const flx_cache_info *info);
/* The shard, made at the first use. FLX_ERR_NOT_FOUND: the stream is gone; FLX_ERR_NOMEM. */
flx_status flx_owned_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_owned **ret_owned);
flx_status flx_mirror_get(flx_worker *worker, uint32_t id, uint32_t shard, flx_mirror **ret_mirror);
void flx_mirror_release(flx_worker *worker, uint32_t id, uint32_t shard);
/* Tells readers here and elsewhere about frames sealed since. */
void flx_owned_announce(flx_worker *worker, flx_owned *owned);
void flx_owned_touch(flx_worker *worker, flx_owned *owned);
/* Has it announced at the end of the tick. */
void flx_owned_mark(flx_worker *worker, flx_owned *owned);
void flx_streams_tick(flx_worker *worker);
void flx_streams_frame(flx_worker *worker, const flx_mail *mail);
void flx_streams_report(flx_worker *worker); /* PROGRESS of `block` mirrors */
/* Posts what did not fit an outbox, as far as the rings still have it. */
void flx_streams_post_late(flx_worker *worker);
/* Joins what a subscribe brought to what is here. Takes frames it marks with a count of 0. */
void flx_mirror_join(flx_worker *worker, flx_mirror *mirror, flx_job *job);
void flx_streams_unwatch(flx_worker *worker, const flx_mail *mail);
void flx_streams_progress(flx_worker *worker, const flx_mail *mail);
void flx_streams_evict(flx_worker *worker, const flx_mail *mail);
void flx_streams_index(flx_worker *worker);   /* streams of the catalog by id */
void flx_streams_refresh(flx_worker *worker); /* after a catalog swap */
void flx_streams_done(flx_worker *worker);

/* durable.c: the logs of the shards owned here. */
flx_status flx_durable_new(flx_worker *worker, flx_owned *owned, const flx_slot *slot,
                           uint32_t shard);
/* The shard goes; the log is closed, and removed when the stream is gone too. Answers who waits. */
void flx_durable_release(flx_durable *durable, bool is_removed);
/* Opens the logs of all durable shards of the catalog that are owned here. */
void flx_durables_open_all(flx_worker *worker);
void flx_durables_moved(flx_worker *worker); /* begins a tick */
void flx_durables_write(flx_worker *worker); /* ends a tick */
uint64_t flx_durables_deadline_ns(const flx_worker *worker);
/* Once a second: an errand of a journal that ended may have set a deadline nobody was told of. */
void flx_durables_rearm(flx_worker *worker);
void flx_durables_done(flx_worker *worker);
/* Whether a publish of this form must wait for the log to open, or for the producers in it. */
bool flx_durable_holds(flx_durable *durable, uint8_t form);
/* Before an append: FLX_OK, FLX_ERR_AGAIN (no room), FLX_ERR_IO, FLX_ERR_CORRUPT, FLX_ERR_NOMEM. */
flx_status flx_durable_prepare(flx_durable *durable);
/* The same, and what the log knows of producers was read: FLX_ERR_NOMEM when it could not be. */
flx_status flx_durable_prepare_idempotent(flx_durable *durable);
/* Something was sealed, and is to be written at the end of the tick. */
void flx_durable_staged(flx_durable *durable);
/* Keeps the answer until the ack rule of the stream holds; false: it holds already. */
bool flx_durable_wait(flx_durable *durable, const flx_asker *asker, uint64_t offset);
/* The job waits for the log to open; flx_job_serve is called again then. */
void flx_durable_park(flx_durable *durable, flx_job *job);
/* Everything below it is as safe as an ack says. */
uint64_t flx_durable_ack_mark(const flx_durable *durable);
/* A cache's index is whole, or could not be made: `status`, and why. */
/* Has it looked at in the next tick. */
void flx_durable_moved(flx_durable *durable);
void flx_durable_loaded(flx_durable *durable, flx_status status, const flx_error *error);
void flx_durable_update(flx_durable *durable, const flx_slot *slot); /* a new catalog */
void flx_durable_tell(const flx_durable *durable, flx_log_news_kind kind, const flx_error *error);

/* recall.c: begins it when it is due. Of an OPEN log. */
bool flx_recall_is_running(flx_durable *durable);

/* durable_read.c: what asks the log of a shard owned here. True: the job is answered. */
bool flx_durable_job(flx_worker *worker, flx_owned *owned, flx_job *job);

/* history.c: a subscription that reads the log until it meets the ring. */
typedef enum flx_history_step {
    FLX_HISTORY_JOINED, /* it has met the ring: there is no history any more */
    FLX_HISTORY_FRAME,
    FLX_HISTORY_ASKED,   /* a block is on its way */
    FLX_HISTORY_AHEAD,   /* of the ring: wait for the next frame in it */
    FLX_HISTORY_TOO_OLD, /* retention was faster: *ret_available is the oldest record kept */
    FLX_HISTORY_NO_MEMORY,
    FLX_HISTORY_FAILED
} flx_history_step;
/* Reads on at sub.offset. FLX_ERR_NOMEM. */
flx_status flx_history_begin(flx_sub *sub);
/* FRAME: the frame at sub.offset, borrowed until flx_history_took or the next call. */
flx_history_step flx_history_next(flx_worker *worker, flx_sub *sub, const flx_sealed **ret_frame,
                                  uint64_t *ret_available);
void flx_history_took(flx_sub *sub);
void flx_history_done(flx_worker *worker, flx_job *job); /* a block is here */
struct flx_history *flx_history_free(struct flx_history *history);

/* publish.c */
typedef struct flx_publish_request {
    flx_slice tenant, namespace_, stream, key, region;
    flx_chunk *holder; /* of the region; NULL: it lies in borrowed bytes */
    uint32_t count;
    bool has_key;
    bool is_acked;
    uint8_t form;        /* flx_publish_form */
    uint8_t answer_form; /* flx_answer_form */
    uint64_t request_id;
    uint64_t a, b; /* as in flx_mail */
} flx_publish_request;
void flx_publish_frame(flx_lane *lane, const flx_frame *frame);
void flx_publish_message(flx_lane *lane, const flx_msg *msg);
void flx_publish_mail(flx_worker *worker, flx_mail *mail); /* takes what the mail carries */
void flx_publish_answered(flx_worker *worker, const flx_mail *mail);
void flx_publish_credit(flx_worker *worker, const flx_mail *mail);
void flx_publish_reply(flx_worker *worker, const flx_asker *asker, const flx_outcome *outcome);
/* The end of a publish whose log failed, or is gone with its stream. */
void flx_publish_failed(flx_worker *worker, const flx_asker *asker, flx_status status);
/* A publish of ours that memory was out to hand on. Takes what the mail carries. */
void flx_publish_lost(flx_worker *worker, flx_mail *mail);
void flx_publish_retry_held(flx_worker *worker);
/* The stream a held publish waited for is gone. Takes what the mail carries. */
void flx_publish_gone(flx_worker *worker, flx_mail *mail);

/* answers.c */
bool flx_answers_has_room(const flx_lane *lane);
flx_answer *flx_answers_push(flx_lane *lane); /* NULL: memory is out */
void flx_answers_write(flx_lane *lane);
void flx_answers_done(flx_lane *lane);

/* lane.c: input, output and the ending of a stream. */
void flx_lane_run(flx_lane *lane); /* reads on with what waits */
bool flx_lane_may_read(const flx_lane *lane);
void flx_lane_write(flx_lane *lane, flx_range range);
void flx_lane_send(flx_lane *lane, const flx_msg *msg);
/* For what carries values: false when it is more than a frame may hold, and nothing was sent. */
bool flx_lane_send_if_fits(flx_lane *lane, const flx_msg *msg);
/* `error`, with code, retry and detail when the client reads them. */
void flx_lane_error(flx_lane *lane, flx_code code, const char *message);
void flx_lane_error_detail(flx_lane *lane, flx_code code, const char *message, const char *reason,
                           uint64_t retry_after_ms);
void flx_lane_close(flx_lane *lane);  /* finishes our side and reads no more */
void flx_lane_break(flx_lane *lane);  /* resets and stops: broken input */
void flx_lane_settle(flx_lane *lane); /* finishes when the client did and nothing is owed */
void flx_lane_free(flx_lane *lane);
void flx_lane_authenticated(flx_lane *lane);
/* An event stream that is not open yet: link is NULL. FLX_ERR_NOMEM. */
flx_status flx_lane_new_events(flx_peer *peer, struct flx_sub *sub, flx_lane **ret_lane);

/* session.c: the messages. */
void flx_session_frame(flx_lane *lane, const flx_frame *frame);
void flx_session_job_done(flx_worker *worker, flx_job *job);
/* The stream of a request when the lane may do `action` on it; otherwise the error was written. */
const flx_stream_info *flx_session_stream(flx_lane *lane, flx_slice tenant, flx_slice namespace_,
                                          flx_slice name, flx_action action);
const flx_cache_info *flx_session_cache(flx_lane *lane, flx_slice tenant, flx_slice namespace_,
                                        flx_slice name, flx_action action);
/* Whether the lane's token allows it, in its own tenant. Says nothing to the client. */
bool flx_session_allows(const flx_lane *lane, const flx_object *object, flx_action action);

/* subscribe.c */
typedef struct flx_sub_request {
    uint32_t id; /* may carry FLX_CACHE_LOG */
    uint32_t shard;
    uint32_t capacity;
    bool has_asked_capacity;
    bool hears_lag;
    bool has_id_wanted;
    uint64_t id_wanted;
    uint16_t flags; /* of its frames */
} flx_sub_request;
/* A subscription that waits for its start to be resolved. Within the limit of its connection. */
flx_status flx_sub_new(flx_peer *peer, const flx_sub_request *request, flx_sub **ret_sub);
/* References to the frames from job.first_sequence on, for the worker that asked. */
flx_status flx_frames_collect(flx_job *job, const flx_feed *feed);
/* From now on frames are posted to the worker that asked. */
void flx_owned_watch(flx_owned *owned, const flx_job *job);
void flx_subscribe_message(flx_lane *lane, const struct flx_msg_subscribe *subscribe);
bool flx_subscribe_job(flx_worker *worker, flx_job *job); /* on the owner; true: answered */
/* The subscriber's worker hears of frames from now on; the answer brings those from
 * first_sequence on. */
void flx_subscribe_register(flx_worker *worker, flx_owned *owned, flx_job *job);
void flx_subscribe_done(flx_worker *worker, flx_job *job);      /* back home */
void flx_subs_open_waiting(flx_worker *worker, flx_peer *peer); /* credit for streams is there */
void flx_sub_end(flx_worker *worker, flx_sub *sub);             /* frees it; its lane lives on */
void flx_sub_end_view(flx_worker *worker, flx_view *view);      /* the stream is gone */
/* `block`: the sequence at which the slowest reader's room ends. */
uint64_t flx_view_allowance(const flx_view *view);
void flx_view_evict(flx_worker *worker, flx_view *view, uint64_t sequence);

/* delivery.c: what a pull brings. */
void flx_sub_pull(flx_worker *worker, flx_sub *sub);
void flx_sub_wake(flx_worker *worker, flx_view *view); /* new frames are there */
/* To the list it belongs on now: idle when it has read everything, otherwise it is pulled. */
void flx_sub_rest(flx_worker *worker, flx_sub *sub);
void flx_view_done(flx_view *view);
void flx_variants_clear(flx_variants *variants); /* drops what was rewritten for others */
void flx_variants_done(flx_variants *variants);

/* query.c */
void flx_query_message(flx_lane *lane, const flx_msg *msg);
bool flx_query_job(flx_worker *worker, flx_job *job); /* true: answered */
void flx_query_done(flx_lane *lane, flx_job *job);

/* query_cache.c: cache requests as JSON. */
void flx_cache_message(flx_lane *lane, const flx_msg *msg);
bool flx_cache_job(flx_worker *worker, flx_job *job); /* on the owner; true: answered */
void flx_cache_answer(flx_lane *lane, flx_job *job);  /* back home */

/* operations.c: the same and others as operations, many in a frame. */
void flx_operations_frame(flx_lane *lane, const flx_frame *frame);
bool flx_operations_job(flx_worker *worker, flx_job *job);  /* on the owner; true: answered */
void flx_operations_done(flx_worker *worker, flx_job *job); /* back home */
void flx_operations_post(flx_worker *worker);               /* what the tick gathered */
void flx_operations_resume(flx_lane *lane);    /* with the rest of a frame, as far as it may */
void flx_operations_drop_rest(flx_lane *lane); /* its stream is over */
void flx_operations_lane_done(flx_lane *lane);
void flx_operations_worker_done(flx_worker *worker);
void flx_op_batch_free(struct flx_op_batch *batch);

/* cache_serve.c: requests of either form, on the worker that owns the shard. */
/* Fills in where the request goes: info, catalog, shard. */
void flx_cache_request_aim(const flx_worker *worker, const flx_cache_info *info,
                           flx_cache_request *request);
/* Makes key and value outlive their frame. The caller owns the reference; NULL: memory is out. */
flx_chunk *flx_cache_request_keep(flx_worker *worker, flx_cache_request *request);
uint64_t flx_cache_expiry_ms(const flx_worker *worker, uint64_t ttl_ms); /* UINT64_MAX: never */
void flx_cache_serve(flx_worker *worker, const flx_cache_request *request, flx_cache_reply *reply);
flx_code flx_cache_refusal(flx_status status, const char **ret_message);

/* cache_log.c: caches whose log is on disk. */
void flx_cache_load_begin(flx_durable *durable); /* OPEN so far; LOADING from here on */
void flx_cache_load_go(flx_durable *durable);    /* a tick: goes on */
void flx_cache_load_cancel(flx_durable *durable);
/* Keeps the answer until all below job.wait_end is as safe as an answer says; false: it is. The job is
 * served again. */
bool flx_cache_settle(flx_durable *durable, flx_job *job);
/* The same, and until readers may see it also where answers do not wait. */
bool flx_cache_settle_shown(flx_durable *durable, flx_job *job);
/* Reads the value of the put at offset `version` into job.value, or says in job.status why not; the
 * job is served again in the next tick. */
void flx_cache_fetch(flx_durable *durable, flx_job *job, uint64_t version);
/* The values of a page that are in the log only. Adding makes it (NULL at first); false: no memory. */
typedef struct flx_away flx_away;
bool flx_away_add(flx_away **away, uint64_t version);
flx_away *flx_away_free(flx_away *away);
/* Takes `away`: appends its events to job.value, then the job is served again. */
void flx_away_begin(flx_durable *durable, flx_away *away, flx_job *job);
/* A read that must find what was there when it began: compaction waits for it. */
uint32_t flx_cache_read_hold(flx_cache_state *state);
void flx_cache_read_release(flx_cache_state *state, uint32_t round);

/* cache_compact.c */
/* Whether what was read from `offset` on may not be every change. */
bool flx_cache_may_be_collapsed(const flx_durable *durable, uint64_t offset);
void flx_cache_compact_look(flx_durable *durable); /* a tick in which its log moved */
void flx_cache_state_stop(flx_cache_state *state); /* before its log is closed */
const char *flx_cache_compaction_word(const flx_cache_state *state); /* "idle", ... */

/* changes.c: cache shards above their logs. */
/* The cache shard of a request, made at the first use. FLX_ERR_NOT_FOUND, FLX_ERR_NOMEM;
 * FLX_ERR_UNAVAILABLE: its log is not open yet (park the job); or why the log never will be. */
flx_status flx_cache_state_get(flx_worker *worker, const flx_cache_request *request,
                               flx_cache_state **ret_state);
/* Its log; NULL: memory is all it has, or it is gone. */
flx_durable *flx_cache_durable(flx_worker *worker, uint32_t id, uint32_t shard);
/* NULL: there is none. */
flx_cache_state *flx_cache_state_find(flx_worker *worker, uint32_t id, uint32_t shard);
flx_status flx_cache_state_new(flx_worker *worker, flx_owned *owned);
flx_cache_state *flx_cache_state_free(flx_cache_state *state);
void flx_caches_tick(flx_worker *worker);
void flx_caches_done(flx_worker *worker);

/* watch.c */
void flx_watch_message(flx_lane *lane, const struct flx_msg_cache_watch *msg);
flx_job_step flx_watch_job(flx_worker *worker, flx_job *job); /* on the owner */
void flx_watch_started(flx_lane *lane, flx_sub *sub, const flx_job *job);
void flx_watch_free(flx_worker *worker, flx_sub *sub);
/* Where a watch that cannot go on takes up again without a gap. */
uint64_t flx_watch_resume_from(const flx_sub *sub);
/* Where an idle watch stands; it counts as idle from then on. */
flx_list *flx_watch_idle_list(flx_sub *sub);
void flx_watch_wake(flx_worker *worker, flx_view *view);
void flx_watch_activate_all(flx_view *view); /* before the view ends: into view.active */
void flx_watchers_done(flx_view *view);

/* watch_progress.c: how far an idle watch has heard of nothing. */
void flx_progress_idle(flx_watchers *watchers, flx_watch *watch); /* may be told from now on */
void flx_progress_moved(flx_worker *worker, flx_watchers *watchers);
void flx_progress_tick(flx_worker *worker);
uint64_t flx_progress_deadline_ns(const flx_worker *worker);
/* An idle watch is pulled for nothing else. False: the stream broke. */
bool flx_progress_tell(flx_worker *worker, flx_sub *sub);

/* The changes of a frame that the watch asked for, from its offset on: 0 or 1 range.
 * FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE. */
flx_status flx_watch_ranges(flx_worker *worker, const flx_sub *sub, const flx_sealed *frame,
                            flx_range ret_ranges[2], size_t *ret_count, uint32_t *ret_records);

/* snapshot.c */
typedef enum flx_page_step { FLX_PAGE_READ, FLX_PAGE_WAIT, FLX_PAGE_END } flx_page_step;
/* The next part of a watch's snapshot: READ with a range (chunk NULL: an empty part). */
flx_page_step flx_snapshot_next(flx_worker *worker, flx_sub *sub, flx_range *ret_range);
flx_job_step flx_snapshot_job(flx_worker *worker, flx_job *job); /* a PAGE, on the owner */
void flx_snapshot_done(flx_worker *worker, flx_job *job);        /* back home */
/* Counts on; true: all that job.key asks for, of versions before job.offset, is in job.found. */
bool flx_snapshot_count(flx_worker *worker, const flx_cache_shard *shard, flx_job *job);
#define FLX_PAGES_A_PULL 4 /* then others have their turn */
void flx_snapshots_tick(flx_worker *worker);
void flx_snapshots_done(flx_worker *worker);
#define FLX_EVENTS_BYTES_MAX (64u << 20) /* of one page or frame: a few of the largest events */
/* Appends a cache_event. FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE. */
flx_status flx_event_append(flx_buffer *events, const struct flx_msg_cache_event *event);
/* What worker.events holds, as a range (chunk NULL: nothing); empties it. FLX_ERR_NOMEM. */
flx_status flx_events_take(flx_worker *worker, flx_range *ret_range);

/* admission.c */
/* FLX_CODE_NONE: admitted. Otherwise the code, with reason and wait. */
flx_code flx_admit(flx_lane *lane, const flx_publish_request *request, const char **ret_reason,
                   uint32_t *ret_retry_after_ms);
void flx_admit_charge(flx_lane *lane, uint32_t bytes);
void flx_admit_release(flx_lane *lane, uint32_t bytes);
void flx_source_change(flx_worker *worker, const uint8_t source[16], bool elsewhere, bool gained);
bool flx_source_is_known(const flx_worker *worker, const uint8_t source[16]);

#endif /* FLX_BROKER_WORKER_INT_H */
