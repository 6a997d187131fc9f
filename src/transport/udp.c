/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP sockets: many packets a system call, both ways.
 *
 * Receive: recvmmsg into a few 64 KB buffers with UDP_GRO, so that one message may hold dozens of
 * packets of one peer. Send: packets are built behind one another in an arena; up to 64 equal ones
 * (the last may be shorter) are one message with UDP_SEGMENT, and the messages of all connections of
 * a pass go out with one sendmmsg.
 *
 * Where the kernel or the device refuses one of these, the work is done packet by packet: GRO that
 * cannot be switched on means one packet a message, GSO that fails on send is switched off for the
 * socket and the message repeated in pieces. Nothing above notices.
 *
 * A full socket buffer blocks: the messages stay, EPOLLOUT is watched, and no packet is built until
 * they are gone. Any other error of a send loses that message, which is what a network does too.
 */
#include "common/error.h"
#include "transport/quic_int.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static void set_int(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* every one of them is a wish */
}

/* Asks for the buffer and halves the wish until the kernel grants all of it. */
static void set_buffer(int fd, int name, uint32_t bytes)
{
    for (; bytes >= 65536; bytes /= 2) {
        int wish = (int)bytes;
        int got = 0;
        socklen_t len = sizeof got;
        if (setsockopt(fd, SOL_SOCKET, name, &wish, sizeof wish) == 0 &&
            getsockopt(fd, SOL_SOCKET, name, &got, &len) == 0 && got / 2 >= wish)
            return;
    }
}

static bool is_wildcard(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return in.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
}

static void set_options(udp_socket *socket, int family, uint32_t buffer_bytes)
{
    const int fd = socket->fd;
    set_buffer(fd, SO_RCVBUF, buffer_bytes);
    set_buffer(fd, SO_SNDBUF, buffer_bytes);
    set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
    /* The don't-fragment bit without the kernel's own path MTU: QUIC probes for itself. */
    if (family == AF_INET)
        set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    else
        set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    int probe = 0;
    socklen_t len = sizeof probe;
    socket->gso = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &probe, &len) == 0;
}

static flx_status bind_socket(udp_socket *socket, const struct sockaddr *address, socklen_t len,
                              flx_error *reterr)
{
    if (bind(socket->fd, address, len) != 0) {
        const int bind_errno = errno;
        (void)flx_fail_errno(reterr, bind_errno, "bind a UDP socket");
        if (bind_errno != EADDRINUSE)
            return FLX_ERR_IO;
        if (reterr != NULL)
            reterr->status = FLX_ERR_CONFLICT;
        return FLX_ERR_CONFLICT;
    }
    socket->local_len = sizeof socket->local;
    if (getsockname(socket->fd, (struct sockaddr *)&socket->local, &socket->local_len) != 0)
        return flx_fail_errno(reterr, errno, "read the address of a UDP socket");
    socket->wildcard = is_wildcard(&socket->local);
    return FLX_OK;
}

flx_status flx_udp_open(udp_socket *socket_, const struct sockaddr *address, socklen_t len,
                        uint32_t buffer_bytes, flx_udp_share share, flx_error *reterr)
{
    const int family = address->sa_family;
    if (family != AF_INET && family != AF_INET6)
        return flx_fail(reterr, FLX_ERR_INVALID, "address family %d is not IPv4 or IPv6", family);

    socket_->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_->fd < 0)
        return flx_fail_errno(reterr, errno, "open a UDP socket");
    if (share == FLX_UDP_JOIN)
        set_int(socket_->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (family == AF_INET6)
        set_int(socket_->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);

    const flx_status status = bind_socket(socket_, address, len, reterr);
    if (status != FLX_OK) {
        flx_udp_close(socket_);
        return status;
    }
    if (share == FLX_UDP_FIRST)
        set_int(socket_->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set_options(socket_, family, buffer_bytes);
    if (socket_->wildcard) {
        /* Answers must leave from the address the packet came to. */
        set_int(socket_->fd, IPPROTO_IP, IP_PKTINFO, 1);
        if (family == AF_INET6)
            set_int(socket_->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
    return FLX_OK;
}

void flx_udp_close(udp_socket *socket)
{
    if (socket->fd >= 0)
        (void)close(socket->fd);
    socket->fd = -1;
}

/* --- receive -------------------------------------------------------------------------------- */

static void message_reset(udp_rx *rx, int i)
{
    rx->messages[i].msg_hdr = (struct msghdr){
        .msg_name = &rx->from[i],
        .msg_namelen = sizeof rx->from[i],
        .msg_iov = &rx->iov[i],
        .msg_iovlen = 1,
        .msg_control = rx->control[i],
        .msg_controllen = sizeof rx->control[i],
    };
}

void flx_udp_rx_init(udp_rx *rx)
{
    rx->used = 0;
    for (int i = 0; i < UDP_RX_MESSAGES; i++) {
        rx->iov[i] = (struct iovec){rx->bytes[i], UDP_RX_BYTES};
        message_reset(rx, i);
    }
}

int flx_udp_receive(udp_socket *socket, udp_rx *rx)
{
    for (int i = 0; i < rx->used; i++)
        message_reset(rx, i);
    int count;
    do
        count = recvmmsg(socket->fd, rx->messages, UDP_RX_MESSAGES, MSG_DONTWAIT, NULL);
    while (count < 0 && errno == EINTR);
    rx->used = count < 0 ? 0 : count;
    return rx->used;
}

static void local_from_v4(struct sockaddr_storage *local, const struct cmsghdr *c)
{
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    if (local->ss_family == AF_INET) {
        ((struct sockaddr_in *)local)->sin_addr = info.ipi_addr;
        return;
    }
    struct in6_addr *to = &((struct sockaddr_in6 *)local)->sin6_addr; /* dual stack: mapped */
    memset(to, 0, sizeof *to);
    to->s6_addr[10] = to->s6_addr[11] = 0xff;
    memcpy(&to->s6_addr[12], &info.ipi_addr, 4);
}

size_t flx_udp_message(const udp_socket *socket, udp_rx *rx, int index,
                       struct sockaddr_storage *ret_local, socklen_t *ret_local_len)
{
    struct msghdr *header = &rx->messages[index].msg_hdr;
    size_t segment = rx->messages[index].msg_len;
    memcpy(ret_local, &socket->local, sizeof *ret_local);
    *ret_local_len = socket->local_len;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            if (size > 0)
                segment = (size_t)size;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            local_from_v4(ret_local, c);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
                   ret_local->ss_family == AF_INET6) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ((struct sockaddr_in6 *)ret_local)->sin6_addr = info.ipi6_addr;
        }
    }
    return segment;
}

/* --- send ----------------------------------------------------------------------------------- */

static struct cmsghdr *control_add(struct msghdr *header, struct cmsghdr *last, int level, int type,
                                   const void *data, size_t len)
{
    struct cmsghdr *c = last == NULL ? CMSG_FIRSTHDR(header) : CMSG_NXTHDR(header, last);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    return c;
}

/* The source address of a packet from a socket that is bound to any. Returns the bytes used. */
static size_t control_source(struct msghdr *header, struct cmsghdr **last,
                             const struct sockaddr *local)
{
    if (local->sa_family == AF_INET) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, &((const struct sockaddr_in *)(const void *)local)->sin_addr,
               sizeof info.ipi_spec_dst);
        *last = control_add(header, *last, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
        return CMSG_SPACE(sizeof info);
    }
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, &((const struct sockaddr_in6 *)(const void *)local)->sin6_addr,
           sizeof info.ipi6_addr);
    *last = control_add(header, *last, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    return CMSG_SPACE(sizeof info);
}

static bool is_set(const struct sockaddr *local)
{
    struct sockaddr_storage copy = {0};
    memcpy(&copy, local,
           local->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    return !is_wildcard(&copy);
}

uint8_t *flx_udp_tx_room(flx_quic_endpoint *endpoint, udp_socket *socket)
{
    udp_tx *tx = endpoint->tx;
    if (tx->blocked)
        return NULL;
    /* A batch may end in a packet that has to be a message of its own: two must fit. */
    const bool full = tx->count + 2 > UDP_TX_MESSAGES || tx->used + GSO_BYTES_MAX > UDP_TX_ARENA;
    if (tx->count > 0 && (full || tx->socket != socket) && !flx_udp_tx_send(endpoint))
        return NULL;
    tx->socket = socket;
    return tx->arena + tx->used;
}

void flx_udp_tx_commit(flx_quic_endpoint *endpoint, const struct sockaddr *local,
                       const struct sockaddr *to, socklen_t to_len, size_t len, size_t segment)
{
    udp_tx *tx = endpoint->tx;
    FLX_ASSERT(tx->count < UDP_TX_MESSAGES && tx->used + len <= UDP_TX_ARENA);
    FLX_ASSERT(len > 0 && segment > 0 && to_len <= sizeof tx->to[0]);
    const uint32_t i = tx->count++;
    struct msghdr *header = &tx->messages[i].msg_hdr;

    tx->iov[i] = (struct iovec){tx->arena + tx->used, len};
    memcpy(&tx->to[i], to, to_len);
    tx->segment[i] = (uint16_t)segment;
    memset(tx->control[i], 0, CONTROL_BYTES);
    *header = (struct msghdr){.msg_name = &tx->to[i],
                              .msg_namelen = to_len,
                              .msg_iov = &tx->iov[i],
                              .msg_iovlen = 1,
                              .msg_control = tx->control[i],
                              .msg_controllen = CONTROL_BYTES};
    struct cmsghdr *last = NULL;
    size_t control_len = 0;
    tx->has_segment[i] = len > segment;
    if (tx->socket->wildcard && endpoint->group != NULL && is_set(local))
        control_len += control_source(header, &last, local);
    if (tx->has_segment[i]) {
        const uint16_t size = (uint16_t)segment;
        (void)control_add(header, last, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
        control_len += CMSG_SPACE(sizeof size);
    }
    header->msg_controllen = control_len;
    if (control_len == 0)
        header->msg_control = NULL;
    tx->used += len;
    const uint32_t packets = (uint32_t)((len + segment - 1) / segment);
    STAT_ADD(endpoint, packets_out, packets);
    endpoint->tick_packets += packets;
    STAT_ADD(endpoint, bytes_out, len);
}

/* Sends message `i` packet by packet. False: the socket is full; what is left stays in the message. */
static bool send_pieces(flx_quic_endpoint *endpoint, uint32_t i)
{
    udp_tx *tx = endpoint->tx;
    struct msghdr *header = &tx->messages[i].msg_hdr;
    uint8_t *at = tx->iov[i].iov_base;
    size_t left = tx->iov[i].iov_len;

    /* The segment size, where there is one, is the last thing in the control data. */
    if (tx->has_segment[i]) {
        tx->has_segment[i] = false;
        header->msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
        if (header->msg_controllen == 0)
            header->msg_control = NULL;
    }
    while (left > 0) {
        const size_t piece = left < tx->segment[i] ? left : tx->segment[i];
        struct iovec iov = {at, piece};
        struct msghdr one = *header;
        one.msg_iov = &iov;
        STAT_ADD(endpoint, send_calls, 1);
        const ssize_t n = sendmsg(tx->socket->fd, &one, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            tx->iov[i] = (struct iovec){at, left};
            return false;
        }
        at += piece;
        left -= piece;
    }
    return true;
}

static bool is_gso_refused(int error, size_t len, size_t segment)
{
    return len > segment && (error == EIO || error == EINVAL || error == EOPNOTSUPP);
}

static void watch_writable(flx_quic_endpoint *endpoint, bool on)
{
    udp_tx *tx = endpoint->tx;
    const uint32_t events = EPOLLIN | (on ? (uint32_t)EPOLLOUT : 0);
    tx->blocked = on;
    (void)flx_loop_change(endpoint->loop, &tx->socket->watch, events, NULL);
}

/* What to do with the message that sendmmsg stopped at. False: wait. */
static bool send_failed(flx_quic_endpoint *endpoint, int error)
{
    udp_tx *tx = endpoint->tx;
    const uint32_t i = tx->first;
    if (error == EAGAIN || error == EWOULDBLOCK)
        return false;
    if (is_gso_refused(error, tx->iov[i].iov_len, tx->segment[i])) {
        tx->socket->gso = false;
        return true; /* the loop sends it in pieces */
    }
    if (error != EINTR) {
        STAT_ADD(endpoint, dropped, 1);
        tx->first++;
    }
    return true;
}

/* One step of sending. False: blocked. */
static bool send_some(flx_quic_endpoint *endpoint)
{
    udp_tx *tx = endpoint->tx;
    const uint32_t i = tx->first;
    if (!tx->socket->gso && tx->iov[i].iov_len > tx->segment[i]) {
        if (!send_pieces(endpoint, i))
            return false;
        tx->first++;
        return true;
    }
    STAT_ADD(endpoint, send_calls, 1);
    const int sent =
        tx->count - i == 1
            ? (sendmsg(tx->socket->fd, &tx->messages[i].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1)
            : sendmmsg(tx->socket->fd, &tx->messages[i], tx->count - i, MSG_DONTWAIT);
    if (sent < 0)
        return send_failed(endpoint, errno);
    tx->first += (uint32_t)sent;
    return true;
}

bool flx_udp_tx_send(flx_quic_endpoint *endpoint)
{
    udp_tx *tx = endpoint->tx;
    while (tx->first < tx->count) {
        if (send_some(endpoint))
            continue;
        if (!tx->blocked)
            watch_writable(endpoint, true);
        return false;
    }
    if (tx->blocked)
        watch_writable(endpoint, false);
    tx->first = tx->count = 0;
    tx->used = 0;
    return true;
}
