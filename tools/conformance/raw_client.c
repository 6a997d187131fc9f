/* SPDX-License-Identifier: Apache-2.0 */
/* raw_client.c - a loop that is turned until the thing waited for has happened. */
#include "raw_client.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/sockaddr.h"
#include "transport/quic.h"
#include "wire/frame.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define RAW_FRAME_BYTES_MAX (64U << 20)
#define RAW_STREAM_BYTES    (128U << 20)

struct raw_stream {
    raw_client *client;
    flx_quic_stream *quic; /* NULL once the transport let go of it */
    uint8_t *bytes;        /* received and not handed out yet */
    size_t len;
    size_t cap;
    uint8_t *frame; /* the payload handed out last */
    flx_arena arena;
    bool ended;
    bool reset;
    bool stopped;
    bool accepted; /* already handed out by raw_accept */
    bool ours;
    raw_stream *next;
};

struct raw_client {
    const raw_target *target;
    flx_loop *loop;
    flx_credentials *credentials;
    flx_quic_endpoint *endpoint;
    flx_quic_conn *conn;
    raw_stream *streams; /* newest first */
    bool connected;
    bool closed;
    flx_quic_close why;
};

static raw_stream *stream_new(raw_client *client, flx_quic_stream *quic, bool ours)
{
    raw_stream *stream = flx_calloc(1, sizeof *stream);
    FLX_ASSERT(stream != NULL);
    stream->client = client;
    stream->quic = quic;
    stream->ours = ours;
    flx_arena_init(&stream->arena, RAW_FRAME_BYTES_MAX);
    stream->next = client->streams;
    client->streams = stream;
    return stream;
}

static void on_connected(void *arg, flx_quic_conn *conn)
{
    raw_client *client = arg;
    (void)conn;
    client->connected = true;
}

static void on_closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    raw_client *client = arg;
    (void)conn;
    client->closed = true;
    client->why = *why;
    client->conn = NULL;
}

static void on_stream_opened(void *arg, flx_quic_conn *conn, flx_quic_stream *quic)
{
    (void)conn;
    flx_quic_stream_set_context(quic, stream_new(arg, quic, false));
}

static void on_stream_data(void *arg, flx_quic_stream *quic, flx_slice data, bool fin)
{
    (void)arg;
    raw_stream *stream = flx_quic_stream_context(quic);
    if (stream->len + data.len > stream->cap) {
        const size_t cap = (stream->len + data.len) * 2;
        FLX_ASSERT(cap <= RAW_STREAM_BYTES);
        stream->bytes = flx_realloc(stream->bytes, cap);
        FLX_ASSERT(stream->bytes != NULL);
        stream->cap = cap;
    }
    if (data.len > 0) {
        memcpy(stream->bytes + stream->len, data.ptr, data.len);
    }
    stream->len += data.len;
    stream->ended = stream->ended || fin;
    flx_quic_stream_consume(quic, data.len);
}

static void on_stream_reset(void *arg, flx_quic_stream *quic, uint64_t code)
{
    (void)arg;
    (void)code;
    raw_stream *stream = flx_quic_stream_context(quic);
    stream->reset = true;
}

static void on_stream_stopped(void *arg, flx_quic_stream *quic, uint64_t code)
{
    (void)arg;
    (void)code;
    raw_stream *stream = flx_quic_stream_context(quic);
    stream->stopped = true;
}

static void on_stream_closed(void *arg, flx_quic_stream *quic)
{
    (void)arg;
    raw_stream *stream = flx_quic_stream_context(quic);
    stream->quic = NULL;
}

static const flx_quic_events raw_events = {
    .connected = on_connected,
    .closed = on_closed,
    .stream_opened = on_stream_opened,
    .stream_data = on_stream_data,
    .stream_reset = on_stream_reset,
    .stream_stopped = on_stream_stopped,
    .stream_closed = on_stream_closed,
};

/* Turns the loop until `check` holds or `ms` have passed. */
static bool turn_until(raw_client *client, bool (*check)(void *arg), void *arg, uint32_t ms)
{
    const uint64_t end_ns = flx_clock_monotonic_ns() + ms * FLX_NS_PER_MS;
    while (check == NULL || !check(arg)) {
        if (flx_clock_monotonic_ns() >= end_ns) {
            return false;
        }
        if (flx_loop_step(client->loop, end_ns, NULL) != FLX_OK) {
            return false;
        }
    }
    return true;
}

static flx_status resolve(const char *address, struct sockaddr_storage *ret_address,
                          socklen_t *ret_len, flx_error *reterr)
{
    char host[FLX_HOST_MAX];
    uint16_t port = 0;
    const flx_status status = flx_address_split(address, host, &port, reterr);
    if (status != FLX_OK) {
        return status;
    }
    const int failed = flx_sockaddr_lookup(host, port, 0, ret_address, ret_len);
    if (failed != 0) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "look up '%s': %s", host, gai_strerror(failed));
    }
    return FLX_OK;
}

static bool is_up_or_down(void *arg)
{
    const raw_client *client = arg;
    return client->connected || client->closed;
}

static flx_status dial(raw_client *client, const char *alpn, flx_error *reterr)
{
    const raw_target *target = client->target;
    struct sockaddr_storage address;
    socklen_t address_len = 0;
    flx_status status = flx_loop_new(NULL, &client->loop, reterr);
    const flx_credentials_options trust = {.ca_file = target->ca_file};
    if (status == FLX_OK) {
        status = flx_credentials_new(false, &trust, &client->credentials, reterr);
    }
    if (status == FLX_OK) {
        status = flx_quic_client(client->loop, NULL, client->credentials, &raw_events, client,
                                 &client->endpoint, reterr);
    }
    if (status == FLX_OK) {
        status = resolve(target->address, &address, &address_len, reterr);
    }
    if (status == FLX_OK) {
        status = flx_quic_connect(client->endpoint, (const struct sockaddr *)&address, address_len,
                                  target->server_name, alpn, NULL, &client->conn, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    if (!turn_until(client, is_up_or_down, client, target->wait_ms)) {
        return flx_fail(reterr, FLX_ERR_TIMEOUT, "connect to %s: no answer", target->address);
    }
    if (!client->connected) {
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE, "connect to %s: %s", target->address,
                        client->why.reason[0] != '\0' ? client->why.reason : "refused");
    }
    return FLX_OK;
}

flx_status raw_connect(const raw_target *target, const char *alpn, raw_client **ret_client,
                       flx_error *reterr)
{
    raw_client *client = flx_calloc(1, sizeof *client);
    if (client == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "connect: out of memory");
    }
    client->target = target;
    const flx_status status = dial(client, alpn, reterr);
    if (status != FLX_OK) {
        (void)raw_disconnect(client);
        return status;
    }
    *ret_client = client;
    return FLX_OK;
}

raw_client *raw_disconnect(raw_client *client)
{
    if (client == NULL) {
        return NULL;
    }
    client->endpoint = flx_quic_endpoint_free(client->endpoint);
    client->credentials = flx_credentials_free(client->credentials);
    client->loop = flx_loop_free(client->loop);
    while (client->streams != NULL) {
        raw_stream *stream = client->streams;
        client->streams = stream->next;
        flx_arena_done(&stream->arena);
        flx_free(stream->bytes);
        flx_free(stream->frame);
        flx_free(stream);
    }
    flx_free(client);
    return NULL;
}

raw_stream *raw_open(raw_client *client, bool bidirectional)
{
    flx_quic_stream *quic = NULL;
    if (client->conn == NULL ||
        flx_quic_stream_open(client->conn, bidirectional, NULL, &quic, NULL) != FLX_OK) {
        return NULL;
    }
    raw_stream *stream = stream_new(client, quic, true);
    flx_quic_stream_set_context(quic, stream);
    return stream;
}

/* The oldest stream of the broker nobody took yet. */
static raw_stream *waiting_stream(const raw_client *client)
{
    raw_stream *oldest = NULL;
    for (raw_stream *stream = client->streams; stream != NULL; stream = stream->next) {
        if (!stream->ours && !stream->accepted) {
            oldest = stream;
        }
    }
    return oldest;
}

static bool has_waiting_stream(void *arg)
{
    const raw_client *client = arg;
    return client->closed || waiting_stream(client) != NULL;
}

raw_stream *raw_accept(raw_client *client)
{
    (void)turn_until(client, has_waiting_stream, client, client->target->wait_ms);
    raw_stream *stream = waiting_stream(client);
    if (stream != NULL) {
        stream->accepted = true;
    }
    return stream;
}

void raw_send(raw_stream *stream, const void *bytes, size_t len)
{
    if (stream == NULL || stream->quic == NULL || len == 0) {
        return;
    }
    flx_chunk *chunk = flx_chunk_new(len);
    FLX_ASSERT(chunk != NULL);
    memcpy(chunk->data, bytes, len);
    chunk->len = (uint32_t)len;
    (void)flx_quic_stream_write_take(stream->quic, (flx_range){chunk, 0, (uint32_t)len});
}

void raw_send_frame(raw_stream *stream, uint16_t flags, const void *payload, size_t len)
{
    uint8_t header[FLX_FRAME_HEADER_BYTES];
    flx_frame_header_encode(flags, (uint32_t)len, header);
    raw_send(stream, header, sizeof header);
    raw_send(stream, payload, len);
}

void raw_send_json(raw_stream *stream, const char *json)
{
    raw_send_frame(stream, 0, json, strlen(json));
}

void raw_send_msg(raw_stream *stream, const flx_msg *msg)
{
    const size_t len = flx_msg_frame_bytes(msg);
    uint8_t *bytes = flx_alloc(len);
    FLX_ASSERT(bytes != NULL);
    flx_writer writer;
    flx_writer_init(&writer, bytes, len);
    flx_msg_encode_frame(msg, &writer);
    raw_send(stream, bytes, len);
    flx_free(bytes);
}

void raw_finish(raw_stream *stream)
{
    if (stream != NULL && stream->quic != NULL) {
        flx_quic_stream_finish(stream->quic);
    }
}

/* Whether the next call has something to say without waiting. */
static bool has_event(void *arg)
{
    const raw_stream *stream = arg;
    flx_frame_header header;
    const flx_frame_check check = flx_frame_header_decode((flx_slice){stream->bytes, stream->len},
                                                          RAW_FRAME_BYTES_MAX, &header);
    if (check == FLX_FRAME_CHECK_OK && stream->len >= FLX_FRAME_HEADER_BYTES + header.len) {
        return true;
    }
    return (check != FLX_FRAME_CHECK_OK && check != FLX_FRAME_CHECK_MORE) || stream->ended ||
           stream->reset || stream->client->closed;
}

static void take_frame(raw_stream *stream, const flx_frame_header *header, raw_frame *ret_frame)
{
    const size_t total = FLX_FRAME_HEADER_BYTES + header->len;
    flx_free(stream->frame);
    stream->frame = flx_alloc(header->len);
    FLX_ASSERT(stream->frame != NULL);
    memcpy(stream->frame, stream->bytes + FLX_FRAME_HEADER_BYTES, header->len);
    stream->len -= total;
    memmove(stream->bytes, stream->bytes + total, stream->len);
    memset(ret_frame, 0, sizeof *ret_frame);
    ret_frame->flags = header->flags;
    ret_frame->payload = (flx_slice){stream->frame, header->len};
    if (header->flags == 0) {
        flx_arena_reset(&stream->arena);
        if (flx_msg_decode(&stream->arena, stream->frame, header->len, &ret_frame->msg, NULL) !=
            FLX_OK) {
            ret_frame->msg.type = FLX_MSG_UNKNOWN;
        }
    }
}

raw_event raw_next(raw_stream *stream, raw_frame *ret_frame)
{
    if (stream == NULL) {
        return RAW_CLOSED;
    }
    (void)turn_until(stream->client, has_event, stream, stream->client->target->wait_ms);
    flx_frame_header header;
    const flx_frame_check check = flx_frame_header_decode((flx_slice){stream->bytes, stream->len},
                                                          RAW_FRAME_BYTES_MAX, &header);
    if (check == FLX_FRAME_CHECK_OK && stream->len >= FLX_FRAME_HEADER_BYTES + header.len) {
        take_frame(stream, &header, ret_frame);
        return RAW_FRAME;
    }
    if (check != FLX_FRAME_CHECK_OK && check != FLX_FRAME_CHECK_MORE) {
        return RAW_BROKEN;
    }
    if (stream->reset) {
        return RAW_RESET;
    }
    if (stream->ended) {
        return stream->len == 0 ? RAW_END : RAW_BROKEN;
    }
    return stream->client->closed ? RAW_CLOSED : RAW_TIMEOUT;
}

const char *raw_event_name(raw_event event)
{
    static const char *const names[] = {
        [RAW_FRAME] = "a frame",
        [RAW_END] = "the end of the stream",
        [RAW_RESET] = "a reset of the stream",
        [RAW_CLOSED] = "the end of the connection",
        [RAW_TIMEOUT] = "nothing in time",
        [RAW_BROKEN] = "bytes that are no frame",
    };
    return names[event];
}

bool raw_is_stopped(const raw_stream *stream)
{
    return stream != NULL && stream->stopped;
}

void raw_pause(raw_client *client, uint32_t ms)
{
    (void)turn_until(client, NULL, NULL, ms);
}

bool raw_close_code(const raw_client *client, uint64_t *ret_code)
{
    if (client->closed) {
        *ret_code = client->why.code;
    }
    return client->closed;
}
