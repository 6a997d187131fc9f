/* SPDX-License-Identifier: Apache-2.0 */
/* floor_quic.h - a server and a client process with credentials made on the spot. */
#ifndef FLX_BENCH_FLOOR_QUIC_H
#define FLX_BENCH_FLOOR_QUIC_H

#include "floor.h"
#include "pki.h"
#include "transport/quic.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Listens in the parent, so that the port is known, and runs the server in a child. */
typedef struct floor_quic {
    flx_loop *loop;
    flx_credentials *credentials;
    flx_quic_group *group;
    flx_quic_endpoint *endpoint;
    struct sockaddr_storage address;
    socklen_t address_len;
    pki pki;
    pid_t child;
    int port_pipe[2];
} floor_quic;

static inline void floor_quic_serve(floor_quic *f, const flx_loop_options *loop,
                                    const flx_quic_options *options, const flx_quic_events *events,
                                    void *arg)
{
    static const uint8_t secret[32] = {9};
    const struct sockaddr_in any = floor_loopback();
    char certificate[128];
    char key[128];
    FLOOR_CHECK(flx_loop_new(loop, &f->loop, NULL) == FLX_OK);
    FLOOR_CHECK(flx_credentials_new(true,
                                    &(flx_credentials_options){
                                        .certificate_file = pki_path(&f->pki, "s.pem", certificate),
                                        .key_file = pki_path(&f->pki, "s.key", key)},
                                    &f->credentials, NULL) == FLX_OK);
    FLOOR_CHECK(flx_quic_group_new(1, secret, options, &f->group, NULL) == FLX_OK);
    FLOOR_CHECK(flx_quic_listen(f->loop, f->group, 0, (const struct sockaddr *)&any, sizeof any,
                                f->credentials, events, arg, &f->endpoint, NULL) == FLX_OK);
    flx_quic_endpoint_address(f->endpoint, &f->address, &f->address_len);
    FLOOR_CHECK(write(f->port_pipe[1], &f->address, sizeof f->address) == sizeof f->address);
    FLOOR_CHECK(flx_loop_run(f->loop, NULL) == FLX_OK);
}

/* True in the client's process (the parent); the server's process comes back when it is told to stop. */
static inline bool floor_quic_fork(floor_quic *f)
{
    memset(f, 0, sizeof *f);
    pki_start(&f->pki);
    pki_make(&f->pki, "s", &(pki_leaf){0});
    FLOOR_CHECK(pipe(f->port_pipe) == 0);
    (void)fflush(stdout);
    f->child = fork();
    FLOOR_CHECK(f->child >= 0);
    return f->child > 0;
}

static inline flx_quic_conn *floor_quic_dial(floor_quic *f, const flx_loop_options *loop,
                                             const flx_quic_options *options,
                                             const flx_quic_events *events, void *arg)
{
    flx_quic_conn *conn = NULL;
    char ca[128];
    FLOOR_CHECK(read(f->port_pipe[0], &f->address, sizeof f->address) == sizeof f->address);
    f->address_len = sizeof(struct sockaddr_in);
    FLOOR_CHECK(flx_loop_new(loop, &f->loop, NULL) == FLX_OK);
    FLOOR_CHECK(flx_credentials_new(
                    false, &(flx_credentials_options){.ca_file = pki_path(&f->pki, "ca.pem", ca)},
                    &f->credentials, NULL) == FLX_OK);
    FLOOR_CHECK(flx_quic_client(f->loop, options, f->credentials, events, arg, &f->endpoint,
                                NULL) == FLX_OK);
    FLOOR_CHECK(flx_quic_connect(f->endpoint, (struct sockaddr *)&f->address, f->address_len,
                                 "localhost", NULL, NULL, &conn, NULL) == FLX_OK);
    return conn;
}

static inline void floor_quic_end(floor_quic *f)
{
    f->endpoint = flx_quic_endpoint_free(f->endpoint);
    f->group = flx_quic_group_free(f->group);
    f->credentials = flx_credentials_free(f->credentials);
    f->loop = flx_loop_free(f->loop);
    if (f->child > 0) {
        (void)waitpid(f->child, NULL, 0);
        pki_stop(&f->pki);
    }
}

#endif /* FLX_BENCH_FLOOR_QUIC_H */
