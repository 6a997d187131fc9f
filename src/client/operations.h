/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/operations.h - operation frames on one channel: who waits under which id, which handle names
 * which cache, and the frame being filled. docs/spec/extensions.md 1. Loop thread.
 *
 * What is put in one turn of the loop shares frames. An id is a place in a table and is given again
 * when its answer has come, even if nobody waits for it any more; so a late answer meets nobody.
 */
#ifndef FLX_CLIENT_OPERATIONS_H
#define FLX_CLIENT_OPERATIONS_H

#include "client/channel.h"
#include "wire/operation.h"

typedef struct flx_ask flx_ask;

#define FLX_OP_HANDLES 64 /* caches a channel has names for at once */

/* Bytes in front of an encoded operation, so that a large one can leave from where it lies. */
#define FLX_OP_FRAME_AT FLX_FRAME_HEADER_BYTES

typedef struct flx_op_place {
    flx_ask *ask; /* NULL: nobody waits */
    uint32_t next_free;
    bool is_out; /* sent, and the broker owes the answer */
} flx_op_place;

typedef struct flx_op_pipe {
    uint32_t window; /* places; 0: there are no operations on this channel */
    uint32_t out;    /* places the broker owes an answer for */
    uint32_t live;   /* of these, where somebody waits */
    bool is_overdue; /* an answer did not come in time: nothing new is put */
    flx_op_place *places;
    uint32_t first_free;
    uint64_t serials[FLX_OP_HANDLES]; /* [handle] of a cache; 0: none */
    uint32_t last_handle;
    uint32_t next_handle;
    flx_chunk *chunk; /* what frames are written to */
    uint32_t frame_start;
    uint32_t frame_count; /* operations in the frame being filled; 0: none is begun */
} flx_op_pipe;

/* After auth_ok. FLX_ERR_NOMEM: the channel does without. */
flx_status flx_op_pipe_init(flx_op_pipe *pipe, uint32_t window);
/* Forgets everything; the asks have been taken out before. */
void flx_op_pipe_done(flx_op_pipe *pipe);

static inline bool flx_op_pipe_has_room(const flx_op_pipe *pipe)
{
    return pipe->out < pipe->window && !pipe->is_overdue;
}

/* Puts an ask behind the others of this turn; there is room. It leaves with flx_op_pipe_flush, or
 * earlier. FLX_ERR_NOMEM, or what writing answered: the ask was not put, the channel is to be failed. */
flx_status flx_op_pipe_put(flx_op_pipe *pipe, flx_channel *channel, flx_ask *ask);
flx_status flx_op_pipe_flush(flx_op_pipe *pipe, flx_channel *channel);

/* An answer came. *ret_ask: who waits, NULL: nobody any more. False: nothing was asked by that id. */
bool flx_op_pipe_answered(flx_op_pipe *pipe, uint32_t id, flx_ask **ret_ask);
/* Nobody waits for this ask's answer any more. */
void flx_op_pipe_abandon(flx_op_pipe *pipe, flx_ask *ask);
/* Takes out any one that waits; NULL: there is none. */
flx_ask *flx_op_pipe_take(flx_op_pipe *pipe);

/* What a broker of JSON is sent instead of the operation, but for its names and its id. */
void flx_op_to_msg(const flx_operation *operation, flx_msg *ret_msg);
/* What JSON would have answered. False: a failure, in *ret_error. */
bool flx_op_answer_to_msg(const flx_operation_answer *answer, flx_msg *ret_msg,
                          flx_error *ret_error);

#endif /* FLX_CLIENT_OPERATIONS_H */
