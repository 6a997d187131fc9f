/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_client.h - the protocol by hand: streams, frames and nothing in between.
 *
 * Blocking, one thread, one connection. A check says what it sends byte by byte and looks at what
 * comes back; every wait has a bound.
 */
#ifndef FLX_CONFORMANCE_RAW_CLIENT_H
#define FLX_CONFORMANCE_RAW_CLIENT_H

#include "wire/message.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

/* The broker under test. */
typedef struct raw_target {
    const char *address; /* host:port */
    const char *server_name;
    const char *ca_file;
    const char *tenant;
    const char *namespace_;
    const char *token;
    const char *refused_token; /* one that may do nothing; NULL: none given */
    const char *stream;        /* one shard */
    const char *sharded_stream;
    const char *missing_stream;
    const char *cache;
    uint32_t wait_ms; /* for an answer */
} raw_target;

typedef struct raw_client raw_client;
typedef struct raw_stream raw_stream;

typedef enum raw_event {
    RAW_FRAME,   /* *ret_frame is filled */
    RAW_END,     /* the peer finished its side */
    RAW_RESET,   /* the peer reset its side */
    RAW_CLOSED,  /* the connection is gone */
    RAW_TIMEOUT, /* nothing within wait_ms */
    RAW_BROKEN   /* what came is no frame */
} raw_event;

/* One received frame. Valid until the next call on its stream. */
typedef struct raw_frame {
    uint16_t flags;
    flx_slice payload;
    flx_msg msg; /* when flags == 0 and it is a known message; type FLX_MSG_UNKNOWN otherwise */
} raw_frame;

/* `alpn` NULL: none is offered. */
flx_status raw_connect(const raw_target *target, const char *alpn, raw_client **ret_client,
                       flx_error *reterr);
raw_client *raw_disconnect(raw_client *client);

/* NULL when the broker allows no more streams or the connection is gone. */
raw_stream *raw_open(raw_client *client, bool bidirectional);
/* The next stream the broker opened; NULL when none came within wait_ms. */
raw_stream *raw_accept(raw_client *client);

void raw_send(raw_stream *stream, const void *bytes, size_t len);
void raw_send_frame(raw_stream *stream, uint16_t flags, const void *payload, size_t len);
void raw_send_json(raw_stream *stream, const char *json);
void raw_send_msg(raw_stream *stream, const flx_msg *msg);
void raw_finish(raw_stream *stream);

raw_event raw_next(raw_stream *stream, raw_frame *ret_frame);
const char *raw_event_name(raw_event event);
/* Whether the broker asked us to stop sending on this stream. */
bool raw_is_stopped(const raw_stream *stream);
/* Turns the loop for `ms`, so that time passes for the broker. */
void raw_pause(raw_client *client, uint32_t ms);
/* The code the broker closed the connection with; false while it is open. */
bool raw_close_code(const raw_client *client, uint64_t *ret_code);

#endif /* FLX_CONFORMANCE_RAW_CLIENT_H */
