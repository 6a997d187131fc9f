/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport/quic.h - QUIC endpoints, connections and streams, client and server side.
 *
 * An endpoint is one UDP socket on one loop. A server of W workers has W endpoints that share a
 * port (SO_REUSEPORT) and steer by the first byte of the connection id. Everything happens on the
 * endpoint's loop thread; nothing here may be called from another.
 *
 * Upward, a stream is ordered byte slices, valid during the callback only. The receiver says
 * flx_quic_stream_consume when it has room again: the windows are the backpressure, and what is
 * not consumed stops the peer. Downward, a stream is a queue of ranges of counted chunks, which are
 * never copied: packets are built from them at the end of the tick, and a reference drops when
 * the peer acknowledged the bytes.
 *
 * One flush pass a tick: writing marks the connection, the tick hook builds packets for all marked
 * ones and sends them with GSO. `pull` asks the owner of a stream for more just before its queue
 * runs dry, so a slow reader holds a position instead of a queue.
 */
#ifndef FLX_TRANSPORT_QUIC_H
#define FLX_TRANSPORT_QUIC_H

#include "common/chunk.h"
#include "common/loop.h"
#include "transport/credentials.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define FLX_QUIC_ALPN          "felix/1"
#define FLX_QUIC_ALPN_INTERNAL "felix-internal/1"
#define FLX_QUIC_WORKERS_MAX   255 /* endpoints of one group */

typedef struct flx_quic_endpoint flx_quic_endpoint;
typedef struct flx_quic_conn flx_quic_conn;
typedef struct flx_quic_stream flx_quic_stream;

typedef enum flx_quic_close_kind {
    FLX_QUIC_CLOSE_LOCAL,     /* we closed it */
    FLX_QUIC_CLOSE_PEER,      /* the peer closed it: code and reason are its */
    FLX_QUIC_CLOSE_IDLE,      /* idle timeout */
    FLX_QUIC_CLOSE_RESET,     /* stateless reset: the peer forgot us */
    FLX_QUIC_CLOSE_HANDSHAKE, /* never came up: refused, certificate, ALPN, timeout */
    FLX_QUIC_CLOSE_TRANSPORT  /* protocol violation or internal failure */
} flx_quic_close_kind;

/* Why a connection ended. */
typedef struct flx_quic_close {
    flx_quic_close_kind kind;
    bool application; /* code is an application code */
    uint64_t code;
    char reason[128]; /* printable text; for a certificate failure, what is wrong with it */
} flx_quic_close;

/*
 * What an endpoint tells its owner. A server's owner hears of a connection with `connected`; one
 * whose handshake fails is only counted. `arg` is the endpoint's; conn and stream contexts are set with
 * *_set_context. Order: connected, then streams, then closed, which is the last word about a
 * connection (its streams get stream_closed first). NULL members are not called.
 */
typedef struct flx_quic_events {
    void (*connected)(void *arg, flx_quic_conn *conn);
    void (*closed)(void *arg, flx_quic_conn *conn, const flx_quic_close *why);
    void (*stream_opened)(void *arg, flx_quic_conn *conn,
                          flx_quic_stream *stream); /* by the peer */
    void (*stream_data)(void *arg, flx_quic_stream *stream, flx_slice data, bool fin);
    void (*stream_pull)(void *arg, flx_quic_stream *stream); /* queue low, the path has room */
    void (*stream_reset)(void *arg, flx_quic_stream *stream, uint64_t code); /* RESET_STREAM */
    /* STOP_SENDING. Told when a write meets it or the stream ends; the code is 0 in the first case. */
    void (*stream_stopped)(void *arg, flx_quic_stream *stream, uint64_t code);
    void (*stream_closed)(void *arg, flx_quic_stream *stream); /* both ways done; last word */
    void (*streams_available)(void *arg, flx_quic_conn *conn); /* the peer allows more streams */
} flx_quic_events;

/* Zero means the default written beside a field. */
typedef struct flx_quic_options {
    uint32_t idle_timeout_ms;      /* 30000 */
    uint32_t keepalive_ms;         /* 5000; sent while nothing else is; UINT32_MAX: never */
    uint32_t handshake_timeout_ms; /* 10000 */
    uint64_t conn_window_bytes;    /* 16 MiB: received and not consumed, a connection */
    uint64_t stream_window_bytes;  /* 16 MiB */
    uint32_t streams_bidi;         /* 1024 the peer may have open */
    uint32_t streams_uni;          /* 1024 */
    uint32_t udp_payload_max;     /* 0: 1200 and discovery up to 1444; above: fixed, no discovery */
    uint32_t socket_buffer_bytes; /* 8 MiB each way, halved until the kernel takes it */
    bool bbr;                     /* CUBIC otherwise */
    uint32_t unacked_bytes_max;   /* 0: 256 MiB sent and not acknowledged, a connection */
    /* Server only. */
    const char *alpn;                    /* the one it speaks, static text; NULL: FLX_QUIC_ALPN */
    bool alpn_required;                  /* refuse a ClientHello without ALPN */
    uint32_t connections_max;            /* 8192 on this endpoint group */
    uint32_t connections_per_source_max; /* 512; IPv4-mapped counts as IPv4; UINT32_MAX: no bound */
    uint32_t retry_above; /* 512 half-open handshakes: then address validation by Retry */
} flx_quic_options;

/* What all endpoints of one server port share: counters for the caps, secrets, steering. */
typedef struct flx_quic_group flx_quic_group;

/*
 * Makes the shared part of `count` (1..FLX_QUIC_WORKERS_MAX) server endpoints. `secret` (32 bytes, borrowed) keys
 * stateless resets, Retry and NEW_TOKEN; the same bytes after a restart kill stale connections.
 */
flx_status flx_quic_group_new(uint32_t count, const uint8_t secret[32],
                              const flx_quic_options *options, flx_quic_group **ret_group,
                              flx_error *reterr);
/* Only after all its endpoints are freed. */
flx_quic_group *flx_quic_group_free(flx_quic_group *group);

/*
 * Listens: endpoint number `index` of the group. Borrows everything but `address` until freed.
 * Bind the endpoints in the order of their index, before their loops run: the kernel numbers the
 * sockets of the port so. Port 0 is allowed for index 0; the others take flx_quic_endpoint_address.
 * FLX_ERR_CONFLICT: the address is in use.
 */
flx_status flx_quic_listen(flx_loop *loop, flx_quic_group *group, uint32_t index,
                           const struct sockaddr *address, socklen_t address_len,
                           flx_credentials *credentials, const flx_quic_events *events, void *arg,
                           flx_quic_endpoint **ret_endpoint, flx_error *reterr);

/* A client endpoint; connections go out with flx_quic_connect. */
flx_status flx_quic_client(flx_loop *loop, const flx_quic_options *options,
                           flx_credentials *credentials, const flx_quic_events *events, void *arg,
                           flx_quic_endpoint **ret_endpoint, flx_error *reterr);

/* Closes what is open without waiting (CONNECTION_CLOSE is sent once); `closed` is called for each.
 * Not from inside a callback of this endpoint, and nothing may be opened from those `closed`. */
flx_quic_endpoint *flx_quic_endpoint_free(flx_quic_endpoint *endpoint);

/* The bound address. */
void flx_quic_endpoint_address(const flx_quic_endpoint *endpoint,
                               struct sockaddr_storage *ret_address, socklen_t *ret_len);

/* A message of another endpoint of the group: a packet of ours that the kernel gave to it. Endpoints
 * hand strays over through `post` (set by the owner of the threads); see transport/README.md. */
void flx_quic_endpoint_set_post(flx_quic_endpoint *endpoint,
                                bool (*post)(void *arg, uint32_t index, flx_chunk *packets),
                                void *arg);
/* On the right worker's thread. Takes the reference over; a `post` that answers false gave it back. */
void flx_quic_endpoint_receive_stray(flx_quic_endpoint *endpoint, flx_chunk *packets);

/* Stops accepting new connections (they get CONNECTION_REFUSED); open ones live on. */
void flx_quic_endpoint_refuse_new(flx_quic_endpoint *endpoint);

/* Starts a handshake; `connected` or `closed` follows. `server_name` must be in the certificate
 * (a name or an IP address). `alpn` NULL: none is offered. */
flx_status flx_quic_connect(flx_quic_endpoint *endpoint, const struct sockaddr *address,
                            socklen_t address_len, const char *server_name, const char *alpn,
                            void *context, flx_quic_conn **ret_conn, flx_error *reterr);

/* One worker of a server, by number, among all it has; count 0: none in particular. */
typedef struct flx_quic_worker {
    uint32_t count; /* 0..FLX_QUIC_WORKERS_MAX */
    uint32_t index; /* below count */
} flx_quic_worker;

/* The same, to a worker: a server of ours that has so many accepts the connection there. */
flx_status flx_quic_connect_worker(flx_quic_endpoint *endpoint, const struct sockaddr *address,
                                   socklen_t address_len, const char *server_name, const char *alpn,
                                   flx_quic_worker worker, void *context, flx_quic_conn **ret_conn,
                                   flx_error *reterr);
/* The worker that accepted it, by the id it chose, among `count` (1..FLX_QUIC_WORKERS_MAX) workers.
 * Client side, once connected. */
uint32_t flx_quic_conn_worker(const flx_quic_conn *conn, uint32_t count);

/* Sends CONNECTION_CLOSE with an application code; `closed` is called at the end of the tick. */
void flx_quic_conn_close(flx_quic_conn *conn, uint64_t code, const char *reason);
void flx_quic_conn_set_context(flx_quic_conn *conn, void *context);
void *flx_quic_conn_context(const flx_quic_conn *conn);
/* The peer's address now; migration may change it. */
const struct sockaddr *flx_quic_conn_peer(const flx_quic_conn *conn);
/* A source key for caps and logs: 16 bytes, IPv4 mapped. */
void flx_quic_conn_source(const flx_quic_conn *conn, uint8_t ret_source[16]);
/* The client certificate's DER, empty when none was asked for. Valid while the connection is. */
flx_slice flx_quic_conn_peer_certificate(const flx_quic_conn *conn);

typedef struct flx_quic_conn_info {
    uint64_t smoothed_rtt_ns;
    uint64_t congestion_window_bytes;
    uint64_t bytes_in_flight;
    uint64_t packets_lost;
    uint64_t queued_bytes; /* handed to us, not yet in a packet, all streams */
    uint64_t unacked_bytes;
    uint32_t udp_payload_bytes; /* of a full packet now */
    const char *cipher;
} flx_quic_conn_info;
void flx_quic_conn_info_get(const flx_quic_conn *conn, flx_quic_conn_info *ret_info);

/* FLX_ERR_AGAIN: the peer allows no more streams now; streams_available tells when. */
flx_status flx_quic_stream_open(flx_quic_conn *conn, bool bidirectional, void *context,
                                flx_quic_stream **ret_stream, flx_error *reterr);

void flx_quic_stream_set_context(flx_quic_stream *stream, void *context);
void *flx_quic_stream_context(const flx_quic_stream *stream);
flx_quic_conn *flx_quic_stream_conn(const flx_quic_stream *stream);
int64_t flx_quic_stream_id(const flx_quic_stream *stream);
bool flx_quic_stream_is_bidirectional(const flx_quic_stream *stream);

/*
 * Queues a range behind what is queued. Takes over one reference to range.chunk, also on failure
 * (it is dropped then): FLX_ERR_CLOSED after finish, reset or the peer's STOP_SENDING; NOMEM.
 * Merges with the last range when adjacent. Sent at the end of this tick.
 */
flx_status flx_quic_stream_write_take(flx_quic_stream *stream, flx_range range);
/* FIN after what is queued. */
void flx_quic_stream_finish(flx_quic_stream *stream);
/* RESET_STREAM: what is queued is dropped. */
void flx_quic_stream_reset(flx_quic_stream *stream, uint64_t code);
/* STOP_SENDING: we read no more of it. */
void flx_quic_stream_stop(flx_quic_stream *stream, uint64_t code);
/* Bytes queued and not yet in a packet. */
size_t flx_quic_stream_queued(const flx_quic_stream *stream);
/* Bytes queued or sent and not acknowledged: what holds chunks in memory. */
size_t flx_quic_stream_held(const flx_quic_stream *stream);
/* Asks for stream_pull in the next flush pass that finds room (and again after each call while
 * wanted). Off at first. After a call that wrote nothing the stream sleeps until this is called
 * again, something is written, or the peer opens its window. */
void flx_quic_stream_want_pull(flx_quic_stream *stream, bool want);
/* Gives back `len` delivered bytes of receive window. */
void flx_quic_stream_consume(flx_quic_stream *stream, size_t len);

typedef struct flx_quic_stats {
    uint64_t packets_in, packets_out, bytes_in, bytes_out;
    uint64_t send_calls, receive_calls;
    uint64_t handshakes, handshake_failures, refused_total_limit, refused_source_limit;
    uint64_t retries_sent, resets_sent, strays, packets_lost, dropped;
    uint32_t connections;
} flx_quic_stats;
/* A copy; the endpoint's thread, or any thread for approximate figures. */
void flx_quic_endpoint_stats(const flx_quic_endpoint *endpoint, flx_quic_stats *ret_stats);

#endif /* FLX_TRANSPORT_QUIC_H */
