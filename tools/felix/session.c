/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - from settings to a connected client, and what must exist before data flows. */
#include "session.h"

#include "common/clock.h"
#include "http/client.h"
#include "reach.h"
#include "rest.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define CATALOG_WAIT_MS 3000 /* until a broker knows what was just created */
#define LOOK_AFTER_MS   500  /* without an answer: is there anybody at all? */

/* Says on err when the connection goes and comes, once each; the first connect is no news. */
typedef struct watcher {
    const cli_run *run;
    atomic_bool was_up;
    atomic_bool told;
} watcher;

static void on_state(void *arg, flx_client_state state, const flx_error *error)
{
    watcher *watch = arg;
    if (state == FLX_CLIENT_CONNECTED) {
        if (atomic_exchange(&watch->told, false)) {
            cli_say(watch->run, "connected again");
        }
        atomic_store(&watch->was_up, true);
    } else if (state == FLX_CLIENT_WAITING && atomic_load(&watch->was_up) &&
               !atomic_exchange(&watch->told, true)) {
        cli_say(watch->run, "connection lost%s%s; trying again", error != NULL ? ": " : "",
                error != NULL ? error->message : "");
    }
}

static bool has_identity(cli_run *run, const cli_settings *settings, cli_exit *ret_exit)
{
    if (settings->values.tenant[0] == '\0') {
        *ret_exit =
            cli_error(run, CLI_EXIT_USAGE, "'felix up' writes a context with one, or give --tenant",
                      "no tenant is known");
        return false;
    }
    if (settings->token == NULL && settings->values.token_file[0] == '\0') {
        *ret_exit =
            cli_error(run, CLI_EXIT_UNAUTHENTICATED,
                      "set FELIX_TOKEN, or name a file with --token-file", "no token is known");
        return false;
    }
    return true;
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/*
 * Connects within `timeout_ms`. A client goes on dialling, which is right for one that comes back after
 * a restart; somebody at a terminal whose node is not there wants to know it now.
 */
static bool connect_soon(const flx_client_options *wanted, uint32_t timeout_ms,
                         flx_client **ret_client, flx_error *ret_error)
{
    const uint32_t first_ms = timeout_ms < LOOK_AFTER_MS ? timeout_ms : LOOK_AFTER_MS;
    flx_client *client = NULL;
    if (flx_client_new(wanted, &client, ret_error) != FLX_OK) {
        return false;
    }
    flx_status status = flx_client_wait_connected(client, first_ms, ret_error);
    if (status == FLX_ERR_UNAVAILABLE && cli_nobody_listens(wanted->addresses)) {
        (void)snprintf(ret_error->message, sizeof ret_error->message, "nobody listens there");
    } else if (status == FLX_ERR_UNAVAILABLE && timeout_ms > first_ms) {
        status = flx_client_wait_connected(client, timeout_ms - first_ms, ret_error);
    }
    if (status != FLX_OK) {
        (void)flx_client_free(client);
        return false;
    }
    *ret_client = client;
    return true;
}

bool cli_session_open(cli_run *run, const cli_session_options *options, flx_client **ret_client,
                      cli_exit *ret_exit)
{
    static watcher watch; /* lives as long as any client of the process */
    flx_client_options wanted = FLX_CLIENT_OPTIONS_INIT;
    flx_error error = {0};
    uint32_t timeout_ms = 0;
    const cli_settings *settings = cli_run_settings(run, ret_exit);
    if (settings == NULL || !has_identity(run, settings, ret_exit)) {
        return false;
    }
    if (!cli_flag_timeout_ms(run, &timeout_ms)) {
        *ret_exit = CLI_EXIT_USAGE;
        return false;
    }
    watch.run = run;
    wanted.addresses = settings->values.addresses;
    wanted.tenant = settings->values.tenant;
    wanted.default_namespace = or_null(settings->values.namespace_);
    wanted.token = settings->token;
    wanted.token_file = settings->token == NULL ? or_null(settings->values.token_file) : NULL;
    wanted.ca_file = or_null(settings->values.ca_file);
    wanted.server_name = or_null(settings->values.server_name);
    wanted.connections = options->connections;
    wanted.cache_streams = options->cache_streams;
    wanted.request_timeout_ms = timeout_ms;
    wanted.state_fn = options->tell_states ? on_state : NULL;
    wanted.state_arg = &watch;
    /* REST calls may follow, and libcurl must be set up before there are other threads. */
    if (flx_http_client_init(&error) != FLX_OK) {
        *ret_exit = cli_failed(run, &error, "set up HTTP");
        return false;
    }
    if (!connect_soon(&wanted, timeout_ms, ret_client, &error)) {
        *ret_exit = error.status == FLX_ERR_INVALID || error.status == FLX_ERR_UNTRUSTED
                        ? cli_error(run, cli_exit_of(error.status),
                                    "check --address, --ca-file and --server-name", "connect to %s",
                                    error.message)
                        : cli_failed(run, &error, "connect to %s", settings->values.addresses);
        return false;
    }
    return true;
}

/* 1-128 of [A-Za-z0-9._-], starting alphanumeric. */
static bool part_is_valid(const char *part)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const size_t len = strlen(part);
    return len >= 1 && len <= 128 && strchr(letters, part[0]) != NULL &&
           strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

bool cli_name_split(cli_run *run, const char *what, const char *full, cli_name *ret_name,
                    cli_exit *ret_exit)
{
    const cli_settings *settings = cli_run_settings(run, ret_exit);
    const char *parts[3] = {NULL, NULL, NULL};
    size_t count = 0;
    if (settings == NULL) {
        return false;
    }
    if (strlen(full) < sizeof ret_name->text) {
        (void)snprintf(ret_name->text, sizeof ret_name->text, "%s", full);
        for (char *at = ret_name->text; at != NULL && count < 3;) {
            parts[count++] = at;
            at = strchr(at, '/');
            if (at != NULL) {
                *at++ = '\0';
            }
            if (at != NULL && count == 3) {
                count = 0; /* a fourth part */
                break;
            }
        }
    }
    bool valid = count > 0;
    for (size_t i = 0; i < count; i++) {
        valid = valid && part_is_valid(parts[i]);
    }
    if (!valid) {
        *ret_exit =
            cli_error(run, CLI_EXIT_USAGE,
                      "write NAME, NAMESPACE/NAME or TENANT/NAMESPACE/NAME, each of letters, "
                      "digits, '.', '_' and '-'",
                      "'%.80s' is no name of a %s", full, what);
        return false;
    }
    ret_name->name = parts[count - 1];
    ret_name->namespace_ = count >= 2 ? parts[count - 2] : settings->values.namespace_;
    ret_name->tenant = count == 3 ? parts[0] : settings->values.tenant;
    if (ret_name->tenant[0] == '\0') {
        *ret_exit =
            cli_error(run, CLI_EXIT_USAGE, "'felix up' writes a context with one, or give --tenant",
                      "no tenant is known for %s '%s'", what, full);
        return false;
    }
    return true;
}

/* After a create: waits until the broker tells of the stream. It is no failure if it does not. */
static void wait_for_stream(flx_client *client, const char *stream, uint32_t *ret_shards)
{
    const uint64_t deadline = flx_clock_monotonic_ns() + CATALOG_WAIT_MS * FLX_NS_PER_MS;
    const struct timespec pause = {0, 10000000};
    while (flx_client_stream_shards(client, stream, CATALOG_WAIT_MS, ret_shards, NULL) == FLX_OK &&
           *ret_shards == 0 && flx_clock_monotonic_ns() < deadline) {
        (void)nanosleep(&pause, NULL);
    }
}

static bool create_stream(cli_run *run, const char *stream, cli_exit *ret_exit)
{
    cli_name name;
    if (!cli_name_split(run, "stream", stream, &name, ret_exit)) {
        return false;
    }
    json_t *body = json_pack("{s:s, s:s, s:i, s:i, s:{s:n, s:n}, s:s, s:s, s:b}", "stream",
                             name.name, "kind", "Stream", "shards", 1, "replication_factor", 1,
                             "retention", "max_age_seconds", "max_size_bytes", "consistency",
                             "Leader", "delivery", "AtLeastOnce", "durable", 0);
    char path[512];
    cli_rest_answer answer;
    (void)snprintf(path, sizeof path, "/v1/tenants/%s/namespaces/%s/streams", name.tenant,
                   name.namespace_);
    cli_rest_call(run, "POST", path, body, &answer);
    json_decref(body);
    json_decref(answer.body);
    if (answer.code == CLI_EXIT_CONFLICT) {
        return true; /* somebody was faster */
    }
    if (answer.code != CLI_EXIT_OK) {
        *ret_exit = cli_rest_failed(run, &answer, "create stream '%s'", stream);
        return false;
    }
    cli_say(run, "created stream '%s' (in memory, one shard): this context is for development",
            stream);
    return true;
}

bool cli_session_need_stream(cli_run *run, flx_client *client, const char *stream, bool may_create,
                             uint32_t *ret_shards, cli_exit *ret_exit)
{
    flx_error error = {0};
    uint32_t timeout_ms = 0;
    *ret_shards = 0;
    if (!cli_flag_timeout_ms(run, &timeout_ms)) {
        *ret_exit = CLI_EXIT_USAGE;
        return false;
    }
    const flx_status status =
        flx_client_stream_shards(client, stream, timeout_ms, ret_shards, &error);
    if (status == FLX_ERR_UNSUPPORTED || status == FLX_ERR_DENIED) {
        return true; /* who may publish need not be allowed to look */
    }
    if (status != FLX_OK && status != FLX_ERR_NOT_FOUND) {
        *ret_exit = cli_failed(run, &error, "stream '%s'", stream);
        return false;
    }
    if (status == FLX_OK && *ret_shards > 0) {
        return true;
    }
    if (!may_create || !run->settings.values.dev) {
        *ret_exit = cli_error(run, CLI_EXIT_NOT_FOUND,
                              "'felix stream create' makes one, 'felix stream ls' lists them",
                              "stream '%s' does not exist", stream);
        return false;
    }
    if (!create_stream(run, stream, ret_exit)) {
        return false;
    }
    wait_for_stream(client, stream, ret_shards);
    return true;
}

bool cli_session_need_cache(cli_run *run, const char *cache, cli_exit *ret_exit)
{
    cli_name name;
    char path[512];
    cli_rest_answer answer;
    const cli_settings *settings = cli_run_settings(run, ret_exit);
    if (settings == NULL || !cli_name_split(run, "cache", cache, &name, ret_exit)) {
        return false;
    }
    if (!settings->values.dev) {
        return true; /* the first request tells */
    }
    json_t *body =
        json_pack("{s:s, s:s, s:i, s:i, s:s}", "cache", name.name, "display_name", name.name,
                  "shards", 1, "replication_factor", 1, "consistency", "Leader");
    (void)snprintf(path, sizeof path, "/v1/tenants/%s/namespaces/%s/caches", name.tenant,
                   name.namespace_);
    cli_rest_call(run, "POST", path, body, &answer);
    json_decref(body);
    json_decref(answer.body);
    if (answer.code != CLI_EXIT_OK && answer.code != CLI_EXIT_CONFLICT) {
        *ret_exit = cli_rest_failed(run, &answer, "create cache '%s'", cache);
        return false;
    }
    if (answer.http_status == 201) {
        cli_say(run, "created cache '%s': this context is for development", cache);
    }
    return true;
}
