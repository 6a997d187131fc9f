/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/broker_harness_client.c - what a client does, byte by byte or a request at a time. */
#include "broker_harness_int.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/publish.h"
#include "wire/records.h"

#include <stdarg.h>

hx_conn *hx_connect_from(hx *h, uint32_t worker, uint8_t source)
{
    const uint8_t address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, source};
    hx_conn *conn = hx_alloc(sizeof *conn);
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
    hx_stream *s = hx_stream_new(conn);
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
    uint8_t *copy = hx_alloc(len);
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
    uint8_t *bytes = hx_alloc(FLX_FRAME_HEADER_BYTES + len);
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
    HX_MUST(len >= 0);
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
                           .tenant_id = flx_slice_of("t1"),
                           .namespace_ = flx_slice_of("default"),
                           .stream = flx_slice_of(stream),
                           .count = count,
                           .region = region};
    if (request_id != 0) {
        publish.flags |= FLX_FLAG_BINARY_PUBLISH_ACKED;
        publish.ack = FLX_ACK_PER_BATCH;
        publish.request_id = request_id;
    }
    if (key != NULL) {
        publish.flags |= FLX_FLAG_BINARY_PUBLISH_KEYED;
        publish.key = flx_slice_of(key);
    }
    return publish;
}

void hx_publish(hx_stream *s, const char *stream, uint64_t request_id, const char *key,
                const char *text, uint32_t count)
{
    const size_t each = strlen(text) + 16;
    uint8_t *region = hx_alloc(count * (each + 4));
    uint8_t *end = region;
    for (uint32_t i = 0; i < count; i++) {
        char *payload = hx_alloc(each);
        (void)snprintf(payload, each, i == 0 ? "%s" : "%s+%u", text, i);
        end = flx_records_put(end, flx_slice_of(payload));
        free(payload);
    }
    const flx_publish publish =
        publish_of(stream, request_id, key, count, (flx_slice){region, (size_t)(end - region)});
    uint8_t *bytes =
        hx_alloc(FLX_FRAME_HEADER_BYTES + flx_publish_head_bytes(&publish) + publish.region.len);
    hx_send(s, bytes, publish_encode(bytes, &publish));
    free(bytes);
    free(region);
}

size_t hx_publish_frame(uint8_t *to, size_t cap, const char *stream, uint64_t request_id,
                        size_t payload_len, uint32_t count)
{
    uint8_t *region = hx_alloc(count * (payload_len + 4));
    uint8_t *payload = hx_alloc(payload_len);
    uint8_t *end = region;
    for (uint32_t i = 0; i < count; i++) {
        end = flx_records_put(end, (flx_slice){payload, payload_len});
    }
    const flx_publish publish =
        publish_of(stream, request_id, NULL, count, (flx_slice){region, (size_t)(end - region)});
    HX_MUST(FLX_FRAME_HEADER_BYTES + flx_publish_head_bytes(&publish) + publish.region.len <= cap);
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
    s->frame = hx_alloc(header.len + 1);
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
    HX_MUST(got.flags == 0);
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
            HX_MUST(from != NULL);
            event.is_lagged = true;
            event.offset = strtoull(from + strlen("\"resume_from\":"), NULL, 10);
            return event;
        }
        free(s->event_frame);
        s->event_frame = s->frame;
        s->frame = NULL;
        flx_event_batch batch;
        HX_MUST(flx_event_batch_decode(got.flags, (flx_slice){got.payload, got.len}, &batch,
                                       NULL) == FLX_OK);
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
    HX_MUST(event->key.len < sizeof change->key);
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

/* The next of the batch being read: a change, or behind the last one how far the watch has come. */
static hx_change batch_next(hx_stream *s)
{
    hx_change told = {.is_retained = s->batch.kind == FLX_CHANGE_BATCH_SNAPSHOT};
    flx_change change;
    uint64_t offset;
    if (!flx_change_batch_next(&s->batch, &offset, &change)) {
        s->in_batch = false;
        told.is_mark = !told.is_retained;
        told.offset = s->batch.end;
        return told;
    }
    change_take(&told, &(struct flx_msg_cache_event){
                           .key = change.key,
                           .has_value = change.kind == FLX_CHANGE_KIND_PUT,
                           .value = change.value,
                           .offset = offset,
                           .expires_at_millis = change.expires_at_ms,
                       });
    return told;
}

static void batch_begin(hx_stream *s, const hx_got *got)
{
    HX_MUST(flx_change_batch_decode((flx_slice){got->payload, got->len}, &s->batch, NULL) ==
            FLX_OK);
    free(s->event_frame);
    s->event_frame = s->frame; /* which the batch lies in */
    s->frame = NULL;
    s->in_batch = true;
    if (s->batch.kind == FLX_CHANGE_BATCH_SNAPSHOT) {
        HX_MUST(s->batch.count > 0 && s->come_to == 0); /* before all changes, and never empty */
        return;
    }
    HX_MUST(s->batch.end > s->come_to);
    s->come_to = s->batch.end;
}

hx_change hx_next_change(hx_stream *s)
{
    hx_change told;
    do {
        told = hx_next_told(s);
    } while (told.is_mark);
    return told;
}

hx_change hx_next_told(hx_stream *s)
{
    hx_change change = {0};
    while (s->in_batch) {
        change = batch_next(s);
        if (change.is_change || change.is_mark) {
            return change;
        }
    }
    const hx_got got = hx_read(s);
    if (!got.is_frame) {
        return change;
    }
    if (got.flags == FLX_FLAG_CHANGE_BATCH) {
        batch_begin(s, &got);
        return hx_next_told(s);
    }
    flx_arena arena;
    flx_arena_init(&arena, 1 << 20);
    flx_msg msg;
    HX_MUST(got.flags == 0 && flx_msg_decode(&arena, s->frame, got.len, &msg, NULL) == FLX_OK);
    if (msg.type == FLX_MSG_CACHE_WATCH_PROGRESS) {
        change.is_progress = true;
        change.offset = msg.cache_watch_progress.resume_from;
    } else if (msg.type == FLX_MSG_CACHE_WATCH_LAGGED) {
        change.is_lagged = true;
        change.offset = msg.cache_watch_lagged.resume_from;
    } else {
        HX_MUST(msg.type == FLX_MSG_CACHE_EVENT);
        change_take(&change, &msg.cache_event);
    }
    flx_arena_done(&arena);
    return change;
}
