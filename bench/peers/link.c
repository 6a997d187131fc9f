/* SPDX-License-Identifier: Apache-2.0 */
/* link.c - see the header. */
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEALED_CAP ((size_t)128 << 10)
#define PIECE_MAX  ((size_t)16 << 10) /* of plain text: a TLS record */

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priorities;

void peer_tls_init(void)
{
    const char *suite = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM";
    const char *path = load_text("--ca-file", "");
    LOAD_CHECK(gnutls_certificate_allocate_credentials(&credentials) == 0);
    if (gnutls_certificate_set_x509_trust_file(credentials, path, GNUTLS_X509_FMT_PEM) <= 0) {
        load_die("no certificate in '%s'", path);
    }
    LOAD_CHECK(gnutls_priority_init(&priorities, suite, NULL) == 0);
}

/* --- buffers --- */

static void buffer_init(peer_buffer *buffer, size_t cap)
{
    *buffer = (peer_buffer){.bytes = malloc(cap), .cap = cap};
    LOAD_CHECK(buffer->bytes != NULL);
}

/* Room for `len` more at the end: what was consumed goes first, then the buffer grows. */
static void buffer_make_room(peer_buffer *buffer, size_t len)
{
    if (buffer->start == buffer->end) {
        buffer->start = buffer->end = 0;
    }
    if (buffer->cap - buffer->end >= len) {
        return;
    }
    memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
    buffer->end -= buffer->start;
    buffer->start = 0;
    while (buffer->cap - buffer->end < len) {
        buffer->cap *= 2;
        buffer->bytes = realloc(buffer->bytes, buffer->cap);
        LOAD_CHECK(buffer->bytes != NULL);
    }
}

static void send_sealed(peer_link *link)
{
    peer_buffer *out = &link->sealed_out;
    while (out->start < out->end) {
        const ssize_t sent =
            send(link->fd, out->bytes + out->start, out->end - out->start, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            load_die("send: %s", strerror(errno));
        }
        out->start += sent > 0 ? (size_t)sent : 0;
    }
}

/* --- what GnuTLS calls --- */

static ssize_t push(gnutls_transport_ptr_t arg, const void *bytes, size_t len)
{
    peer_buffer *out = &((peer_link *)arg)->sealed_out;
    buffer_make_room(out, len);
    memcpy(out->bytes + out->end, bytes, len);
    out->end += len;
    return (ssize_t)len;
}

/* Bytes of the socket into `to`: 0 when there are none now. */
static size_t receive(const peer_link *link, uint8_t *to, size_t cap, bool wait)
{
    const ssize_t got = recv(link->fd, to, cap, wait ? 0 : MSG_DONTWAIT);
    if (got > 0) {
        return (size_t)got;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        load_die("the server ended the connection: %s", got == 0 ? "no more" : strerror(errno));
    }
    return 0;
}

static ssize_t pull(gnutls_transport_ptr_t arg, void *bytes, size_t len)
{
    peer_link *link = arg;
    peer_buffer *in = &link->sealed_in;
    if (in->start == in->end && link->may_receive) {
        if (link->wait) {
            send_sealed(link); /* a handshake waits for the answer to what it just wrote */
        }
        in->start = 0;
        in->end = receive(link, in->bytes, in->cap, link->wait);
        link->may_receive = link->wait; /* a handshake goes on until it is done */
    }
    if (in->start == in->end) {
        gnutls_transport_set_errno(link->session, EAGAIN);
        return -1;
    }
    len = len < in->end - in->start ? len : in->end - in->start;
    memcpy(bytes, in->bytes + in->start, len);
    in->start += len;
    return (ssize_t)len;
}

/* --- life --- */

void peer_link_open(peer_link *link)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)load_number("--port", 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *link = (peer_link){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    LOAD_CHECK(link->fd >= 0);
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(link->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        load_die("connect: %s", strerror(errno));
    }
    buffer_init(&link->in, SEALED_CAP);
    buffer_init(&link->out, SEALED_CAP);
    buffer_init(&link->sealed_in, SEALED_CAP);
    buffer_init(&link->sealed_out, SEALED_CAP);
}

void peer_link_handshake(peer_link *link)
{
    int status = 0;
    LOAD_CHECK(gnutls_init(&link->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL) == 0);
    LOAD_CHECK(gnutls_priority_set(link->session, priorities) == 0);
    LOAD_CHECK(gnutls_credentials_set(link->session, GNUTLS_CRD_CERTIFICATE, credentials) == 0);
    gnutls_session_set_verify_cert(link->session, "localhost", 0);
    gnutls_transport_set_ptr(link->session, link);
    gnutls_transport_set_push_function(link->session, push);
    gnutls_transport_set_pull_function(link->session, pull);
    link->wait = true;
    do {
        link->may_receive = true;
        status = gnutls_handshake(link->session);
        send_sealed(link);
    } while (status < 0 && gnutls_error_is_fatal(status) == 0);
    if (status < 0) {
        load_die("handshake: %s", gnutls_strerror(status));
    }
}

void peer_link_close(peer_link *link)
{
    if (link->session != NULL) {
        gnutls_deinit(link->session);
    }
    (void)close(link->fd);
    free(link->in.bytes);
    free(link->out.bytes);
    free(link->sealed_in.bytes);
    free(link->sealed_out.bytes);
}

/* --- writing --- */

void peer_link_write(peer_link *link, const void *bytes, size_t len)
{
    buffer_make_room(&link->out, len);
    memcpy(link->out.bytes + link->out.end, bytes, len);
    link->out.end += len;
}

void peer_link_write_text(peer_link *link, const char *text)
{
    peer_link_write(link, text, strlen(text));
}

/* What was written, as few records as it takes. */
static void seal(peer_link *link)
{
    peer_buffer *out = &link->out;
    while (out->start < out->end) {
        const size_t len = out->end - out->start;
        const ssize_t sealed = gnutls_record_send(link->session, out->bytes + out->start,
                                                  len < PIECE_MAX ? len : PIECE_MAX);
        if (sealed <= 0) {
            load_die("seal: %s", gnutls_strerror((int)sealed));
        }
        out->start += (size_t)sealed;
    }
}

void peer_link_flush(peer_link *link)
{
    seal(link);
    send_sealed(link);
}

/* --- reading --- */

/* Opens every whole record at hand. */
static size_t open_records(peer_link *link)
{
    size_t sum = 0;
    for (;;) {
        buffer_make_room(&link->in, PIECE_MAX);
        const ssize_t got = gnutls_record_recv(link->session, link->in.bytes + link->in.end,
                                               link->in.cap - link->in.end);
        if (got > 0) {
            link->in.end += (size_t)got;
            sum += (size_t)got;
            link->may_receive = false; /* there is something: no reason to ask again, or to block */
        } else if (got == 0 || gnutls_error_is_fatal((int)got) != 0) {
            load_die("receive: %s",
                     got == 0 ? "the server said goodbye" : gnutls_strerror((int)got));
        } else if (link->sealed_in.start == link->sealed_in.end) {
            return sum; /* the rest of a record is still to come */
        }
    }
}

size_t peer_link_fill(peer_link *link, bool wait)
{
    size_t got = 0;
    do {
        link->wait = wait;
        link->may_receive = true;
        if (link->session != NULL) {
            got = open_records(link);
        } else {
            buffer_make_room(&link->in, PIECE_MAX);
            got = receive(link, link->in.bytes + link->in.end, link->in.cap - link->in.end, wait);
            link->in.end += got;
        }
    } while (wait && got == 0);
    return got;
}

void peer_link_need(peer_link *link, size_t len)
{
    while (peer_link_readable(link) < len) {
        (void)peer_link_fill(link, true);
    }
}

size_t peer_link_line(const peer_link *link)
{
    const uint8_t *at = peer_link_at(link);
    const uint8_t *feed = memchr(at, '\n', peer_link_readable(link));
    return feed != NULL ? (size_t)(feed - at) + 1 : 0;
}

size_t peer_link_need_line(peer_link *link)
{
    size_t len = 0;
    while ((len = peer_link_line(link)) == 0) {
        (void)peer_link_fill(link, true);
    }
    return len;
}
