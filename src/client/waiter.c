/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking call over a callback; see the header. */
#include "client/waiter.h"

#include "client/client_int.h"
#include "common/clock.h"

flx_status flx_waiter_init(flx_waiter *waiter, flx_client *client, flx_error *reterr)
{
    const flx_status status = flx_client_may_wait(client, reterr);
    if (status != FLX_OK)
        return status;
    waiter->client = flx_client_ref(client);
    (void)pthread_mutex_init(&waiter->mutex, NULL);
    flx_cond_init(&waiter->cond);
    waiter->done = false;
    waiter->error = (flx_error){.status = FLX_OK};
    return FLX_OK;
}

void flx_waiter_wake(flx_waiter *waiter, const flx_error *error)
{
    (void)pthread_mutex_lock(&waiter->mutex);
    if (error != NULL)
        waiter->error = *error;
    waiter->done = true;
    (void)pthread_cond_signal(&waiter->cond); /* under the lock: the waiter is on a stack */
    (void)pthread_mutex_unlock(&waiter->mutex);
}

flx_status flx_waiter_wait(flx_waiter *waiter, flx_status accepted, flx_error *reterr)
{
    flx_status status = accepted;
    if (accepted == FLX_OK) {
        (void)pthread_mutex_lock(&waiter->mutex);
        while (!waiter->done)
            (void)flx_client_wait(waiter->client, &waiter->mutex, &waiter->cond, FLX_LOOP_NEVER);
        (void)pthread_mutex_unlock(&waiter->mutex);
        status = waiter->error.status;
        if (status != FLX_OK && reterr != NULL)
            *reterr = waiter->error;
    }
    (void)pthread_cond_destroy(&waiter->cond);
    (void)pthread_mutex_destroy(&waiter->mutex);
    flx_client_unref(waiter->client);
    return status;
}

uint64_t flx_timeout_ns(uint32_t timeout_ms)
{
    return timeout_ms == FLX_WAIT_FOREVER ? UINT64_MAX : timeout_ms * FLX_NS_PER_MS;
}
