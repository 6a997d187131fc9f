/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/broker_harness_int.h - what the files of the harness share.
 *
 *     broker_harness.c         workers, their catalog, tokens and disks
 *     broker_harness_link.c    the transport and the mailboxes below them, and what moves
 *     broker_harness_client.c  the client at the other end
 */
#ifndef FLX_TESTS_BROKER_HARNESS_INT_H
#define FLX_TESTS_BROKER_HARNESS_INT_H

#include "broker_harness.h"
#include "common/slice.h"
#include "wire/change_batch.h"
#include "wire/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HX_MUST(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: harness: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct hx_mailbox {
    unsigned char (*mails)[FLX_WORKER_MAIL_BYTES];
    uint32_t cap, head, tail;
} hx_mailbox;

struct hx_stream {
    hx_stream *next;
    hx_conn *conn;
    flx_lane *lane; /* NULL: closed for the worker */
    bool bidi, ours, accepted, stalled, want_pull;
    bool fin_in, fin_out, reset_out, stopped, dead;
    uint8_t *out;                            /* what the worker wrote */
    size_t out_len, out_cap, released, read; /* [read, released): the client's; then queued */
    size_t queued_only;                      /* with count_only */
    uint64_t total;
    uint8_t *in; /* what the client sent and could not hand over while it had no lane */
    size_t unconsumed;
    uint8_t *frame; /* the frame handed out last */
    /* events being read */
    flx_event_iter iter;
    bool iterating;
    uint8_t *event_frame;
    flx_change_batch batch; /* changes being read */
    bool in_batch;
    uint64_t come_to; /* by the batches of changes so far */
};

struct hx_conn {
    hx_conn *next;
    hx *h;
    uint32_t worker;
    flx_peer *peer;
    hx_stream *streams;
    uint32_t credit;
    uint64_t close_code; /* +1 */
    bool stirred;        /* a stream of it may have something to do */
    bool dead;
};

struct hx {
    uint32_t count;
    hx_options options;
    flx_worker *workers[FLX_WORKERS_MAX];
    flx_verifier *verifiers[FLX_WORKERS_MAX];
    flx_seats *seats; /* NULL when memory was out: that is allowed */
    hx_mailbox boxes[FLX_WORKERS_MAX];
    flx_keyset *keyset;
    flx_catalog *catalog;
    uint64_t version;
    char *tokens[3];
    hx_conn *conns;
    uint64_t now_ns, wall_us;
    uint64_t mails;
    bool moved;
    flx_store *logs;
    flx_io *io[FLX_WORKERS_MAX];
    uint32_t durable_ids; /* the first id of durable streams */
    char news[8192];
    char news_read[8192];
};

/* The tests' own memory never fails. */
static inline void *hx_alloc(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    HX_MUST(memory != NULL);
    return memory;
}

extern const flx_link_ops hx_link_ops;
bool hx_post(void *arg, uint32_t to, const void *mail, size_t len);

hx_stream *hx_stream_new(hx_conn *conn);
void hx_stream_close(hx_stream *s);

#endif /* FLX_TESTS_BROKER_HARNESS_INT_H */
