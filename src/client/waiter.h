/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/waiter.h - a call that waits for one callback, on the caller's stack. The loop always
 * answers an accepted request, by its timeout at the latest, so the wait itself needs no bound.
 */
#ifndef FLX_CLIENT_WAITER_H
#define FLX_CLIENT_WAITER_H

#include <felix/client.h>

#include <pthread.h>

typedef struct flx_waiter {
    flx_client *client; /* a reference */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    flx_error error; /* status FLX_OK: none */
} flx_waiter;

/* FLX_ERR_INVALID from a callback; then there is nothing to wait for or to undo. */
flx_status flx_waiter_init(flx_waiter *waiter, flx_client *client, flx_error *reterr);
/* From the callback; `error` NULL: it went well. */
void flx_waiter_wake(flx_waiter *waiter, const flx_error *error);
/* Waits if `accepted` is FLX_OK, and gives the waiter back either way. Returns how it ended. */
flx_status flx_waiter_wait(flx_waiter *waiter, flx_status accepted, flx_error *reterr);

/* Milliseconds as a timeout of an ask; FLX_WAIT_FOREVER: UINT64_MAX. */
uint64_t flx_timeout_ns(uint32_t timeout_ms);

#endif /* FLX_CLIENT_WAITER_H */
