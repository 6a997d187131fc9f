/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handle: options checked and copied, the parts built in order, and the calls of
 * felix/client.h that are not about one stream or cache.
 */
#include "client/client_int.h"
#include "client/names.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

const char *flx_version(void)
{
    return FLX_VERSION;
}

/* ---- options ---- */

static void default_u32(uint32_t *value, uint32_t fallback)
{
    if (*value == 0)
        *value = fallback;
}

static void fill_defaults(flx_client_options *options)
{
    if (options->default_namespace == NULL)
        options->default_namespace = "default";
    default_u32(&options->connections, 1);
    default_u32(&options->cache_streams, 16);
    default_u32(&options->cache_queue_max, 4096);
    default_u32(&options->connect_timeout_ms, 10000);
    default_u32(&options->request_timeout_ms, 30000);
    default_u32(&options->backoff_min_ms, 50);
    default_u32(&options->backoff_max_ms, 5000);
    if (options->backoff_max_ms < options->backoff_min_ms)
        options->backoff_max_ms = options->backoff_min_ms;
    default_u32(&options->idle_timeout_ms, 30000);
    default_u32(&options->keepalive_ms, 5000);
    default_u32(&options->stream_window_bytes, 4U << 20);
    default_u32(&options->conn_window_bytes, 256U << 20);
    default_u32(&options->placed_connections_max, 16);
}

static flx_status check_options(const flx_client_options *options, flx_error *reterr)
{
    if (options->addresses == NULL)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.addresses is missing");
    if (options->tenant == NULL || options->tenant[0] == '\0')
        return flx_fail(reterr, FLX_ERR_INVALID, "options.tenant is missing");
    if (strlen(options->tenant) > FLX_NAME_PART_MAX)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.tenant is longer than %d bytes",
                        FLX_NAME_PART_MAX);
    if (options->connections > FLX_CONNECTIONS_MAX)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.connections is above %d",
                        FLX_CONNECTIONS_MAX);
    if (options->cache_streams > 512)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.cache_streams is above 512");
    if (options->token != NULL && strlen(options->token) > FLX_TOKEN_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_INVALID, "options.token is longer than %d bytes",
                        FLX_TOKEN_BYTES_MAX);
    if ((options->cert_file == NULL) != (options->key_file == NULL))
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "options.cert_file and options.key_file go together");
    return FLX_OK;
}

/* What a caller compiled against an older header left out reads as zero. */
static flx_status read_options(const flx_client_options *from, flx_client_options *ret_options,
                               flx_error *reterr)
{
    if (from == NULL || from->struct_size < sizeof(size_t) ||
        from->struct_size > sizeof(*ret_options))
        return flx_fail(reterr, FLX_ERR_INVALID, "options.struct_size is not one of this library");
    memset(ret_options, 0, sizeof(*ret_options));
    memcpy(ret_options, from, from->struct_size);
    fill_defaults(ret_options);
    return check_options(ret_options, reterr);
}

static flx_status copy_texts(flx_client *client, flx_error *reterr)
{
    flx_client_options *options = &client->options;
    const char **fields[] = {&options->addresses, &options->tenant,     &options->default_namespace,
                             &options->token,     &options->token_file, &options->ca_file,
                             &options->cert_file, &options->key_file,   &options->server_name};
    static_assert(sizeof(fields) / sizeof(fields[0]) ==
                      sizeof(client->texts) / sizeof(client->texts[0]),
                  "one copy a text");
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (*fields[i] == NULL)
            continue;
        client->texts[i] = flx_strdup(*fields[i]);
        if (client->texts[i] == NULL)
            return flx_fail(reterr, FLX_ERR_NOMEM, "options of a client");
        *fields[i] = client->texts[i];
    }
    return flx_addresses_parse(options->addresses, &client->addresses, reterr);
}

/* ---- making ---- */

static flx_status make_endpoint(flx_client *client, flx_error *reterr)
{
    const flx_client_options *options = &client->options;
    const flx_credentials_options files = {.certificate_file = options->cert_file,
                                           .key_file = options->key_file,
                                           .ca_file = options->ca_file};
    const flx_quic_options quic = {.idle_timeout_ms = options->idle_timeout_ms,
                                   .keepalive_ms = options->keepalive_ms,
                                   .handshake_timeout_ms = options->connect_timeout_ms,
                                   .conn_window_bytes = options->conn_window_bytes,
                                   .stream_window_bytes = options->stream_window_bytes,
                                   .udp_payload_max = options->udp_payload_max};
    flx_status status = flx_credentials_new(false, &files, &client->credentials, reterr);
    if (status != FLX_OK)
        return status;
    return flx_quic_client(client->loop, &quic, client->credentials, &flx_uplink_events, client,
                           &client->endpoint, reterr);
}

static uint32_t least_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static flx_status make_parts(flx_client *client, flx_error *reterr)
{
    const flx_loop_options loop_options = {.busy_poll_us = client->options.busy_poll_us,
                                           .adaptive = !client->options.no_adaptive_poll};
    flx_status status = flx_loop_new(&loop_options, &client->loop, reterr);
    if (status != FLX_OK)
        return status;
    /* Before the endpoint adds its own hook: what tasks write leaves in the same tick. */
    client->hook = (flx_tick_hook){.tick = flx_client_tick, .arg = client};
    flx_loop_hook_add(client->loop, &client->hook);
    flx_arena_init(&client->arena, FLX_FRAME_BYTES_MAX);
    client->uplink_count = client->options.connections;
    client->uplink_count += least_u32(client->options.placed_connections_max,
                                      FLX_CONNECTIONS_MAX - client->options.connections);
    for (uint32_t i = 0; i < client->uplink_count; i++)
        flx_uplink_init(&client->uplinks[i], client, i);
    flx_placer_init(&client->placer, client);
    status = flx_asks_init(&client->asks, client, reterr);
    if (status == FLX_OK)
        status = make_endpoint(client, reterr);
    return status;
}

static void start_run(flx_client_task *task)
{
    flx_client *client = (flx_client *)((char *)task - offsetof(flx_client, start));
    flx_uplink_start(&client->uplinks[0]); /* the others start when it has learned the ports */
}

static void stop_run(flx_client_task *task)
{
    flx_client *client = (flx_client *)((char *)task - offsetof(flx_client, stop));
    flx_loop_stop(client->loop);
}

/* Signals are the program's: the loop's thread takes none. */
static flx_status start_thread(flx_client *client, flx_error *reterr)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failure = pthread_create(&client->thread, NULL, flx_client_thread, client);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0)
        return flx_fail_errno(reterr, failure, "the client's thread");
    client->has_thread = true;
    return FLX_OK;
}

static flx_client *allocate(void)
{
    flx_client *client = flx_calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    (void)pthread_mutex_init(&client->mutex, NULL);
    flx_cond_init(&client->changed);
    client->refs = 1;
    client->tasks_end = &client->tasks;
    client->start.run = start_run;
    client->stop.run = stop_run;
    if (getrandom(&client->random, sizeof(client->random), 0) != sizeof(client->random))
        client->random = flx_clock_monotonic_ns();
    client->random |= 1; /* xorshift needs a bit */
    return client;
}

flx_status flx_client_new(const flx_client_options *options, flx_client **ret_client,
                          flx_error *reterr)
{
    flx_client_options checked = {0};
    flx_status status = read_options(options, &checked, reterr);
    if (status != FLX_OK)
        return status;
    flx_client *client = allocate();
    if (client == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "a client");
    client->options = checked;
    status = copy_texts(client, reterr);
    if (status == FLX_OK)
        status = make_parts(client, reterr);
    if (status == FLX_OK) {
        (void)flx_client_post(client, &client->start);
        if (!checked.foreign_loop)
            status = start_thread(client, reterr);
    }
    if (status != FLX_OK) {
        client->options.state_fn = NULL; /* it has not existed yet, so it does not end either */
        (void)flx_client_free(client);
        return status;
    }
    *ret_client = client;
    return FLX_OK;
}

flx_status flx_client_connect(const flx_client_options *options, uint32_t timeout_ms,
                              flx_client **ret_client, flx_error *reterr)
{
    flx_client *client = NULL;
    flx_status status = flx_client_new(options, &client, reterr);
    if (status != FLX_OK)
        return status;
    FLX_ASSERT(client != NULL);
    status = flx_client_wait_connected(client, timeout_ms, reterr);
    if (status != FLX_OK) {
        (void)flx_client_free(client);
        return status;
    }
    *ret_client = client;
    return FLX_OK;
}

/* ---- ending ---- */

static void begin_close(flx_client *client)
{
    (void)pthread_mutex_lock(&client->mutex);
    client->closing = true;
    (void)pthread_cond_broadcast(&client->changed);
    (void)pthread_mutex_unlock(&client->mutex);
}

flx_client *flx_client_free(flx_client *client)
{
    if (client == NULL)
        return NULL;
    begin_close(client);
    if (client->has_thread && flx_client_is_on_loop(client)) {
        client->detached = true; /* a callback: the thread goes on until it has ended everything */
        (void)pthread_detach(client->thread);
        flx_loop_stop(client->loop);
        return NULL;
    }
    if (client->has_thread) {
        /* By a task: once stopped from here, the loop could be gone while it is still being woken. */
        (void)flx_client_post(client, &client->stop);
        (void)pthread_join(client->thread, NULL);
    } else if (client->stepping == 0 && client->loop != NULL) {
        flx_client_end(client);
    } else if (client->stepping > 0) {
        client->detached = true; /* whoever steps the loop ends it and drops this reference */
        return NULL;
    }
    flx_client_unref(client);
    return NULL;
}

/* ---- asking ---- */

flx_status flx_client_wait_connected(flx_client *client, uint32_t timeout_ms, flx_error *reterr)
{
    flx_status status = flx_client_may_wait(client, reterr);
    if (status != FLX_OK)
        return status;
    const uint64_t deadline_ns = flx_deadline_ns(timeout_ms);
    (void)flx_client_ref(client);
    (void)pthread_mutex_lock(&client->mutex);
    for (;;) {
        if (client->closing) {
            status = flx_fail(reterr, FLX_ERR_CLOSED, "the client was freed");
            break;
        }
        if (client->state == FLX_CLIENT_CONNECTED)
            break;
        if (client->state == FLX_CLIENT_WAITING && client->error_is_final) {
            status = client->error.status;
            if (reterr != NULL)
                *reterr = client->error;
            break;
        }
        if (!flx_client_wait(client, &client->mutex, &client->changed, deadline_ns)) {
            status =
                flx_fail(reterr, FLX_ERR_UNAVAILABLE, "not connected to %.60s in %u ms: %.120s",
                         client->options.addresses, timeout_ms,
                         client->error.status != FLX_OK ? client->error.message : "no answer");
            break;
        }
    }
    (void)pthread_mutex_unlock(&client->mutex);
    flx_client_unref(client);
    return status;
}

flx_client_state flx_client_get_state(const flx_client *client)
{
    flx_client *self = (flx_client *)(uintptr_t)client; /* only the mutex changes */
    (void)pthread_mutex_lock(&self->mutex);
    const flx_client_state state = self->closing ? FLX_CLIENT_CLOSED : self->state;
    (void)pthread_mutex_unlock(&self->mutex);
    return state;
}

static void refresh_rtt(void *arg)
{
    flx_client *client = arg;
    flx_quic_conn_info now = {0};
    if (client->uplinks[0].conn != NULL)
        flx_quic_conn_info_get(client->uplinks[0].conn, &now);
    (void)pthread_mutex_lock(&client->mutex);
    client->info.smoothed_rtt_ns = now.smoothed_rtt_ns;
    (void)pthread_mutex_unlock(&client->mutex);
}

void flx_client_server_info(const flx_client *client, flx_server_info *ret_info)
{
    flx_client *self = (flx_client *)(uintptr_t)client;
    const size_t size =
        ret_info->struct_size < sizeof(*ret_info) ? ret_info->struct_size : sizeof(*ret_info);
    (void)flx_client_call(self, refresh_rtt, self);
    (void)pthread_mutex_lock(&self->mutex);
    flx_server_info info = self->info;
    (void)pthread_mutex_unlock(&self->mutex);
    info.struct_size = ret_info->struct_size;
    memcpy(ret_info, &info, size);
}

/* ---- the foreign loop ---- */

int flx_client_fd(const flx_client *client)
{
    return client->options.foreign_loop && client->loop != NULL ? flx_loop_fd(client->loop) : -1;
}

int64_t flx_client_next_timeout_us(const flx_client *client)
{
    if (!client->options.foreign_loop || client->loop == NULL)
        return INT64_MAX;
    const uint64_t deadline_ns = flx_loop_next_deadline_ns(client->loop);
    if (deadline_ns == FLX_LOOP_NEVER)
        return INT64_MAX;
    const uint64_t now_ns = flx_clock_monotonic_ns();
    if (deadline_ns <= now_ns)
        return 0;
    return (int64_t)((deadline_ns - now_ns + FLX_NS_PER_US - 1) / FLX_NS_PER_US);
}

flx_status flx_client_process(flx_client *client, flx_error *reterr)
{
    if (!client->options.foreign_loop)
        return flx_fail(reterr, FLX_ERR_INVALID, "the client runs its own loop");
    if (client->stepping > 0)
        return flx_fail(reterr, FLX_ERR_INVALID, "flx_client_process from a callback");
    return flx_client_step(client, 0, reterr);
}
