/* SPDX-License-Identifier: Apache-2.0 */
/* broker/mail_int.h - what travels between workers, and where it waits when a mailbox is full. */
#ifndef FLX_BROKER_MAIL_INT_H
#define FLX_BROKER_MAIL_INT_H

#include "broker/answers_int.h"
#include "broker/sealed.h"
#include "broker/worker.h"

#include <assert.h>

typedef struct flx_job flx_job;

typedef enum flx_mail_kind {
    FLX_MAIL_PUBLISH,   /* to the owner */
    FLX_MAIL_PUBLISHED, /* back: one outcome */
    FLX_MAIL_CREDIT,    /* back: bytes of un-acked publishes that are done */
    FLX_MAIL_FRAME,     /* owner to a worker with subscribers */
    FLX_MAIL_UNWATCH,   /* to the owner: nobody here reads this shard any more */
    FLX_MAIL_PROGRESS,  /* to the owner of a `block` shard: our readers' allowance */
    FLX_MAIL_EVICT,     /* owner of a `block` shard: who is behind this sequence has had its time */
    FLX_MAIL_JOB,       /* to the owner */
    FLX_MAIL_JOB_DONE,  /* back */
    FLX_MAIL_SOURCE     /* a source address gained or lost its last authenticated connection */
} flx_mail_kind;

typedef enum flx_publish_form {
    FLX_PUBLISH_PLAIN,
    FLX_PUBLISH_IDEMPOTENT,
    FLX_PUBLISH_IF
} flx_publish_form;

typedef struct flx_mail {
    uint8_t kind; /* flx_mail_kind */
    uint8_t from;
    uint8_t form; /* PUBLISH: flx_publish_form */
    uint8_t flag; /* PUBLISH: an answer is wanted; SOURCE: gained */
    uint32_t id;  /* stream */
    uint32_t shard;
    uint32_t number; /* PUBLISH, PUBLISHED: of the answer */
    uint64_t lane;   /* PUBLISH, PUBLISHED: who waits */
    union {
        struct {
            flx_range region; /* owned */
            flx_chunk *publisher;
            uint64_t a; /* producer id, or expected offset */
            uint64_t b; /* sequence */
            uint32_t count;
        } publish;
        flx_outcome published;
        struct {
            uint64_t sequence;
            flx_sealed frame; /* owned */
        } frame;
        flx_job *job;   /* owned */
        uint64_t value; /* CREDIT: bytes; PROGRESS, EVICT: sequence */
        uint8_t source[16];
    };
} flx_mail;

static_assert(sizeof(flx_mail) <= FLX_WORKER_MAIL_BYTES, "a mail is copied by value");

typedef struct flx_outbox {
    flx_mail *ring; /* [number & (cap - 1)] */
    uint32_t cap;
    uint32_t head;
    uint32_t tail;
} flx_outbox;

void flx_outbox_post(flx_worker *worker, uint32_t to, const flx_mail *mail);
/* False: there is no room, and the mail's references are still the caller's. */
bool flx_outbox_post_frame(flx_worker *worker, uint32_t to, const flx_mail *mail);
void flx_outbox_flush(flx_worker *worker);
void flx_outbox_done(flx_worker *worker);

#endif /* FLX_BROKER_MAIL_INT_H */
