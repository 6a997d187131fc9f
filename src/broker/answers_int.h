/* SPDX-License-Identifier: Apache-2.0 */
/* broker/answers_int.h - the publishes of a lane that are not answered yet, in request order. */
#ifndef FLX_BROKER_ANSWERS_INT_H
#define FLX_BROKER_ANSWERS_INT_H

#include "broker/worker.h"

typedef enum flx_answer_form { FLX_ANSWER_BINARY, FLX_ANSWER_JSON } flx_answer_form;

typedef enum flx_answer_kind {
    FLX_ANSWER_WAITING,
    FLX_ANSWER_OK,
    FLX_ANSWER_ERROR,
    FLX_ANSWER_REFUSED
} flx_answer_kind;

/* How a publish ended. */
typedef struct flx_outcome {
    uint8_t kind;    /* flx_answer_kind */
    uint8_t refusal; /* flx_refusal_kind, with REFUSED */
    uint16_t code;   /* flx_code, with ERROR */
    uint32_t retry_after_ms;
    uint64_t value;      /* offset with OK; expected or tail with REFUSED */
    const char *message; /* static text */
    const char *reason;  /* static text or NULL: detail.reason */
} flx_outcome;

typedef struct flx_answer {
    uint64_t request_id;
    flx_outcome outcome;
    uint64_t arrived_ns;
    uint32_t bytes;  /* charged to the budgets until it is known */
    uint8_t form;    /* flx_answer_form */
    bool has_offset; /* outcome.value may be told */
} flx_answer;

/* A ring that grows up to the window. Numbers count up: [number & (cap - 1)]. */
typedef struct flx_answers {
    flx_answer *ring;
    uint32_t cap;
    uint32_t head; /* oldest not sent */
    uint32_t tail; /* next */
} flx_answers;

bool flx_answers_has_room(const flx_lane *lane);
flx_answer *flx_answers_push(flx_lane *lane); /* NULL: memory is out */
void flx_answers_write(flx_lane *lane);
void flx_answers_done(flx_lane *lane);

#endif /* FLX_BROKER_ANSWERS_INT_H */
