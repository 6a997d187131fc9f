/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/signals.h - signals as events of a loop.
 *
 * Block them first, in main, before any thread is made: threads inherit the mask, and a signal that
 * no thread has blocked would end the process instead.
 */
#ifndef FLX_COMMON_SIGNALS_H
#define FLX_COMMON_SIGNALS_H

#include "common/loop.h"

#include <signal.h>

typedef struct flx_signals {
    flx_watch watch;
    flx_loop *loop;
    void (*received)(void *arg, int number);
    void *arg;
} flx_signals;

/* Blocks SIGINT, SIGTERM, SIGHUP and SIGUSR1 in this thread and those it will make, and ignores
 * SIGPIPE. ret_set (may be NULL) gets the blocked ones. */
void flx_signals_block(sigset_t *ret_set);

/* Calls `received` on the loop for each signal of the blocked set. `signals` lives in the caller, the
 * loop is borrowed until stop. FLX_ERR_IO. */
flx_status flx_signals_start(flx_signals *signals, flx_loop *loop,
                             void (*received)(void *arg, int number), void *arg, flx_error *reterr);
void flx_signals_stop(flx_signals *signals);

#endif /* FLX_COMMON_SIGNALS_H */
