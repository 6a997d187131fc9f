/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/pending.h - what a publisher has accepted and not yet seen the end of. Pure: no lock, no
 * socket, no clock.
 *
 * Frames have dense ids, which are their request ids, and live in a ring, so an answer finds its
 * frame by a mask. A frame moves through these states, and the two cursors only forward:
 *
 *      add          seal             take             answer          last completion taken
 *   -> OPEN  ----> SEALED  -------->  SENT  --------->  ENDING  -----> FREE
 *                    |                 |  ^ take_retry    ^
 *                    |          refuse v  |               |
 *                    |                REFUSED  -----------+ (given up)
 *                    +------------------------------------+ (canceled, too old)
 *
 *      first (oldest not FREE)    unsent (oldest not taken)   next (id of the next frame)
 *
 * A message is written once, into the frame that will carry it: frames lie one behind the other in
 * chunks that go to the transport as ranges. Chunks whose last reader let go are written again, so
 * a publisher that is under way allocates nothing.
 */
#ifndef FLX_CLIENT_PENDING_H
#define FLX_CLIENT_PENDING_H

#include "common/chunk.h"
#include "wire/publish.h"

#include <felix/publisher.h>

#define FLX_PENDING_SPARE_COUNT 16
#define FLX_PENDING_CHUNK_BYTES 262144U

typedef struct flx_pending_options {
    flx_slice tenant; /* the names are borrowed until done */
    flx_slice namespace_;
    flx_slice stream;
    flx_acks acks;
    uint32_t batch_count_max;
    uint32_t batch_bytes_max;
    uint32_t inflight_bytes_max;
    uint32_t inflight_count_max;
    uint32_t inflight_batches_max; /* at most 65536 */
    bool keep_sent;                /* hold on to frames until answered, to send them again */
} flx_pending_options;

/* One message's callback, or one batch's. */
typedef struct flx_pending_done {
    flx_publish_fn fn;
    void *arg;
    uint32_t index; /* of the message in its frame */
} flx_pending_done;

typedef enum flx_pending_state {
    FLX_PENDING_FREE,
    FLX_PENDING_OPEN,
    FLX_PENDING_SEALED,
    FLX_PENDING_SENT,
    FLX_PENDING_REFUSED,
    FLX_PENDING_ENDING
} flx_pending_state;

typedef struct flx_pending_frame {
    flx_range range;     /* a reference while unsent, and while sent with keep_sent */
    uint64_t done_first; /* position of its first callback */
    uint64_t since_ns;   /* when it was opened; once SENT, when it was taken */
    uint64_t retry_ns;   /* REFUSED: when to send it again */
    uint64_t give_up_ns; /* 0 until refused for the first time; then the end of trying */
    uint32_t done_count; /* callbacks */
    uint32_t done_taken;
    uint32_t count; /* messages */
    uint32_t bytes; /* of the frame, as charged */
    uint16_t flags;
    uint8_t state; /* flx_pending_state */
} flx_pending_frame;

typedef struct flx_pending {
    flx_pending_options options;
    flx_pending_frame *frames; /* ring, power of two */
    uint64_t mask;
    uint64_t first, unsent, next;
    uint32_t sent_count; /* frames in SENT */
    uint32_t refused_count;
    uint64_t inflight_bytes;

    flx_pending_done *dones; /* ring, power of two, grows to inflight_count_max */
    uint64_t dones_cap, done_first, done_next;

    bool open;
    flx_publish head; /* of the open frame */
    uint8_t *key;     /* its key, copied: the head is written again when the count is known */
    size_t key_cap;
    size_t open_start; /* where the frame begins in chunk */
    size_t open_payload_bytes;
    flx_chunk *chunk;
    flx_chunk *spare[FLX_PENDING_SPARE_COUNT];
    size_t spare_next;
} flx_pending;

flx_status flx_pending_init(flx_pending *pending, const flx_pending_options *options,
                            flx_error *reterr);
/* Everything must have ended. A half-built one is fine. */
void flx_pending_done_all(flx_pending *pending);

/*
 * Takes one message into the open frame, opening or sealing one as needed; `now_ns` becomes the age
 * of a frame opened. FLX_ERR_AGAIN (a bound), FLX_ERR_TOO_LARGE, FLX_ERR_NOMEM: nothing was taken.
 */
flx_status flx_pending_add(flx_pending *pending, const flx_slice *key, flx_slice payload,
                           flx_publish_fn done, void *arg, uint64_t now_ns, flx_error *reterr);
/* Takes a frame of its own, sealed on return. */
flx_status flx_pending_add_batch(flx_pending *pending, const flx_slice *key,
                                 const flx_slice *payloads, size_t count, flx_publish_fn done,
                                 void *arg, uint64_t now_ns, flx_error *reterr);

/* Closes the open frame, if there is one: it may be sent. */
void flx_pending_seal(flx_pending *pending);
/* Whether a sealed frame waits to be sent. */
bool flx_pending_has_unsent(const flx_pending *pending);
/* The oldest frame that waits, sealed or open; NULL when there is none. For its age. */
const flx_pending_frame *flx_pending_oldest_unsent(const flx_pending *pending);

/* Takes the next frame to send: *ret_range owns a reference. False when there is none. */
bool flx_pending_take(flx_pending *pending, uint64_t now_ns, flx_range *ret_range,
                      uint64_t *ret_id);
/* The flags of the frame that flx_pending_take would take; 0 when there is none. */
uint16_t flx_pending_next_flags(const flx_pending *pending);
/* The same for a refused frame that is due. */
bool flx_pending_take_retry(flx_pending *pending, uint64_t now_ns, flx_range *ret_range,
                            uint64_t *ret_id);
/* Gives a taken frame back that could not be handed on: takes over the range's reference. Newest
 * first, before anything else is taken. */
void flx_pending_untake(flx_pending *pending, uint64_t id, flx_range range);
/* When the next refused frame is due; UINT64_MAX: none. */
uint64_t flx_pending_retry_due_ns(const flx_pending *pending);

/* The frame of an answer: SENT with this id, or NULL (an answer nobody waits for). */
flx_pending_frame *flx_pending_find_sent(flx_pending *pending, uint64_t id);
/* A refused frame will be sent again at `retry_ns`. It must be kept (keep_sent). */
void flx_pending_refuse(flx_pending *pending, uint64_t id, uint64_t retry_ns);

/*
 * Ends a frame in any state but FREE and ENDING: gives back its window and bytes. Then take the
 * callbacks until there are none, which frees it; the caller runs them without its lock.
 */
void flx_pending_end(flx_pending *pending, uint64_t id);
size_t flx_pending_take_dones(flx_pending *pending, uint64_t id, flx_pending_done *ret_dones,
                              size_t cap);

/* The frame of an id that is first .. next-1. */
flx_pending_frame *flx_pending_at(flx_pending *pending, uint64_t id);
/* The oldest frame with id >= *id in the given state, for ending them all; false: none. */
bool flx_pending_find(const flx_pending *pending, flx_pending_state state, uint64_t *id);

/* Whether all frames below `id` have ended. */
static inline bool flx_pending_is_past(const flx_pending *pending, uint64_t id)
{
    return pending->first >= id;
}

#endif /* FLX_CLIENT_PENDING_H */
