/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers/link.h - a TLS 1.3 connection over TCP to a peer's server, as cheap as GnuTLS makes it.
 *
 * What is written between two flushes is sealed into as few records as it takes and leaves with one
 * send(); what is read comes in pieces as large as the socket has them. A link belongs to one thread. Everything unexpected ends the
 * program (load_die): a run that was not whole has no figures.
 */
#ifndef FLX_BENCH_PEERS_LINK_H
#define FLX_BENCH_PEERS_LINK_H

#include "load.h"

#include <gnutls/gnutls.h>

typedef struct peer_buffer {
    uint8_t *bytes;
    size_t start; /* consumed before it */
    size_t end;
    size_t cap;
} peer_buffer;

typedef struct peer_link {
    int fd;
    gnutls_session_t session; /* NULL before the handshake: NATS speaks first in clear */
    peer_buffer in;           /* readable bytes, for the protocol to parse and consume */
    peer_buffer out;          /* written, not yet sealed */
    peer_buffer sealed_in;    /* as the socket gave them */
    peer_buffer sealed_out;   /* on its way to the socket */
    bool wait;                /* the next receive may block */
    bool may_receive;         /* one receive a look */
    uint64_t page_left;       /* of an answer with many messages: those to come */
    char page_last[48];       /* the place of the last one, to go on behind it */
} peer_link;

/* Once: the authority that --ca-file names is the only one trusted. */
void peer_tls_init(void);

/* Connects to --port of this machine; no handshake yet. */
void peer_link_open(peer_link *link);
void peer_link_handshake(peer_link *link);
void peer_link_close(peer_link *link);

/* Keeps a copy for the next flush. */
void peer_link_write(peer_link *link, const void *bytes, size_t len);
void peer_link_write_text(peer_link *link, const char *text);
void peer_link_flush(peer_link *link);

/* Reads what there is; with `wait` at least one byte. How many came. */
size_t peer_link_fill(peer_link *link, bool wait);
/* Waits until `len` bytes are readable. */
void peer_link_need(peer_link *link, size_t len);
/* Waits for a whole line; its length with the line feed. */
size_t peer_link_need_line(peer_link *link);

static inline const uint8_t *peer_link_at(const peer_link *link)
{
    return link->in.bytes + link->in.start;
}

static inline size_t peer_link_readable(const peer_link *link)
{
    return link->in.end - link->in.start;
}

static inline void peer_link_consume(peer_link *link, size_t len)
{
    link->in.start += len;
}

/* The line at the head, with its line feed; 0 while it is not whole. */
size_t peer_link_line(const peer_link *link);

#endif /* FLX_BENCH_PEERS_LINK_H */
