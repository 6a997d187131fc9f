/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/op_answers.c - answers to operations: written one behind the other into the chunk they leave
 * from, in frames that go to the lane, or home in a batch. docs/spec/extensions.md 1.
 */
#include "broker/cache_request_int.h"
#include "broker/lane_int.h"
#include "broker/op_answers_int.h"
#include "broker/op_batch_int.h"
#include "broker/scratch.h"
#include "broker/sealed.h"
#include "broker/worker_int.h"
#include "common/slice.h"
#include "wire/bytes.h"
#include "wire/flags.h"
#include "wire/frame.h"

#include <string.h>

#define ANSWER_HEAD (FLX_OPERATION_HEAD_BYTES + sizeof(uint64_t)) /* with a version */

const flx_op_refusal flx_op_no_memory = {FLX_CODE_OVERLOADED, "out of memory"};

static void output_range(flx_op_output *output, flx_range range, uint32_t count)
{
    if (output->batch != NULL) {
        flx_op_batch_answer(output->batch, output->handle, range, count);
    } else if (range.chunk != NULL) {
        flx_lane_write(output->lane, range);
    } else {
        flx_lane_break(output->lane);
    }
}

void flx_op_output_flush(flx_op_output *output)
{
    if (output->frame == NULL) {
        return;
    }
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(output->len - FLX_FRAME_HEADER_BYTES),
                            output->frame);
    output->frame = NULL;
    output_range(output, flx_scratch_commit(&output->worker->scratch, output->len), output->count);
    output->count = 0;
}

/* Room for one answer of `len` bytes, counted as written; NULL: memory is out, and it is lost. */
static uint8_t *output_take(flx_op_output *output, size_t len)
{
    if (output->frame != NULL && output->cap - output->len < len) {
        flx_op_output_flush(output);
    }
    if (output->frame == NULL) {
        flx_scratch *scratch = &output->worker->scratch;
        output->frame = flx_scratch_reserve(scratch, FLX_FRAME_HEADER_BYTES + len);
        if (output->frame == NULL) {
            output_range(output, (flx_range){NULL, 0, 0}, 1);
            return NULL;
        }
        output->len = FLX_FRAME_HEADER_BYTES;
        output->cap = flx_chunk_room(scratch->chunk);
    }
    uint8_t *to = output->frame + output->len;
    output->len += len;
    output->count++;
    return to;
}

void flx_op_answer_failure(flx_op_output *output, uint8_t opcode, uint32_t id,
                           flx_op_refusal refusal)
{
    const bool is_code = refusal.status != FLX_OPERATION_UNSUPPORTED;
    const flx_operation_answer answer = {
        .opcode = opcode,
        .status = refusal.status,
        .id = id,
        .retry = (uint8_t)(is_code ? flx_code_retry(refusal.status) : FLX_RETRY_FATAL),
        .message = flx_slice_of(refusal.message),
    };
    if (is_code) {
        flx_stat_add(&output->worker->stats.errors[refusal.status], 1);
    }
    uint8_t *to = output_take(output, flx_operation_answer_bytes(&answer));
    if (to != NULL) {
        (void)flx_operation_answer_encode(&answer, to);
    }
}

void flx_op_answer_success(flx_op_output *output, const flx_operation_answer *answer)
{
    uint8_t *to = output_take(output, flx_operation_answer_bytes(answer));
    if (to != NULL) {
        (void)flx_operation_answer_encode(answer, to);
    }
}

/* A value that is sent from where it lies: a frame of its own, head and value one behind the other. */
static void answer_shared_value(flx_op_output *output, uint8_t opcode, uint32_t id,
                                const flx_cache_reply *reply)
{
    const size_t len = sizeof(uint64_t) + reply->value.len;
    const flx_operation_head head = {
        .opcode = opcode, .flags = FLX_OPERATION_FOUND, .id = id, .body = {NULL, len}};
    flx_op_output_flush(output);
    uint8_t *to =
        flx_scratch_reserve(&output->worker->scratch, FLX_FRAME_HEADER_BYTES + ANSWER_HEAD);
    if (to == NULL) {
        output_range(output, (flx_range){NULL, 0, 0}, 1);
        return;
    }
    flx_frame_header_encode(FLX_FLAG_OPERATIONS, (uint32_t)(FLX_OPERATION_HEAD_BYTES + len), to);
    (void)flx_put_u64(flx_operation_head_put(to + FLX_FRAME_HEADER_BYTES, &head), reply->version);
    const uint32_t start = (uint32_t)(reply->value.ptr - reply->chunk->data);
    const flx_range value = {flx_chunk_ref(reply->chunk), start,
                             start + (uint32_t)reply->value.len};
    output_range(output,
                 flx_scratch_commit(&output->worker->scratch, FLX_FRAME_HEADER_BYTES + ANSWER_HEAD),
                 1);
    output_range(output, value, 0);
}

/* What most operations are: a hit, copied once, behind the others. */
static void answer_value(flx_op_output *output, uint8_t opcode, uint32_t id,
                         const flx_cache_reply *reply)
{
    const size_t len = reply->has_value ? sizeof(uint64_t) + reply->value.len : 0;
    const flx_operation_head head = {.opcode = opcode,
                                     .flags = reply->has_value ? FLX_OPERATION_FOUND : 0,
                                     .id = id,
                                     .body = {NULL, len}};
    if (len > FLX_FRAME_BYTES_MAX - FLX_OPERATION_HEAD_BYTES) {
        flx_op_answer_failure(
            output, opcode, id,
            (flx_op_refusal){FLX_CODE_INVALID_REQUEST, "the value does not fit an answer"});
        return;
    }
    if (reply->chunk != NULL) {
        answer_shared_value(output, opcode, id, reply);
        return;
    }
    uint8_t *to = output_take(output, FLX_OPERATION_HEAD_BYTES + len);
    if (to != NULL) {
        to = flx_operation_head_put(to, &head);
        if (reply->has_value) {
            (void)flx_put_bytes(flx_put_u64(to, reply->version), reply->value);
        }
    }
}

void flx_op_answer_reply(flx_op_output *output, uint8_t opcode, uint32_t id,
                         const flx_cache_reply *reply)
{
    if (reply->status != FLX_OK) {
        flx_op_refusal refusal;
        refusal.status = (uint16_t)flx_cache_refusal(reply->status, &refusal.message);
        flx_op_answer_failure(output, opcode, id, refusal);
        return;
    }
    if (opcode == FLX_OPCODE_CACHE_GET || opcode == FLX_OPCODE_CACHE_DELETE) {
        answer_value(output, opcode, id, reply);
        return;
    }
    flx_operation_answer answer = {.opcode = opcode, .id = id, .version = reply->version};
    if (opcode == FLX_OPCODE_COUNTER_ADD || opcode == FLX_OPCODE_COUNTER_GET) {
        answer.flags = reply->has_value ? FLX_OPERATION_FOUND : 0;
        answer.counter = (uint64_t)reply->sum;
    } else if (opcode != FLX_OPCODE_CACHE_PUT) {
        answer.flags = (uint8_t)((reply->applied ? FLX_OPERATION_APPLIED : 0) |
                                 (reply->version != 0 ? FLX_OPERATION_VERSIONED : 0));
    }
    flx_op_answer_success(output, &answer);
}
