/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig.h - a server and a client in one thread, on one loop, over loopback.
 *
 * The server echoes what it reads, within its own bounds, unless a test replaces its events. Every
 * wait is a count of ticks with a generous real-time bound that only guards against a hang.
 */
#ifndef FLX_TRANSPORT_RIG_H
#define FLX_TRANSPORT_RIG_H

#include "common/alloc.h"
#include "common/clock.h"
#include "common/loop.h"
#include "pki.h"
#include "transport/quic.h"
#include "transport/quic_int.h"
#include "unit.h"

#include <string.h>

#define RIG_WAIT_NS (UINT64_C(60) * FLX_NS_PER_S) /* a hang, not a slow machine */

typedef struct rig_conn {
    bool connected;
    bool closed;
    flx_quic_close why;
    flx_quic_conn *conn; /* NULL after closed */
} rig_conn;

typedef struct rig {
    pki pki;
    flx_loop *loop;
    flx_quic_group *group;
    flx_credentials *server_credentials;
    flx_credentials *client_credentials;
    flx_quic_endpoint *server;
    flx_quic_endpoint *client;
    flx_quic_events server_events;
    flx_quic_events client_events;
    struct sockaddr_storage address;
    socklen_t address_len;
    uint8_t secret[32];
    /* What happened on the server's side. */
    unsigned accepted;
    unsigned ended;
    unsigned streams_opened;
    unsigned streams_closed;
    flx_quic_close server_why;
    flx_quic_conn *server_conn; /* the newest */
    flx_quic_stream *server_stream;
    uint64_t server_bytes;
    void *data;
} rig;

static inline flx_range rig_range(const void *bytes, size_t len)
{
    flx_chunk *chunk = flx_chunk_new(len > 0 ? len : 1);
    if (chunk == NULL)
        return (flx_range){0};
    memcpy(chunk->data, bytes, len);
    chunk->len = (uint32_t)len;
    return (flx_range){chunk, 0, (uint32_t)len};
}

static inline flx_status rig_write(flx_quic_stream *stream, const void *bytes, size_t len)
{
    const flx_range range = rig_range(bytes, len);
    return range.chunk == NULL ? FLX_ERR_NOMEM : flx_quic_stream_write_take(stream, range);
}

/* --- the echoing server ---------------------------------------------------------------------- */

static inline void rig_on_accept(void *arg, flx_quic_conn *conn)
{
    rig *r = arg;
    r->accepted++;
    r->server_conn = conn;
}

static inline void rig_on_end(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    rig *r = arg;
    r->ended++;
    r->server_why = *why;
    if (r->server_conn == conn)
        r->server_conn = NULL;
}

static inline void rig_on_opened(void *arg, flx_quic_conn *conn, flx_quic_stream *stream)
{
    (void)conn;
    rig *r = arg;
    r->streams_opened++;
    r->server_stream = stream;
}

static inline void rig_on_stream_closed(void *arg, flx_quic_stream *stream)
{
    rig *r = arg;
    r->streams_closed++;
    if (r->server_stream == stream)
        r->server_stream = NULL;
}

static inline void rig_on_echo(void *arg, flx_quic_stream *stream, flx_slice data, bool fin)
{
    rig *r = arg;
    r->server_bytes += data.len;
    if (flx_quic_stream_is_bidirectional(stream)) {
        if (data.len > 0 && rig_write(stream, data.ptr, data.len) != FLX_OK)
            flx_quic_conn_close(flx_quic_stream_conn(stream), 99, "no memory for an echo");
        if (fin)
            flx_quic_stream_finish(stream);
    }
    flx_quic_stream_consume(stream, data.len);
}

/* --- the client's side ----------------------------------------------------------------------- */

static inline void rig_on_connected(void *arg, flx_quic_conn *conn)
{
    (void)arg;
    rig_conn *c = flx_quic_conn_context(conn);
    c->connected = true;
}

static inline void rig_on_closed(void *arg, flx_quic_conn *conn, const flx_quic_close *why)
{
    (void)arg;
    rig_conn *c = flx_quic_conn_context(conn);
    c->closed = true;
    c->why = *why;
    c->conn = NULL;
}

/* --- starting and stopping ------------------------------------------------------------------- */

static inline void rig_loopback(struct sockaddr_storage *address, socklen_t *len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memset(address, 0, sizeof *address);
    memcpy(address, &in, sizeof in);
    *len = sizeof in;
}

static inline void rig_listen(rig *r, const flx_quic_options *options)
{
    flx_error error;
    assert_int_equal(flx_quic_group_new(1, r->secret, options, &r->group, &error), FLX_OK);
    assert_int_equal(flx_quic_listen(r->loop, r->group, 0, (struct sockaddr *)&r->address,
                                     r->address_len, r->server_credentials, &r->server_events, r,
                                     &r->server, &error),
                     FLX_OK);
    flx_quic_endpoint_address(r->server, &r->address, &r->address_len);
}

static inline void rig_unlisten(rig *r)
{
    r->server = flx_quic_endpoint_free(r->server);
    r->group = flx_quic_group_free(r->group);
}

static inline flx_credentials *rig_server_credentials(rig *r, const char *name)
{
    char certificate[128];
    char key[128];
    char file[64];
    flx_credentials *credentials = NULL;
    flx_error error;
    (void)snprintf(file, sizeof file, "%s.pem", name);
    (void)pki_path(&r->pki, file, certificate);
    (void)snprintf(file, sizeof file, "%s.key", name);
    (void)pki_path(&r->pki, file, key);
    assert_int_equal(flx_credentials_new(true,
                                         &(flx_credentials_options){.certificate_file = certificate,
                                                                    .key_file = key},
                                         &credentials, &error),
                     FLX_OK);
    return credentials;
}

static inline flx_credentials *rig_client_credentials(rig *r, const char *ca)
{
    char path[128];
    flx_credentials *credentials = NULL;
    flx_error error;
    assert_int_equal(flx_credentials_new(
                         false, &(flx_credentials_options){.ca_file = pki_path(&r->pki, ca, path)},
                         &credentials, &error),
                     FLX_OK);
    return credentials;
}

static inline void rig_start(rig *r, const flx_quic_options *server, const flx_quic_options *client)
{
    flx_error error;
    memset(r, 0, sizeof *r);
    memset(r->secret, 7, sizeof r->secret);
    pki_start(&r->pki);
    pki_make(&r->pki, "server", &(pki_leaf){0});
    r->server_events = (flx_quic_events){.connected = rig_on_accept,
                                         .closed = rig_on_end,
                                         .stream_opened = rig_on_opened,
                                         .stream_data = rig_on_echo,
                                         .stream_closed = rig_on_stream_closed};
    r->client_events = (flx_quic_events){.connected = rig_on_connected, .closed = rig_on_closed};
    assert_int_equal(flx_loop_new(NULL, &r->loop, &error), FLX_OK);
    r->server_credentials = rig_server_credentials(r, "server");
    r->client_credentials = rig_client_credentials(r, "ca.pem");
    rig_loopback(&r->address, &r->address_len);
    rig_listen(r, server);
    assert_int_equal(flx_quic_client(r->loop, client, r->client_credentials, &r->client_events, r,
                                     &r->client, &error),
                     FLX_OK);
}

static inline void rig_stop(rig *r)
{
    r->client = flx_quic_endpoint_free(r->client);
    rig_unlisten(r);
    r->server_credentials = flx_credentials_free(r->server_credentials);
    r->client_credentials = flx_credentials_free(r->client_credentials);
    r->loop = flx_loop_free(r->loop);
    pki_stop(&r->pki);
}

/* One tick that waits a little at the most. */
static inline void rig_step(rig *r)
{
    flx_error error;
    const uint64_t until_ns = flx_clock_monotonic_ns() + 20 * FLX_NS_PER_MS;
    assert_int_equal(flx_loop_step(r->loop, until_ns, &error), FLX_OK);
}

#define RIG_UNTIL(r, condition)                                                                    \
    do {                                                                                           \
        const uint64_t rig_end_ns = flx_clock_monotonic_ns() + RIG_WAIT_NS;                        \
        while (!(condition)) {                                                                     \
            rig_step(r);                                                                           \
            assert_true(flx_clock_monotonic_ns() < rig_end_ns);                                    \
        }                                                                                          \
    } while (0)

/* A while, for what must not happen. */
static inline void rig_idle(rig *r, unsigned ticks)
{
    for (unsigned i = 0; i < ticks; i++)
        rig_step(r);
}

static inline void rig_dial_worker(rig *r, rig_conn *c, const char *name, const char *alpn,
                                   flx_quic_worker worker)
{
    flx_error error;
    memset(c, 0, sizeof *c);
    assert_int_equal(flx_quic_connect_worker(r->client, (struct sockaddr *)&r->address,
                                             r->address_len, name, alpn, worker, c, &c->conn,
                                             &error),
                     FLX_OK);
}

static inline void rig_dial(rig *r, rig_conn *c, const char *name, const char *alpn)
{
    rig_dial_worker(r, c, name, alpn, (flx_quic_worker){0});
}

static inline void rig_connect(rig *r, rig_conn *c)
{
    rig_dial(r, c, "localhost", NULL);
    RIG_UNTIL(r, (c->connected && r->server_conn != NULL) || c->closed);
    if (c->closed)
        fail_msg("did not connect: %s", c->why.reason);
}

#endif /* FLX_TRANSPORT_RIG_H */
