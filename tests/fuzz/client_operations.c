/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client makes of the answers of a broker that may say anything: the frame, the ids, and each
 * answer as JSON would have said it. Input: an operation frame's payload.
 */
#include "client/operations.h"
#include "common/assert.h"
#include "wire/operation.h"

#include <string.h>

#define WINDOW    64
#define COUNT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(flx_slice part, flx_slice whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void take_answer(const flx_operation_head *head, flx_slice whole)
{
    flx_operation_answer answer;
    if (flx_operation_answer_decode(head, &answer, NULL) != FLX_OK) {
        return;
    }
    flx_msg msg;
    flx_error error = {0};
    memset(&msg, 0, sizeof msg);
    if (!flx_op_answer_to_msg(&answer, &msg, &error)) {
        FLX_ASSERT(error.status != FLX_OK);
        FLX_ASSERT(memchr(error.message, 0, sizeof error.message) != NULL);
        FLX_ASSERT(error.message[0] != 0);
        return;
    }
    FLX_ASSERT(answer.status == 0);
    if (msg.type == FLX_MSG_CACHE_VALUE) {
        FLX_ASSERT(is_inside(msg.cache_value.value, whole));
        FLX_ASSERT(msg.cache_value.has_value || !msg.cache_value.has_version);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const flx_slice whole = {data, size};
    flx_slice payload = whole;
    uint32_t count = 0;
    if (flx_operations_check(payload, COUNT_MAX, &count, NULL) != FLX_OK) {
        return 0;
    }
    flx_op_pipe pipe;
    if (flx_op_pipe_init(&pipe, WINDOW) != FLX_OK) {
        return 0;
    }
    flx_operation_head head;
    while (flx_operations_next(&payload, &head)) {
        flx_ask *ask = NULL;
        /* Nothing was asked but to open handles, which have an id of their own. */
        FLX_ASSERT(!flx_op_pipe_answered(&pipe, head.id, &ask) || head.id == UINT32_MAX);
        FLX_ASSERT(ask == NULL);
        take_answer(&head, whole);
    }
    flx_op_pipe_done(&pipe);
    return 0;
}
