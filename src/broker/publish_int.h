/* SPDX-License-Identifier: Apache-2.0 */
/* broker/publish_int.h - a publish on its way: asked, admitted, waiting at a `block` shard, answered. */
#ifndef FLX_BROKER_PUBLISH_INT_H
#define FLX_BROKER_PUBLISH_INT_H

#include "broker/mail_int.h"
#include "wire/frame.h"
#include "wire/message.h"

typedef struct flx_asker flx_asker;

typedef struct flx_publish_request {
    flx_slice tenant, namespace_, stream, key, region;
    flx_chunk *holder; /* of the region; NULL: it lies in borrowed bytes */
    uint32_t count;
    bool has_key;
    bool is_acked;
    uint8_t form;        /* flx_publish_form */
    uint8_t answer_form; /* flx_answer_form */
    uint64_t request_id;
    uint64_t a, b; /* as in flx_mail */
} flx_publish_request;

/* One publish waiting at a `block` shard. */
typedef struct flx_held {
    struct flx_held *next;
    uint64_t since_ns;
    flx_mail mail; /* a PUBLISH with its references */
} flx_held;

/* publish.c */
void flx_publish_frame(flx_lane *lane, const flx_frame *frame);
void flx_publish_message(flx_lane *lane, const flx_msg *msg);
void flx_publish_mail(flx_worker *worker, flx_mail *mail); /* takes what the mail carries */
void flx_publish_answered(flx_worker *worker, const flx_mail *mail);
void flx_publish_credit(flx_worker *worker, const flx_mail *mail);
void flx_publish_reply(flx_worker *worker, const flx_asker *asker, const flx_outcome *outcome);
/* The end of a publish whose log failed, or is gone with its stream. */
void flx_publish_failed(flx_worker *worker, const flx_asker *asker, flx_status status);
/* A publish of ours that memory was out to hand on. Takes what the mail carries. */
void flx_publish_lost(flx_worker *worker, flx_mail *mail);
void flx_publish_retry_held(flx_worker *worker);
/* The stream a held publish waited for is gone. Takes what the mail carries. */
void flx_publish_gone(flx_worker *worker, flx_mail *mail);

#endif /* FLX_BROKER_PUBLISH_INT_H */
