/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small broker, see the header. One loop thread owns everything; the calls of a test are run
 * there one at a time. What cannot go wrong in a test (memory, loopback) is asserted.
 */
#include "mock_broker.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/loop.h"
#include "pki.h"
#include "transport/quic.h"
#include "wire/ack.h"
#include "wire/bytes.h"
#include "wire/event.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/operation.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <pthread.h>
#include <stdatomic.h>

#define SHARDS_MAX 16U
#define KEYS_MAX   64U
#define FLAGS      FLX_FLAGS_KNOWN
#define FEATURES                                                                                   \
    (FLX_FEATURE_CACHE_DELETE | FLX_FEATURE_STREAM_SHARDS | FLX_FEATURE_ERROR_CODES |              \
     FLX_FEATURE_UNSUPPORTED | FLX_FEATURE_PUBLISH_PIPELINE | FLX_FEATURE_STREAM_PUBLISH_WINDOW |  \
     FLX_FEATURE_SUBSCRIPTION_LAGGED | FLX_FEATURE_CACHE_CONDITIONAL | FLX_FEATURE_CACHE_SHARDS |  \
     FLX_FEATURE_CACHE_WATCH | FLX_FEATURE_CACHE_WATCH_RETAINED)

typedef struct record {
    uint8_t *bytes;
    size_t len;
} record;

/* Record i has offset base + i. */
typedef struct shard {
    record *records;
    size_t count, cap;
    uint64_t base;
} shard;

typedef struct stream {
    char name[256];
    shard shards[SHARDS_MAX];
    struct stream *next;
} stream;

typedef struct sub {
    flx_quic_stream *out;
    flx_quic_stream *control; /* to answer late; NULL once answered or gone */
    shard *shard;
    uint64_t id, next_offset;
    uint16_t flags;
    struct sub *next;
} sub;

typedef struct session {
    flx_quic_stream *control;
    flx_frame_reader reader;
    bool authenticated;
    uint16_t flags;
    uint32_t features;
    bool operations;    /* negotiated */
    bool watch_batches; /* negotiated */
    bool opened[FLX_OPERATION_HANDLE_MAX + 1];
    struct session *next;
} session;

typedef struct conn {
    flx_quic_conn *quic;
    struct conn *next;
} conn;

typedef struct entry {
    char key[256];
    uint8_t *value;
    size_t len;
    uint64_t version; /* 0: free */
} entry;

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
    stream *streams;
    session *sessions;
    conn *conns;
    sub *subs;
    entry entries[KEYS_MAX];
    uint64_t versions;
    uint64_t ids;
    mock_watch_asked watch_asked;
    uint64_t watch_id;
    flx_quic_stream *watch_out;     /* of the newest watch; NULL: none, or gone */
    flx_quic_stream *watch_control; /* that waits for its answer */
    flx_arena arena;
    flx_chunk *scratch;
};

/* ---- sending ---- */

static void send_msg(mock_broker *broker, flx_quic_stream *to, const flx_msg *msg)
{
    flx_range range;
    FLX_ASSERT(flx_msg_append_frame(msg, &broker->scratch, 65536, &range, NULL) == FLX_OK);
    (void)flx_quic_stream_write_take(to, range);
}

static void send_bytes(flx_quic_stream *to, const uint8_t *bytes, size_t len)
{
    flx_chunk *chunk = flx_chunk_new(len);
    FLX_ASSERT(chunk != NULL);
    memcpy(chunk->data, bytes, len);
    chunk->len = (uint32_t)len;
    (void)flx_quic_stream_write_take(to, (flx_range){chunk, 0, chunk->len});
}

static void send_error(mock_broker *broker, flx_quic_stream *to, uint16_t code, const char *text)
{
    const flx_msg msg = {.type = FLX_MSG_ERROR,
                         .error = {.message = {(const uint8_t *)text, strlen(text)},
                                   .has_code = true,
                                   .code = flx_code_slice(code),
                                   .has_retry = true,
                                   .retry = flx_retry_slice(flx_code_retry(code))}};
    send_msg(broker, to, &msg);
}

/* ---- records ---- */

static stream *stream_named(mock_broker *broker, flx_slice name)
{
    for (stream *at = broker->streams; at != NULL; at = at->next)
        if (strlen(at->name) == name.len && memcmp(at->name, name.ptr, name.len) == 0)
            return at;
    stream *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL && name.len < sizeof(made->name));
    memcpy(made->name, name.ptr, name.len);
    made->next = broker->streams;
    broker->streams = made;
    return made;
}

static uint32_t shard_count(const mock_broker *broker)
{
    return broker->rules.shards == 0 ? 1 : broker->rules.shards;
}

static void append(shard *to, flx_slice payload)
{
    if (to->count == to->cap) {
        to->cap = to->cap == 0 ? 64 : to->cap * 2;
        to->records = flx_realloc(to->records, to->cap * sizeof(*to->records));
        FLX_ASSERT(to->records != NULL);
    }
    record *added = &to->records[to->count++];
    added->len = payload.len;
    added->bytes = flx_alloc(payload.len + 1);
    FLX_ASSERT(added->bytes != NULL);
    if (payload.len > 0)
        memcpy(added->bytes, payload.ptr, payload.len);
}

static void drop_first(shard *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        flx_free(from->records[i].bytes);
    if (count < from->count)
        memmove(from->records, from->records + count, (from->count - count) * sizeof(record));
    from->count -= count;
    from->base += count;
}

/* ---- events ---- */

static void send_json_events(mock_broker *broker, sub *to, size_t first, size_t count)
{
    flx_slice payloads[64];
    count = count > 64 ? 64 : count;
    for (size_t i = 0; i < count; i++)
        payloads[i] =
            (flx_slice){to->shard->records[first + i].bytes, to->shard->records[first + i].len};
    const flx_slice name = {(const uint8_t *)"x", 1};
    flx_msg msg = {.type = FLX_MSG_EVENT_BATCH,
                   .event_batch = {.tenant_id = name,
                                   .namespace_ = name,
                                   .stream = name,
                                   .payloads = payloads,
                                   .payloads_count = count,
                                   .has_base_offset = !broker->rules.no_offsets,
                                   .base_offset = to->next_offset}};
    send_msg(broker, to->out, &msg);
    to->next_offset += count;
}

static void send_binary_events(mock_broker *broker, sub *to, size_t first, size_t count)
{
    static const char publisher[] = "tester";
    flx_event_batch batch = {.flags = FLX_FLAG_BINARY_EVENT_BATCH_SHARED, .count = (uint32_t)count};
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += flx_record_bytes(to->shard->records[first + i].len);
    if (!broker->rules.no_offsets)
        batch.flags |= (uint16_t)(to->flags & FLX_FLAG_EVENT_BATCH_OFFSETS);
    batch.flags |= (uint16_t)(to->flags & FLX_FLAG_EVENT_BATCH_TIMESTAMPS);
    batch.flags |= (uint16_t)(to->flags & FLX_FLAG_EVENT_BATCH_PUBLISHER);
    batch.base_offset = to->next_offset;
    batch.publisher = (flx_slice){(const uint8_t *)publisher, sizeof(publisher) - 1};

    uint8_t *plain = flx_alloc(len + 1);
    uint8_t *bytes = flx_alloc(FLX_FRAME_HEADER_BYTES + FLX_EVENT_HEAD_BYTES_MAX + len + 8 * count);
    FLX_ASSERT(plain != NULL && bytes != NULL);
    uint8_t *at = plain;
    for (size_t i = 0; i < count; i++)
        at = flx_records_put(at, (flx_slice){to->shard->records[first + i].bytes,
                                             to->shard->records[first + i].len});
    const bool stamped = (batch.flags & FLX_FLAG_EVENT_BATCH_TIMESTAMPS) != 0;
    batch.region = (flx_slice){plain, stamped ? len + 8 * count : len};
    at = flx_event_frame_head_encode(&batch, bytes);
    if (stamped)
        at = flx_event_region_stamp((flx_slice){plain, len}, 1000000, at);
    else {
        memcpy(at, plain, len);
        at += len;
    }
    send_bytes(to->out, bytes, (size_t)(at - bytes));
    flx_free(plain);
    flx_free(bytes);
    to->next_offset += count;
}

static void feed(mock_broker *broker, sub *to)
{
    const uint32_t most = broker->rules.batch_max == 0 ? 64 : broker->rules.batch_max;
    if (to->next_offset < to->shard->base)
        to->next_offset = to->shard->base;
    while (to->out != NULL && to->next_offset < to->shard->base + to->shard->count) {
        const size_t first = (size_t)(to->next_offset - to->shard->base);
        size_t count = to->shard->count - first;
        count = count > most ? most : count;
        if (broker->rules.json_events)
            send_json_events(broker, to, first, count);
        else
            send_binary_events(broker, to, first, count);
    }
}

static void feed_all(mock_broker *broker)
{
    for (sub *at = broker->subs; at != NULL; at = at->next)
        feed(broker, at);
}

/* ---- publishing ---- */

static void send_ack(session *from, const flx_publish *publish, uint16_t code, uint64_t offset)
{
    uint8_t bytes[256];
    static const char refused[] = "refused by the test";
    if (code == 0) {
        const bool numbered = (from->flags & FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET) != 0;
        uint8_t *end =
            flx_publish_ack_ok_frame(publish->request_id, numbered ? &offset : NULL, bytes);
        send_bytes(from->control, bytes, (size_t)(end - bytes));
        return;
    }
    const flx_publish_ack ack = {.flags =
                                     FLX_FLAG_BINARY_PUBLISH_ACK | FLX_FLAG_BINARY_PUBLISH_ACK_CODE,
                                 .retry = (uint8_t)flx_code_retry(code),
                                 .code = code,
                                 .request_id = publish->request_id,
                                 .message = {(const uint8_t *)refused, sizeof(refused) - 1}};
    uint8_t *end = flx_publish_ack_encode(&ack, bytes + FLX_FRAME_HEADER_BYTES);
    flx_frame_header_encode(ack.flags, (uint32_t)(end - bytes) - FLX_FRAME_HEADER_BYTES, bytes);
    send_bytes(from->control, bytes, (size_t)(end - bytes));
}

static void publish(mock_broker *broker, session *from, const flx_frame *frame)
{
    flx_publish publish;
    if (!from->authenticated || (frame->flags & broker->rules.flags_withheld) != 0 ||
        flx_publish_decode(frame->flags, frame->payload, &publish, NULL) != FLX_OK) {
        broker->counts.protocol_errors++;
        return;
    }
    broker->counts.publishes++;
    uint16_t code = 0;
    if (broker->rules.stream_unknown)
        code = FLX_CODE_NOT_FOUND;
    if (broker->rules.publish_refused > 0) {
        broker->rules.publish_refused--;
        code = broker->rules.refuse_code;
    }
    uint64_t offset = 0;
    if (code == 0) {
        const uint32_t at = flx_publish_is_keyed(&publish) && publish.key.len > 0
                                ? publish.key.ptr[0] % shard_count(broker)
                                : 0;
        shard *to = &stream_named(broker, publish.stream)->shards[at];
        offset = to->base + to->count;
        flx_slice payload;
        while (flx_records_next(&publish.region, &payload)) {
            append(to, payload);
            broker->counts.records++;
        }
    }
    if (flx_publish_is_acked(&publish) && !broker->rules.publish_silent)
        send_ack(from, &publish, code, offset);
    feed_all(broker);
}

/* ---- subscribing ---- */

static uint64_t start_of(const struct flx_msg_subscribe *ask, const shard *from)
{
    if (!ask->has_start || ask->start.kind == FLX_START_LATEST)
        return from->base + from->count;
    return ask->start.kind == FLX_START_EARLIEST ? from->base : ask->start.offset;
}

static void answer_subscribe(mock_broker *broker, sub *made)
{
    const flx_msg subscribed = {.type = FLX_MSG_SUBSCRIBED,
                                .subscribed = {.subscription_id = made->id}};
    send_msg(broker, made->control, &subscribed);
    flx_quic_stream_finish(made->control);
    made->control = NULL;
}

static void subscribe(mock_broker *broker, session *from, const struct flx_msg_subscribe *ask)
{
    broker->counts.subscribes++;
    if (broker->rules.stream_unknown) {
        send_error(broker, from->control, FLX_CODE_NOT_FOUND, "no such stream");
        flx_quic_stream_finish(from->control);
        return;
    }
    shard *of =
        &stream_named(broker, ask->stream)->shards[ask->has_shard ? ask->shard % SHARDS_MAX : 0];
    const uint64_t start = start_of(ask, of);
    if (start < of->base || start > of->base + of->count) {
        const bool old = start < of->base;
        const flx_msg refused = {
            .type = FLX_MSG_SUBSCRIBE_CURSOR_ERROR,
            .subscribe_cursor_error = {.reason = old ? FLX_CURSOR_TOO_OLD : FLX_CURSOR_IN_FUTURE,
                                       .requested = start,
                                       .available = old ? of->base : of->base + of->count}};
        send_msg(broker, from->control, &refused);
        flx_quic_stream_finish(from->control);
        return;
    }
    sub *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL);
    made->shard = of;
    made->flags = from->flags;
    made->control = from->control;
    made->id = broker->rules.own_ids || !ask->has_subscription_id ? 1000 + broker->ids++
                                                                  : ask->subscription_id;
    made->next_offset = start;
    FLX_ASSERT(flx_quic_stream_open(flx_quic_stream_conn(from->control), false, NULL, &made->out,
                                    NULL) == FLX_OK);
    made->next = broker->subs;
    broker->subs = made;
    const flx_msg hello = {.type = FLX_MSG_EVENT_STREAM_HELLO,
                           .event_stream_hello = {.subscription_id = made->id}};
    send_msg(broker, made->out, &hello);
    if (broker->rules.own_ids)
        feed(broker, made); /* events first, then the answer: the order the client must bear */
    answer_subscribe(broker, made);
    feed(broker, made);
}

static void end_sub(mock_broker *broker, flx_quic_stream *out)
{
    for (sub **at = &broker->subs; *at != NULL; at = &(*at)->next) {
        if ((*at)->out != out)
            continue;
        sub *gone = *at;
        *at = gone->next;
        flx_free(gone);
        return;
    }
}

/* ---- the cache ---- */

static entry *find_entry(mock_broker *broker, flx_slice key, bool make)
{
    entry *unused = NULL;
    for (size_t i = 0; i < KEYS_MAX; i++) {
        entry *at = &broker->entries[i];
        if (at->version == 0)
            unused = at;
        else if (strlen(at->key) == key.len && memcmp(at->key, key.ptr, key.len) == 0)
            return at;
    }
    if (!make)
        return NULL;
    FLX_ASSERT(unused != NULL && key.len < sizeof(unused->key));
    memset(unused->key, 0, sizeof(unused->key));
    memcpy(unused->key, key.ptr, key.len);
    return unused;
}

static uint64_t store(mock_broker *broker, flx_slice key, flx_slice value)
{
    entry *to = find_entry(broker, key, true);
    flx_free(to->value);
    to->value = flx_alloc(value.len + 1);
    FLX_ASSERT(to->value != NULL);
    memcpy(to->value, value.ptr, value.len);
    to->len = value.len;
    to->version = ++broker->versions;
    return to->version;
}

static void erase(entry *from)
{
    flx_free(from->value);
    memset(from, 0, sizeof(*from));
}

static void send_value(mock_broker *broker, session *to, const struct flx_msg_cache_get *get,
                       const entry *found)
{
    flx_msg answer = {.type = FLX_MSG_CACHE_VALUE,
                      .cache_value = {.tenant_id = get->tenant_id,
                                      .namespace_ = get->namespace_,
                                      .cache = get->cache,
                                      .key = get->key,
                                      .has_request_id = get->has_request_id,
                                      .request_id = get->request_id}};
    if (found != NULL) {
        answer.cache_value.has_value = true;
        answer.cache_value.value = (flx_slice){found->value, found->len};
        answer.cache_value.has_version = true;
        answer.cache_value.version = found->version;
    }
    send_msg(broker, to->control, &answer);
}

static void send_condition(mock_broker *broker, session *to, uint64_t request_id, bool applied,
                           uint64_t version)
{
    const flx_msg answer = {.type = FLX_MSG_CACHE_CONDITION_RESULT,
                            .cache_condition_result = {.applied = applied,
                                                       .has_version = version != 0,
                                                       .version = version,
                                                       .request_id = request_id}};
    send_msg(broker, to->control, &answer);
}

static void put_if(mock_broker *broker, session *from, const struct flx_msg_cache_put_if *put)
{
    const entry *found = find_entry(broker, put->key, false);
    const bool holds = put->condition.kind == FLX_CONDITION_ABSENT
                           ? found == NULL
                           : found != NULL && found->version == put->condition.version;
    uint64_t version = found != NULL ? found->version : 0;
    if (holds)
        version = store(broker, put->key, put->value);
    send_condition(broker, from, put->request_id, holds, version);
}

static void delete_if(mock_broker *broker, session *from,
                      const struct flx_msg_cache_delete_if *gone)
{
    entry *found = find_entry(broker, gone->key, false);
    const bool holds = found != NULL && found->version == gone->version;
    const uint64_t version = found != NULL && !holds ? found->version : 0;
    if (holds)
        erase(found);
    send_condition(broker, from, gone->request_id, holds, version);
}

/* The members of get and delete are the same. */
static void get_or_delete(mock_broker *broker, session *from, const struct flx_msg_cache_get *get,
                          bool removes)
{
    entry *found = find_entry(broker, get->key, false);
    send_value(broker, from, get, found);
    if (removes && found != NULL)
        erase(found);
}

static void cache(mock_broker *broker, session *from, flx_msg *msg)
{
    broker->counts.cache_requests++;
    if (broker->rules.cache_silent)
        return;
    if (broker->rules.stream_unknown) {
        send_error(broker, from->control, FLX_CODE_NOT_FOUND, "no such cache");
        flx_quic_stream_finish(from->control);
        return;
    }
    if (msg->type == FLX_MSG_CACHE_PUT) {
        (void)store(broker, msg->cache_put.key, msg->cache_put.value);
        const flx_msg ok = {.type = FLX_MSG_CACHE_OK,
                            .cache_ok = {.request_id = msg->cache_put.request_id}};
        send_msg(broker, from->control, &ok);
    } else if (msg->type == FLX_MSG_CACHE_GET) {
        get_or_delete(broker, from, &msg->cache_get, false);
    } else if (msg->type == FLX_MSG_CACHE_DELETE) {
        const struct flx_msg_cache_get same = {.tenant_id = msg->cache_delete.tenant_id,
                                               .namespace_ = msg->cache_delete.namespace_,
                                               .cache = msg->cache_delete.cache,
                                               .key = msg->cache_delete.key,
                                               .has_request_id = msg->cache_delete.has_request_id,
                                               .request_id = msg->cache_delete.request_id};
        get_or_delete(broker, from, &same, true);
    } else if (msg->type == FLX_MSG_CACHE_PUT_IF) {
        put_if(broker, from, &msg->cache_put_if);
    } else {
        delete_if(broker, from, &msg->cache_delete_if);
    }
}

/* ---- operations ---- */

/* What JSON would have answered, in the other form. */
static void operate(mock_broker *broker, session *from, const flx_operation *asked,
                    flx_operation_answer *answer)
{
    entry *found = find_entry(broker, asked->key, false);
    const bool is_conditional =
        asked->opcode == FLX_OPCODE_CACHE_PUT_IF || asked->opcode == FLX_OPCODE_CACHE_DELETE_IF;
    const bool wants_version =
        asked->opcode == FLX_OPCODE_CACHE_DELETE_IF || (asked->flags & FLX_OPERATION_VERSION) != 0;
    const bool holds =
        !is_conditional ||
        (wants_version ? found != NULL && found->version == asked->version : found == NULL);
    FLX_ASSERT(from->opened[asked->handle]);
    broker->counts.cache_requests++;
    answer->version = found != NULL ? found->version : 0;
    if (asked->opcode == FLX_OPCODE_CACHE_GET || asked->opcode == FLX_OPCODE_CACHE_DELETE) {
        answer->flags = found != NULL ? FLX_OPERATION_FOUND : 0;
        if (found != NULL)
            answer->value = (flx_slice){found->value, found->len};
    }
    if (holds &&
        (asked->opcode == FLX_OPCODE_CACHE_PUT || asked->opcode == FLX_OPCODE_CACHE_PUT_IF))
        answer->version = store(broker, asked->key, asked->value);
    if (holds && asked->opcode == FLX_OPCODE_CACHE_DELETE_IF)
        answer->version = 0;
    if (is_conditional)
        answer->flags = (uint8_t)((holds ? FLX_OPERATION_APPLIED : 0) |
                                  (answer->version != 0 ? FLX_OPERATION_VERSIONED : 0));
}

/* Puts the answer into the room of `cap` bytes at `at`; returns its length, 0: none is given. */
static size_t answer_operation(mock_broker *broker, session *from, const flx_operation_head *head,
                               uint8_t *at, size_t cap)
{
    flx_operation asked;
    FLX_ASSERT(flx_operation_decode(head, &asked, NULL) == FLX_OK);
    flx_operation_answer answer = {.opcode = head->opcode, .id = head->id};
    if (head->opcode == FLX_OPCODE_OPEN) {
        from->opened[head->handle] = true;
        answer.shards = 1;
    } else if (head->opcode == FLX_OPCODE_PLACEMENT) {
        answer.workers = 3;
    } else if (broker->rules.cache_silent ||
               (asked.key.len == 6 && memcmp(asked.key.ptr, "silent", 6) == 0)) {
        broker->counts.cache_requests++;
        return 0;
    } else if (broker->rules.operations_unserved || broker->rules.stream_unknown) {
        answer.status =
            broker->rules.stream_unknown ? FLX_CODE_NOT_FOUND : FLX_OPERATION_UNSUPPORTED;
        answer.retry = broker->rules.stream_unknown ? FLX_RETRY_AFTER : FLX_RETRY_FATAL;
    } else {
        operate(broker, from, &asked, &answer);
    }
    FLX_ASSERT(flx_operation_answer_bytes(&answer) <= cap);
    const size_t len = (size_t)(flx_operation_answer_encode(&answer, at) - at);
    if (head->opcode == FLX_OPCODE_PLACEMENT && broker->rules.placement_astray)
        (void)flx_put_u16(at + len - 2, 3); /* of 3 */
    if (head->opcode == FLX_OPCODE_CACHE_DELETE && answer.status == 0 &&
        (answer.flags & FLX_OPERATION_FOUND) != 0)
        erase(find_entry(broker, asked.key, false));
    if (head->opcode == FLX_OPCODE_CACHE_DELETE_IF && (answer.flags & FLX_OPERATION_APPLIED) != 0)
        erase(find_entry(broker, asked.key, false));
    return len;
}

static void operations(mock_broker *broker, session *from, const flx_frame *frame)
{
    enum { CAP = 1 << 20 };
    static uint8_t bytes[FLX_FRAME_HEADER_BYTES + CAP];
    flx_slice rest = frame->payload;
    flx_operation_head head;
    uint32_t count;
    broker->counts.operation_frames++;
    if (flx_operations_check(rest, broker->rules.operation_window, &count, NULL) != FLX_OK) {
        broker->counts.protocol_errors++;
        return;
    }
    /* Backwards they fill the room from its end. */
    const bool backwards = broker->rules.answers_backwards;
    uint8_t *const first = bytes + FLX_FRAME_HEADER_BYTES;
    uint8_t *start = backwards ? first + CAP : first;
    uint8_t *end = start;
    while (flx_operations_next(&rest, &head)) {
        static uint8_t one[CAP];
        const size_t len = answer_operation(broker, from, &head, one, sizeof(one));
        FLX_ASSERT(backwards ? start - first >= (ptrdiff_t)len
                             : first + CAP - end >= (ptrdiff_t)len);
        memcpy(backwards ? start - len : end, one, len);
        start -= backwards ? len : 0;
        end += backwards ? 0 : len;
    }
    if (start == end)
        return;
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(end - start),
                            start - FLX_FRAME_HEADER_BYTES);
    send_bytes(from->control, start - FLX_FRAME_HEADER_BYTES,
               (size_t)(end - start) + FLX_FRAME_HEADER_BYTES);
}

/* ---- a session ---- */

static void authenticate(mock_broker *broker, session *from, const struct flx_msg_auth *auth)
{
    broker->counts.auths++;
    if (broker->rules.auth_refused) {
        send_error(broker, from->control, FLX_CODE_UNAUTHENTICATED, "token refused");
        flx_quic_stream_finish(from->control);
        return;
    }
    from->authenticated = true;
    from->flags = auth->has_client_flags ? auth->client_flags : (uint16_t)FLX_FLAGS_ORIGINAL_V1;
    from->features = auth->has_client_features ? auth->client_features : 0;
    const uint32_t window = broker->rules.publish_window;
    from->operations = broker->rules.operation_window > 0 && auth->has_client_features_hi &&
                       (from->features & FLX_FEATURE_EXTENDED) != 0 &&
                       (auth->client_features_hi & FLX_FEATURE_HI_OPERATIONS) != 0;
    from->watch_batches = broker->rules.watch.has_batches && auth->has_client_features_hi &&
                          (from->features & FLX_FEATURE_EXTENDED) != 0 &&
                          (auth->client_features_hi & FLX_FEATURE_HI_WATCH_BATCHES) != 0;
    const bool has_extended = from->operations || from->watch_batches;
    if (from->operations)
        flx_frame_reader_allow_extension(&from->reader);
    const flx_msg ok = {
        .type = FLX_MSG_AUTH_OK,
        .auth_ok = {.server_flags = (uint16_t)(FLAGS & ~broker->rules.flags_withheld),
                    .has_server_features = true,
                    .server_features = (FEATURES & ~broker->rules.features_withheld) |
                                       (has_extended ? FLX_FEATURE_EXTENDED : 0),
                    .has_server_features_hi = has_extended,
                    .server_features_hi = (from->operations ? FLX_FEATURE_HI_OPERATIONS : 0) |
                                          (from->watch_batches ? FLX_FEATURE_HI_WATCH_BATCHES : 0),
                    .has_operation_window = from->operations,
                    .operation_window = broker->rules.operation_window,
                    .has_publish_window = true,
                    .publish_window = window == 0 ? 64 : window}};
    send_msg(broker, from->control, &ok);
}

static void send_shards(mock_broker *broker, session *to, uint64_t request_id)
{
    const uint32_t shards = broker->rules.stream_unknown ? 0 : shard_count(broker);
    const flx_msg view = {.type = FLX_MSG_STREAM_SHARDS_VIEW,
                          .stream_shards_view = {.shards = shards, .request_id = request_id}};
    send_msg(broker, to->control, &view);
}

static void send_cache_shards(mock_broker *broker, session *to, uint64_t request_id)
{
    const uint32_t shards = broker->rules.stream_unknown ? 0 : 1;
    const flx_msg view = {.type = FLX_MSG_CACHE_SHARDS_VIEW,
                          .cache_shards_view = {.shards = shards, .request_id = request_id}};
    send_msg(broker, to->control, &view);
}

/* ---- watches ---- */

static void answer_watch(mock_broker *broker)
{
    flx_msg msg = {.type = FLX_MSG_CACHE_WATCH_STARTED};
    if (broker->watch_control == NULL)
        return;
    msg.cache_watch_started.subscription_id = broker->watch_id;
    msg.cache_watch_started.resume_offset = broker->rules.watch.resume_offset;
    msg.cache_watch_started.resnapshot = broker->rules.watch.resnapshot;
    msg.cache_watch_started.has_retained_count = broker->watch_asked.retained;
    msg.cache_watch_started.retained_count = broker->rules.watch.retained_count;
    send_msg(broker, broker->watch_control, &msg);
    flx_quic_stream_finish(broker->watch_control);
    broker->watch_control = NULL;
}

static void refuse_watch(mock_broker *broker, session *from)
{
    const flx_msg refused = {
        .type = FLX_MSG_SUBSCRIBE_CURSOR_ERROR,
        .subscribe_cursor_error = {.reason = FLX_CURSOR_IN_FUTURE,
                                   .requested = broker->watch_asked.from_offset,
                                   .available = broker->rules.watch.resume_offset}};
    send_msg(broker, from->control, &refused);
    flx_quic_stream_finish(from->control);
}

static void watch(mock_broker *broker, session *from, const struct flx_msg_cache_watch *ask)
{
    const flx_slice text = ask->has_key ? ask->key : ask->prefix;
    mock_watch_asked *asked = &broker->watch_asked;
    FLX_ASSERT(text.len < sizeof(asked->text));
    *asked = (mock_watch_asked){.count = asked->count + 1,
                                .in_batches = from->watch_batches,
                                .is_key = ask->has_key,
                                .retained = ask->retained,
                                .has_from_offset = ask->has_from_offset,
                                .from_offset = ask->from_offset};
    if (text.len > 0)
        memcpy(asked->text, text.ptr, text.len);
    if (broker->rules.watch.is_in_future) {
        refuse_watch(broker, from);
        return;
    }
    broker->watch_id = broker->rules.own_ids ? 1000 + broker->ids++ : ask->subscription_id;
    broker->watch_control = from->control;
    FLX_ASSERT(flx_quic_stream_open(flx_quic_stream_conn(from->control), false, NULL,
                                    &broker->watch_out, NULL) == FLX_OK);
    const flx_msg hello = {.type = FLX_MSG_EVENT_STREAM_HELLO,
                           .event_stream_hello = {.subscription_id = broker->watch_id}};
    send_msg(broker, broker->watch_out, &hello);
    if (!broker->rules.watch.is_held)
        answer_watch(broker);
}

/* A stream is gone. */
static void end_watch(mock_broker *broker, const flx_quic_stream *quic)
{
    if (broker->watch_out == quic)
        broker->watch_out = NULL;
    if (broker->watch_control == quic)
        broker->watch_control = NULL;
}

static void receive_msg(mock_broker *broker, session *from, flx_msg *msg)
{
    if (!from->authenticated && msg->type != FLX_MSG_AUTH) {
        broker->counts.protocol_errors++;
        return;
    }
    switch (msg->type) {
    case FLX_MSG_AUTH:
        authenticate(broker, from, &msg->auth);
        return;
    case FLX_MSG_STREAM_SHARDS:
        send_shards(broker, from, msg->stream_shards.request_id);
        return;
    case FLX_MSG_SUBSCRIBE:
        subscribe(broker, from, &msg->subscribe);
        return;
    case FLX_MSG_CACHE_SHARDS:
        send_cache_shards(broker, from, msg->cache_shards.request_id);
        return;
    case FLX_MSG_CACHE_WATCH:
        watch(broker, from, &msg->cache_watch);
        return;
    case FLX_MSG_CACHE_PUT:
    case FLX_MSG_CACHE_GET:
    case FLX_MSG_CACHE_DELETE:
    case FLX_MSG_CACHE_PUT_IF:
    case FLX_MSG_CACHE_DELETE_IF:
        cache(broker, from, msg);
        return;
    default:
        broker->counts.protocol_errors++;
        return;
    }
}

static void receive(mock_broker *broker, session *from, const flx_frame *frame)
{
    flx_msg msg;
    if (frame->flags == FLX_FLAG_OPERATIONS) {
        operations(broker, from, frame);
        return;
    }
    if (frame->flags != 0) {
        publish(broker, from, frame);
        return;
    }
    flx_arena_reset(&broker->arena);
    if (flx_msg_decode(&broker->arena, frame->json, frame->payload.len, &msg, NULL) == FLX_OK)
        receive_msg(broker, from, &msg);
    else
        broker->counts.protocol_errors++;
}

static void end_session(mock_broker *broker, flx_quic_stream *control)
{
    for (session **at = &broker->sessions; *at != NULL; at = &(*at)->next) {
        if ((*at)->control != control)
            continue;
        session *gone = *at;
        *at = gone->next;
        flx_frame_reader_done(&gone->reader);
        flx_free(gone);
        return;
    }
}

/* ---- the endpoint ---- */

static void on_connected(void *arg, flx_quic_conn *quic)
{
    mock_broker *broker = arg;
    conn *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL);
    made->quic = quic;
    made->next = broker->conns;
    broker->conns = made;
    broker->counts.connections++;
}

static void on_closed(void *arg, flx_quic_conn *quic, const flx_quic_close *why)
{
    mock_broker *broker = arg;
    (void)why;
    for (conn **at = &broker->conns; *at != NULL; at = &(*at)->next) {
        if ((*at)->quic != quic)
            continue;
        conn *gone = *at;
        *at = gone->next;
        flx_free(gone);
        return;
    }
}

static void on_opened(void *arg, flx_quic_conn *quic, flx_quic_stream *control)
{
    mock_broker *broker = arg;
    (void)quic;
    session *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL);
    made->control = control;
    flx_frame_reader_init(&made->reader, FLX_FRAME_BYTES_MAX);
    made->next = broker->sessions;
    broker->sessions = made;
    flx_quic_stream_set_context(control, made);
}

static void on_data(void *arg, flx_quic_stream *control, flx_slice data, bool fin)
{
    mock_broker *broker = arg;
    session *from = flx_quic_stream_context(control);
    flx_quic_stream_consume(control, data.len);
    flx_frame frame;
    while (from != NULL &&
           flx_frame_reader_next(&from->reader, &data, &frame, NULL) == FLX_FRAME_READY)
        receive(broker, from, &frame);
    if (fin)
        flx_quic_stream_finish(control);
}

static void on_stream_closed(void *arg, flx_quic_stream *quic)
{
    end_sub(arg, quic);
    end_watch(arg, quic);
    end_session(arg, quic);
}

static void on_stopped(void *arg, flx_quic_stream *quic, uint64_t code)
{
    (void)code;
    end_sub(arg, quic);
    end_watch(arg, quic);
}

/* ---- calls from the test ---- */

static void tick(void *arg, uint64_t now_ns)
{
    mock_broker *broker = arg;
    (void)now_ns;
    (void)pthread_mutex_lock(&broker->mutex);
    if (broker->call != NULL) {
        broker->call(broker, broker->call_arg);
        broker->call = NULL;
        (void)pthread_cond_broadcast(&broker->done);
    }
    (void)pthread_mutex_unlock(&broker->mutex);
}

static void run(mock_broker *broker, void (*call)(mock_broker *broker, void *arg), void *arg)
{
    (void)pthread_mutex_lock(&broker->mutex);
    while (broker->call != NULL)
        (void)pthread_cond_wait(&broker->done, &broker->mutex);
    broker->call = call;
    broker->call_arg = arg;
    flx_loop_wake(broker->loop);
    while (broker->call == call && broker->call_arg == arg)
        (void)pthread_cond_wait(&broker->done, &broker->mutex);
    (void)pthread_mutex_unlock(&broker->mutex);
}

static void do_set(mock_broker *broker, void *arg)
{
    broker->rules = *(const mock_rules *)arg;
}

void mock_broker_set(mock_broker *broker, const mock_rules *rules)
{
    mock_rules copy = *rules;
    run(broker, do_set, &copy);
}

static void do_counts(mock_broker *broker, void *arg)
{
    *(mock_counts *)arg = broker->counts;
}

mock_counts mock_broker_counts(mock_broker *broker)
{
    mock_counts counts;
    run(broker, do_counts, &counts);
    return counts;
}

static void do_kick(mock_broker *broker, void *arg)
{
    (void)arg;
    for (conn *at = broker->conns; at != NULL; at = at->next)
        flx_quic_conn_close(at->quic, 0, "kicked");
}

void mock_broker_kick(mock_broker *broker)
{
    run(broker, do_kick, broker);
}

static void do_trim(mock_broker *broker, void *arg)
{
    const uint64_t oldest = *(const uint64_t *)arg;
    for (stream *at = broker->streams; at != NULL; at = at->next)
        for (uint32_t i = 0; i < SHARDS_MAX; i++)
            if (at->shards[i].base < oldest && at->shards[i].base + at->shards[i].count >= oldest)
                drop_first(&at->shards[i], (size_t)(oldest - at->shards[i].base));
}

void mock_broker_trim(mock_broker *broker, uint64_t oldest)
{
    run(broker, do_trim, &oldest);
}

static void forget_all(mock_broker *broker)
{
    for (stream *at = broker->streams; at != NULL; at = at->next)
        for (uint32_t i = 0; i < SHARDS_MAX; i++) {
            drop_first(&at->shards[i], at->shards[i].count);
            at->shards[i].base = 0;
        }
}

static void do_forget(mock_broker *broker, void *arg)
{
    (void)arg;
    forget_all(broker);
}

void mock_broker_forget(mock_broker *broker)
{
    run(broker, do_forget, broker);
}

static void do_skip(mock_broker *broker, void *arg)
{
    const uint64_t count = *(const uint64_t *)arg;
    for (stream *at = broker->streams; at != NULL; at = at->next)
        for (uint32_t i = 0; i < SHARDS_MAX; i++) {
            drop_first(&at->shards[i], at->shards[i].count);
            at->shards[i].base += count;
        }
}

void mock_broker_skip(mock_broker *broker, uint64_t count)
{
    run(broker, do_skip, &count);
}

static void do_lag(mock_broker *broker, void *arg)
{
    for (sub *at = broker->subs; at != NULL; at = at->next) {
        const flx_msg lagged = {.type = FLX_MSG_SUBSCRIPTION_LAGGED,
                                .subscription_lagged = {.subscription_id = at->id,
                                                        .resume_from = *(const uint64_t *)arg}};
        send_msg(broker, at->out, &lagged);
        flx_quic_stream_finish(at->out);
        at->out = NULL;
    }
    while (broker->subs != NULL)
        end_sub(broker, NULL);
}

void mock_broker_lag(mock_broker *broker, uint64_t resume_from)
{
    run(broker, do_lag, &resume_from);
}

static void do_watch_asked(mock_broker *broker, void *arg)
{
    *(mock_watch_asked *)arg = broker->watch_asked;
}

mock_watch_asked mock_broker_watch_asked(mock_broker *broker)
{
    mock_watch_asked asked;
    run(broker, do_watch_asked, &asked);
    return asked;
}

static void do_watch_answer(mock_broker *broker, void *arg)
{
    (void)arg;
    answer_watch(broker);
}

void mock_broker_watch_answer(mock_broker *broker)
{
    run(broker, do_watch_answer, broker);
}

static void do_watch_send(mock_broker *broker, void *arg)
{
    const flx_slice *frames = arg;
    if (broker->watch_out != NULL)
        send_bytes(broker->watch_out, frames->ptr, frames->len);
}

void mock_broker_watch_send(mock_broker *broker, const uint8_t *frames, size_t len)
{
    flx_slice bytes = {frames, len};
    run(broker, do_watch_send, &bytes);
}

static void do_watch_finish(mock_broker *broker, void *arg)
{
    (void)arg;
    if (broker->watch_out != NULL)
        flx_quic_stream_finish(broker->watch_out);
    broker->watch_out = NULL;
}

void mock_broker_watch_finish(mock_broker *broker)
{
    run(broker, do_watch_finish, broker);
}

typedef struct addition {
    const char *stream;
    uint32_t shard;
    const char *text;
} addition;

static void do_append(mock_broker *broker, void *arg)
{
    const addition *what = arg;
    const flx_slice name = {(const uint8_t *)what->stream, strlen(what->stream)};
    append(&stream_named(broker, name)->shards[what->shard],
           (flx_slice){(const uint8_t *)what->text, strlen(what->text)});
    feed_all(broker);
}

void mock_broker_append(mock_broker *broker, const char *stream_name, uint32_t shard_index,
                        const char *text)
{
    addition what = {stream_name, shard_index, text};
    run(broker, do_append, &what);
}

/* ---- life ---- */

static void *thread_main(void *arg)
{
    mock_broker *broker = arg;
    (void)flx_loop_run(broker->loop, NULL);
    return NULL;
}

static const flx_quic_events events = {.connected = on_connected,
                                       .closed = on_closed,
                                       .stream_opened = on_opened,
                                       .stream_data = on_data,
                                       .stream_stopped = on_stopped,
                                       .stream_closed = on_stream_closed};

mock_broker *mock_broker_start(void)
{
    static const uint8_t secret[32] = {7};
    mock_broker *broker = flx_calloc(1, sizeof(*broker));
    FLX_ASSERT(broker != NULL);
    char cert[128];
    char key[128];
    pki_start(&broker->pki);
    pki_make(&broker->pki, "server", &(pki_leaf){0});
    (void)pki_path(&broker->pki, "server.pem", cert);
    (void)pki_path(&broker->pki, "server.key", key);
    (void)pki_path(&broker->pki, "ca.pem", broker->ca_file);
    const flx_credentials_options files = {.certificate_file = cert, .key_file = key};
    const flx_quic_options options = {.keepalive_ms = UINT32_MAX};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    flx_error error = {0};
    FLX_ASSERT(flx_loop_new(&(flx_loop_options){0}, &broker->loop, &error) == FLX_OK);
    broker->hook = (flx_tick_hook){.tick = tick, .arg = broker};
    flx_loop_hook_add(broker->loop, &broker->hook);
    flx_arena_init(&broker->arena, 1U << 24);
    FLX_ASSERT(flx_credentials_new(true, &files, &broker->credentials, &error) == FLX_OK);
    FLX_ASSERT(flx_quic_group_new(1, secret, &options, &broker->group, &error) == FLX_OK);
    FLX_ASSERT(flx_quic_listen(broker->loop, broker->group, 0, (const struct sockaddr *)&address,
                               sizeof(address), broker->credentials, &events, broker,
                               &broker->endpoint, &error) == FLX_OK);
    struct sockaddr_storage bound;
    socklen_t len;
    flx_quic_endpoint_address(broker->endpoint, &bound, &len);
    memcpy(&address, &bound, sizeof(address));
    (void)snprintf(broker->address, sizeof(broker->address), "127.0.0.1:%u",
                   ntohs(address.sin_port));
    (void)pthread_mutex_init(&broker->mutex, NULL);
    (void)pthread_cond_init(&broker->done, NULL);
    FLX_ASSERT(pthread_create(&broker->thread, NULL, thread_main, broker) == 0);
    return broker;
}

void mock_broker_stop(mock_broker *broker)
{
    flx_loop_stop(broker->loop);
    (void)pthread_join(broker->thread, NULL);
    broker->endpoint = flx_quic_endpoint_free(broker->endpoint);
    broker->group = flx_quic_group_free(broker->group);
    broker->credentials = flx_credentials_free(broker->credentials);
    flx_loop_hook_remove(broker->loop, &broker->hook);
    broker->loop = flx_loop_free(broker->loop);
    while (broker->subs != NULL)
        end_sub(broker, broker->subs->out);
    forget_all(broker);
    while (broker->streams != NULL) {
        stream *gone = broker->streams;
        broker->streams = gone->next;
        for (uint32_t i = 0; i < SHARDS_MAX; i++)
            flx_free(gone->shards[i].records);
        flx_free(gone);
    }
    for (size_t i = 0; i < KEYS_MAX; i++)
        flx_free(broker->entries[i].value);
    (void)flx_chunk_unref(broker->scratch);
    flx_arena_done(&broker->arena);
    pki_stop(&broker->pki);
    (void)pthread_mutex_destroy(&broker->mutex);
    (void)pthread_cond_destroy(&broker->done);
    flx_free(broker);
}

const char *mock_broker_address(const mock_broker *broker)
{
    return broker->address;
}

const char *mock_broker_ca_file(const mock_broker *broker)
{
    return broker->ca_file;
}
