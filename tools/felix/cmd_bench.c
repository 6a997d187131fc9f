/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_bench.c - felix bench: latency, fanout, publish, cache, seen from a client.
 *
 * Everything runs in this process over libfelix, as an application would. Each record carries a run
 * number, so that records of an earlier run on the same stream do not count. CPU time is that of the
 * broker's process where it is to be seen: named by --pid, or found by the port it listens on.
 */
#include "commands.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/histogram.h"
#include "common/xorshift.h"
#include "process.h"
#include "session.h"
#include "stop.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SUBSCRIBERS_MAX 4096
#define STALL_NS        (UINT64_C(10) * FLX_NS_PER_S) /* nothing for so long ends a run */

/* At the head of every payload. */
typedef struct stamp {
    uint64_t run;
    uint64_t sequence;
    uint64_t sent_ns;
} stamp;

typedef struct bench {
    cli_run *run;
    flx_client *client;
    const char *stream;
    uint8_t *payload; /* `size` bytes, the stamp first */
    uint64_t size;
    uint64_t count;
    uint64_t run_number;
    uint32_t timeout_ms;
    pid_t pid; /* 0: not known */
    uint64_t cpu_start_us;
    uint64_t started_ns;
    atomic_uint_fast64_t done; /* what was waited for */
    atomic_uint_fast64_t failed;
    atomic_uint_fast64_t last_ns; /* when something last happened */
    sem_t wake;
    flx_histogram latency; /* of the callback's thread until it is over */
} bench;

/* --- common parts --- */

static bool find_process(bench *job)
{
    const cli_run *run = job->run;
    char host[FLX_HOST_MAX];
    uint16_t port = 0;
    uint64_t pid = 0;
    cli_port_owner owner;
    if (cli_args_has(&run->args, "pid")) {
        if (!cli_flag_u64(run, "pid", 1, INT32_MAX, &pid)) {
            return false;
        }
        job->pid = (pid_t)pid;
        if (!cli_process_cpu_us(job->pid, &job->cpu_start_us)) {
            (void)cli_error(run, CLI_EXIT_NOT_FOUND, NULL, "there is no process %d", (int)pid);
            return false;
        }
        return true;
    }
    char first[CLI_VALUE_MAX];
    const char *addresses = run->settings.values.addresses;
    (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(addresses, ","), addresses);
    if (flx_address_split(first, host, &port, NULL) == FLX_OK &&
        (strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
         strcmp(host, "localhost") == 0) &&
        cli_port_owner_find(true, port, &owner)) {
        job->pid = owner.pid;
    }
    return true;
}

static bool open_bench(bench *job, cli_run *run, uint32_t connections, cli_exit *ret_exit)
{
    const cli_session_options session = {.connections = connections};
    flx_error error = {0};
    memset(job, 0, sizeof *job);
    job->run = run;
    job->run_number = flx_clock_wall_us();
    *ret_exit = CLI_EXIT_USAGE;
    flx_histogram_init(&job->latency);
    (void)sem_init(&job->wake, 0, 0);
    if (!cli_flag_size(run, "size", 0, 8 << 20, &job->size) ||
        !cli_flag_u64(run, "count", 1, UINT32_MAX, &job->count) ||
        !cli_flag_timeout_ms(run, &job->timeout_ms)) {
        return false;
    }
    job->size = job->size < sizeof(stamp) ? sizeof(stamp) : job->size;
    job->payload = flx_calloc(1, (size_t)job->size);
    if (job->payload == NULL || cli_stop_init(&error) != FLX_OK) {
        *ret_exit = cli_error(run, CLI_EXIT_FAILURE, NULL, "bench: out of memory");
        return false;
    }
    return cli_session_open(run, &session, &job->client, ret_exit) && find_process(job);
}

static bool need_stream(bench *job, cli_exit *ret_exit)
{
    uint32_t shards = 0;
    job->stream = cli_args_flag(&job->run->args, "stream");
    return cli_session_need_stream(job->run, job->client, job->stream, true, &shards, ret_exit);
}

static void close_bench(bench *job)
{
    job->client = flx_client_free(job->client);
    flx_free(job->payload);
    (void)sem_destroy(&job->wake);
}

static void start_clock(bench *job)
{
    if (job->pid != 0 && !cli_process_cpu_us(job->pid, &job->cpu_start_us)) {
        job->pid = 0;
    }
    job->started_ns = flx_clock_monotonic_ns();
    atomic_store(&job->last_ns, job->started_ns);
}

static void note_done(bench *job, uint64_t count, uint64_t now_ns)
{
    atomic_store(&job->last_ns, now_ns);
    atomic_fetch_add(&job->done, count);
    (void)sem_post(&job->wake);
}

/* Waits until `wanted` things are done or failed. False: stopped, or nothing happens any more. */
static bool wait_for(bench *job, uint64_t wanted)
{
    while (atomic_load(&job->done) + atomic_load(&job->failed) < wanted) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)sem_timedwait(&job->wake, &until);
        if (cli_stop_requested() ||
            flx_clock_monotonic_ns() > atomic_load(&job->last_ns) + STALL_NS) {
            return false;
        }
    }
    return true;
}

static const cli_column result_columns[] = {{"Bench", "bench", false, 0},
                                            {"Payload, bytes", "payload_bytes", false, 0},
                                            {"Subscribers", "subscribers", false, 0},
                                            {"Batch", "batch", false, 0},
                                            {"In flight", "in_flight", false, 0},
                                            {"Count", "count", false, 0},
                                            {"Failed", "failed", false, 0},
                                            {"Seconds", "seconds", false, 0},
                                            {"Per second", "per_second", false, 0},
                                            {"MB per second", "mb_per_second", false, 0},
                                            {"p50, us", "p50_us", false, 0},
                                            {"p90, us", "p90_us", false, 0},
                                            {"p99, us", "p99_us", false, 0},
                                            {"p99.9, us", "p999_us", false, 0},
                                            {"Max, us", "max_us", false, 0},
                                            {"Node CPU, s", "node_cpu_seconds", false, 0},
                                            {"Node CPU, us each", "node_cpu_us_each", false, 0},
                                            {NULL, NULL, false, 0}};

static void add_latency(json_t *row, const flx_histogram *latency)
{
    static const struct {
        const char *member;
        double percent;
    } points[] = {
        {"p50_us", 50}, {"p90_us", 90}, {"p99_us", 99}, {"p999_us", 99.9}, {"max_us", 100}};
    for (size_t i = 0; latency->count > 0 && i < sizeof points / sizeof points[0]; i++) {
        const double us = (double)flx_histogram_percentile(latency, points[i].percent) / 1000;
        (void)json_object_set_new(row, points[i].member, json_real(us));
    }
}

static void add_cpu(json_t *row, const bench *job, uint64_t count)
{
    uint64_t now_us = 0;
    if (job->pid == 0 || !cli_process_cpu_us(job->pid, &now_us) || count == 0) {
        return;
    }
    const double used_us = (double)(now_us - job->cpu_start_us);
    (void)json_object_set_new(row, "node_cpu_seconds", json_real(used_us / 1e6));
    (void)json_object_set_new(row, "node_cpu_us_each", json_real(used_us / (double)count));
}

/* The result; `extra` (taken) has what only this bench has. */
static cli_exit result(bench *job, const char *name, json_t *extra)
{
    cli_out out;
    const uint64_t count = atomic_load(&job->done);
    const double seconds =
        (double)(atomic_load(&job->last_ns) - job->started_ns) / (double)FLX_NS_PER_S;
    const double rate = seconds > 0 ? (double)count / seconds : 0;
    json_t *row = json_pack("{s:s, s:I}", "bench", name, "payload_bytes", (json_int_t)job->size);
    (void)json_object_update(row, extra);
    json_decref(extra);
    (void)json_object_set_new(row, "count", json_integer((json_int_t)count));
    (void)json_object_set_new(row, "failed", json_integer((json_int_t)atomic_load(&job->failed)));
    (void)json_object_set_new(row, "seconds", json_real(seconds));
    (void)json_object_set_new(row, "per_second", json_real(rate));
    (void)json_object_set_new(row, "mb_per_second", json_real(rate * (double)job->size / 1e6));
    add_latency(row, &job->latency);
    add_cpu(row, job, count);
    cli_out_begin(&out, job->run->out, cli_run_format(job->run, CLI_FORMAT_TABLE, CLI_FORMAT_JSONL),
                  CLI_SHAPE_ONE, result_columns, "per_second", job->run->out_is_terminal);
    cli_out_row(&out, row);
    return cli_out_end(&out) ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

/* The result of a run that came to an end, well or not. Takes `settings`. */
static cli_exit tell(bench *job, cli_exit code, const char *name, json_t *settings)
{
    if (code != CLI_EXIT_OK && code != CLI_EXIT_PARTIAL) {
        json_decref(settings);
        return code;
    }
    const cli_exit wrote = result(job, name, settings);
    return code == CLI_EXIT_OK ? wrote : code;
}

static cli_exit came_to_an_end(const bench *job, bool whole)
{
    if (whole) {
        return CLI_EXIT_OK;
    }
    return cli_error(job->run, CLI_EXIT_PARTIAL, NULL, "bench: %s after %llu of %llu",
                     cli_stop_requested() ? "stopped" : "nothing came any more",
                     (unsigned long long)atomic_load(&job->done), (unsigned long long)job->count);
}

static cli_exit failed(const bench *job, const flx_error *error)
{
    return cli_failed(job->run, error, "bench on '%s'", job->stream);
}

static flx_slice stamped(bench *job, uint64_t sequence)
{
    const stamp head = {job->run_number, sequence, flx_clock_monotonic_ns()};
    memcpy(job->payload, &head, sizeof head);
    return (flx_slice){job->payload, (size_t)job->size};
}

/* --- latency: one record at a time --- */

static void on_latency_message(void *arg, const flx_message *message)
{
    bench *job = arg;
    stamp head;
    if (message->kind != FLX_MESSAGE_RECORD || message->payload.len < sizeof head) {
        return;
    }
    memcpy(&head, message->payload.ptr, sizeof head);
    if (head.run != job->run_number) {
        return;
    }
    const uint64_t now = flx_clock_monotonic_ns();
    if (head.sequence != UINT64_MAX) {
        flx_histogram_record(&job->latency, now - head.sent_ns);
    }
    note_done(job, 1, now);
}

/* `count` records, each after the delivery of the one before. Not measured ones have no number. */
static bool ping(bench *job, flx_publisher *publisher, uint64_t count, bool measured,
                 flx_error *reterr)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t before = atomic_load(&job->done);
        const flx_slice payload = stamped(job, measured ? i : UINT64_MAX);
        if (flx_publisher_publish(publisher, NULL, payload, NULL, NULL, reterr) != FLX_OK) {
            return false;
        }
        if (!wait_for(job, before + 1)) {
            reterr->status = FLX_OK;
            return false;
        }
    }
    return true;
}

static cli_exit measure_latency(bench *job, uint64_t warmup)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    flx_subscriber *subscriber = NULL;
    flx_publisher *publisher = NULL;
    flx_error error = {0};
    cli_exit code = CLI_EXIT_OK;
    options.message_fn = on_latency_message;
    options.arg = job;
    flx_status status = flx_subscriber_new(job->client, job->stream, &options, &subscriber, &error);
    if (status == FLX_OK) {
        status = flx_subscriber_wait(subscriber, job->timeout_ms, &error);
    }
    if (status == FLX_OK) {
        status = flx_publisher_new(job->client, job->stream, NULL, &publisher, &error);
    }
    if (status != FLX_OK) {
        code = failed(job, &error);
    } else {
        atomic_store(&job->last_ns, flx_clock_monotonic_ns());
        bool whole = ping(job, publisher, warmup, false, &error);
        if (whole) {
            atomic_store(&job->done, 0);
            start_clock(job);
            whole = ping(job, publisher, job->count, true, &error);
        }
        code = error.status != FLX_OK ? failed(job, &error) : came_to_an_end(job, whole);
    }
    (void)flx_publisher_free(publisher);
    (void)flx_subscriber_free(subscriber);
    return code;
}

cli_exit cli_cmd_bench_latency(cli_run *run)
{
    bench job;
    uint64_t warmup = 0;
    cli_exit code = CLI_EXIT_OK;
    if (open_bench(&job, run, 2, &code) && need_stream(&job, &code) &&
        cli_flag_u64(run, "warmup", 0, UINT32_MAX, &warmup)) {
        code = measure_latency(&job, warmup);
        code =
            tell(&job, code, "latency", json_pack("{s:i, s:i}", "subscribers", 1, "in_flight", 1));
    }
    close_bench(&job);
    return code;
}

/* --- publish and fanout: as fast as it goes --- */

typedef struct flight {
    bench *job;
    uint64_t records;
    uint64_t sent_ns;
    bool counts; /* publish counts acknowledgements, fanout deliveries */
} flight;

static void on_published(void *arg, const flx_publish_result *published)
{
    flight *one = arg;
    bench *job = one->job;
    const uint64_t now = flx_clock_monotonic_ns();
    if (published->status != FLX_OK) {
        atomic_fetch_add(&job->failed, one->records);
        (void)sem_post(&job->wake);
    } else if (one->counts) {
        flx_histogram_record(&job->latency, now - one->sent_ns);
        note_done(job, one->records, now);
    }
    flx_free(one);
}

static bool send_one_batch(bench *job, flx_publisher *publisher, const flx_slice *payloads,
                           uint64_t records, bool counts, flx_error *reterr)
{
    flight *one = flx_alloc(sizeof *one);
    if (one == NULL) {
        reterr->status = FLX_ERR_NOMEM;
        return false;
    }
    *one = (flight){job, records, flx_clock_monotonic_ns(), counts};
    for (;;) {
        flx_error error = {0};
        const flx_status status = flx_publisher_publish_batch(
            publisher, NULL, payloads, (size_t)records, on_published, one, &error);
        if (status == FLX_OK) {
            return true;
        }
        if (status != FLX_ERR_AGAIN || cli_stop_requested()) {
            if (status != FLX_ERR_AGAIN) {
                *reterr = error; /* no room yet is no failure */
            }
            flx_free(one);
            return false;
        }
    }
}

static bool send_all(bench *job, uint64_t batch, uint64_t in_flight, bool counts, flx_error *reterr)
{
    flx_publisher_options options = FLX_PUBLISHER_OPTIONS_INIT;
    flx_publisher *publisher = NULL;
    options.inflight_batches_max = (uint32_t)in_flight;
    options.inflight_count_max = (uint32_t)in_flight;
    options.inflight_bytes_max = 256U << 20;
    options.batch_count_max = (uint32_t)batch;
    options.block_ms = 200;
    if (flx_publisher_new(job->client, job->stream, &options, &publisher, reterr) != FLX_OK) {
        return false;
    }
    flx_slice *payloads = flx_calloc((size_t)batch, sizeof *payloads);
    const flx_slice payload = stamped(job, 0);
    for (uint64_t i = 0; payloads != NULL && i < batch; i++) {
        payloads[i] = payload;
    }
    bool goes_on = payloads != NULL;
    for (uint64_t sent = 0; goes_on && sent < job->count; sent += batch) {
        const uint64_t records = job->count - sent < batch ? job->count - sent : batch;
        goes_on = send_one_batch(job, publisher, payloads, records, counts, reterr);
    }
    const flx_status flushed = flx_publisher_flush(publisher, job->timeout_ms, NULL);
    (void)flx_publisher_free(publisher); /* callbacks owed run now */
    flx_free(payloads);
    return goes_on && flushed == FLX_OK;
}

cli_exit cli_cmd_bench_publish(cli_run *run)
{
    bench job;
    uint64_t batch = 0;
    uint64_t in_flight = 0;
    cli_exit code = CLI_EXIT_OK;
    flx_error error = {0};
    if (open_bench(&job, run, 1, &code) && need_stream(&job, &code) &&
        cli_flag_u64(run, "batch", 1, 65536, &batch) &&
        cli_flag_u64(run, "in-flight", 1, 65536, &in_flight)) {
        start_clock(&job);
        const bool sent = send_all(&job, batch, in_flight, true, &error);
        const bool whole = sent && wait_for(&job, job.count);
        code = error.status != FLX_OK && !cli_stop_requested() ? failed(&job, &error)
                                                               : came_to_an_end(&job, whole);
        code = tell(&job, code, "publish",
                    json_pack("{s:I, s:I}", "batch", (json_int_t)batch, "in_flight",
                              (json_int_t)in_flight));
    }
    close_bench(&job);
    return code;
}

static void on_fanout_message(void *arg, const flx_message *message)
{
    bench *job = arg;
    uint64_t run_number = 0;
    if (message->kind == FLX_MESSAGE_GAP) {
        if (message->gap_end > message->offset) {
            atomic_fetch_add(&job->failed, message->gap_end - message->offset);
        }
        return;
    }
    if (message->payload.len < sizeof(stamp)) {
        return;
    }
    memcpy(&run_number, message->payload.ptr, sizeof run_number);
    if (run_number != job->run_number) {
        return;
    }
    /* Deliveries come by the million: look at the clock now and then only. */
    if ((atomic_fetch_add(&job->done, 1) & 255) == 0) {
        atomic_store(&job->last_ns, flx_clock_monotonic_ns());
        (void)sem_post(&job->wake);
    }
}

static flx_status open_subscribers(bench *job, flx_subscriber **subscribers, uint64_t count,
                                   flx_error *reterr)
{
    flx_subscriber_options options = FLX_SUBSCRIBER_OPTIONS_INIT;
    options.message_fn = on_fanout_message;
    options.arg = job;
    flx_status status = FLX_OK;
    for (uint64_t i = 0; status == FLX_OK && i < count; i++) {
        status = flx_subscriber_new(job->client, job->stream, &options, &subscribers[i], reterr);
    }
    for (uint64_t i = 0; status == FLX_OK && i < count; i++) {
        status = flx_subscriber_wait(subscribers[i], job->timeout_ms, reterr);
    }
    return status;
}

static cli_exit measure_fanout(bench *job, uint64_t count, uint64_t batch)
{
    flx_error error = {0};
    cli_exit code = CLI_EXIT_OK;
    flx_subscriber **subscribers = flx_calloc((size_t)count, sizeof(flx_subscriber *));
    if (subscribers == NULL) {
        return cli_error(job->run, CLI_EXIT_FAILURE, NULL, "bench: out of memory");
    }
    if (open_subscribers(job, subscribers, count, &error) != FLX_OK) {
        code = failed(job, &error);
    } else {
        start_clock(job);
        const bool sent = send_all(job, batch, 64, false, &error);
        const bool whole = sent && wait_for(job, job->count * count);
        if (whole) {
            atomic_store(&job->last_ns, flx_clock_monotonic_ns());
        }
        code = error.status != FLX_OK && !cli_stop_requested() ? failed(job, &error)
                                                               : came_to_an_end(job, whole);
    }
    for (uint64_t i = 0; i < count; i++) {
        (void)flx_subscriber_free(subscribers[i]);
    }
    flx_free(subscribers);
    return code;
}

cli_exit cli_cmd_bench_fanout(cli_run *run)
{
    bench job;
    uint64_t subscribers = 0;
    uint64_t connections = 0;
    uint64_t batch = 0;
    cli_exit code = CLI_EXIT_USAGE;
    if (!cli_flag_u64(run, "connections", 1, 1024, &connections)) {
        return code;
    }
    if (open_bench(&job, run, (uint32_t)connections, &code) && need_stream(&job, &code) &&
        cli_flag_u64(run, "subscribers", 1, SUBSCRIBERS_MAX, &subscribers) &&
        cli_flag_u64(run, "batch", 1, 65536, &batch)) {
        code = measure_fanout(&job, subscribers, batch);
        code = tell(&job, code, "fanout",
                    json_pack("{s:I, s:I}", "subscribers", (json_int_t)subscribers, "batch",
                              (json_int_t)batch));
    }
    close_bench(&job);
    return code;
}

/* --- cache --- */

typedef struct cache_request {
    bench *job;
    uint64_t sent_ns;
} cache_request;

static void on_cached(void *arg, const flx_cache_result *answer)
{
    cache_request *one = arg;
    bench *job = one->job;
    const uint64_t now = flx_clock_monotonic_ns();
    if (answer->status != FLX_OK) {
        atomic_fetch_add(&job->failed, 1);
        (void)sem_post(&job->wake);
    } else {
        flx_histogram_record(&job->latency, now - one->sent_ns);
        note_done(job, 1, now);
    }
    flx_free(one);
}

static flx_status send_request(bench *job, flx_cache *cache, uint64_t key_index, bool put,
                               flx_error *reterr)
{
    char text[32];
    const int len = snprintf(text, sizeof text, "key-%llu", (unsigned long long)key_index);
    const flx_slice key = {(const uint8_t *)text, (size_t)len};
    cache_request *one = flx_alloc(sizeof *one);
    if (one == NULL) {
        reterr->status = FLX_ERR_NOMEM;
        return FLX_ERR_NOMEM;
    }
    *one = (cache_request){job, flx_clock_monotonic_ns()};
    const flx_slice value = {job->payload, (size_t)job->size};
    const flx_status status =
        put ? flx_cache_put_async(cache, key, value, FLX_TTL_NONE, on_cached, one, reterr)
            : flx_cache_get_async(cache, key, on_cached, one, reterr);
    if (status != FLX_OK) {
        flx_free(one);
    }
    return status;
}

typedef struct cache_load {
    uint64_t keys;
    uint64_t in_flight;
    uint64_t put_percent;
} cache_load;

static cli_exit measure_cache(bench *job, const char *name, const cache_load *load)
{
    flx_cache *cache = NULL;
    flx_error error = {0};
    uint64_t random = job->run_number | 1;
    bool goes_on = true;
    job->stream = name;
    if (flx_cache_new(job->client, name, &cache, &error) != FLX_OK) {
        return failed(job, &error);
    }
    start_clock(job);
    for (uint64_t i = 0; goes_on && i < job->count; i++) {
        (void)flx_xorshift(&random);
        goes_on = i < load->in_flight || wait_for(job, i - load->in_flight + 1);
        if (goes_on && send_request(job, cache, random % load->keys,
                                    (random >> 32) % 100 < load->put_percent, &error) != FLX_OK) {
            goes_on = false;
        }
    }
    const bool whole = goes_on && wait_for(job, job->count);
    const cli_exit code = error.status != FLX_OK ? failed(job, &error) : came_to_an_end(job, whole);
    (void)flx_cache_free(cache); /* callbacks owed run now */
    return code;
}

cli_exit cli_cmd_bench_cache(cli_run *run)
{
    bench job;
    cache_load load = {0};
    cli_exit code = CLI_EXIT_OK;
    const char *name = cli_args_flag(&run->args, "cache");
    if (open_bench(&job, run, 1, &code) && cli_session_need_cache(run, name, &code) &&
        cli_flag_u64(run, "keys", 1, UINT32_MAX, &load.keys) &&
        cli_flag_u64(run, "in-flight", 1, 4096, &load.in_flight) &&
        cli_flag_u64(run, "put-percent", 0, 100, &load.put_percent)) {
        code = measure_cache(&job, name, &load);
        code =
            tell(&job, code, "cache", json_pack("{s:I}", "in_flight", (json_int_t)load.in_flight));
    }
    close_bench(&job);
    return code;
}
