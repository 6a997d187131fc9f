/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_sub.c - felix sub and felix peek: records as they come, or what is there.
 *
 * A time as a start is found by the broker. One that cannot is read from the earliest record on, and
 * what is too early is passed over here.
 *
 * peek must know where to stop. A subscription to what comes next is made first and kept: the first
 * record it gets from a shard is the one that was not there yet, so peek reads up to that one. From
 * a shard where nothing new comes it has read everything when it has been silent for a while.
 */
#include "commands.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "record.h"
#include "session.h"
#include "stop.h"
#include "timespec.h"

#include <poll.h>
#include <string.h>

#define MESSAGES_MAX 256
#define SILENCE_MS   250 /* and four round trips */
#define SHARDS_MAX   1024

typedef struct reading {
    cli_run *run;
    flx_client *client;
    flx_subscriber *subscriber;
    const char *stream;
    cli_from from;
    uint64_t left;  /* records still wanted, UINT64_MAX: any number */
    uint32_t shard; /* or FLX_SHARD_ALL */
    uint32_t shards;
    uint32_t timeout_ms;
    cli_format format;
    cli_out out;
    bool ends_at_tail;       /* peek */
    flx_subscriber *newer;   /* peek: to what comes next */
    uint64_t *tails;         /* peek: of each shard, UINT64_MAX: not known */
    uint64_t silence_ns;     /* peek: ends it */
    uint64_t last_useful_ns; /* peek: when something came that was there before */
    bool told_no_time;
} reading;

static const cli_column record_columns[] = {{"TIME", "time", false, 27},
                                            {"SHARD", "shard", false, 5},
                                            {"OFFSET", "offset", false, 10},
                                            {"PAYLOAD", "payload", false, 0},
                                            {NULL, NULL, false, 0}};

/* Why records are missing, and which shard goes on where. */
static void tell_gap(const reading *job, const flx_message *gap)
{
    const unsigned long long missed =
        gap->gap_end > gap->offset ? (unsigned long long)(gap->gap_end - gap->offset) : 0;
    const unsigned long long next = (unsigned long long)gap->gap_end;
    switch (gap->gap_reason) {
    case FLX_GAP_RESET:
        cli_say(job->run, "the node has lost its memory of '%s': shard %u goes on at offset %llu",
                job->stream, gap->shard, next);
        break;
    case FLX_GAP_LAGGED:
        cli_say(job->run, "too slow for '%s': %llu records missed, shard %u goes on at offset %llu",
                job->stream, missed, gap->shard, next);
        break;
    case FLX_GAP_TOO_OLD:
        cli_say(job->run, "%llu records of '%s' are not kept any more: shard %u goes on at %llu",
                missed, job->stream, gap->shard, next);
        break;
    case FLX_GAP_MISSING:
    case FLX_GAP_DROPPED:
        cli_say(job->run, "%llu records of '%s' were dropped: shard %u goes on at offset %llu",
                missed, job->stream, gap->shard, next);
        break;
    case FLX_GAP_UNKNOWN:
    case FLX_GAP_NONE:
        cli_say(job->run, "records of '%s' may be missing: the node does not number them",
                job->stream);
        break;
    }
}

/* Whether --from TIME passes over this record. */
static bool too_early(reading *job, const flx_message *message)
{
    if (job->from.kind != CLI_FROM_TIME) {
        return false;
    }
    if (message->timestamp_us == 0) {
        if (!job->told_no_time) {
            cli_say(job->run, "the node does not tell times: '%s' is read from the earliest record",
                    job->stream);
            job->told_no_time = true;
        }
        return false;
    }
    return message->timestamp_us < job->from.time_us;
}

static void write_record(reading *job, const flx_message *message)
{
    if (job->format == CLI_FORMAT_RAW) {
        (void)fwrite(message->payload.ptr, 1, message->payload.len, job->run->out);
        (void)fputc('\n', job->run->out);
        return;
    }
    json_t *row = cli_record_json(message);
    const bool table = job->format == CLI_FORMAT_TABLE || job->format == CLI_FORMAT_WIDE;
    if (table && row != NULL && json_object_get(row, "payload") == NULL) {
        char text[48];
        (void)snprintf(text, sizeof text, "(%zu bytes)", message->payload.len);
        (void)json_object_set_new(row, "payload", json_string(text));
    }
    cli_out_row(&job->out, row);
}

/* Past the end that peek may read to. */
static bool past_tail(const reading *job, const flx_message *message)
{
    return job->tails != NULL && message->has_offset && message->shard < job->shards &&
           message->offset >= job->tails[message->shard];
}

static void take_message(reading *job, const flx_message *message)
{
    if (message->kind == FLX_MESSAGE_GAP) {
        tell_gap(job, message);
        if (job->format == CLI_FORMAT_JSON || job->format == CLI_FORMAT_JSONL ||
            job->format == CLI_FORMAT_YAML) {
            cli_out_row(&job->out, cli_gap_json(message));
        }
        return;
    }
    if (job->left == 0 || past_tail(job, message) || too_early(job, message)) {
        return;
    }
    job->last_useful_ns = job->ends_at_tail ? flx_clock_monotonic_ns() : 0;
    write_record(job, message);
    job->left -= job->left != UINT64_MAX;
}

/* What is new since peek began tells where to stop. */
static void learn_tails(reading *job)
{
    flx_message messages[MESSAGES_MAX];
    size_t count = 0;
    do {
        count = 0;
        if (flx_subscriber_receive_many(job->newer, 0, messages, MESSAGES_MAX, &count, NULL) !=
            FLX_OK) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            const flx_message *message = &messages[i];
            if (message->kind == FLX_MESSAGE_RECORD && message->has_offset &&
                message->shard < job->shards && job->tails[message->shard] == UINT64_MAX) {
                job->tails[message->shard] = message->offset;
            }
            flx_message_release(&messages[i]);
        }
    } while (count == MESSAGES_MAX);
}

/* Whether peek has seen all there was. */
static bool reached_tails(reading *job)
{
    learn_tails(job);
    if (flx_clock_monotonic_ns() > job->last_useful_ns + job->silence_ns) {
        return true;
    }
    for (uint32_t shard = 0; shard < job->shards; shard++) {
        uint64_t next = 0;
        if (job->shard != FLX_SHARD_ALL && job->shard != shard) {
            continue;
        }
        if (job->tails[shard] == UINT64_MAX ||
            !flx_subscriber_position(job->subscriber, shard, &next) || next < job->tails[shard]) {
            return false;
        }
    }
    return true;
}

/* Takes what is there. False: the subscription has ended; *reterr says why. */
static bool drain(reading *job, flx_error *reterr)
{
    flx_message messages[MESSAGES_MAX];
    size_t count = 0;
    do {
        count = 0;
        const flx_status status =
            flx_subscriber_receive_many(job->subscriber, 0, messages, MESSAGES_MAX, &count, reterr);
        if (status != FLX_OK && status != FLX_ERR_AGAIN) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            take_message(job, &messages[i]);
            flx_message_release(&messages[i]);
        }
    } while (count > 0 && job->left > 0 && !cli_stop_requested());
    return true;
}

/* False: stop. */
static bool wait_for_messages(const reading *job)
{
    struct pollfd fds[2] = {{flx_subscriber_fd(job->subscriber), POLLIN, 0},
                            {cli_stop_fd(), POLLIN, 0}};
    (void)poll(fds, 2, job->ends_at_tail ? SILENCE_MS : -1);
    return !cli_stop_requested();
}

static cli_exit read_all(reading *job)
{
    while (job->left > 0) {
        flx_error error = {0};
        const bool goes_on = drain(job, &error);
        cli_exit code = CLI_EXIT_OK;
        if (!cli_flush(job->run, &code)) {
            return code;
        }
        if (!goes_on) {
            return cli_failed(job->run, &error, "subscribe to '%s'", job->stream);
        }
        if (job->left == 0 || (job->ends_at_tail && reached_tails(job))) {
            break;
        }
        if (!wait_for_messages(job)) {
            break;
        }
    }
    return CLI_EXIT_OK;
}

static void subscriber_options(const reading *job, flx_subscriber_options *options)
{
    options->shard = job->shard;
    options->from = job->from.kind == CLI_FROM_LATEST   ? FLX_FROM_LATEST
                    : job->from.kind == CLI_FROM_OFFSET ? FLX_FROM_OFFSET
                    : job->from.kind == CLI_FROM_TIME   ? FLX_FROM_TIME
                                                        : FLX_FROM_EARLIEST;
    options->offset = job->from.offset;
    options->time_us = job->from.time_us;
    options->timestamps = job->from.kind == CLI_FROM_TIME || job->format != CLI_FORMAT_RAW;
    options->not_found_ms = 1000;
}

static bool open_subscriber(reading *job, const flx_subscriber_options *options, cli_exit *ret_exit)
{
    flx_error error = {0};
    flx_status status =
        flx_subscriber_new(job->client, job->stream, options, &job->subscriber, &error);
    if (status == FLX_OK) {
        status = flx_subscriber_wait(job->subscriber, job->timeout_ms, &error);
    }
    if (status != FLX_OK) {
        *ret_exit = cli_failed(job->run, &error, "subscribe to '%s'", job->stream);
        return false;
    }
    return true;
}

/* Begins to listen to what is new, for peek, before what is there is read. */
static bool listen_to_newer(reading *job, cli_exit *ret_exit)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_server_info info = {.struct_size = sizeof info};
    options.shard = job->shard;
    options.not_found_ms = 1000;
    if (!open_subscriber(job, &options, ret_exit)) {
        return false;
    }
    job->newer = job->subscriber;
    job->subscriber = NULL;
    flx_client_server_info(job->client, &info);
    job->silence_ns = SILENCE_MS * FLX_NS_PER_MS + 4 * info.smoothed_rtt_ns;
    job->shards = job->shards == 0 || job->shards > SHARDS_MAX ? SHARDS_MAX : job->shards;
    job->tails = flx_calloc(job->shards, sizeof *job->tails);
    if (job->tails == NULL) {
        *ret_exit = cli_error(job->run, CLI_EXIT_FAILURE, NULL, "peek: out of memory");
        return false;
    }
    memset(job->tails, 0xff, job->shards * sizeof *job->tails); /* UINT64_MAX each */
    return true;
}

static bool take_options(reading *job)
{
    cli_run *run = job->run;
    flx_error error = {0};
    uint64_t shard = 0;
    const char *from = cli_args_flag(&run->args, "from");
    job->left = UINT64_MAX;
    job->shard = FLX_SHARD_ALL;
    if (cli_from_parse(from, flx_clock_wall_us(), &job->from, &error) != FLX_OK) {
        (void)cli_error(run, CLI_EXIT_USAGE, NULL, "--from: %s", error.message);
        return false;
    }
    if (cli_args_flag(&run->args, "count") != NULL &&
        !cli_flag_u64(run, "count", 0, UINT64_MAX - 1, &job->left)) {
        return false;
    }
    if (cli_args_has(&run->args, "shard")) {
        if (!cli_flag_u64(run, "shard", 0, SHARDS_MAX - 1, &shard)) {
            return false;
        }
        job->shard = (uint32_t)shard;
    }
    job->format = cli_run_format(run, CLI_FORMAT_RAW, CLI_FORMAT_RAW);
    return cli_flag_timeout_ms(run, &job->timeout_ms);
}

static cli_exit read_stream(reading *job)
{
    const cli_session_options session = {.tell_states = !job->ends_at_tail};
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    cli_exit code = CLI_EXIT_OK;
    if (!cli_session_open(job->run, &session, &job->client, &code) ||
        !cli_session_need_stream(job->run, job->client, job->stream, !job->ends_at_tail,
                                 &job->shards, &code) ||
        (job->ends_at_tail && !listen_to_newer(job, &code))) {
        return code;
    }
    subscriber_options(job, &options);
    options.no_resume = job->ends_at_tail || cli_args_has(&job->run->args, "no-resume");
    if (!open_subscriber(job, &options, &code)) {
        return code;
    }
    if (!job->ends_at_tail) {
        (void)fputs("subscribed\n", job->run->err);
        (void)fflush(job->run->err);
    }
    cli_out_begin(&job->out, job->run->out, job->format, CLI_SHAPE_STREAM, record_columns, "offset",
                  job->run->out_is_terminal);
    job->last_useful_ns = flx_clock_monotonic_ns();
    code = read_all(job);
    if (job->format != CLI_FORMAT_RAW && !cli_out_end(&job->out) && code == CLI_EXIT_OK) {
        code = CLI_EXIT_FAILURE;
    }
    return code;
}

static cli_exit run_reading(cli_run *run, bool ends_at_tail)
{
    reading job = {.run = run, .stream = cli_args_at(&run->args, 0), .ends_at_tail = ends_at_tail};
    flx_error error = {0};
    if (!take_options(&job)) {
        return CLI_EXIT_USAGE;
    }
    if (cli_stop_init(&error) != FLX_OK) {
        return cli_failed(run, &error, "subscribe");
    }
    const cli_exit code = read_stream(&job);
    job.subscriber = flx_subscriber_free(job.subscriber);
    job.newer = flx_subscriber_free(job.newer);
    job.client = flx_client_free(job.client);
    flx_free(job.tails);
    return code;
}

cli_exit cli_cmd_sub(cli_run *run)
{
    return run_reading(run, false);
}

cli_exit cli_cmd_peek(cli_run *run)
{
    return run_reading(run, true);
}
