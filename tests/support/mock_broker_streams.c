/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/mock_broker_streams.c - streams of the mock broker: publishing, subscribing, events. */
#include "mock_broker_int.h"
#include "wire/ack.h"
#include "wire/event.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <string.h>

/* ---- records ---- */

mock_stream *mock_stream_named(mock_broker *broker, flx_slice name)
{
    for (mock_stream *at = broker->streams; at != NULL; at = at->next)
        if (strlen(at->name) == name.len && memcmp(at->name, name.ptr, name.len) == 0)
            return at;
    mock_stream *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL && name.len < sizeof(made->name));
    memcpy(made->name, name.ptr, name.len);
    made->next = broker->streams;
    broker->streams = made;
    return made;
}

void mock_append(mock_shard *to, flx_slice payload)
{
    if (to->count == to->cap) {
        to->cap = to->cap == 0 ? 64 : to->cap * 2;
        to->records = flx_realloc(to->records, to->cap * sizeof(*to->records));
        FLX_ASSERT(to->records != NULL);
    }
    mock_record *added = &to->records[to->count++];
    added->len = payload.len;
    added->bytes = flx_alloc(payload.len + 1);
    FLX_ASSERT(added->bytes != NULL);
    if (payload.len > 0)
        memcpy(added->bytes, payload.ptr, payload.len);
}

void mock_drop_first(mock_shard *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        flx_free(from->records[i].bytes);
    if (count < from->count)
        memmove(from->records, from->records + count, (from->count - count) * sizeof(mock_record));
    from->count -= count;
    from->base += count;
}

/* ---- events ---- */

static void send_json_events(mock_broker *broker, mock_sub *to, size_t first, size_t count)
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
    mock_send_msg(broker, to->out, &msg);
    to->next_offset += count;
}

static void send_binary_events(mock_broker *broker, mock_sub *to, size_t first, size_t count)
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
    mock_send_bytes(to->out, bytes, (size_t)(at - bytes));
    flx_free(plain);
    flx_free(bytes);
    to->next_offset += count;
}

static void feed(mock_broker *broker, mock_sub *to)
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

void mock_feed_all(mock_broker *broker)
{
    for (mock_sub *at = broker->subs; at != NULL; at = at->next)
        feed(broker, at);
}

/* ---- publishing ---- */

static void send_ack(mock_session *from, const flx_publish *publish, uint16_t code, uint64_t offset)
{
    uint8_t bytes[256];
    static const char refused[] = "refused by the test";
    if (code == 0) {
        const bool numbered = (from->flags & FLX_FLAG_BINARY_PUBLISH_ACK_OFFSET) != 0;
        uint8_t *end =
            flx_publish_ack_ok_frame(publish->request_id, numbered ? &offset : NULL, bytes);
        mock_send_bytes(from->control, bytes, (size_t)(end - bytes));
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
    mock_send_bytes(from->control, bytes, (size_t)(end - bytes));
}

void mock_publish(mock_broker *broker, mock_session *from, const flx_frame *frame)
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
                                ? publish.key.ptr[0] % mock_shard_count(broker)
                                : 0;
        mock_shard *to = &mock_stream_named(broker, publish.stream)->shards[at];
        offset = to->base + to->count;
        flx_slice payload;
        while (flx_records_next(&publish.region, &payload)) {
            mock_append(to, payload);
            broker->counts.records++;
        }
    }
    if (flx_publish_is_acked(&publish) && !broker->rules.publish_silent)
        send_ack(from, &publish, code, offset);
    mock_feed_all(broker);
}

/* ---- subscribing ---- */

static uint64_t start_of(const struct flx_msg_subscribe *ask, const mock_shard *from)
{
    if (!ask->has_start || ask->start.kind == FLX_START_LATEST)
        return from->base + from->count;
    return ask->start.kind == FLX_START_EARLIEST ? from->base : ask->start.offset;
}

static void answer_subscribe(mock_broker *broker, mock_sub *made)
{
    const flx_msg subscribed = {.type = FLX_MSG_SUBSCRIBED,
                                .subscribed = {.subscription_id = made->id,
                                               .has_start_offset = broker->rules.tells_start,
                                               .start_offset = made->next_offset}};
    mock_send_msg(broker, made->control, &subscribed);
    flx_quic_stream_finish(made->control);
    made->control = NULL;
}

void mock_subscribe(mock_broker *broker, mock_session *from, const struct flx_msg_subscribe *ask)
{
    broker->counts.subscribes++;
    if (broker->rules.stream_unknown) {
        mock_send_error(broker, from->control, FLX_CODE_NOT_FOUND, "no such stream");
        flx_quic_stream_finish(from->control);
        return;
    }
    mock_shard *of = &mock_stream_named(broker, ask->stream)
                          ->shards[ask->has_shard ? ask->shard % MOCK_SHARDS_MAX : 0];
    const uint64_t start = start_of(ask, of);
    if (start < of->base || start > of->base + of->count) {
        const bool old = start < of->base;
        const flx_msg refused = {
            .type = FLX_MSG_SUBSCRIBE_CURSOR_ERROR,
            .subscribe_cursor_error = {.reason = old ? FLX_CURSOR_TOO_OLD : FLX_CURSOR_IN_FUTURE,
                                       .requested = start,
                                       .available = old ? of->base : of->base + of->count}};
        mock_send_msg(broker, from->control, &refused);
        flx_quic_stream_finish(from->control);
        return;
    }
    mock_sub *made = flx_calloc(1, sizeof(*made));
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
    mock_send_msg(broker, made->out, &hello);
    if (broker->rules.own_ids)
        feed(broker, made); /* events first, then the answer: the order the client must bear */
    answer_subscribe(broker, made);
    feed(broker, made);
}

void mock_offset_for_time(mock_broker *broker, mock_session *from,
                          const struct flx_msg_offset_for_time *ask)
{
    mock_shard *of = &mock_stream_named(broker, ask->stream)->shards[ask->shard % MOCK_SHARDS_MAX];
    const uint64_t first = ask->at_micros < of->base ? of->base : ask->at_micros;
    const flx_msg value = {.type = FLX_MSG_OFFSET_VALUE,
                           .offset_value = {.has_offset = first < of->base + of->count,
                                            .offset = first,
                                            .request_id = ask->request_id}};
    broker->counts.time_questions++;
    mock_send_msg(broker, from->control, &value);
    if (broker->rules.late_record)
        mock_append(of, (flx_slice){(const uint8_t *)"late", 4});
    broker->rules.late_record = false;
}

void mock_end_sub(mock_broker *broker, flx_quic_stream *out)
{
    for (mock_sub **at = &broker->subs; *at != NULL; at = &(*at)->next) {
        if ((*at)->out != out)
            continue;
        mock_sub *gone = *at;
        *at = gone->next;
        flx_free(gone);
        return;
    }
}
