/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/outbox.c - mails on their way to other workers.
 *
 * A mail that finds the mailbox full waits here, in order, and while any waits this worker reads
 * nothing from its clients. What can then still be added is bounded by what was accepted before:
 * answers by the windows, jobs by the lanes. Frames are not, so past `outbox_mails` a frame is
 * refused; its shard posts it again from the ring when there is room (streams.c).
 */
#include "broker/mail_int.h"
#include "broker/publish_int.h"
#include "broker/session_int.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/list.h"

#define OUTBOX_CAP_FIRST 64

static bool outbox_grow(flx_outbox *outbox)
{
    const uint32_t cap = outbox->cap == 0 ? OUTBOX_CAP_FIRST : outbox->cap * 2;
    flx_mail *ring = flx_alloc(cap * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint32_t number = outbox->head; number != outbox->tail; number++) {
        ring[number & (cap - 1)] = outbox->ring[number & (outbox->cap - 1)];
    }
    flx_free(outbox->ring);
    outbox->ring = ring;
    outbox->cap = cap;
    return true;
}

/*
 * Without memory for the outbox. What was ours to ask is answered here at once; credits wait for the
 * next tick. An answer for another worker is lost: its client gives up after its own timeout, which
 * is what remains. All that is owned is dropped, so nothing leaks.
 */
static void outbox_lose(flx_worker *worker, uint32_t to, const flx_mail *mail)
{
    flx_mail lost = *mail;
    switch ((flx_mail_kind)mail->kind) {
    case FLX_MAIL_PUBLISH:
        flx_publish_lost(worker, &lost);
        break;
    case FLX_MAIL_JOB:
        lost.job->status = FLX_ERR_NOMEM;
        flx_session_job_done(worker, lost.job);
        break;
    case FLX_MAIL_CREDIT:
        worker->credit[to] += mail->value;
        break;
    default:
        flx_stat_add(&worker->stats.dropped[FLX_DROP_NOMEM], 1);
        flx_worker_mail_discard(mail);
        break;
    }
}

/* Behind what waits already; false: memory is out. */
static bool outbox_append(flx_worker *worker, flx_outbox *outbox, const flx_mail *mail)
{
    if (outbox->tail - outbox->head == outbox->cap && !outbox_grow(outbox)) {
        return false;
    }
    outbox->ring[outbox->tail++ & (outbox->cap - 1)] = *mail;
    worker->outbox_count++;
    worker->is_congested = true;
    flx_stat_set(&worker->stats.outbox_mails, worker->outbox_count);
    return true;
}

static bool post_now(flx_worker *worker, uint32_t to, const flx_mail *mail)
{
    const flx_outbox *outbox = &worker->outbox[to];
    flx_stat_add(&worker->stats.mails_out, 1);
    return outbox->head == outbox->tail && worker->post(worker->post_arg, to, mail, sizeof *mail);
}

void flx_outbox_post(flx_worker *worker, uint32_t to, const flx_mail *mail)
{
    FLX_ASSERT(to < worker->count && to != worker->index);
    if (!post_now(worker, to, mail) && !outbox_append(worker, &worker->outbox[to], mail)) {
        outbox_lose(worker, to, mail);
    }
}

bool flx_outbox_post_frame(flx_worker *worker, uint32_t to, const flx_mail *mail)
{
    FLX_ASSERT(mail->kind == FLX_MAIL_FRAME && to < worker->count && to != worker->index);
    flx_outbox *outbox = &worker->outbox[to];
    if (post_now(worker, to, mail)) {
        return true;
    }
    return outbox->tail - outbox->head < worker->limits.outbox_mails &&
           outbox_append(worker, outbox, mail);
}

void flx_outbox_flush(flx_worker *worker)
{
    for (uint32_t to = 0; to < worker->count && worker->outbox_count > 0; to++) {
        flx_outbox *outbox = &worker->outbox[to];
        while (outbox->head != outbox->tail &&
               worker->post(worker->post_arg, to, &outbox->ring[outbox->head & (outbox->cap - 1)],
                            sizeof(flx_mail))) {
            outbox->head++;
            worker->outbox_count--;
        }
    }
    flx_stat_set(&worker->stats.outbox_mails, worker->outbox_count);
    if (worker->is_congested && worker->outbox_count == 0) {
        worker->is_congested = false;
        flx_list_splice_back(&worker->dirty_lanes, &worker->stalled_lanes);
    }
}

void flx_outbox_done(flx_worker *worker)
{
    for (uint32_t to = 0; to < worker->count; to++) {
        flx_outbox *outbox = &worker->outbox[to];
        for (; outbox->head != outbox->tail; outbox->head++) {
            flx_worker_mail_discard(&outbox->ring[outbox->head & (outbox->cap - 1)]);
        }
        flx_free(outbox->ring);
    }
}
