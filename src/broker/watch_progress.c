/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/watch_progress.c - an idle watch is told how far it has missed nothing.
 *
 * The ring forgets; a client that heard nothing for long would come back from a lost connection with
 * an offset that is not kept any more, and get all keys again for nothing. So those that negotiated
 * it are told where to resume, when changes of others went by.
 *
 *     moved ──5 s──► round: each quiet watch is looked at once, 256 a tick ──► pull: cache_watch_progress
 *
 * Only a shard that moved has a round, and a change costs nothing here but an assignment. The notice
 * is written when the transport has room for it, with what is true then, so a client that does not
 * read is owed one at most. A watch stays idle meanwhile: what others write cannot overrun it.
 */
#include "broker/lane_int.h"
#include "broker/sub_int.h"
#include "broker/watch_int.h"
#include "broker/worker_int.h"
#include "common/assert.h"
#include "common/list.h"
#include "wire/message.h"

#define INTERVAL_NS    UINT64_C(5000000000)
#define LOOKS_PER_TICK 256

static bool is_owed(const flx_sub *sub)
{
    return sub->offset < sub->view->watchers->seen_offset;
}

void flx_progress_idle(flx_watchers *watchers, flx_watch *watch)
{
    if (watch->hears_progress) {
        watch->round = watchers->round; /* it has just read everything */
        flx_list_push_back(&watchers->quiet, &watch->quiet);
    }
}

void flx_progress_moved(flx_worker *worker, flx_watchers *watchers)
{
    if (!flx_list_is_linked(&watchers->due) && !flx_list_is_empty(&watchers->quiet)) {
        watchers->due_ns = worker->now_ns + INTERVAL_NS;
        flx_list_push_back(&worker->progress_due, &watchers->due);
    }
}

/* Looks at the watches this round has not seen; false: `*left` is used up before it ended. */
static bool round_go_on(flx_worker *worker, flx_watchers *watchers, uint32_t *left)
{
    if (!watchers->is_in_round) {
        watchers->is_in_round = true;
        watchers->round++;
        watchers->told_offset = watchers->seen_offset;
    }
    while (!flx_list_is_empty(&watchers->quiet)) {
        flx_watch *watch = FLX_LIST_OWNER(watchers->quiet.next, flx_watch, quiet);
        if (watch->round == watchers->round) {
            break;
        }
        if (*left == 0) {
            return false;
        }
        --*left;
        watch->round = watchers->round;
        flx_list_remove(&watch->quiet);
        flx_list_push_back(&watchers->quiet, &watch->quiet);
        if (is_owed(watch->sub)) {
            worker->link.want_pull(watch->sub->lane->link, true);
        }
    }
    watchers->is_in_round = false;
    return true;
}

void flx_progress_tick(flx_worker *worker)
{
    uint32_t left = LOOKS_PER_TICK;
    while (!flx_list_is_empty(&worker->progress_due)) {
        flx_watchers *watchers = FLX_LIST_OWNER(worker->progress_due.next, flx_watchers, due);
        if (watchers->due_ns > worker->now_ns || !round_go_on(worker, watchers, &left)) {
            return;
        }
        flx_list_remove(&watchers->due);
        if (watchers->seen_offset != watchers->told_offset) {
            flx_progress_moved(worker, watchers); /* while the round went on */
        }
    }
}

uint64_t flx_progress_deadline_ns(const flx_worker *worker)
{
    return flx_list_is_empty(&worker->progress_due)
               ? FLX_WORKER_NEVER
               : FLX_LIST_OWNER(worker->progress_due.next, flx_watchers, due)->due_ns;
}

bool flx_progress_tell(flx_worker *worker, flx_sub *sub)
{
    const flx_watchers *watchers = sub->view->watchers;
    worker->link.want_pull(sub->lane->link, false);
    if (!is_owed(sub)) {
        return true;
    }
    FLX_ASSERT(sub->watch->hears_progress && !sub->watch->is_snapshot);
    sub->cursor = watchers->seen;
    sub->offset = watchers->seen_offset;
    flx_msg msg = {.type = FLX_MSG_CACHE_WATCH_PROGRESS};
    msg.cache_watch_progress.resume_from = sub->offset;
    flx_lane_send(sub->lane, &msg);
    return sub->lane->state != FLX_LANE_CLOSING;
}
