/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small broker, see the header. One loop thread owns everything; the calls of a test are run
 * there one at a time. What cannot go wrong in a test (memory, loopback) is asserted.
 */
#include "common/error.h"
#include "common/slice.h"
#include "mock_broker_int.h"
#include "wire/flags.h"

#include <stdio.h>
#include <string.h>

#define FLAGS FLX_FLAGS_KNOWN
#define FEATURES                                                                                   \
    (FLX_FEATURE_CACHE_DELETE | FLX_FEATURE_STREAM_SHARDS | FLX_FEATURE_ERROR_CODES |              \
     FLX_FEATURE_UNSUPPORTED | FLX_FEATURE_PUBLISH_PIPELINE | FLX_FEATURE_STREAM_PUBLISH_WINDOW |  \
     FLX_FEATURE_SUBSCRIPTION_LAGGED | FLX_FEATURE_CACHE_CONDITIONAL | FLX_FEATURE_CACHE_SHARDS |  \
     FLX_FEATURE_CACHE_WATCH | FLX_FEATURE_CACHE_WATCH_RETAINED | FLX_FEATURE_RECORD_TIMESTAMPS)

/* ---- sending ---- */

void mock_send_msg(mock_broker *broker, flx_quic_stream *to, const flx_msg *msg)
{
    flx_range range;
    FLX_ASSERT(flx_msg_append_frame(msg, &broker->scratch, 65536, &range, NULL) == FLX_OK);
    (void)flx_quic_stream_write_take(to, range);
}

void mock_send_bytes(flx_quic_stream *to, const uint8_t *bytes, size_t len)
{
    flx_chunk *chunk = flx_chunk_new(len);
    FLX_ASSERT(chunk != NULL);
    memcpy(chunk->data, bytes, len);
    chunk->len = (uint32_t)len;
    (void)flx_quic_stream_write_take(to, (flx_range){chunk, 0, chunk->len});
}

void mock_send_error(mock_broker *broker, flx_quic_stream *to, uint16_t code, const char *text)
{
    const flx_msg msg = {.type = FLX_MSG_ERROR,
                         .error = {.message = flx_slice_of(text),
                                   .has_code = true,
                                   .code = flx_code_slice(code),
                                   .has_retry = true,
                                   .retry = flx_retry_slice(flx_code_retry(code))}};
    mock_send_msg(broker, to, &msg);
}

/* ---- a session ---- */

static void authenticate(mock_broker *broker, mock_session *from, const struct flx_msg_auth *auth)
{
    broker->counts.auths++;
    if (broker->rules.auth_refused) {
        mock_send_error(broker, from->control, FLX_CODE_UNAUTHENTICATED, "token refused");
        flx_quic_stream_finish(from->control);
        return;
    }
    from->authenticated = true;
    from->flags = auth->has_client_flags ? auth->client_flags : (uint16_t)FLX_FLAGS_ORIGINAL_V1;
    from->features = auth->has_client_features ? auth->client_features : 0;
    const uint32_t window = broker->rules.publish_window;
    from->operations = broker->rules.operation_window > 0 && auth->has_client_features_hi &&
                       (from->features & FLX_FEATURE_EXTENDED) != 0 &&
                       (auth->client_features_hi & FLX_FEATURE_HI_OPERATIONS) != 0;
    from->watch_batches = broker->rules.watch.has_batches && auth->has_client_features_hi &&
                          (from->features & FLX_FEATURE_EXTENDED) != 0 &&
                          (auth->client_features_hi & FLX_FEATURE_HI_WATCH_BATCHES) != 0;
    const bool has_extended = from->operations || from->watch_batches;
    if (from->operations)
        flx_frame_reader_allow_extension(&from->reader);
    const flx_msg ok = {
        .type = FLX_MSG_AUTH_OK,
        .auth_ok = {.server_flags = (uint16_t)(FLAGS & ~broker->rules.flags_withheld),
                    .has_server_features = true,
                    .server_features = (FEATURES & ~broker->rules.features_withheld) |
                                       (has_extended ? FLX_FEATURE_EXTENDED : 0),
                    .has_server_features_hi = has_extended,
                    .server_features_hi = (from->operations ? FLX_FEATURE_HI_OPERATIONS : 0) |
                                          (from->watch_batches ? FLX_FEATURE_HI_WATCH_BATCHES : 0),
                    .has_operation_window = from->operations,
                    .operation_window = broker->rules.operation_window,
                    .has_publish_window = true,
                    .publish_window = window == 0 ? 64 : window}};
    mock_send_msg(broker, from->control, &ok);
}

static void send_shards(mock_broker *broker, mock_session *to, uint64_t request_id)
{
    const uint32_t shards = broker->rules.stream_unknown ? 0 : mock_shard_count(broker);
    const flx_msg view = {.type = FLX_MSG_STREAM_SHARDS_VIEW,
                          .stream_shards_view = {.shards = shards, .request_id = request_id}};
    mock_send_msg(broker, to->control, &view);
}

static void send_cache_shards(mock_broker *broker, mock_session *to, uint64_t request_id)
{
    const uint32_t shards = broker->rules.stream_unknown ? 0 : 1;
    const flx_msg view = {.type = FLX_MSG_CACHE_SHARDS_VIEW,
                          .cache_shards_view = {.shards = shards, .request_id = request_id}};
    mock_send_msg(broker, to->control, &view);
}

static void receive_msg(mock_broker *broker, mock_session *from, flx_msg *msg)
{
    if (!from->authenticated && msg->type != FLX_MSG_AUTH) {
        broker->counts.protocol_errors++;
        return;
    }
    switch (msg->type) {
    case FLX_MSG_AUTH:
        authenticate(broker, from, &msg->auth);
        return;
    case FLX_MSG_STREAM_SHARDS:
        send_shards(broker, from, msg->stream_shards.request_id);
        return;
    case FLX_MSG_SUBSCRIBE:
        mock_subscribe(broker, from, &msg->subscribe);
        return;
    case FLX_MSG_CACHE_SHARDS:
        send_cache_shards(broker, from, msg->cache_shards.request_id);
        return;
    case FLX_MSG_CACHE_WATCH:
        mock_watch(broker, from, &msg->cache_watch);
        return;
    case FLX_MSG_OFFSET_FOR_TIME:
        mock_offset_for_time(broker, from, &msg->offset_for_time);
        return;
    case FLX_MSG_CACHE_PUT:
    case FLX_MSG_CACHE_GET:
    case FLX_MSG_CACHE_DELETE:
    case FLX_MSG_CACHE_PUT_IF:
    case FLX_MSG_CACHE_DELETE_IF:
        mock_cache(broker, from, msg);
        return;
    default:
        broker->counts.protocol_errors++;
        return;
    }
}

static void receive(mock_broker *broker, mock_session *from, const flx_frame *frame)
{
    flx_msg msg;
    if (frame->flags == FLX_FLAG_OPERATIONS) {
        mock_operations(broker, from, frame);
        return;
    }
    if (frame->flags != 0) {
        mock_publish(broker, from, frame);
        return;
    }
    flx_arena_reset(&broker->arena);
    if (flx_msg_decode(&broker->arena, frame->json, frame->payload.len, &msg, NULL) == FLX_OK)
        receive_msg(broker, from, &msg);
    else
        broker->counts.protocol_errors++;
}

static void end_session(mock_broker *broker, flx_quic_stream *control)
{
    for (mock_session **at = &broker->sessions; *at != NULL; at = &(*at)->next) {
        if ((*at)->control != control)
            continue;
        mock_session *gone = *at;
        *at = gone->next;
        flx_frame_reader_done(&gone->reader);
        flx_free(gone);
        return;
    }
}

/* ---- the endpoint ---- */

static void on_connected(void *arg, flx_quic_conn *quic)
{
    mock_broker *broker = arg;
    mock_conn *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL);
    made->quic = quic;
    made->next = broker->conns;
    broker->conns = made;
    broker->counts.connections++;
}

static void on_closed(void *arg, flx_quic_conn *quic, const flx_quic_close *why)
{
    mock_broker *broker = arg;
    (void)why;
    for (mock_conn **at = &broker->conns; *at != NULL; at = &(*at)->next) {
        if ((*at)->quic != quic)
            continue;
        mock_conn *gone = *at;
        *at = gone->next;
        flx_free(gone);
        return;
    }
}

static void on_opened(void *arg, flx_quic_conn *quic, flx_quic_stream *control)
{
    mock_broker *broker = arg;
    (void)quic;
    mock_session *made = flx_calloc(1, sizeof(*made));
    FLX_ASSERT(made != NULL);
    made->control = control;
    flx_frame_reader_init(&made->reader, FLX_FRAME_BYTES_MAX);
    made->next = broker->sessions;
    broker->sessions = made;
    flx_quic_stream_set_context(control, made);
}

static void on_data(void *arg, flx_quic_stream *control, flx_slice data, bool fin)
{
    mock_broker *broker = arg;
    mock_session *from = flx_quic_stream_context(control);
    flx_quic_stream_consume(control, data.len);
    flx_frame frame;
    while (from != NULL &&
           flx_frame_reader_next(&from->reader, &data, &frame, NULL) == FLX_FRAME_READY)
        receive(broker, from, &frame);
    if (fin && control != broker->watch_control) /* which is still owed its answer */
        flx_quic_stream_finish(control);
}

static void on_stream_closed(void *arg, flx_quic_stream *quic)
{
    mock_end_sub(arg, quic);
    mock_end_watch(arg, quic);
    end_session(arg, quic);
}

static void on_stopped(void *arg, flx_quic_stream *quic, uint64_t code)
{
    (void)code;
    mock_end_sub(arg, quic);
    mock_end_watch(arg, quic);
}

/* ---- calls from the test ---- */

static void tick(void *arg, uint64_t now_ns)
{
    mock_broker *broker = arg;
    (void)now_ns;
    (void)pthread_mutex_lock(&broker->mutex);
    if (broker->call != NULL) {
        broker->call(broker, broker->call_arg);
        broker->call = NULL;
        (void)pthread_cond_broadcast(&broker->done);
    }
    (void)pthread_mutex_unlock(&broker->mutex);
}

static void run(mock_broker *broker, void (*call)(mock_broker *broker, void *arg), void *arg)
{
    (void)pthread_mutex_lock(&broker->mutex);
    while (broker->call != NULL)
        (void)pthread_cond_wait(&broker->done, &broker->mutex);
    broker->call = call;
    broker->call_arg = arg;
    flx_loop_wake(broker->loop);
    while (broker->call == call && broker->call_arg == arg)
        (void)pthread_cond_wait(&broker->done, &broker->mutex);
    (void)pthread_mutex_unlock(&broker->mutex);
}

static void do_set(mock_broker *broker, void *arg)
{
    broker->rules = *(const mock_rules *)arg;
}

void mock_broker_set(mock_broker *broker, const mock_rules *rules)
{
    mock_rules copy = *rules;
    run(broker, do_set, &copy);
}

static void do_counts(mock_broker *broker, void *arg)
{
    *(mock_counts *)arg = broker->counts;
}

mock_counts mock_broker_counts(mock_broker *broker)
{
    mock_counts counts;
    run(broker, do_counts, &counts);
    return counts;
}

static void do_kick(mock_broker *broker, void *arg)
{
    (void)arg;
    for (mock_conn *at = broker->conns; at != NULL; at = at->next)
        flx_quic_conn_close(at->quic, 0, "kicked");
}

void mock_broker_kick(mock_broker *broker)
{
    run(broker, do_kick, broker);
}

static void do_trim(mock_broker *broker, void *arg)
{
    const uint64_t oldest = *(const uint64_t *)arg;
    for (mock_stream *at = broker->streams; at != NULL; at = at->next)
        for (uint32_t i = 0; i < MOCK_SHARDS_MAX; i++)
            if (at->shards[i].base < oldest && at->shards[i].base + at->shards[i].count >= oldest)
                mock_drop_first(&at->shards[i], (size_t)(oldest - at->shards[i].base));
}

void mock_broker_trim(mock_broker *broker, uint64_t oldest)
{
    run(broker, do_trim, &oldest);
}

static void forget_all(mock_broker *broker)
{
    for (mock_stream *at = broker->streams; at != NULL; at = at->next)
        for (uint32_t i = 0; i < MOCK_SHARDS_MAX; i++) {
            mock_drop_first(&at->shards[i], at->shards[i].count);
            at->shards[i].base = 0;
        }
}

static void do_forget(mock_broker *broker, void *arg)
{
    (void)arg;
    forget_all(broker);
}

void mock_broker_forget(mock_broker *broker)
{
    run(broker, do_forget, broker);
}

static void do_skip(mock_broker *broker, void *arg)
{
    const uint64_t count = *(const uint64_t *)arg;
    for (mock_stream *at = broker->streams; at != NULL; at = at->next)
        for (uint32_t i = 0; i < MOCK_SHARDS_MAX; i++) {
            mock_drop_first(&at->shards[i], at->shards[i].count);
            at->shards[i].base += count;
        }
}

void mock_broker_skip(mock_broker *broker, uint64_t count)
{
    run(broker, do_skip, &count);
}

static void do_lag(mock_broker *broker, void *arg)
{
    for (mock_sub *at = broker->subs; at != NULL; at = at->next) {
        const flx_msg lagged = {.type = FLX_MSG_SUBSCRIPTION_LAGGED,
                                .subscription_lagged = {.subscription_id = at->id,
                                                        .resume_from = *(const uint64_t *)arg}};
        mock_send_msg(broker, at->out, &lagged);
        flx_quic_stream_finish(at->out);
        at->out = NULL;
    }
    while (broker->subs != NULL)
        mock_end_sub(broker, NULL);
}

void mock_broker_lag(mock_broker *broker, uint64_t resume_from)
{
    run(broker, do_lag, &resume_from);
}

static void do_watch_asked(mock_broker *broker, void *arg)
{
    *(mock_watch_asked *)arg = broker->watch_asked;
}

mock_watch_asked mock_broker_watch_asked(mock_broker *broker)
{
    mock_watch_asked asked;
    run(broker, do_watch_asked, &asked);
    return asked;
}

static void do_watch_answer(mock_broker *broker, void *arg)
{
    (void)arg;
    mock_answer_watch(broker);
}

void mock_broker_watch_answer(mock_broker *broker)
{
    run(broker, do_watch_answer, broker);
}

typedef struct watch_bytes {
    flx_slice bytes;
    bool fin;
} watch_bytes;

static void do_watch_send(mock_broker *broker, void *arg)
{
    const watch_bytes *what = arg;
    if (broker->watch_out == NULL)
        return;
    mock_send_bytes(broker->watch_out, what->bytes.ptr, what->bytes.len);
    if (what->fin) {
        flx_quic_stream_finish(broker->watch_out);
        broker->watch_out = NULL;
    }
}

void mock_broker_watch_send(mock_broker *broker, const uint8_t *bytes, size_t len, bool fin)
{
    watch_bytes what = {{bytes, len}, fin};
    run(broker, do_watch_send, &what);
}

typedef struct addition {
    const char *stream;
    uint32_t shard;
    const char *text;
} addition;

static void do_append(mock_broker *broker, void *arg)
{
    const addition *what = arg;
    const flx_slice name = flx_slice_of(what->stream);
    mock_append(&mock_stream_named(broker, name)->shards[what->shard], flx_slice_of(what->text));
    mock_feed_all(broker);
}

void mock_broker_append(mock_broker *broker, const char *stream_name, uint32_t shard_index,
                        const char *text)
{
    addition what = {stream_name, shard_index, text};
    run(broker, do_append, &what);
}

/* ---- life ---- */

static void *thread_main(void *arg)
{
    mock_broker *broker = arg;
    (void)flx_loop_run(broker->loop, NULL);
    return NULL;
}

static const flx_quic_events events = {.connected = on_connected,
                                       .closed = on_closed,
                                       .stream_opened = on_opened,
                                       .stream_data = on_data,
                                       .stream_stopped = on_stopped,
                                       .stream_closed = on_stream_closed};

mock_broker *mock_broker_start(void)
{
    static const uint8_t secret[32] = {7};
    mock_broker *broker = flx_calloc(1, sizeof(*broker));
    FLX_ASSERT(broker != NULL);
    char cert[128];
    char key[128];
    pki_start(&broker->pki);
    pki_make(&broker->pki, "server", &(pki_leaf){0});
    (void)pki_path(&broker->pki, "server.pem", cert);
    (void)pki_path(&broker->pki, "server.key", key);
    (void)pki_path(&broker->pki, "ca.pem", broker->ca_file);
    const flx_credentials_options files = {.certificate_file = cert, .key_file = key};
    const flx_quic_options options = {.keepalive_ms = UINT32_MAX};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    flx_error error = {0};
    FLX_ASSERT(flx_loop_new(&(flx_loop_options){0}, &broker->loop, &error) == FLX_OK);
    broker->hook = (flx_tick_hook){.tick = tick, .arg = broker};
    flx_loop_hook_add(broker->loop, &broker->hook);
    flx_arena_init(&broker->arena, 1U << 24);
    FLX_ASSERT(flx_credentials_new(true, &files, &broker->credentials, &error) == FLX_OK);
    FLX_ASSERT(flx_quic_group_new(1, secret, &options, &broker->group, &error) == FLX_OK);
    FLX_ASSERT(flx_quic_listen(broker->loop, broker->group, 0, (const struct sockaddr *)&address,
                               sizeof(address), broker->credentials, &events, broker,
                               &broker->endpoint, &error) == FLX_OK);
    struct sockaddr_storage bound;
    socklen_t len;
    flx_quic_endpoint_address(broker->endpoint, &bound, &len);
    memcpy(&address, &bound, sizeof(address));
    (void)snprintf(broker->address, sizeof(broker->address), "127.0.0.1:%u",
                   ntohs(address.sin_port));
    (void)pthread_mutex_init(&broker->mutex, NULL);
    (void)pthread_cond_init(&broker->done, NULL);
    FLX_ASSERT(pthread_create(&broker->thread, NULL, thread_main, broker) == 0);
    return broker;
}

void mock_broker_stop(mock_broker *broker)
{
    flx_loop_stop(broker->loop);
    (void)pthread_join(broker->thread, NULL);
    broker->endpoint = flx_quic_endpoint_free(broker->endpoint);
    broker->group = flx_quic_group_free(broker->group);
    broker->credentials = flx_credentials_free(broker->credentials);
    flx_loop_hook_remove(broker->loop, &broker->hook);
    broker->loop = flx_loop_free(broker->loop);
    while (broker->subs != NULL)
        mock_end_sub(broker, broker->subs->out);
    forget_all(broker);
    while (broker->streams != NULL) {
        mock_stream *gone = broker->streams;
        broker->streams = gone->next;
        for (uint32_t i = 0; i < MOCK_SHARDS_MAX; i++)
            flx_free(gone->shards[i].records);
        flx_free(gone);
    }
    for (size_t i = 0; i < MOCK_KEYS_MAX; i++)
        flx_free(broker->entries[i].value);
    (void)flx_chunk_unref(broker->scratch);
    flx_arena_done(&broker->arena);
    pki_stop(&broker->pki);
    (void)pthread_mutex_destroy(&broker->mutex);
    (void)pthread_cond_destroy(&broker->done);
    flx_free(broker);
}

const char *mock_broker_address(const mock_broker *broker)
{
    return broker->address;
}

const char *mock_broker_ca_file(const mock_broker *broker)
{
    return broker->ca_file;
}
