/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/operations_int.h - operation frames: many small requests, each answered when it is done.
 */
#ifndef FLX_BROKER_OPERATIONS_INT_H
#define FLX_BROKER_OPERATIONS_INT_H

#include "broker/worker.h"
#include "wire/frame.h"

typedef struct flx_job flx_job;

struct flx_op_batch;

void flx_operations_frame(flx_lane *lane, const flx_frame *frame);
bool flx_operations_job(flx_worker *worker, flx_job *job);  /* on the owner; true: answered */
void flx_operations_done(flx_worker *worker, flx_job *job); /* back home */
void flx_operations_post(flx_worker *worker);               /* what the tick gathered */
void flx_operations_resume(flx_lane *lane);    /* with the rest of a frame, as far as it may */
void flx_operations_drop_rest(flx_lane *lane); /* its stream is over */
void flx_operations_lane_done(flx_lane *lane);
void flx_operations_worker_done(flx_worker *worker);
void flx_op_batch_free(struct flx_op_batch *batch);

#endif /* FLX_BROKER_OPERATIONS_INT_H */
