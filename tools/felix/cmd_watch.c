/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_watch.c - felix cache watch and keys: the changes of a cache, and what is in it. */
#include "commands.h"
#include "common/slice.h"
#include "record.h"
#include "session.h"
#include "stop.h"

#include <poll.h>
#include <string.h>

#define SHARDS_MAX 65536U

static const cli_column change_columns[] = {
    {"Offset", "offset", false, 16}, {"Event", "event", false, 7}, {"Key", "key", false, 24},
    {"Value", "value", false, 0},    {"Shard", "shard", true, 5},  {NULL, NULL, false, 0}};

static const cli_column key_columns[] = {{"Key", "key", false, 24},
                                         {"Bytes", "bytes", false, 8},
                                         {"Version", "version", false, 16},
                                         {"Expires", "expires_at_ms", true, 13},
                                         {NULL, NULL, false, 0}};

typedef struct watching {
    cli_run *run;
    const char *cache;
    flx_client *client;
    flx_cache_watch *watch;
    flx_cache_watch_options options;
    cli_out out;
    cli_format format;
    uint32_t timeout_ms;
    uint64_t left;   /* changes that may still be written */
    bool is_listing; /* keys: ends when all that was there has been told */
    uint32_t shards; /* that are ready, when listing */
    uint32_t shards_wanted;
} watching;

/* ---- output ---- */

static const char *event_name(const flx_cache_change *change)
{
    static const char *const names[] = {"put", "delete", "reset", "ready"};
    return names[change->kind];
}

static json_t *change_json(const flx_cache_change *change)
{
    json_t *row = json_pack("{s:s, s:I, s:I}", "event", event_name(change), "shard",
                            (json_int_t)change->shard, "offset", (json_int_t)change->offset);
    bool is_whole = row != NULL && cli_json_set_bytes(row, "key", change->key);
    if (is_whole && change->kind == FLX_CACHE_CHANGE_PUT) {
        is_whole = cli_json_set_bytes(row, "value", change->value) &&
                   json_object_set_new(row, "retained", json_boolean(change->is_retained)) == 0;
    }
    if (is_whole && change->expires_at_ms != 0) {
        is_whole = json_object_set_new(row, "expires_at_ms",
                                       json_integer((json_int_t)change->expires_at_ms)) == 0;
    }
    if (!is_whole) {
        json_decref(row);
        row = NULL;
    }
    return row;
}

static void write_raw(const watching *job, const flx_cache_change *change)
{
    FILE *file = job->run->out;
    (void)fprintf(file, "%s ", event_name(change));
    (void)fwrite(change->key.ptr, 1, change->key.len, file);
    if (change->kind == FLX_CACHE_CHANGE_PUT) {
        (void)fputc(' ', file);
        (void)fwrite(change->value.ptr, 1, change->value.len, file);
    }
    (void)fputc('\n', file);
}

static void write_key(watching *job, const flx_cache_change *change)
{
    json_t *row = json_pack("{s:I, s:I}", "bytes", (json_int_t)change->value.len, "version",
                            (json_int_t)change->offset);
    if (row != NULL && !cli_json_set_bytes(row, "key", change->key)) {
        json_decref(row);
        row = NULL;
    }
    if (row != NULL && change->expires_at_ms != 0) {
        (void)json_object_set_new(row, "expires_at_ms",
                                  json_integer((json_int_t)change->expires_at_ms));
    }
    cli_out_row(&job->out, row);
}

/* What is not a change: said on err, and to programs in its place. */
static void tell_notice(watching *job, const flx_cache_change *change)
{
    const bool is_ready = change->kind == FLX_CACHE_CHANGE_READY;
    if (job->is_listing) {
        job->shards += is_ready ? 1 : 0;
        return;
    }
    cli_say(job->run,
            is_ready ? "all that was there has been told (part %u)"
                     : "history is lost: forget part %u, what is there follows",
            change->shard);
    if (job->format == CLI_FORMAT_JSON || job->format == CLI_FORMAT_JSONL ||
        job->format == CLI_FORMAT_YAML) {
        cli_out_row(&job->out,
                    json_pack("{s:s, s:I, s:I}", "notice", event_name(change), "shard",
                              (json_int_t)change->shard, "offset", (json_int_t)change->offset));
    }
}

static void take_change(watching *job, const flx_cache_change *change)
{
    if (change->kind == FLX_CACHE_CHANGE_RESET || change->kind == FLX_CACHE_CHANGE_READY) {
        tell_notice(job, change);
        return;
    }
    if (job->left == 0 || (job->is_listing && !change->is_retained)) {
        return;
    }
    if (job->is_listing) {
        write_key(job, change);
    } else if (job->format == CLI_FORMAT_RAW) {
        write_raw(job, change);
    } else {
        cli_out_row(&job->out, change_json(change));
    }
    job->left -= job->left != UINT64_MAX;
}

/* ---- reading ---- */

static bool is_complete(const watching *job)
{
    return job->left == 0 || (job->is_listing && job->shards == job->shards_wanted);
}

/* Takes what is there. False: the watch has ended; *reterr says why. */
static bool drain(watching *job, flx_error *reterr)
{
    while (!is_complete(job) && !cli_stop_requested()) {
        flx_cache_change change;
        const flx_status status = flx_cache_watch_receive(job->watch, 0, &change, reterr);
        if (status != FLX_OK) {
            return status == FLX_ERR_AGAIN;
        }
        take_change(job, &change);
        flx_cache_change_release(&change);
    }
    return true;
}

static cli_exit read_all(watching *job)
{
    while (true) {
        flx_error error = {0};
        const bool goes_on = drain(job, &error);
        cli_exit code = CLI_EXIT_OK;
        if (!cli_flush(job->run, &code)) {
            return code;
        }
        if (!goes_on) {
            return cli_failed(job->run, &error, "watch cache '%s'", job->cache);
        }
        if (is_complete(job) || cli_stop_requested()) {
            return CLI_EXIT_OK;
        }
        struct pollfd fds[2] = {{flx_cache_watch_fd(job->watch), POLLIN, 0},
                                {cli_stop_fd(), POLLIN, 0}};
        (void)poll(fds, 2, -1);
    }
}

/* ---- opening ---- */

static bool take_filter(watching *job, const char *key)
{
    const char *prefix = cli_args_flag(&job->run->args, "prefix");
    if (key != NULL && prefix != NULL) {
        (void)cli_error(job->run, CLI_EXIT_USAGE, NULL, "either a key or --prefix, not both");
        return false;
    }
    if (key != NULL) {
        job->options.key = flx_slice_of(key);
    } else if (prefix != NULL) {
        job->options.prefix = flx_slice_of(prefix);
    }
    return true;
}

static bool take_start(watching *job)
{
    cli_run *run = job->run;
    const bool is_retained = cli_args_has(&run->args, "retained");
    if (is_retained && cli_args_has(&run->args, "from")) {
        (void)cli_error(run, CLI_EXIT_USAGE, NULL, "either --retained or --from, not both");
        return false;
    }
    if (cli_args_has(&run->args, "from")) {
        job->options.from = FLX_WATCH_FROM_OFFSET;
        return cli_flag_u64(run, "from", 0, UINT64_MAX, &job->options.offset);
    }
    job->options.from = is_retained ? FLX_WATCH_FROM_RETAINED : FLX_WATCH_FROM_LIVE;
    return true;
}

static bool take_options(watching *job, const char *key)
{
    cli_run *run = job->run;
    uint64_t shard = 0;
    job->left = UINT64_MAX;
    if (!take_filter(job, key)) {
        return false;
    }
    if (cli_args_has(&run->args, "count") &&
        !cli_flag_u64(run, "count", 0, UINT64_MAX - 1, &job->left)) {
        return false;
    }
    if (cli_args_has(&run->args, "shard")) {
        if (!cli_flag_u64(run, "shard", 0, SHARDS_MAX - 1, &shard)) {
            return false;
        }
        job->options.shard = (uint32_t)shard;
    }
    return cli_flag_timeout_ms(run, &job->timeout_ms);
}

static cli_exit refused(const watching *job, const flx_error *error)
{
    if (error->status == FLX_ERR_NOT_FOUND) {
        return cli_error(job->run, CLI_EXIT_NOT_FOUND,
                         "'felix cache create' makes one, 'felix cache ls' lists them",
                         "cache '%s' does not exist", job->cache);
    }
    return cli_failed(job->run, error, "watch cache '%s'", job->cache);
}

static cli_exit run_watch(watching *job, const cli_column *columns, const char *name_field)
{
    const cli_session_options session = {.tell_states = !job->is_listing};
    flx_error error = {0};
    cli_exit code = CLI_EXIT_OK;
    job->options.not_found_ms = 1000;
    if (cli_stop_init(&error) != FLX_OK) {
        return cli_failed(job->run, &error, "watch");
    }
    if ((!job->is_listing && !cli_session_need_cache(job->run, job->cache, &code)) ||
        !cli_session_open(job->run, &session, &job->client, &code)) {
        return code;
    }
    if (flx_cache_watch_new(job->client, job->cache, &job->options, &job->watch, &error) !=
            FLX_OK ||
        flx_cache_watch_wait(job->watch, job->timeout_ms, &error) != FLX_OK) {
        return refused(job, &error);
    }
    job->shards_wanted = flx_cache_watch_shards(job->watch);
    if (!job->is_listing) {
        (void)fputs("watching\n", job->run->err);
        (void)fflush(job->run->err);
    }
    cli_out_begin(&job->out, job->run->out, job->format,
                  job->is_listing ? CLI_SHAPE_LIST : CLI_SHAPE_STREAM, columns, name_field,
                  job->run->out_is_terminal);
    code = read_all(job);
    if (job->format != CLI_FORMAT_RAW && !cli_out_end(&job->out) && code == CLI_EXIT_OK) {
        code = CLI_EXIT_FAILURE;
    }
    return code;
}

static void close_watch(watching *job)
{
    job->watch = flx_cache_watch_free(job->watch);
    job->client = flx_client_free(job->client);
}

cli_exit cli_cmd_cache_watch(cli_run *run)
{
    const flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    watching job = {.run = run, .cache = cli_args_at(&run->args, 0), .options = options};
    if (!take_options(&job, cli_args_at(&run->args, 1)) || !take_start(&job)) {
        return CLI_EXIT_USAGE;
    }
    job.format = cli_run_format(run, CLI_FORMAT_RAW, CLI_FORMAT_RAW);
    const cli_exit code = run_watch(&job, change_columns, "key");
    close_watch(&job);
    return code;
}

cli_exit cli_cmd_cache_keys(cli_run *run)
{
    const flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    watching job = {
        .run = run, .cache = cli_args_at(&run->args, 0), .options = options, .is_listing = true};
    if (!take_options(&job, NULL)) {
        return CLI_EXIT_USAGE;
    }
    job.options.from = FLX_WATCH_FROM_RETAINED;
    job.options.no_resume = true; /* a listing that begins again would list twice */
    job.format = cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_NAME);
    if (job.format == CLI_FORMAT_RAW) {
        job.format = CLI_FORMAT_NAME;
    }
    const cli_exit code = run_watch(&job, key_columns, "key");
    close_watch(&job);
    return code;
}
