/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/mailbox.h - a bounded many-to-one ring of small messages between threads.
 *
 * A message is up to FLX_MAIL_BYTES copied by value; what it points to (chunks) changes hands with
 * it. Push answers false when the ring is full, and the sender decides what that means: the data
 * path stops reading from its publishers until there is room. The receiver's loop is woken once a
 * burst: by the push that finds it asleep.
 */
#ifndef FLX_COMMON_MAILBOX_H
#define FLX_COMMON_MAILBOX_H

#include "common/loop.h"

#include <stdbool.h>
#include <stddef.h>

#define FLX_MAIL_BYTES 120

typedef struct flx_mailbox flx_mailbox;

/* `capacity` messages, rounded up to a power of two; `loop` (borrowed, may be NULL) is woken. */
flx_status flx_mailbox_new(size_t capacity, flx_loop *loop, flx_mailbox **ret_mailbox,
                           flx_error *reterr);
flx_mailbox *flx_mailbox_free(flx_mailbox *mailbox);

/* Copies `len` (<= FLX_MAIL_BYTES) bytes in. False: full, nothing was taken. Any thread. */
bool flx_mailbox_push(flx_mailbox *mailbox, const void *message, size_t len);

/* Hands each waiting message, at most `limit`, to `deliver`; returns how many. The owner's thread.
 * The pointer is valid during the call. */
size_t flx_mailbox_drain(flx_mailbox *mailbox, size_t limit,
                         void (*deliver)(void *arg, const void *message), void *arg);

#endif /* FLX_COMMON_MAILBOX_H */
