/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/log_sweep.c - the logs on the disk are brought together with the catalog.
 *
 * A deletion is done in three steps: the catalog's transaction, which leaves a note; the log's rename into
 * the trash by the worker that had it open; the end of the note. A crash after the first leaves a log that
 * nobody opens: the next start finds the note and removes it. Ids are not used again, so no log that
 * a note names can be anybody else's.
 *
 * What neither the catalog nor a note knows is told and left: it may be all that is left of a catalog that was
 * lost or came back from an old backup.
 */
#include "common/clock.h"
#include "common/error.h"
#include "node/log_owners.h"
#include "node/node_int.h"

#include <string.h>

#define NOTES_AT_A_TIME  64
#define ORPHANS_TOLD     16     /* one by one */
#define SETTLED_AFTER_MS 60000U /* a log that was being made when it was deleted is there by then */

/* ---- deletions ------------------------------------------------------------------------------ */

typedef struct notes {
    flx_dropped notes[NOTES_AT_A_TIME];
    size_t count;
    uint32_t above[FLX_KIND_COUNT]; /* ids that were looked at */
    bool has_more;
} notes;

static flx_status note_take(void *arg, const flx_dropped *dropped)
{
    notes *some = arg;
    if (dropped->id <= some->above[dropped->kind]) {
        return FLX_OK;
    }
    if (some->count == NOTES_AT_A_TIME) {
        some->has_more = true;
        return FLX_ERR_CANCELED;
    }
    some->notes[some->count++] = *dropped;
    return FLX_OK;
}

/* The next ones in order; none: that was all. */
static flx_status notes_next(const flx_node *node, notes *some, flx_error *reterr)
{
    some->count = 0;
    some->has_more = false;
    const flx_status status = flx_catalog_store_dropped(node->store, note_take, some, reterr);
    for (size_t i = 0; i < some->count; i++) {
        some->above[some->notes[i].kind] = some->notes[i].id;
    }
    return status == FLX_ERR_CANCELED ? FLX_OK : status;
}

/* True: nothing of it is on the disk any more. */
static bool remove_logs(const flx_node *node, const flx_dropped *dropped)
{
    const flx_log_subject subject = flx_log_subject_of_dropped(dropped);
    bool is_gone = true;
    for (uint32_t shard = 0; shard < dropped->shards; shard++) {
        flx_log_named named;
        flx_error error;
        flx_log_name(&subject, shard, &named);
        const flx_status status = flx_store_remove(node->logs, named.name, &error);
        if (status == FLX_OK) {
            FLX_LOG(node->options.log, FLX_LOG_INFO, "log.removed",
                    "the log of a deleted stream is gone; its deletion was interrupted",
                    flx_kv_str("shard", named.label), flx_kv_str("log", named.name));
        } else if (status != FLX_ERR_NOT_FOUND) {
            is_gone = false;
            FLX_LOG(node->options.log, FLX_LOG_WARN, "log.left_behind",
                    "the log of a deleted stream could not be removed; the next start tries again",
                    flx_kv_str("shard", named.label), flx_kv_str("log", named.name),
                    flx_kv_err(&error));
        }
    }
    return is_gone;
}

/* True: the workers have removed all of it, and none of them is at it any more. */
static bool is_settled(const flx_node *node, const flx_dropped *dropped)
{
    const flx_log_subject subject = flx_log_subject_of_dropped(dropped);
    if (flx_clock_wall_us() / 1000 < dropped->dropped_at_ms + SETTLED_AFTER_MS) {
        return false;
    }
    for (uint32_t shard = 0; shard < dropped->shards; shard++) {
        flx_log_named named;
        bool has = true;
        flx_log_name(&subject, shard, &named);
        if (flx_store_has(node->logs, named.name, &has, NULL) != FLX_OK || has) {
            return false;
        }
    }
    return true;
}

/* Goes through all notes and ends those `is_over` says are. */
static flx_status notes_end(const flx_node *node,
                            bool (*is_over)(const flx_node *node, const flx_dropped *dropped),
                            bool *ret_left, flx_error *reterr)
{
    notes some = {.count = 0};
    flx_status status = FLX_OK;
    *ret_left = false;
    do {
        status = notes_next(node, &some, reterr);
        for (size_t i = 0; i < some.count && status == FLX_OK; i++) {
            const flx_dropped *dropped = &some.notes[i];
            if (is_over(node, dropped)) {
                status =
                    flx_catalog_store_dropped_done(node->store, dropped->kind, dropped->id, reterr);
            } else {
                *ret_left = true;
            }
        }
    } while (status == FLX_OK && some.has_more);
    return status;
}

void flx_node_settle_logs(flx_node *node)
{
    if (node->logs == NULL || !atomic_exchange(&node->logs_dropped, false)) {
        return;
    }
    bool is_left = false;
    if (notes_end(node, is_settled, &is_left, NULL) != FLX_OK || is_left) {
        atomic_store(&node->logs_dropped, true); /* looked at again, without haste */
    }
}

/* ---- orphans -------------------------------------------------------------------------------- */

typedef struct orphans {
    const flx_node *node;
    const flx_log_owners *owners;
    uint64_t count;
} orphans;

static flx_status orphan_tell(void *arg, const char *name)
{
    orphans *all = arg;
    if (flx_log_owners_find(all->owners, name) != FLX_LOG_ORPHAN) {
        return FLX_OK;
    }
    all->count++;
    if (all->count <= ORPHANS_TOLD) {
        FLX_LOG(all->node->options.log, FLX_LOG_WARN, "log.orphan",
                "no stream or cache of the catalog has this log: it is left as it is; "
                "`felix log export` reads it, `felix log rm` removes it",
                flx_kv_str("log", name));
    }
    return FLX_OK;
}

static flx_status tell_orphans(const flx_node *node, flx_error *reterr)
{
    flx_log_owners *owners = NULL;
    flx_status status = flx_log_owners_read(node->store, &owners, reterr);
    if (status != FLX_OK) {
        return status;
    }
    orphans all = {.node = node, .owners = owners};
    status = flx_store_list(node->logs, orphan_tell, &all, reterr);
    if (all.count > ORPHANS_TOLD) {
        FLX_LOG(node->options.log, FLX_LOG_WARN, "log.orphans",
                "logs that no stream or cache has: `felix log ls` names them all",
                flx_kv_u64("count", all.count));
    }
    owners = flx_log_owners_free(owners);
    return status;
}

flx_status flx_node_sweep_logs(flx_node *node, flx_error *reterr)
{
    if (node->logs == NULL) {
        return FLX_OK;
    }
    bool is_left = false;
    const flx_status status = notes_end(node, remove_logs, &is_left, reterr);
    return status == FLX_OK ? tell_orphans(node, reterr) : status;
}
