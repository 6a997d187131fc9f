/* SPDX-License-Identifier: Apache-2.0 */
/* node/exposition.c - one row a family; the rows with labels come after them. */
#include "node/exposition.h"

#include "wire/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct family {
    const char *name;
    const char *help;
    const char *type;
    size_t offset; /* in the struct of its table */
} family;

#define WORKER(name, type, field, help)                                                            \
    {                                                                                              \
        name, help, type, offsetof(flx_worker_stats, field)                                        \
    }
static const family worker_families[] = {
    WORKER("felix_connections", "gauge", connections, "Client connections open now."),
    WORKER("felix_connections_total", "counter", connections_total, "Client connections accepted."),
    WORKER("felix_streams_open", "gauge", lanes, "QUIC streams of clients open now."),
    WORKER("felix_subscriptions", "gauge", subscriptions, "Subscriptions now."),
    WORKER("felix_shards", "gauge", shards, "Stream shards with state in memory."),
    WORKER("felix_ring_bytes", "gauge", ring_bytes, "Memory of recent records, all shards."),
    WORKER("felix_publish_inflight_bytes", "gauge", publish_bytes,
           "Payload accepted and not answered yet."),
    WORKER("felix_mailbox_outbox", "gauge", outbox_mails,
           "Messages between workers that wait because a mailbox is full."),
    WORKER("felix_published_records_total", "counter", published_records, "Records appended."),
    WORKER("felix_published_batches_total", "counter", published_batches, "Batches appended."),
    WORKER("felix_published_bytes_total", "counter", published_bytes,
           "Bytes of records appended, their length prefixes included."),
    WORKER("felix_delivered_records_total", "counter", delivered_records,
           "Records handed to subscribers."),
    WORKER("felix_delivered_frames_total", "counter", delivered_frames,
           "Event frames handed to subscribers."),
    WORKER("felix_delivered_bytes_total", "counter", delivered_bytes,
           "Bytes of event frames handed to subscribers."),
    WORKER("felix_publish_acks_total", "counter", acks, "Publishes answered."),
    WORKER("felix_subscriptions_lagged_total", "counter", lagged,
           "Times a subscription fell behind the ring."),
    WORKER("felix_subscriber_lag_frames", "gauge", slowest_lag,
           "How far the slowest subscriber is behind, summed over workers."),
    WORKER("felix_cache_entries", "gauge", cache_entries, "Cache entries now."),
    WORKER("felix_cache_bytes", "gauge", cache_bytes,
           "Memory of cache entries, overhead included."),
    WORKER("felix_cache_gets_total", "counter", cache_gets, "Cache reads."),
    WORKER("felix_cache_hits_total", "counter", cache_hits, "Cache reads that found a value."),
    WORKER("felix_cache_writes_total", "counter", cache_writes, "Cache puts and deletes."),
    WORKER("felix_cache_evictions_total", "counter", cache_evictions,
           "Cache entries that went because memory was full."),
    WORKER("felix_cache_expirations_total", "counter", cache_expirations,
           "Cache entries whose time was over."),
    WORKER("felix_cache_watches", "gauge", watches, "Watches of caches now."),
    WORKER("felix_counters", "gauge", counters, "Counters now."),
    WORKER("felix_counter_adds_total", "counter", counter_adds, "Adds to counters."),
    WORKER("felix_auth_success_total", "counter", auth_ok, "QUIC streams that authenticated."),
    WORKER("felix_auth_failures_total", "counter", auth_failed, "Tokens refused."),
    WORKER("felix_auth_timeouts_total", "counter", auth_timeouts,
           "Connections closed because nothing authenticated in time."),
    WORKER("felix_protocol_errors_total", "counter", protocol_errors,
           "QUIC streams ended for broken frames or messages."),
    WORKER("felix_logs", "gauge", logs, "Logs of durable shards that are open."),
    WORKER("felix_logs_opening", "gauge", logs_opening, "Logs that are being opened."),
    WORKER("felix_logs_broken", "gauge", logs_broken,
           "Shards that refuse because their log is damaged or failed."),
    WORKER("felix_logs_full", "gauge", logs_full, "Logs that find no room on the disk."),
    WORKER("felix_log_bytes", "gauge", log_bytes, "Bytes of all logs on the disk."),
    WORKER("felix_log_records", "gauge", log_records, "Records of all logs, head to tail."),
    WORKER("felix_log_segments", "gauge", log_segments, "Files of all logs."),
    WORKER("felix_log_pending_bytes", "gauge", log_pending_bytes,
           "Bytes appended to logs and not written yet."),
    WORKER("felix_log_failures_total", "counter", log_failures,
           "Writes or syncs that failed and stopped a shard."),
    WORKER("felix_log_full_total", "counter", log_full_total,
           "Times a log found no room on the disk."),
    WORKER("felix_log_writes_total", "counter", log_writes,
           "Writes of records to all logs: each is a group that shares it and its sync."),
    WORKER("felix_log_write_bytes_total", "counter", log_write_bytes, "Bytes of those writes."),
    WORKER("felix_log_syncs_total", "counter", log_syncs, "Syncs that answered for records."),
    WORKER("felix_log_cut_bytes_total", "counter", log_cut_bytes,
           "Bytes of torn tails cut off when logs were opened."),
    WORKER("felix_log_blocks_read_total", "counter", log_blocks_read,
           "Blocks of logs handed to readers."),
    WORKER("felix_log_block_fetches_total", "counter", log_block_fetches,
           "Blocks of logs read from their files; the others were in memory."),
    WORKER("felix_log_read_cache_bytes", "gauge", log_read_cache,
           "Memory of blocks of logs that are kept for readers."),
    WORKER("felix_log_compactions_total", "counter", log_compactions,
           "Runs of segments of durable caches that were compacted into one."),
    WORKER("felix_cache_away_entries", "gauge", cache_away,
           "Entries of durable caches whose value is on disk only."),
    WORKER("felix_worker_mails_total", "counter", mails_in, "Messages between workers."),
};

#define QUIC(name, type, field, help)                                                              \
    {                                                                                              \
        name, help, type, offsetof(flx_quic_stats, field)                                          \
    }
static const family quic_families[] = {
    QUIC("felix_quic_packets_received_total", "counter", packets_in, "QUIC packets received."),
    QUIC("felix_quic_packets_sent_total", "counter", packets_out, "QUIC packets sent."),
    QUIC("felix_quic_received_bytes_total", "counter", bytes_in, "UDP payload received."),
    QUIC("felix_quic_sent_bytes_total", "counter", bytes_out, "UDP payload sent."),
    QUIC("felix_quic_receive_calls_total", "counter", receive_calls, "System calls that received."),
    QUIC("felix_quic_send_calls_total", "counter", send_calls, "System calls that sent."),
    QUIC("felix_quic_handshakes_total", "counter", handshakes, "Handshakes completed."),
    QUIC("felix_quic_handshake_failures_total", "counter", handshake_failures,
         "Handshakes that failed."),
    QUIC("felix_quic_retries_total", "counter", retries_sent, "Retry packets sent under load."),
    QUIC("felix_quic_stateless_resets_total", "counter", resets_sent, "Stateless resets sent."),
    QUIC("felix_quic_packets_lost_total", "counter", packets_lost, "Packets declared lost."),
    QUIC("felix_quic_packets_dropped_total", "counter", dropped,
         "Datagrams that belonged to nothing."),
    QUIC("felix_quic_stray_packets_total", "counter", strays,
         "Packets handed on to the worker that owns their connection."),
};

/* Appending stops at the first failure and the caller learns it once. */
typedef struct text_writer {
    flx_buffer *buffer;
    flx_status status;
} text_writer;

static void put_head(text_writer *writer, const char *name, const char *type, const char *help)
{
    if (writer->status == FLX_OK) {
        writer->status = flx_buffer_printf(writer->buffer, "# HELP %s %s\n# TYPE %s %s\n", name,
                                           help, name, type);
    }
}

static void put_value(text_writer *writer, const char *name, const char *labels, uint64_t value)
{
    if (writer->status == FLX_OK) {
        writer->status =
            flx_buffer_printf(writer->buffer, "%s%s %" PRIu64 "\n", name, labels, value);
    }
}

static void put_one(text_writer *writer, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    put_head(writer, name, type, help);
    put_value(writer, name, "", value);
}

static uint64_t sum_at(const flx_exposition *exposition, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < exposition->worker_count; i++) {
        const char *stats = (const char *)flx_worker_thread_stats(exposition->workers[i]);
        sum += flx_stat_get((const _Atomic uint64_t *)(const void *)(stats + offset));
    }
    return sum;
}

/* One value a worker: whether work is where its connections are shows only side by side. */
static void put_each(text_writer *writer, const flx_exposition *exposition, const char *name,
                     const char *help, size_t offset)
{
    put_head(writer, name, "gauge", help);
    for (uint32_t i = 0; i < exposition->worker_count; i++) {
        const char *stats = (const char *)flx_worker_thread_stats(exposition->workers[i]);
        char labels[32];
        (void)snprintf(labels, sizeof labels, "{worker=\"%u\"}", i);
        put_value(writer, name, labels,
                  flx_stat_get((const _Atomic uint64_t *)(const void *)(stats + offset)));
    }
}

static void put_workers(text_writer *writer, const flx_exposition *exposition)
{
    put_each(writer, exposition, "felix_worker_connections", "Client connections now, by worker.",
             offsetof(flx_worker_stats, connections));
    put_each(writer, exposition, "felix_worker_subscriptions", "Subscriptions now, by worker.",
             offsetof(flx_worker_stats, subscriptions));
    put_each(writer, exposition, "felix_worker_shards",
             "Stream shards with state in memory, by worker.", offsetof(flx_worker_stats, shards));
    for (size_t i = 0; i < sizeof worker_families / sizeof worker_families[0]; i++) {
        const family *row = &worker_families[i];
        put_one(writer, row->name, row->type, row->help, sum_at(exposition, row->offset));
    }
    put_head(writer, "felix_dropped_total", "counter", "Records dropped, by reason.");
    for (int drop = 0; drop < FLX_DROP_COUNT; drop++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "{reason=\"%s\"}", flx_drop_name((flx_drop)drop));
        put_value(writer, "felix_dropped_total", labels,
                  sum_at(exposition,
                         offsetof(flx_worker_stats, dropped) + (size_t)drop * sizeof(uint64_t)));
    }
    put_head(writer, "felix_errors_total", "counter", "Refusals answered, by error code.");
    for (uint16_t code = 1; code < FLX_STATS_CODES; code++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "{code=\"%s\"}", flx_code_name(code));
        put_value(writer, "felix_errors_total", labels,
                  sum_at(exposition,
                         offsetof(flx_worker_stats, errors) + (size_t)code * sizeof(uint64_t)));
    }
}

/* Seconds without rounding: powers of two of a microsecond have few digits. */
static void put_seconds(char *text, size_t cap, uint64_t us)
{
    int len = snprintf(text, cap, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
    while (len > 2 && text[len - 1] == '0' && text[len - 2] != '.') {
        text[--len] = '\0';
    }
}

static void put_histogram(text_writer *writer, const flx_exposition *exposition, const char *name,
                          const char *help, size_t offset)
{
    char row[80];
    char labels[48];
    char seconds[32];
    uint64_t count = 0;
    put_head(writer, name, "histogram", help);
    (void)snprintf(row, sizeof row, "%s_bucket", name);
    for (size_t b = 0; b < FLX_HISTOGRAM_BUCKETS; b++) {
        count +=
            sum_at(exposition, offset + offsetof(flx_histogram, buckets) + b * sizeof(uint64_t));
        put_seconds(seconds, sizeof seconds, UINT64_C(1) << b);
        (void)snprintf(labels, sizeof labels, "{le=\"%s\"}",
                       b + 1 < FLX_HISTOGRAM_BUCKETS ? seconds : "+Inf");
        put_value(writer, row, labels, count);
    }
    put_seconds(seconds, sizeof seconds,
                sum_at(exposition, offset + offsetof(flx_histogram, sum_us)));
    if (writer->status == FLX_OK) {
        writer->status = flx_buffer_printf(writer->buffer, "%s_sum %s\n", name, seconds);
    }
    (void)snprintf(row, sizeof row, "%s_count", name);
    put_value(writer, row, "", count);
}

static void put_times(text_writer *writer, const flx_exposition *exposition)
{
    put_histogram(writer, exposition, "felix_publish_latency_seconds",
                  "From the arrival of an acked publish to its answer.",
                  offsetof(flx_worker_stats, publish_time));
    put_histogram(writer, exposition, "felix_log_commit_seconds",
                  "From the write of a log until its readers may see what was written, with the "
                  "sync where the stream asks for one.",
                  offsetof(flx_worker_stats, commit_time));
    put_histogram(writer, exposition, "felix_delivery_latency_seconds",
                  "From the append of a record to its hand-over to a subscriber's stream, the "
                  "oldest of each hand-over.",
                  offsetof(flx_worker_stats, delivery_time));
}

static void put_quic(text_writer *writer, const flx_exposition *exposition)
{
    uint64_t sums[sizeof quic_families / sizeof quic_families[0]] = {0};
    uint64_t refused[2] = {0};
    for (uint32_t i = 0; i < exposition->worker_count; i++) {
        flx_quic_stats stats;
        flx_worker_thread_quic_stats(exposition->workers[i], &stats);
        for (size_t row = 0; row < sizeof sums / sizeof sums[0]; row++) {
            uint64_t value = 0;
            memcpy(&value, (const char *)&stats + quic_families[row].offset, sizeof value);
            sums[row] += value;
        }
        refused[0] += stats.refused_total_limit;
        refused[1] += stats.refused_source_limit;
    }
    for (size_t row = 0; row < sizeof sums / sizeof sums[0]; row++) {
        const family *row_of = &quic_families[row];
        put_one(writer, row_of->name, row_of->type, row_of->help, sums[row]);
    }
    put_head(writer, "felix_quic_connections_refused_total", "counter",
             "Connections refused in the handshake, by limit.");
    put_value(writer, "felix_quic_connections_refused_total", "{reason=\"limit\"}", refused[0]);
    put_value(writer, "felix_quic_connections_refused_total", "{reason=\"per_ip_limit\"}",
              refused[1]);
}

/* Resident memory and processor time, so that a scrape tells what the figures above cost. */
static void put_process(text_writer *writer)
{
    char text[128] = ""; /* "total resident ...", in pages */
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm != NULL) {
        if (fgets(text, sizeof(text), statm) == NULL)
            text[0] = '\0';
        (void)fclose(statm);
    }
    char *resident = text;
    (void)strtoul(text, &resident, 10);
    const unsigned long resident_pages = strtoul(resident, NULL, 10);
    put_one(writer, "process_resident_memory_bytes", "gauge", "Resident memory.",
            (uint64_t)resident_pages * (uint64_t)sysconf(_SC_PAGESIZE));
    struct timespec cpu = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    put_head(writer, "process_cpu_seconds_total", "counter", "Processor time used.");
    if (writer->status == FLX_OK) {
        writer->status = flx_buffer_printf(writer->buffer, "process_cpu_seconds_total %.6f\n",
                                           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    }
}

static void put_node(text_writer *writer, const flx_exposition *exposition)
{
    put_head(writer, "felix_build_info", "gauge", "Always 1; the version is the label.");
    put_value(writer, "felix_build_info", "{version=\"" FLX_VERSION "\"}", 1);
    put_one(writer, "felix_start_time_seconds", "gauge", "When the node started, since 1970.",
            exposition->started_wall_s);
    put_one(writer, "felix_ready_state", "gauge", "1 when /ready answers 200.",
            exposition->ready ? 1 : 0);
    put_one(writer, "felix_certificate_expiry_time_seconds", "gauge",
            "When the certificate handshakes get expires, since 1970; 0 when unknown.",
            (uint64_t)exposition->certificate_not_after_s);
    put_one(writer, "felix_certificate_on_disk_is_served", "gauge",
            "1 when the certificate on disk is the one handshakes get.",
            exposition->certificate_on_disk_not_after_s == exposition->certificate_not_after_s);
    put_one(writer, "felix_config_reloads_total", "counter", "Reloads that succeeded.",
            exposition->config_reloads);
    put_one(writer, "felix_config_reload_failures_total", "counter",
            "Reloads that failed and kept what was.", exposition->config_reload_failures);
    put_one(writer, "felix_catalog_version", "gauge", "Grows with every change of the catalog.",
            exposition->catalog_version);
    put_one(writer, "felix_catalog_streams", "gauge", "Streams in the catalog.",
            exposition->streams);
    put_one(writer, "felix_catalog_caches", "gauge", "Caches in the catalog.", exposition->caches);
    put_one(writer, "felix_workers", "gauge", "Threads that carry data.", exposition->worker_count);
}

flx_status flx_exposition_render(const flx_exposition *exposition, flx_buffer *buffer)
{
    text_writer writer = {.buffer = buffer, .status = FLX_OK};
    put_node(&writer, exposition);
    put_workers(&writer, exposition);
    put_times(&writer, exposition);
    put_quic(&writer, exposition);
    put_process(&writer);
    return writer.status;
}
