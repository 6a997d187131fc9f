/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name look-ups beside the loop. getaddrinfo blocks for as long as a dead name server likes and
 * cannot be interrupted, so it runs in a detached thread that shares one counted box with the loop.
 * Letting go of the box is all that dropping does: a client is freed while its look-up still hangs.
 */
#include "client/addresses.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/sockaddr.h"

#include <felix/client.h>

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define STACK_BYTES 262144U /* the resolver's modules are hungry, the default is wasteful */

struct flx_resolve {
    pthread_mutex_t mutex;
    int refs;                /* the loop's and the thread's */
    void (*wake)(void *arg); /* NULL once dropped */
    void *arg;
    flx_address address;
    flx_resolved resolved;
    bool done;
    int failure; /* EAI_*, 0 when resolved */
};

static void unref(flx_resolve *resolve)
{
    (void)pthread_mutex_lock(&resolve->mutex);
    const int left = --resolve->refs;
    (void)pthread_mutex_unlock(&resolve->mutex);
    if (left == 0) {
        (void)pthread_mutex_destroy(&resolve->mutex);
        flx_free(resolve);
    }
}

static void *resolve_main(void *arg)
{
    flx_resolve *resolve = arg;
    flx_resolved resolved = {0};
    const int failure = flx_sockaddr_lookup(resolve->address.host, resolve->address.port,
                                            AI_ADDRCONFIG, &resolved.address, &resolved.len);

    (void)pthread_mutex_lock(&resolve->mutex);
    resolve->resolved = resolved;
    resolve->failure = failure;
    resolve->done = true;
    if (resolve->wake != NULL) /* under the lock: drop waits for it, so the loop still exists */
        resolve->wake(resolve->arg);
    (void)pthread_mutex_unlock(&resolve->mutex);
    unref(resolve);
    return NULL;
}

static int start_detached(flx_resolve *resolve)
{
    pthread_attr_t attr;
    pthread_t thread;

    int failure = pthread_attr_init(&attr);
    if (failure != 0)
        return failure;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    failure = pthread_create(&thread, &attr, resolve_main, resolve);
    (void)pthread_attr_destroy(&attr);
    return failure;
}

flx_status flx_resolve_start(const flx_address *address, void (*wake)(void *arg), void *arg,
                             flx_resolve **ret_resolve, flx_error *reterr)
{
    flx_resolve *resolve = flx_calloc(1, sizeof(*resolve));
    if (resolve == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "look up '%s'", address->host);
    (void)pthread_mutex_init(&resolve->mutex, NULL);
    resolve->refs = 2;
    resolve->wake = wake;
    resolve->arg = arg;
    resolve->address = *address;

    const int failure = start_detached(resolve);
    if (failure != 0) {
        resolve->refs = 1;
        unref(resolve);
        return flx_fail_errno(reterr, failure, "look up '%s': no thread", address->host);
    }
    *ret_resolve = resolve;
    return FLX_OK;
}

flx_status flx_resolve_poll(flx_resolve *resolve, flx_resolved *ret_resolved, flx_error *reterr)
{
    (void)pthread_mutex_lock(&resolve->mutex);
    const bool done = resolve->done;
    const int failure = resolve->failure;
    if (done && failure == 0)
        *ret_resolved = resolve->resolved;
    (void)pthread_mutex_unlock(&resolve->mutex);

    if (!done)
        return FLX_ERR_AGAIN;
    if (failure != 0)
        return flx_fail(reterr, FLX_ERR_UNAVAILABLE, "look up '%s': %s", resolve->address.host,
                        gai_strerror(failure));
    return FLX_OK;
}

flx_resolve *flx_resolve_drop(flx_resolve *resolve)
{
    if (resolve == NULL)
        return NULL;
    (void)pthread_mutex_lock(&resolve->mutex);
    resolve->wake = NULL;
    (void)pthread_mutex_unlock(&resolve->mutex);
    unref(resolve);
    return NULL;
}
