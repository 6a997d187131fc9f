/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_pub.c - felix pub: a text, standard input as one record, or each of its lines.
 *
 * Lines are cut into batches where they were read and copied once, into the frame the library
 * sends. The first failure stops the reading: what follows must not reach the stream when what came
 * before it may not have. The counts come from the library, so the last line is right however the
 * run ends.
 */
#include "commands.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/slice.h"
#include "lines.h"
#include "session.h"
#include "stop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define RECORD_MAX  ((size_t)15 * 1024 * 1024) /* a frame of 16 MiB has other things in it too */
#define SLICE_MS    200                        /* how often waiting looks at the stop requests */
#define PROGRESS_NS (FLX_NS_PER_S / 5)

typedef struct publishing {
    cli_run *run;
    flx_client *client;
    flx_publisher *publisher;
    const char *stream;
    flx_slice key;
    bool has_key;
    bool each_alone; /* --ack message: every record a frame of its own */
    bool quiet;
    uint32_t timeout_ms;
    uint64_t started_ns;
    uint64_t progress_ns;
    bool progress_shown;
    pthread_mutex_t lock;
    flx_error first_error; /* under the lock; status FLX_OK while there is none */
} publishing;

/* The loop thread of the client tells how a batch ended. */
static void on_result(void *arg, const flx_publish_result *result)
{
    publishing *job = arg;
    if (result->status == FLX_OK) {
        return;
    }
    (void)pthread_mutex_lock(&job->lock);
    if (job->first_error.status == FLX_OK) {
        if (result->error != NULL) {
            job->first_error = *result->error;
        }
        job->first_error.status = result->status;
    }
    (void)pthread_mutex_unlock(&job->lock);
    cli_stop_request();
}

static flx_error first_error(publishing *job)
{
    (void)pthread_mutex_lock(&job->lock);
    const flx_error error = job->first_error;
    (void)pthread_mutex_unlock(&job->lock);
    return error;
}

static void set_error(publishing *job, const flx_error *error)
{
    (void)pthread_mutex_lock(&job->lock);
    if (job->first_error.status == FLX_OK) {
        job->first_error = *error;
    }
    (void)pthread_mutex_unlock(&job->lock);
}

static void counts(publishing *job, flx_publisher_stats *ret_stats)
{
    memset(ret_stats, 0, sizeof *ret_stats);
    ret_stats->struct_size = sizeof *ret_stats;
    flx_publisher_get_stats(job->publisher, ret_stats);
}

static void show_progress(publishing *job)
{
    const uint64_t now = flx_clock_monotonic_ns();
    flx_publisher_stats stats;
    if (job->quiet || !job->run->err_is_terminal || now - job->progress_ns < PROGRESS_NS) {
        return;
    }
    counts(job, &stats);
    const double seconds = (double)(now - job->started_ns) / 1e9;
    (void)fprintf(job->run->err, "\r%llu sent, %llu acked, %.0f/s\033[K",
                  (unsigned long long)stats.accepted, (unsigned long long)stats.acked,
                  seconds > 0 ? (double)stats.acked / seconds : 0);
    (void)fflush(job->run->err);
    job->progress_ns = now;
    job->progress_shown = true;
}

/* One frame. Waits for room, but not past a stop. False: it was not taken. */
static bool send_frame(publishing *job, const flx_slice *records, size_t count)
{
    const flx_slice *key = job->has_key ? &job->key : NULL;
    for (;;) {
        flx_error error = {0};
        const flx_status status = flx_publisher_publish_batch(job->publisher, key, records, count,
                                                              on_result, job, &error);
        if (status == FLX_OK) {
            return true;
        }
        if (status != FLX_ERR_AGAIN) {
            set_error(job, &error);
            cli_stop_request();
        }
        show_progress(job);
        if (cli_stop_requested()) {
            return false;
        }
    }
}

static bool send_batch(publishing *job, const flx_slice *records, size_t count)
{
    if (!job->each_alone) {
        return send_frame(job, records, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (!send_frame(job, &records[i], 1)) {
            return false;
        }
    }
    return true;
}

static bool send_lines(publishing *job, cli_lines *lines, bool flush)
{
    const flx_slice *records = NULL;
    size_t count = 0;
    while ((count = cli_lines_take(lines, flush, &records)) > 0) {
        if (!send_batch(job, records, count)) {
            return false;
        }
    }
    show_progress(job);
    return true;
}

/* Waits until input is there, a batch has lingered long enough, or it is time to stop. */
static bool wait_for_input(const cli_lines *lines, uint64_t linger_ns, uint64_t *waits_since_ns)
{
    struct pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {cli_stop_fd(), POLLIN, 0}};
    int timeout_ms = -1;
    if (!cli_lines_waits(lines)) {
        *waits_since_ns = 0;
    } else {
        const uint64_t now = flx_clock_monotonic_ns();
        *waits_since_ns = *waits_since_ns == 0 ? now : *waits_since_ns;
        const uint64_t due = *waits_since_ns + linger_ns;
        timeout_ms = due <= now ? 0 : (int)((due - now + FLX_NS_PER_MS - 1) / FLX_NS_PER_MS);
        if (timeout_ms == 0) {
            return false;
        }
    }
    return poll(fds, 2, timeout_ms) > 0 && fds[0].revents != 0;
}

/* Reads once. False: the end, or an error that was noted. */
static bool read_input(publishing *job, cli_lines *lines)
{
    flx_error error = {0};
    uint8_t *room = NULL;
    size_t len = 0;
    if (cli_lines_room(lines, &room, &len, &error) != FLX_OK) {
        set_error(job, &error);
        cli_stop_request();
        return false;
    }
    const ssize_t got = read(STDIN_FILENO, room, len);
    if (got > 0) {
        cli_lines_filled(lines, (size_t)got);
        return true;
    }
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    if (got < 0) {
        error.status = FLX_ERR_IO;
        (void)snprintf(error.message, sizeof error.message, "read standard input: %s",
                       strerrordesc_np(errno));
        set_error(job, &error);
        cli_stop_request();
    }
    return false;
}

static void pump_lines(publishing *job, cli_lines *lines, uint64_t linger_ns)
{
    uint64_t waits_since_ns = 0;
    while (!cli_stop_requested()) {
        if (!wait_for_input(lines, linger_ns, &waits_since_ns)) {
            waits_since_ns = 0;
            if (!cli_stop_requested() && !send_lines(job, lines, true)) {
                return;
            }
            continue;
        }
        if (!read_input(job, lines)) {
            break;
        }
        if (!send_lines(job, lines, false)) {
            return;
        }
    }
    if (first_error(job).status != FLX_OK) {
        return; /* what was read and not sent stays unsent */
    }
    /* At the end of input the open line is a record; after a signal only whole lines are. */
    if (!cli_stop_requested()) {
        cli_lines_finish(lines);
    }
    (void)send_lines(job, lines, true);
}

static bool is_lost(flx_status status)
{
    return status == FLX_ERR_UNKNOWN_OUTCOME || status == FLX_ERR_CLOSED ||
           status == FLX_ERR_UNAVAILABLE || status == FLX_ERR_TIMEOUT;
}

/* Waits for the answers that are due, as long as they can still come. */
static void settle(publishing *job)
{
    const uint64_t deadline = flx_clock_monotonic_ns() + (uint64_t)job->timeout_ms * FLX_NS_PER_MS;
    for (;;) {
        flx_error error = {0};
        if (is_lost(first_error(job).status)) {
            return;
        }
        const flx_status status = flx_publisher_flush(job->publisher, SLICE_MS, &error);
        show_progress(job);
        if (status == FLX_OK) {
            return;
        }
        if (status != FLX_ERR_TIMEOUT || cli_stop_at_once() ||
            flx_clock_monotonic_ns() > deadline) {
            if (status == FLX_ERR_TIMEOUT) {
                (void)snprintf(error.message, sizeof error.message, "answers are still missing");
            }
            set_error(job, &error);
            return;
        }
    }
}

static cli_exit finish(publishing *job)
{
    flx_publisher_stats stats;
    cli_exit code = CLI_EXIT_OK;
    settle(job);
    counts(job, &stats);
    const flx_error error = first_error(job);
    if (job->progress_shown) {
        (void)fputs("\r\033[K", job->run->err);
    }
    if (error.status != FLX_OK) {
        code = cli_failed(job->run, &error, "publish to '%s'", job->stream);
        if (stats.acked > 0) {
            code = CLI_EXIT_PARTIAL;
        }
    }
    if (!job->quiet) {
        (void)fprintf(job->run->err, "%llu sent, %llu acked\n", (unsigned long long)stats.accepted,
                      (unsigned long long)stats.acked);
        (void)fflush(job->run->err);
    }
    return code;
}

/* All of standard input as one record. */
static void pump_whole(publishing *job, cli_lines *lines)
{
    if (isatty(STDIN_FILENO) == 1) {
        cli_say(job->run, "reading one record from the terminal; Ctrl-D ends it");
    }
    while (!cli_stop_requested() && read_input(job, lines)) {
    }
    if (!cli_stop_requested()) {
        const flx_slice record = {lines->bytes, lines->len};
        (void)send_frame(job, &record, 1);
    }
}

typedef struct pub_options {
    uint64_t batch_count;
    uint64_t batch_bytes;
    uint64_t linger_us;
    bool lines;
    const char *text;
} pub_options;

static bool take_options(cli_run *run, publishing *job, pub_options *options)
{
    const char *key = cli_args_flag(&run->args, "key");
    if (!cli_flag_timeout_ms(run, &job->timeout_ms) ||
        !cli_flag_u64(run, "batch", 1, 65536, &options->batch_count) ||
        !cli_flag_size(run, "batch-bytes", 1, RECORD_MAX, &options->batch_bytes) ||
        !cli_flag_duration_us(run, "linger", &options->linger_us)) {
        return false;
    }
    options->lines = cli_args_has(&run->args, "lines");
    options->text = cli_args_at(&run->args, 1);
    if (options->lines && options->text != NULL) {
        (void)cli_error(run, CLI_EXIT_USAGE, "give a text or --lines, not both",
                        "pub: '%.60s' and --lines", options->text);
        return false;
    }
    if (key != NULL && strlen(key) > UINT16_MAX) {
        (void)cli_error(run, CLI_EXIT_USAGE, NULL, "--key is longer than 65535 bytes");
        return false;
    }
    job->has_key = key != NULL;
    job->key = (flx_slice){(const uint8_t *)key, key != NULL ? strlen(key) : 0};
    job->quiet = cli_args_has(&run->args, "quiet");
    job->each_alone = strcmp(cli_args_flag(&run->args, "ack"), "message") == 0;
    return true;
}

static flx_status open_publisher(publishing *job, const pub_options *options, flx_error *reterr)
{
    flx_publisher_options wanted = FLX_PUBLISHER_OPTIONS_INIT;
    const char *ack = cli_args_flag(&job->run->args, "ack");
    wanted.acks = job->each_alone            ? FLX_ACKS_PER_MESSAGE
                  : strcmp(ack, "none") == 0 ? FLX_ACKS_NONE
                                             : FLX_ACKS_PER_BATCH;
    wanted.batch_count_max = (uint32_t)options->batch_count;
    wanted.batch_bytes_max = (uint32_t)options->batch_bytes;
    wanted.inflight_bytes_max = (uint32_t)(RECORD_MAX + options->batch_bytes);
    wanted.block_ms = SLICE_MS;
    wanted.unsent_timeout_ms = job->timeout_ms;
    return flx_publisher_new(job->client, job->stream, &wanted, &job->publisher, reterr);
}

static void pump(publishing *job, const pub_options *options, cli_lines *lines)
{
    job->started_ns = flx_clock_monotonic_ns();
    if (options->lines) {
        pump_lines(job, lines, options->linger_us * FLX_NS_PER_US);
    } else if (options->text != NULL) {
        const flx_slice record = flx_slice_of(options->text);
        (void)send_frame(job, &record, 1);
    } else {
        pump_whole(job, lines);
    }
}

cli_exit cli_cmd_pub(cli_run *run)
{
    const cli_session_options session = {.tell_states = true};
    publishing job = {.run = run, .stream = cli_args_at(&run->args, 0)};
    pub_options options = {0};
    cli_lines lines = {0};
    flx_error error = {0};
    uint32_t shards = 0;
    cli_exit code = CLI_EXIT_USAGE;
    if (!take_options(run, &job, &options)) {
        return CLI_EXIT_USAGE;
    }
    if (cli_stop_init(&error) != FLX_OK ||
        cli_lines_init(&lines, (size_t)options.batch_count, (size_t)options.batch_bytes, RECORD_MAX,
                       &error) != FLX_OK) {
        return cli_failed(run, &error, "publish");
    }
    (void)pthread_mutex_init(&job.lock, NULL);
    if (cli_session_open(run, &session, &job.client, &code) &&
        cli_session_need_stream(run, job.client, job.stream, true, &shards, &code)) {
        if (open_publisher(&job, &options, &error) == FLX_OK) {
            pump(&job, &options, &lines);
            code = finish(&job);
        } else {
            code = cli_failed(run, &error, "publish to '%s'", job.stream);
        }
    }
    job.publisher = flx_publisher_free(job.publisher);
    job.client = flx_client_free(job.client);
    cli_lines_done(&lines);
    (void)pthread_mutex_destroy(&job.lock);
    return code;
}
