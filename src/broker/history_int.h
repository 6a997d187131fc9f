/* SPDX-License-Identifier: Apache-2.0 */
/* broker/history_int.h - a subscription that reads the log until it meets the ring (rule 20). */
#ifndef FLX_BROKER_HISTORY_INT_H
#define FLX_BROKER_HISTORY_INT_H

#include "broker/sealed.h"
#include "broker/worker.h"

typedef struct flx_job flx_job;
typedef struct flx_sub flx_sub;

typedef struct flx_history flx_history;

typedef enum flx_history_step {
    FLX_HISTORY_JOINED, /* it has met the ring: there is no history any more */
    FLX_HISTORY_FRAME,
    FLX_HISTORY_ASKED,   /* a block is on its way */
    FLX_HISTORY_AHEAD,   /* of the ring: wait for the next frame in it */
    FLX_HISTORY_TOO_OLD, /* retention was faster: *ret_available is the oldest record kept */
    FLX_HISTORY_NO_MEMORY,
    FLX_HISTORY_FAILED
} flx_history_step;

/* Reads on at sub.offset. FLX_ERR_NOMEM. */
flx_status flx_history_begin(flx_sub *sub);
/* FRAME: the frame at sub.offset, borrowed until flx_history_took or the next call. */
flx_history_step flx_history_next(flx_worker *worker, flx_sub *sub, const flx_sealed **ret_frame,
                                  uint64_t *ret_available);
void flx_history_took(flx_sub *sub);
void flx_history_done(flx_worker *worker, flx_job *job); /* a block is here */
struct flx_history *flx_history_free(struct flx_history *history);

#endif /* FLX_BROKER_HISTORY_INT_H */
