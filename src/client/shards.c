/* SPDX-License-Identifier: Apache-2.0 */
/* How many shards a stream or cache has: one question, for callers and for who reads all of them. */
#include "client/client_int.h"
#include "client/names.h"
#include "client/waiter.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"
#include "wire/flags.h"

#include <string.h>

static void shards_answered(flx_ask *ask, flx_msg *msg, const flx_error *error)
{
    flx_shards_fn done;
    memcpy(&done, &ask->user[0], sizeof(done)); /* a function does not convert to an object */
    if (error != NULL) {
        done(ask->user[1], 0, error);
    } else if (msg->type == FLX_MSG_STREAM_SHARDS_VIEW) {
        done(ask->user[1], msg->stream_shards_view.shards, NULL);
    } else if (msg->type == FLX_MSG_CACHE_SHARDS_VIEW) {
        done(ask->user[1], msg->cache_shards_view.shards, NULL);
    } else {
        flx_error wrong;
        (void)flx_fail(&wrong, FLX_ERR_PROTOCOL, "a question for shards was answered with %s",
                       flx_msg_name(msg->type));
        done(ask->user[1], 0, &wrong);
    }
}

static flx_msg question(flx_msg_type type, const flx_scoped_name *name, uint64_t request_id)
{
    flx_msg msg = {.type = type};
    if (type == FLX_MSG_CACHE_SHARDS) {
        msg.cache_shards.tenant_id = flx_slice_of(name->tenant);
        msg.cache_shards.namespace_ = flx_slice_of(name->namespace_);
        msg.cache_shards.cache = flx_slice_of(name->name);
        msg.cache_shards.request_id = request_id;
    } else {
        msg.stream_shards.tenant_id = flx_slice_of(name->tenant);
        msg.stream_shards.namespace_ = flx_slice_of(name->namespace_);
        msg.stream_shards.stream = flx_slice_of(name->name);
        msg.stream_shards.request_id = request_id;
    }
    return msg;
}

flx_status flx_ask_shards(flx_client *client, flx_msg_type type, const flx_scoped_name *name,
                          void *owner, uint64_t timeout_ns, flx_shards_fn done, void *arg,
                          flx_error *reterr)
{
    flx_ask *ask;
    const flx_status status = flx_ask_new(client, &ask, reterr);
    if (status != FLX_OK)
        return status;
    ask->answered = shards_answered;
    ask->features =
        type == FLX_MSG_CACHE_SHARDS ? FLX_FEATURE_CACHE_SHARDS : FLX_FEATURE_STREAM_SHARDS;
    ask->is_read = true;
    ask->owner = owner;
    ask->timeout_ns = timeout_ns;
    memcpy(&ask->user[0], &done, sizeof(done));
    ask->user[1] = arg;
    const flx_msg msg = question(type, name, ask->id);
    return flx_ask_send(ask, &msg, reterr);
}

static flx_status ask_by_name(flx_client *client, const char *stream, uint64_t timeout_ns,
                              flx_shards_fn done, void *arg, flx_error *reterr)
{
    flx_scoped_name name;
    const flx_status status = flx_scoped_name_parse(
        stream, client->options.tenant, client->options.default_namespace, "stream", &name, reterr);
    if (status != FLX_OK)
        return status;
    return flx_ask_shards(client, FLX_MSG_STREAM_SHARDS, &name, NULL, timeout_ns, done, arg,
                          reterr);
}

flx_status flx_client_stream_shards_async(flx_client *client, const char *stream,
                                          flx_shards_fn done, void *arg, flx_error *reterr)
{
    return ask_by_name(client, stream, client->options.request_timeout_ms * FLX_NS_PER_MS, done,
                       arg, reterr);
}

typedef struct shards_wait {
    flx_waiter waiter;
    uint32_t shards;
} shards_wait;

static void shards_arrived(void *arg, uint32_t shards, const flx_error *error)
{
    shards_wait *wait = arg;
    wait->shards = shards;
    flx_waiter_wake(&wait->waiter, error);
}

flx_status flx_client_stream_shards(flx_client *client, const char *stream, uint32_t timeout_ms,
                                    uint32_t *ret_shards, flx_error *reterr)
{
    shards_wait wait = {.shards = 0};
    flx_status status = flx_waiter_init(&wait.waiter, client, reterr);
    if (status != FLX_OK)
        return status;
    status = ask_by_name(client, stream, flx_timeout_ns(timeout_ms), shards_arrived, &wait, reterr);
    status = flx_waiter_wait(&wait.waiter, status, reterr);
    if (status == FLX_OK)
        *ret_shards = wait.shards;
    return status;
}
