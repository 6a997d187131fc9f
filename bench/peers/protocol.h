/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers/protocol.h - as much of NATS, Redis and MQTT 3.1.1 as the load program speaks.
 *
 * A table of functions a protocol. Messages and answers are parsed where they lie; nothing is copied.
 */
#ifndef FLX_BENCH_PEERS_PROTOCOL_H
#define FLX_BENCH_PEERS_PROTOCOL_H

#include "link.h"

#define PEER_HEAD_MAX 128 /* of what stands before a payload or value */

typedef enum peer_request {
    PEER_PUBLISH = 0,       /* fire and forget, as far as the protocol can */
    PEER_PUBLISH_ACKED = 1, /* kept in memory and answered one by one */
    PEER_PUT = 2,
    PEER_GET = 3
} peer_request;

typedef enum peer_seen {
    PEER_SEEN_NONE = 0,   /* more bytes are needed */
    PEER_SEEN_OTHER = 1,  /* something that needs no answer of ours, consumed */
    PEER_SEEN_MESSAGE = 2 /* a message or an answer, consumed */
} peer_seen;

typedef struct peer_protocol {
    const char *name;
    /* Connects, encrypts and greets. */
    void (*hello)(peer_link *link);
    void (*subscribe)(peer_link *link, const char *topic);
    /* What PEER_PUBLISH_ACKED needs beforehand: a stream, a subscription to its answers. */
    void (*prepare)(peer_link *link, const char *topic);
    /* Writes what stands before `size` bytes of payload (PEER_GET: all of it); how long. */
    size_t (*head)(uint8_t *to, peer_request request, const char *topic, size_t size);
    const char *tail; /* what stands behind the payload */
    /* The next message of a subscription; its payload is borrowed until the link is filled again. */
    peer_seen (*message)(peer_link *link, flx_slice *ret_payload);
    /* Asks for all that a topic has kept, from the first message on. NULL: it keeps nothing. */
    void (*replay)(peer_link *link, const char *topic);
    /* As `message`, of those; asks for more where that must be asked for. */
    peer_seen (*replayed)(peer_link *link, const char *topic, flx_slice *ret_payload);
    /* The next answer to a request; *ret_ok is written for PEER_SEEN_MESSAGE. */
    peer_seen (*answer)(peer_link *link, bool *ret_ok);
} peer_protocol;

extern const peer_protocol peer_nats;
extern const peer_protocol peer_redis;
extern const peer_protocol peer_mqtt;

#endif /* FLX_BENCH_PEERS_PROTOCOL_H */
