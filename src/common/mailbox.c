/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/mailbox.c - a bounded ring where each cell carries its own turn.
 *
 *      cell:  turn (8) | message (120)          two cache lines, no two cells share one
 *
 *      position p uses cell p mod capacity:
 *      turn == p              free, the sender that claims position p may write
 *      turn == p + 1          written, the receiver at position p may read
 *      turn == p + capacity   read, free for the next lap
 *
 * Senders claim a position by moving `tail` forward; nobody waits for anybody except that a message
 * is not readable before those in front of it are written (a sender that is preempted between claim
 * and write holds up the ones behind it, for its time slice at the most).
 *
 * Sleeping. The receiver must not sleep while a message waits, and a sender must not pay for a
 * wake-up when the receiver will look anyway. So:
 *
 *      receiver (drain found nothing)            sender of position p
 *      R1  asleep = true                         S1  turn = p + 1          (the message is in)
 *      R2  look at the cell once more            S2  asleep? then asleep = false and wake
 *
 * All four are sequentially consistent, so they have one order in which R1 is before R2 and S1
 * before S2. Either S1 is before R2, and the receiver sees the message; or R2 is before S1, so R1 is
 * before S2, and the sender sees `asleep` and wakes. Both may happen, which costs one idle tick;
 * neither is impossible. (Dekker's pattern: with release and acquire alone each store could pass
 * the load that follows it, and a message would lie there until the next one came.) The price is
 * one full barrier a push, beside the locked instruction that claims the position.
 *
 * In a burst the first sender to see `asleep` clears it by exchange, so exactly one wakes the loop.
 */
#include "common/mailbox.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define CACHE_LINE   ((size_t)64)
#define CAPACITY_MAX ((size_t)1 << 24)

typedef struct cell {
    _Alignas(CACHE_LINE) _Atomic uint64_t turn;
    uint8_t message[FLX_MAIL_BYTES];
} cell;

static_assert(sizeof(cell) == 2 * CACHE_LINE, "a cell is two cache lines");

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): one cache line for each writer */
struct flx_mailbox {
    cell *cells;
    flx_loop *loop; /* borrowed; NULL: nobody to wake */
    uint64_t mask;  /* capacity - 1 */

    _Alignas(CACHE_LINE) _Atomic uint64_t tail; /* the next position to claim; senders */
    _Alignas(CACHE_LINE) _Atomic bool asleep;   /* both sides, once a burst */
    _Alignas(CACHE_LINE) uint64_t head;         /* the next position to read; the receiver */
    bool is_draining;
};

flx_status flx_mailbox_new(size_t capacity, flx_loop *loop, flx_mailbox **ret_mailbox,
                           flx_error *reterr)
{
    FLX_ASSERT(capacity > 0 && capacity <= CAPACITY_MAX);
    size_t rounded = 2; /* with one cell, "written" and "free for the next lap" would be the same */
    while (rounded < capacity) {
        rounded *= 2;
    }
    flx_mailbox *mailbox = flx_aligned_alloc(_Alignof(flx_mailbox), sizeof *mailbox);
    cell *cells = flx_aligned_alloc(_Alignof(cell), rounded * sizeof *cells);
    if (mailbox == NULL || cells == NULL) {
        flx_free(mailbox);
        flx_free(cells);
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a mailbox of %zu messages", rounded);
    }
    *mailbox = (flx_mailbox){.cells = cells, .loop = loop, .mask = rounded - 1};
    atomic_init(&mailbox->tail, 0);
    atomic_init(&mailbox->asleep, true); /* the first message wakes */
    for (size_t i = 0; i < rounded; i++) {
        atomic_init(&cells[i].turn, i);
    }
    *ret_mailbox = mailbox;
    return FLX_OK;
}

flx_mailbox *flx_mailbox_free(flx_mailbox *mailbox)
{
    if (mailbox != NULL) {
        FLX_ASSERT(!mailbox->is_draining);
        flx_free(mailbox->cells);
        flx_free(mailbox);
    }
    return NULL;
}

/* Claims the next position; false when its cell still holds a message of the lap before. */
static bool claim(flx_mailbox *mailbox, uint64_t *ret_position)
{
    uint64_t position = atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
    for (;;) {
        const cell *at = &mailbox->cells[position & mailbox->mask];
        /* Acquire: the receiver is done reading before we write. */
        const uint64_t turn = atomic_load_explicit(&at->turn, memory_order_acquire);
        if (turn == position) {
            if (atomic_compare_exchange_weak_explicit(&mailbox->tail, &position, position + 1,
                                                      memory_order_relaxed, memory_order_relaxed)) {
                *ret_position = position;
                return true;
            }
        } else if (turn < position) {
            return false;
        } else { /* somebody claimed it between our two loads */
            position = atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
        }
    }
}

bool flx_mailbox_push(flx_mailbox *mailbox, const void *message, size_t len)
{
    FLX_ASSERT(len <= FLX_MAIL_BYTES);
    uint64_t position = 0;
    if (!claim(mailbox, &position)) {
        return false;
    }
    cell *at = &mailbox->cells[position & mailbox->mask];
    memcpy(at->message, message, len);
    atomic_store(&at->turn, position + 1);                                   /* S1 */
    if (atomic_load(&mailbox->asleep) &&                                     /* S2 */
        atomic_exchange(&mailbox->asleep, false) && mailbox->loop != NULL) { /* one of many */
        flx_loop_wake(mailbox->loop);
    }
    return true;
}

/* The cell at the head when its message is in, NULL otherwise. */
static cell *peek(const flx_mailbox *mailbox)
{
    cell *at = &mailbox->cells[mailbox->head & mailbox->mask];
    return atomic_load(&at->turn) == mailbox->head + 1 ? at : NULL; /* R2 */
}

/* The cell at the head, or NULL after having told the senders that we sleep. */
static cell *peek_or_sleep(flx_mailbox *mailbox)
{
    cell *at = peek(mailbox);
    if (at == NULL) {
        atomic_store(&mailbox->asleep, true); /* R1 */
        at = peek(mailbox);
    }
    return at;
}

size_t flx_mailbox_drain(flx_mailbox *mailbox, size_t limit,
                         void (*deliver)(void *arg, const void *message), void *arg)
{
    FLX_ASSERT(!mailbox->is_draining);
    mailbox->is_draining = true;
    size_t count = 0;
    cell *at = NULL;
    while (count < limit && (at = peek_or_sleep(mailbox)) != NULL) {
        deliver(arg, at->message);
        /* Release: our reading is over before a sender writes the next lap. */
        atomic_store_explicit(&at->turn, mailbox->head + mailbox->mask + 1, memory_order_release);
        mailbox->head++;
        count++;
    }
    mailbox->is_draining = false;
    if (count == limit && mailbox->loop != NULL && peek_or_sleep(mailbox) != NULL) {
        flx_loop_wake(
            mailbox->loop); /* the rest is for the next tick; no sender will wake for it */
    }
    return count;
}
