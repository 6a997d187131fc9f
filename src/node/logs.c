/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/logs.c - the disk below durable streams: opened before the workers, and what is told of it.
 *
 * DATA_DIR/log is a store of logs (docs/spec/disk.md). Each worker opens the logs of the shards it owns
 * on its I/O threads after it has started; /ready waits for them.
 *
 * The catalog knows which store it belongs to. When that is not there any more, or another one is in its
 * place, what was acknowledged is elsewhere: durable streams and caches refuse, the rest of the node
 * serves on, and nothing is made anew until the operator says so.
 */
#include "common/clock.h"
#include "common/error.h"
#include "node/log_owners.h"
#include "node/node_int.h"

#include <stdio.h>
#include <string.h>

#define LOG_DIRECTORY   "log"
#define FIGURES_WAIT_MS 1000

/* Opens the store in the place of the logs; `how` CREATE makes one. */
static flx_status open_store(flx_node *node, flx_store_how how, const uint8_t *known_id,
                             flx_error *reterr)
{
    flx_status status = flx_store_open(node->disk, how, flx_clock_wall_us(), &node->logs, reterr);
    if (status == FLX_OK && known_id != NULL &&
        memcmp(known_id, flx_store_id(node->logs), FLX_LOG_STORE_ID_BYTES) != 0) {
        node->logs = flx_store_free(node->logs);
        status = flx_fail(reterr, FLX_ERR_CORRUPT, "they belong to another catalog");
    }
    if (status == FLX_OK && known_id == NULL) {
        status = flx_catalog_store_set_log_store(node->store, flx_store_id(node->logs), reterr);
    }
    return status;
}

/* The store the catalog knows; a new one as long as nothing can be missed in it. */
static flx_status open_known_store(flx_node *node, flx_error *reterr)
{
    bool is_known = false;
    uint8_t id[FLX_LOG_STORE_ID_BYTES];
    flx_log_owners *owners = NULL;
    flx_status status = flx_catalog_store_get_log_store(node->store, &is_known, id, reterr);
    if (status == FLX_OK) {
        status = flx_log_owners_read(node->store, &owners, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    const bool has_any = flx_log_owners_has_any(owners);
    owners = flx_log_owners_free(owners);
    return is_known && has_any ? open_store(node, FLX_STORE_EXISTING, id, reterr)
                               : open_store(node, FLX_STORE_CREATE, NULL, reterr);
}

flx_status flx_node_open_logs(flx_node *node, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    const char *data_dir = flx_node_config(node)->data_dir;
    const int len = snprintf(path, sizeof path, "%s/" LOG_DIRECTORY, data_dir);
    if (len < 0 || (size_t)len >= sizeof path) {
        return flx_fail(reterr, FLX_ERR_INVALID, "data_dir '%s' is too long", data_dir);
    }
    flx_status status = flx_disk_posix_new(path, true, &node->disk, reterr);
    flx_error error;
    if (status == FLX_OK) {
        status = open_known_store(node, &error);
        if (status == FLX_ERR_CORRUPT || status == FLX_ERR_NOT_FOUND) {
            node->logs_status = FLX_ERR_CORRUPT;
            FLX_LOG(node->options.log, FLX_LOG_ERROR, "logs.lost",
                    "the logs of this catalog are not there: durable streams and caches refuse, "
                    "the rest serves; put the directory back and start again, or accept the loss "
                    "with `felix log repair DATA_DIR --accept-loss`",
                    flx_kv_str("directory", path), flx_kv_err(&error));
            return FLX_OK;
        }
        if (status != FLX_OK && reterr != NULL) {
            *reterr = error;
        }
    }
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "open the logs in '%s'", path);
    }
    return status;
}

void flx_node_close_logs(flx_node *node)
{
    node->logs = flx_store_free(node->logs);
    node->disk = flx_disk_free(node->disk);
}

static void tell_opened(flx_log *log, const flx_log_news *news)
{
    const flx_journal_report *report = news->report;
    if (report->cut_bytes > 0) {
        FLX_LOG(log, FLX_LOG_WARN, "log.tail_cut",
                "what a crash left half written was cut off; nothing acknowledged was in it",
                flx_kv_str("shard", news->label), flx_kv_str("file", report->cut_file),
                flx_kv_u64("bytes", report->cut_bytes), flx_kv_u64("end", report->end));
    }
    FLX_LOG(log,
            report->footers_rebuilt > 0 || report->leftovers > 0 ? FLX_LOG_WARN : FLX_LOG_DEBUG,
            "log.opened", "a log is open", flx_kv_str("shard", news->label),
            flx_kv_str("log", news->name), flx_kv_u64("start", report->start),
            flx_kv_u64("end", report->end), flx_kv_u64("bytes", report->bytes),
            flx_kv_u64("segments", report->segments),
            flx_kv_u64("footers_rebuilt", report->footers_rebuilt),
            flx_kv_u64("leftovers", report->leftovers));
}

/* On the thread of the worker. */
void flx_node_log_news(void *arg, const flx_log_news *news)
{
    const flx_node *node = arg;
    flx_log *log = node->options.log;
    switch (news->kind) {
    case FLX_LOG_OPENED:
        tell_opened(log, news);
        return;
    case FLX_LOG_DAMAGED:
        FLX_LOG(log, FLX_LOG_ERROR, "log.damaged",
                "the shard refuses everything until its log is whole again; others serve on",
                flx_kv_str("shard", news->label), flx_kv_str("log", news->name),
                flx_kv_err(news->error));
        return;
    case FLX_LOG_FULL:
        FLX_LOG(log, FLX_LOG_ERROR, "log.full",
                "no room on the disk: publishes of the shard are refused until there is",
                flx_kv_str("shard", news->label), flx_kv_err(news->error));
        return;
    case FLX_LOG_ROOM:
        FLX_LOG(log, FLX_LOG_INFO, "log.room", "there is room on the disk again",
                flx_kv_str("shard", news->label));
        return;
    case FLX_LOG_FAILED:
        FLX_LOG(log, FLX_LOG_ERROR, "log.failed",
                "a write or sync failed: the shard takes nothing more; look at the disk, then "
                "restart the node, which reads back what the disk has",
                flx_kv_str("shard", news->label), flx_kv_str("log", news->name),
                flx_kv_err(news->error));
        return;
    case FLX_LOG_UNREAD:
        FLX_LOG(log, FLX_LOG_ERROR, "log.unreadable",
                "records of the past could not be read; `felix log verify` says which",
                flx_kv_str("shard", news->label), flx_kv_str("log", news->name),
                flx_kv_err(news->error));
        return;
    case FLX_LOG_REMOVED:
        FLX_LOG(log, FLX_LOG_INFO, "log.removed", "the log of a deleted stream is gone",
                flx_kv_str("shard", news->label));
        return;
    case FLX_LOG_LEFT:
        FLX_LOG(log, FLX_LOG_WARN, "log.left_behind",
                "the log of a deleted stream could not be removed; delete its directory by hand",
                flx_kv_str("shard", news->label), flx_kv_str("log", news->name),
                flx_kv_err(news->error));
        return;
    }
}

json_t *flx_node_log_figures(void *arg, flx_kind kind, uint32_t id, uint32_t shards)
{
    const flx_node *node = arg;
    const uint32_t log_id = kind == FLX_KIND_CACHE ? id | FLX_CACHE_LOG : id;
    flx_log_query *query = flx_log_query_new(log_id, shards, node->workers_made);
    if (query == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < node->workers_made; i++) {
        flx_worker_thread_ask_logs(node->workers[i], query);
    }
    return flx_log_query_wait(query, FIGURES_WAIT_MS);
}

/* ---- probes ----------------------------------------------------------------------------------- */

typedef struct log_counts {
    uint64_t opening;
    uint64_t broken;
    uint64_t full;
} log_counts;

static log_counts count_logs(const flx_node *node)
{
    log_counts counts = {0};
    for (uint32_t i = 0; i < node->workers_made; i++) {
        const flx_worker_stats *stats = flx_worker_thread_stats(node->workers[i]);
        counts.opening += flx_stat_get(&stats->logs_opening);
        counts.broken += flx_stat_get(&stats->logs_broken);
        counts.full += flx_stat_get(&stats->logs_full);
    }
    return counts;
}

bool flx_node_logs_are_open(flx_node *node)
{
    if (!atomic_load(&node->logs_opened) && count_logs(node).opening == 0) {
        atomic_store(&node->logs_opened, true); /* those of streams made later open as they come */
    }
    return atomic_load(&node->logs_opened);
}

void flx_node_report_logs(flx_node *node, flx_health_report *report)
{
    const log_counts counts = count_logs(node);
    if (!flx_node_logs_are_open(node)) {
        flx_health_add(report, "opening logs");
    }
    if (node->logs_status != FLX_OK) {
        flx_health_note(report, "the logs are not there: see logs.lost in the log");
    }
    if (counts.broken > 0) {
        flx_health_note(report, "logs refuse: see log.damaged and log.failed in the log");
    }
    if (counts.full > 0) {
        flx_health_note(report, "no room on the disk");
    }
}
