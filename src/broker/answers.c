/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/answers.c - answers to publishes, in the order the publishes came.
 *
 * Each acked publish takes a place in the ring at once and is filled in when its outcome is known;
 * what is complete from the front on is written, many binary acks as one range.
 */
#include "broker/admission_int.h"
#include "broker/answers_int.h"
#include "broker/lane_int.h"
#include "broker/scratch.h"
#include "broker/worker_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "wire/ack.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <string.h>

#define ANSWERS_CAP_FIRST 8
#define ANSWERS_CAP_MAX   65536u
#define ERROR_BYTES_MAX   512 /* of an encoded binary error: our messages are short */

static flx_slice text_slice(const char *text)
{
    return (flx_slice){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

static uint32_t window_of(const flx_lane *lane)
{
    const uint32_t window = lane->peer->worker->limits.publish_window;
    return window < ANSWERS_CAP_MAX ? window : ANSWERS_CAP_MAX;
}

bool flx_answers_has_room(const flx_lane *lane)
{
    return lane->answers.tail - lane->answers.head < window_of(lane);
}

flx_answer *flx_answers_push(flx_lane *lane)
{
    flx_answers *answers = &lane->answers;
    FLX_ASSERT(flx_answers_has_room(lane));
    if (answers->tail - answers->head == answers->cap) {
        const uint32_t cap = answers->cap == 0 ? ANSWERS_CAP_FIRST : answers->cap * 2;
        flx_answer *ring = flx_alloc(cap * sizeof *ring);
        if (ring == NULL) {
            return NULL;
        }
        for (uint32_t number = answers->head; number != answers->tail; number++) {
            ring[number & (cap - 1)] = answers->ring[number & (answers->cap - 1)];
        }
        flx_free(answers->ring);
        answers->ring = ring;
        answers->cap = cap;
    }
    flx_answer *answer = &answers->ring[answers->tail++ & (answers->cap - 1)];
    memset(answer, 0, sizeof *answer);
    answer->arrived_ns = lane->peer->worker->now_ns;
    return answer;
}

void flx_answers_done(flx_lane *lane)
{
    flx_answers *answers = &lane->answers;
    flx_worker *worker = lane->peer->worker;
    for (; answers->head != answers->tail; answers->head++) {
        const flx_answer *answer = &answers->ring[answers->head & (answers->cap - 1)];
        flx_admit_release(lane, answer->bytes);
        worker->answers_out -= answer->outcome.kind == FLX_ANSWER_WAITING ? 1 : 0;
    }
    flx_free(answers->ring);
    *answers = (flx_answers){0};
}

/* Counts the answers [head, head + count), which are about to be written: those of one tick, which
 * is nearly always all of them, at once. */
static void time_answers(flx_lane *lane, uint32_t count)
{
    flx_worker *worker = lane->peer->worker;
    const flx_answers *answers = &lane->answers;
    uint32_t same = 0;
    for (uint32_t i = 0; i < count; i += same) {
        const uint64_t arrived_ns =
            answers->ring[(answers->head + i) & (answers->cap - 1)].arrived_ns;
        for (same = 1; i + same < count; same++) {
            if (answers->ring[(answers->head + i + same) & (answers->cap - 1)].arrived_ns !=
                arrived_ns) {
                break;
            }
        }
        flx_histogram_add(&worker->stats.publish_time, (worker->now_ns - arrived_ns) / 1000, same);
    }
}

/* Writes the run of plain binary acks at the front as one range; returns how many. */
static uint32_t write_ok_run(flx_lane *lane)
{
    flx_answers *answers = &lane->answers;
    flx_scratch *scratch = &lane->peer->worker->scratch;
    uint32_t count = 0;
    for (uint32_t number = answers->head; number != answers->tail; number++, count++) {
        const flx_answer *answer = &answers->ring[number & (answers->cap - 1)];
        if (answer->outcome.kind != FLX_ANSWER_OK || answer->form != FLX_ANSWER_BINARY) {
            break;
        }
    }
    if (count == 0) {
        return 0;
    }
    uint8_t *to = flx_scratch_reserve(scratch, (size_t)count * FLX_PUBLISH_ACK_OK_FRAME_BYTES_MAX);
    if (to == NULL) {
        flx_lane_break(lane);
        return 0;
    }
    time_answers(lane, count);
    uint8_t *end = to;
    for (uint32_t i = 0; i < count; i++) {
        const flx_answer *answer = &answers->ring[answers->head++ & (answers->cap - 1)];
        end = flx_publish_ack_ok_frame(answer->request_id,
                                       answer->has_offset ? &answer->outcome.value : NULL, end);
    }
    flx_lane_write(lane, flx_scratch_commit(scratch, (size_t)(end - to)));
    return count;
}

static void write_binary_error(flx_lane *lane, const flx_answer *answer)
{
    const flx_outcome *outcome = &answer->outcome;
    flx_publish_ack ack = {
        .flags = FLX_FLAG_BINARY_PUBLISH_ACK,
        .request_id = answer->request_id,
        .message = text_slice(outcome->message),
    };
    if ((lane->flags & FLX_FLAG_BINARY_PUBLISH_ACK_CODE) != 0) {
        ack.flags |= FLX_FLAG_BINARY_PUBLISH_ACK_CODE;
        ack.code = outcome->code;
        ack.retry = (uint8_t)flx_code_retry(outcome->code);
        if ((lane->flags & FLX_FLAG_BINARY_PUBLISH_ACK_DETAIL) != 0 && outcome->reason != NULL) {
            ack.flags |= FLX_FLAG_BINARY_PUBLISH_ACK_DETAIL;
            ack.reason = text_slice(outcome->reason);
            ack.retry_after_ms = outcome->retry_after_ms;
        }
    }
    flx_scratch *scratch = &lane->peer->worker->scratch;
    const size_t len = flx_publish_ack_bytes(&ack);
    FLX_ASSERT(len <= ERROR_BYTES_MAX);
    uint8_t *to = flx_scratch_reserve(scratch, FLX_FRAME_HEADER_BYTES + len);
    if (to == NULL) {
        flx_lane_break(lane);
        return;
    }
    flx_frame_header_encode(ack.flags, (uint32_t)len, to);
    (void)flx_publish_ack_encode(&ack, to + FLX_FRAME_HEADER_BYTES);
    flx_lane_write(lane, flx_scratch_commit(scratch, FLX_FRAME_HEADER_BYTES + len));
}

static void json_error(const flx_lane *lane, const flx_answer *answer, flx_msg *ret_msg)
{
    const flx_outcome *outcome = &answer->outcome;
    ret_msg->type = FLX_MSG_PUBLISH_ERROR;
    ret_msg->publish_error.request_id = answer->request_id;
    ret_msg->publish_error.message = text_slice(outcome->message);
    if ((lane->features & FLX_FEATURE_ERROR_CODES) == 0) {
        return;
    }
    ret_msg->publish_error.has_code = true;
    ret_msg->publish_error.code = flx_code_slice(outcome->code);
    ret_msg->publish_error.has_retry = true;
    ret_msg->publish_error.retry = flx_retry_slice(flx_code_retry(outcome->code));
    if (outcome->reason != NULL) {
        ret_msg->publish_error.has_detail = true;
        ret_msg->publish_error.detail.has_reason = true;
        ret_msg->publish_error.detail.reason = text_slice(outcome->reason);
        ret_msg->publish_error.detail.has_retry_after_ms = outcome->retry_after_ms > 0;
        ret_msg->publish_error.detail.retry_after_ms = outcome->retry_after_ms;
    }
}

static void json_refusal(const flx_answer *answer, flx_msg *ret_msg)
{
    const flx_outcome *outcome = &answer->outcome;
    ret_msg->type = FLX_MSG_PUBLISH_REFUSED;
    ret_msg->publish_refused.request_id = answer->request_id;
    ret_msg->publish_refused.message = text_slice(outcome->message);
    ret_msg->publish_refused.reason.kind = (flx_refusal_kind)outcome->refusal;
    ret_msg->publish_refused.reason.expected = outcome->value;
    ret_msg->publish_refused.reason.tail = outcome->value;
}

static void write_json(flx_lane *lane, const flx_answer *answer)
{
    flx_msg msg = {.type = FLX_MSG_PUBLISH_OK};
    switch (answer->outcome.kind) {
    case FLX_ANSWER_OK:
        msg.publish_ok.request_id = answer->request_id;
        msg.publish_ok.has_offset = answer->has_offset;
        msg.publish_ok.offset = answer->outcome.value;
        break;
    case FLX_ANSWER_ERROR:
        json_error(lane, answer, &msg);
        break;
    case FLX_ANSWER_REFUSED:
        json_refusal(answer, &msg);
        break;
    default:
        FLX_UNREACHABLE();
    }
    flx_lane_send(lane, &msg);
}

void flx_answers_write(flx_lane *lane)
{
    flx_answers *answers = &lane->answers;
    flx_worker *worker = lane->peer->worker;
    while (answers->head != answers->tail) {
        const uint32_t before = answers->head;
        if (write_ok_run(lane) > 0) {
            flx_stat_add(&worker->stats.acks, answers->head - before);
            continue;
        }
        const flx_answer answer = answers->ring[answers->head & (answers->cap - 1)];
        if (answer.outcome.kind == FLX_ANSWER_WAITING) {
            break;
        }
        time_answers(lane, 1);
        answers->head++;
        if (answer.outcome.kind == FLX_ANSWER_OK && answer.form == FLX_ANSWER_BINARY) {
            continue; /* no memory to say it: the stream was reset */
        }
        flx_stat_add(&worker->stats.acks, answer.outcome.kind == FLX_ANSWER_OK ? 1 : 0);
        if (answer.outcome.kind == FLX_ANSWER_ERROR) {
            flx_stat_add(&worker->stats.errors[answer.outcome.code % FLX_STATS_CODES], 1);
        }
        if (answer.form == FLX_ANSWER_BINARY) {
            write_binary_error(lane, &answer);
        } else {
            write_json(lane, &answer);
        }
    }
}
