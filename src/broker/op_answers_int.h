/* SPDX-License-Identifier: Apache-2.0 */
/* broker/op_answers_int.h - answers to operations, written as frames for one lane. */
#ifndef FLX_BROKER_OP_ANSWERS_INT_H
#define FLX_BROKER_OP_ANSWERS_INT_H

#include "broker/cache_request_int.h"
#include "broker/worker.h"
#include "wire/operation.h"

/* Why an operation is not done. */
typedef struct flx_op_refusal {
    uint16_t status; /* of the answer; 0: it is done */
    const char *message;
} flx_op_refusal;

extern const flx_op_refusal flx_op_no_memory;

/* A frame of answers being written, at the end of the worker's scratch. It goes to the lane, or to
 * the batch as a part of the lane with that handle. */
typedef struct flx_op_output {
    flx_worker *worker;
    flx_lane *lane;
    struct flx_op_batch *batch; /* NULL: to the lane */
    uint64_t handle;
    uint8_t *frame; /* NULL: none is begun */
    size_t len;     /* with its header */
    size_t cap;
    uint32_t count;
} flx_op_output;

/* Sends what is written; the scratch is free for others then. */
void flx_op_output_flush(flx_op_output *output);

void flx_op_answer_failure(flx_op_output *output, uint8_t opcode, uint32_t id,
                           flx_op_refusal refusal);
void flx_op_answer_success(flx_op_output *output, const flx_operation_answer *answer);
/* What became of a request to a cache. */
void flx_op_answer_reply(flx_op_output *output, uint8_t opcode, uint32_t id,
                         const flx_cache_reply *reply);

#endif /* FLX_BROKER_OP_ANSWERS_INT_H */
