/* SPDX-License-Identifier: Apache-2.0 */
/* broker/op_batch_int.h - operations that are done on another worker, or wait for a log, many at a time. */
#ifndef FLX_BROKER_OP_BATCH_INT_H
#define FLX_BROKER_OP_BATCH_INT_H

#include "broker/job_int.h"
#include "broker/op_answers_int.h"
#include "wire/operation.h"

typedef struct flx_op_batch flx_op_batch;

/* Hands a request to the worker that owns its shard. False: memory is out. */
bool flx_op_batch_send(flx_op_output *output, flx_lane *lane, const flx_operation *operation,
                       uint32_t owner, flx_cache_request *request);
/* Adds bytes for a lane at home, the answers to `count` of its operations. Takes the range. */
void flx_op_batch_answer(flx_op_batch *batch, uint64_t lane, flx_range range, uint32_t count);
/* The value of an entry that was in the log only, or why there is none. Takes the range. */
void flx_op_batch_fetched(flx_worker *worker, flx_job *job, uint32_t entry, flx_status status,
                          flx_range value);
void flx_op_batch_free(flx_op_batch *batch);

void flx_operations_post(flx_worker *worker);               /* what the tick gathered */
bool flx_operations_job(flx_worker *worker, flx_job *job);  /* on the owner; true: answered */
void flx_operations_done(flx_worker *worker, flx_job *job); /* back home */
void flx_operations_worker_done(flx_worker *worker);

#endif /* FLX_BROKER_OP_BATCH_INT_H */
