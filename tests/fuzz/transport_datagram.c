/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Foreign datagrams at a server's door, without a network in between.
 *
 * Input: records of  u8 kind | u8 length/8 | bytes. Kind 0 is a datagram as it stands, padded to
 * 1200 bytes when bit 7 of the kind is set. Other kinds take a genuine first packet of a client
 * (captured once) and patch it: the bytes are pairs of position/8 and value, so that most of it still
 * decrypts and the parser behind the encryption is reached as well.
 */
#include "../support/pki.h"
#include "common/clock.h"
#include "common/loop.h"
#include "transport/quic_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATAGRAM_MAX 2048

static flx_loop *loop;
static flx_quic_group *group;
static flx_quic_endpoint *server;
static flx_credentials *credentials;
static uint8_t genuine[DATAGRAM_MAX];
static size_t genuine_len;

static void must(bool good)
{
    if (!good)
        abort();
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* What a client of ours sends first, caught on a plain socket. */
static void capture(flx_credentials *client_credentials)
{
    static const flx_quic_events events = {0};
    flx_quic_endpoint *client = NULL;
    flx_quic_conn *conn = NULL;
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0);
    must(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    must(flx_quic_client(loop, NULL, client_credentials, &events, NULL, &client, NULL) == FLX_OK);
    must(flx_quic_connect(client, (struct sockaddr *)&address, len, "localhost", FLX_QUIC_ALPN,
                          NULL, &conn, NULL) == FLX_OK);
    must(flx_loop_step(loop, 0, NULL) == FLX_OK);
    const ssize_t n = recv(fd, genuine, sizeof genuine, 0);
    must(n >= 1200);
    genuine_len = (size_t)n;
    (void)flx_quic_endpoint_free(client);
    (void)close(fd);
}

static void start(void)
{
    static const flx_quic_events events = {0};
    static const uint8_t secret[32] = {1};
    const struct sockaddr_in address = loopback(0);
    pki p;
    char certificate[128];
    char key[128];
    char ca[128];
    flx_credentials *client_credentials = NULL;
    pki_start(&p);
    pki_make(&p, "server", &(pki_leaf){0});
    must(flx_loop_new(NULL, &loop, NULL) == FLX_OK);
    must(flx_credentials_new(
             true,
             &(flx_credentials_options){.certificate_file = pki_path(&p, "server.pem", certificate),
                                        .key_file = pki_path(&p, "server.key", key)},
             &credentials, NULL) == FLX_OK);
    must(flx_credentials_new(false,
                             &(flx_credentials_options){.ca_file = pki_path(&p, "ca.pem", ca)},
                             &client_credentials, NULL) == FLX_OK);
    must(flx_quic_group_new(1, secret, &(flx_quic_options){.retry_above = 64}, &group, NULL) ==
         FLX_OK);
    capture(client_credentials);
    client_credentials = flx_credentials_free(client_credentials);
    must(flx_quic_listen(loop, group, 0, (const struct sockaddr *)&address, sizeof address,
                         credentials, &events, NULL, &server, NULL) == FLX_OK);
    pki_stop(&p);
}

static void deliver(const uint8_t *packet, size_t len)
{
    struct sockaddr_in remote = loopback(9); /* discard */
    const ngtcp2_path path = {
        .local = {(struct sockaddr *)&server->sockets[0].local, server->sockets[0].local_len},
        .remote = {(struct sockaddr *)&remote, sizeof remote},
    };
    /* A copy of the exact size, so that the sanitizer sees a read past its end. */
    uint8_t *copy = malloc(len > 0 ? len : 1);
    must(copy != NULL);
    if (len > 0)
        memcpy(copy, packet, len);
    flx_endpoint_datagram(server, &server->sockets[0], &path, copy, len, flx_clock_monotonic_ns());
    free(copy);
}

static void one(uint8_t kind, const uint8_t *bytes, size_t len)
{
    uint8_t packet[DATAGRAM_MAX] = {0};
    if ((kind & 0x7f) == 0) {
        memcpy(packet, bytes, len);
        deliver(packet, (kind & 0x80) != 0 ? 1200 : len);
        return;
    }
    memcpy(packet, genuine, genuine_len);
    for (size_t i = 0; i + 1 < len; i += 2)
        packet[((size_t)bytes[i] * 8 + kind) % genuine_len] ^= bytes[i + 1];
    deliver(packet, genuine_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (loop == NULL)
        start();
    while (size >= 2) {
        const uint8_t kind = data[0];
        size_t len = (size_t)data[1] * 8;
        data += 2;
        size -= 2;
        if (len > size)
            len = size;
        one(kind, data, len);
        data += len;
        size -= len;
    }
    must(flx_loop_step(loop, 0, NULL) == FLX_OK);
    while (!TAILQ_EMPTY(&server->conns)) { /* the next input starts from nothing */
        flx_quic_conn *conn = TAILQ_FIRST(&server->conns);
        flx_conn_end(conn, FLX_QUIC_CLOSE_LOCAL, false, 0, false, "next");
        flx_conn_finish(conn, flx_clock_monotonic_ns());
    }
    return 0;
}
