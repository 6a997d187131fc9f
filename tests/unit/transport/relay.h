/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay.h - a bad network between the rig's client and a server: loses, swaps, doubles and edits
 * datagrams by a seed, and changes the client's address as a NAT does.
 *
 * A datagram that is to be swapped waits for the next one of its direction. Nothing else releases it:
 * should none follow, it was lost, and QUIC must cope.
 */
#ifndef FLX_TRANSPORT_RELAY_H
#define FLX_TRANSPORT_RELAY_H

#include "rig.h"

#include <unistd.h>

#define RELAY_BYTES 2048

typedef struct relay_side {
    struct relay *relay;
    flx_watch watch;
    bool to_server; /* where what is read here goes */
    size_t held_len;
    uint8_t held[RELAY_BYTES];
} relay_side;

typedef struct relay {
    rig *r;
    relay_side front; /* the client speaks to it */
    relay_side back;  /* it speaks to the server */
    struct sockaddr_in client;
    unsigned seed;
    unsigned loss;   /* per cent */
    unsigned swaps;  /* per cent */
    unsigned copies; /* per cent */
    /* True: it was dealt with. Called before the dice. */
    bool (*edit)(struct relay *relay, bool to_server, uint8_t *bytes, size_t len);
    void *arg;
    unsigned passed[2]; /* to the client, to the server */
    unsigned lost;
    unsigned swapped;
    unsigned copied;
} relay;

static inline bool relay_dice(relay *x, unsigned percent)
{
    x->seed = x->seed * 1103515245U + 12345U;
    return (x->seed >> 16) % 100 < percent;
}

static inline void relay_pass(relay *x, bool to_server, const uint8_t *bytes, size_t len)
{
    x->passed[to_server]++;
    if (to_server)
        (void)send(x->back.watch.fd, bytes, len, MSG_DONTWAIT);
    else
        (void)sendto(x->front.watch.fd, bytes, len, MSG_DONTWAIT, (struct sockaddr *)&x->client,
                     sizeof x->client);
}

static inline void relay_roll(relay_side *side, uint8_t *bytes, size_t len)
{
    relay *x = side->relay;
    if (x->edit != NULL && x->edit(x, side->to_server, bytes, len))
        return;
    if (relay_dice(x, x->loss)) {
        x->lost++;
        return;
    }
    if (side->held_len == 0 && relay_dice(x, x->swaps)) {
        memcpy(side->held, bytes, len);
        side->held_len = len;
        x->swapped++;
        return;
    }
    relay_pass(x, side->to_server, bytes, len);
    if (relay_dice(x, x->copies)) {
        relay_pass(x, side->to_server, bytes, len);
        x->copied++;
    }
    if (side->held_len > 0)
        relay_pass(x, side->to_server, side->held, side->held_len);
    side->held_len = 0;
}

static inline void relay_ready(void *arg, uint32_t events)
{
    (void)events;
    relay_side *side = arg;
    for (int i = 0; i < 64; i++) {
        uint8_t bytes[RELAY_BYTES];
        struct sockaddr_in from;
        socklen_t from_len = sizeof from;
        const ssize_t len = recvfrom(side->watch.fd, bytes, sizeof bytes, MSG_DONTWAIT,
                                     (struct sockaddr *)&from, &from_len);
        if (len <= 0)
            return;
        if (side->to_server)
            side->relay->client = from;
        relay_roll(side, bytes, (size_t)len);
    }
}

static inline void relay_open(relay_side *side)
{
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int bytes = 4 << 20;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    side->watch = (flx_watch){.ready = relay_ready, .arg = side, .fd = fd};
    assert_int_equal(flx_loop_add(side->relay->r->loop, &side->watch, 1 /* EPOLLIN */, NULL),
                     FLX_OK);
}

static inline void relay_shut(relay_side *side)
{
    flx_loop_remove(side->relay->r->loop, &side->watch);
    (void)close(side->watch.fd);
}

/* From now on the server sees another port of the client. */
static inline void relay_rebind(relay *x, const struct sockaddr_storage *server, socklen_t len)
{
    if (x->back.watch.added)
        relay_shut(&x->back);
    relay_open(&x->back);
    assert_int_equal(connect(x->back.watch.fd, (const struct sockaddr *)server, len), 0);
}

/* Stands between the rig's client and r->address, which becomes the relay's. */
static inline void relay_start(relay *x, rig *r, unsigned seed)
{
    struct sockaddr_storage server = r->address;
    memset(x, 0, sizeof *x);
    x->r = r;
    x->seed = seed;
    x->front.relay = x->back.relay = x;
    x->front.to_server = true;
    relay_open(&x->front);
    relay_rebind(x, &server, r->address_len);
    r->address_len = sizeof r->address;
    assert_int_equal(
        getsockname(x->front.watch.fd, (struct sockaddr *)&r->address, &r->address_len), 0);
}

static inline void relay_stop(relay *x)
{
    relay_shut(&x->front);
    relay_shut(&x->back);
}

#endif /* FLX_TRANSPORT_RELAY_H */
