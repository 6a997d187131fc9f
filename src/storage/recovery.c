/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage/recovery.c - what opening a log finds on the disk, and what it makes of it.
 *
 *      state        read first: without it nothing below can be judged
 *      segments     a chain of offsets from start_offset on; sealed ones are believed by their footers
 *      the last     scanned, if it is not sealed
 *
 * Where the scan ends before the file does, two stories are possible. A crash tore what was not synced:
 * then nothing that anybody was told about lies behind the break, and it is cut off. Or what was
 * synced has been damaged: then cutting would lose acknowledged records in silence, and the log is
 * refused. The evidence: the checkpoint, and every whole batch on either side of the break, which says
 * what was synced when it was appended (README.md, rules 5 and 6).
 *
 * What is left above the evidence is written again, byte for byte, before it is synced: if a failed sync
 * ended the last run, the kernel may hold pages it calls clean that never reached the disk.
 */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "storage/journal_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REWRITE_BYTES ((size_t)1 << 20)

/* ---- the state file ------------------------------------------------------------------------- */

static flx_status file_read(flx_disk *disk, const char *path, uint8_t *to, size_t cap,
                            size_t *ret_len, flx_error *reterr)
{
    flx_file *file = NULL;
    flx_status status = disk->ops->open(disk, path, FLX_DISK_READ, &file, reterr);
    if (status == FLX_OK) {
        status = disk->ops->read(file, to, cap, 0, ret_len, reterr);
        (void)flx_disk_close(file);
    }
    return status;
}

static flx_status state_adopt(flx_journal *journal, const flx_log_state *state, flx_error *reterr)
{
    if (memcmp(state->store_id, flx_store_id(journal->store), FLX_DISK_ID_BYTES) != 0) {
        return flx_fail(reterr, FLX_ERR_CORRUPT, "it belongs to another store");
    }
    memcpy(journal->log_id, state->log_id, FLX_DISK_ID_BYTES);
    journal->tag = flx_stored_tag(journal->log_id);
    flx_journal_record record = {
        .promised = state->promised_epoch,
        .checkpoint_epoch = state->checkpoint_epoch,
        .checkpoint_end = state->checkpoint_end,
        .start = state->start_offset,
        .collapsed_below = state->collapsed_below,
        .epoch_count = state->epoch_count,
        .epoch_cap = state->epoch_count,
        .epochs = flx_calloc(state->epoch_count, sizeof record.epochs[0]),
    };
    flx_free(journal->label);
    journal->label = flx_strndup((const char *)state->label.ptr, state->label.len);
    if (record.epochs == NULL || journal->label == NULL) {
        flx_free(record.epochs);
        return flx_fail(reterr, FLX_ERR_NOMEM, "open a log");
    }
    memcpy(record.epochs, state->epochs, state->epoch_count * sizeof record.epochs[0]);
    journal->record = record;
    return FLX_OK;
}

static flx_status state_read(flx_journal *journal, flx_error *reterr)
{
    char path[FLX_DISK_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/state", journal->directory);
    const size_t epochs_bytes = FLX_LOG_STATE_EPOCHS_MAX * sizeof(flx_log_epoch);
    const size_t cap = FLX_LOG_STATE_BYTES_MAX + 1;
    flx_log_epoch *epochs = flx_alloc(epochs_bytes + cap);
    if (epochs == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "open a log");
    }
    uint8_t *bytes = (uint8_t *)epochs + epochs_bytes;
    size_t len = 0;
    flx_log_state state;
    flx_status status = file_read(journal->disk, path, bytes, cap, &len, reterr);
    if (status == FLX_OK) {
        status = flx_log_state_decode((flx_slice){bytes, len}, epochs, &state, reterr);
        if (status == FLX_OK) {
            status = state_adopt(journal, &state, reterr);
        }
        if (status != FLX_OK) {
            flx_error_prefix(reterr, "'%s'", path);
        }
    }
    flx_free(epochs);
    return status;
}

/* ---- making a log --------------------------------------------------------------------------- */

static flx_status segment_make(flx_journal *journal, uint64_t base, flx_error *reterr)
{
    flx_segment_header header = {
        .base_offset = base,
        .epoch = flx_journal_epoch(journal),
        .created_us = journal->now_us,
    };
    memcpy(header.store_id, flx_store_id(journal->store), FLX_DISK_ID_BYTES);
    memcpy(header.log_id, journal->log_id, FLX_DISK_ID_BYTES);
    flx_segment_tally_init(&journal->tally, base);
    return flx_segment_create(journal->disk, journal->directory, &header, &journal->active, reterr);
}

/* The directory, the state, the first segment: in this order, each synced before the next. */
static flx_status log_make(flx_journal *journal, flx_error *reterr)
{
    flx_disk_id_make(journal->log_id);
    journal->tag = flx_stored_tag(journal->log_id);
    journal->record = (flx_journal_record){
        .promised = 1,
        .checkpoint_epoch = 1,
        .epoch_count = 1,
        .epoch_cap = 1,
        .epochs = flx_calloc(1, sizeof(flx_log_epoch)),
    };
    if (journal->record.epochs == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a log");
    }
    journal->record.epochs[0] = (flx_log_epoch){.epoch = 1, .first_offset = 0};
    uint8_t *bytes = NULL;
    size_t len = 0;
    flx_status status = flx_journal_record_encode(journal, &journal->record, &bytes, &len);
    if (status != FLX_OK) {
        return flx_fail(reterr, status, "make a log");
    }
    const flx_disk_ops *ops = journal->disk->ops;
    status = ops->make_dir(journal->disk, journal->directory, reterr);
    if (status == FLX_OK) {
        status = ops->sync_dir(journal->disk, "logs", reterr);
    }
    if (status == FLX_OK) {
        status = flx_disk_replace(journal->disk, journal->directory, "state", bytes, len, reterr);
    }
    flx_free(bytes);
    return status == FLX_OK ? segment_make(journal, 0, reterr) : status;
}

/* ---- the segments there are ----------------------------------------------------------------- */

typedef struct found {
    flx_journal *journal;
    flx_journal_report *report;
    uint64_t *bases;
    size_t count;
    size_t cap;
    char (*leftovers)[64]; /* names that end in .tmp */
    size_t leftover_count;
    bool has_state;
} found;

static flx_status base_add(found *all, uint64_t base)
{
    if (all->count == all->cap) {
        const size_t cap = all->cap == 0 ? 64 : all->cap * 2;
        uint64_t *grown = flx_realloc(all->bases, cap * sizeof grown[0]);
        if (grown == NULL) {
            return FLX_ERR_NOMEM;
        }
        all->bases = grown;
        all->cap = cap;
    }
    all->bases[all->count] = base;
    all->count++;
    return FLX_OK;
}

static flx_status name_found(void *arg, const flx_disk_entry *entry)
{
    found *all = arg;
    const size_t len = strlen(entry->name);
    uint64_t base = 0;
    if (flx_segment_name_parse(entry->name, &base)) {
        return base_add(all, base);
    }
    all->has_state = all->has_state || strcmp(entry->name, "state") == 0;
    if (len > 4 && len < sizeof all->leftovers[0] && strcmp(entry->name + len - 4, ".tmp") == 0) {
        char(*grown)[64] =
            flx_realloc(all->leftovers, (all->leftover_count + 1) * sizeof all->leftovers[0]);
        if (grown == NULL) {
            return FLX_ERR_NOMEM;
        }
        all->leftovers = grown;
        memcpy(all->leftovers[all->leftover_count], entry->name, len + 1);
        all->leftover_count++;
    }
    return FLX_OK;
}

static int by_base(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static flx_status remove_file(found *all, const char *path, flx_error *reterr)
{
    all->report->leftovers++;
    return all->journal->disk->ops->unlink(all->journal->disk, path, reterr);
}

static flx_status leftovers_remove(found *all, flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (size_t i = 0; i < all->leftover_count && status == FLX_OK; i++) {
        char path[FLX_DISK_PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", all->journal->directory, all->leftovers[i]);
        status = remove_file(all, path, reterr);
    }
    return status;
}

static flx_status found_read(found *all, flx_error *reterr)
{
    flx_disk *disk = all->journal->disk;
    const flx_status status =
        disk->ops->list(disk, all->journal->directory, name_found, all, reterr);
    if (status == FLX_ERR_NOMEM) {
        return flx_fail(reterr, status, "open a log");
    }
    if (all->count > 1) {
        qsort(all->bases, all->count, sizeof all->bases[0], by_base);
    }
    return status;
}

static void found_done(found *all)
{
    flx_free(all->bases);
    flx_free(all->leftovers);
}

/* ---- one segment ---------------------------------------------------------------------------- */

static flx_status damaged(const flx_journal *journal, uint64_t base, uint64_t position,
                          uint64_t offset, const char *why, flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_CORRUPT,
                    "damaged: %s, at byte %" PRIu64 " of '%s/%020" PRIu64 ".seg' (offset %" PRIu64
                    "); see `felix log verify`",
                    why, position, journal->directory, base, offset);
}

static flx_segment_scan scan_of(const flx_journal *journal, flx_file *file, uint64_t file_bytes,
                                bool is_compacted)
{
    return (flx_segment_scan){
        .file = file,
        .file_bytes = file_bytes,
        .block_bytes = journal->options.block_bytes,
        .tag = journal->tag,
        .is_compacted = is_compacted,
    };
}

/* A sealed segment whose footer is damaged: if its batches reach the next segment, nothing is lost and
 * the footer is made again. */
static flx_status footer_rebuild(found *all, flx_file *file, const flx_segment_header *header,
                                 uint64_t file_bytes, uint64_t next_base, flx_error *reterr)
{
    flx_journal *journal = all->journal;
    const flx_segment_scan scan = scan_of(journal, file, file_bytes, header->is_compacted);
    flx_segment_tally tally;
    flx_segment_tally_init(&tally, header->base_offset);
    flx_status status = flx_segment_scan_run(&scan, &tally, reterr);
    all->report->scanned_bytes += tally.position;
    if (status == FLX_OK && tally.end != next_base &&
        !(header->is_compacted && tally.end < next_base)) {
        status = damaged(journal, header->base_offset, tally.position, tally.end,
                         "a sealed segment breaks off", reterr);
    }
    if (status == FLX_OK) {
        tally.end = next_base; /* of a compacted segment the last records may be gone */
        status = flx_segment_seal(file, &tally, reterr);
    }
    if (status == FLX_OK) {
        const uint64_t footer_bytes =
            (uint64_t)tally.mark_count * FLX_SEGMENT_MARK_BYTES + FLX_SEGMENT_TRAILER_BYTES;
        flx_journal_sealed_add(journal, &tally, tally.position + footer_bytes,
                               header->is_compacted);
        all->report->footers_rebuilt++;
    }
    flx_segment_tally_done(&tally);
    return status;
}

static void sealed_add_trailer(flx_journal *journal, const flx_segment_trailer *trailer,
                               uint64_t file_bytes, bool is_compacted)
{
    const flx_segment_tally tally = {
        .base = trailer->base_offset,
        .end = trailer->end_offset,
        .records = trailer->records,
        .time_last_us = trailer->time_last_us,
        .epoch_last = trailer->epoch_last,
    };
    flx_journal_sealed_add(journal, &tally, file_bytes, is_compacted);
    journal->last_time_us = trailer->time_last_us > journal->last_time_us ? trailer->time_last_us
                                                                          : journal->last_time_us;
}

/* What is above the evidence is written again, so that the sync that follows means it. */
static flx_status rewrite(flx_file *file, uint64_t from, uint64_t to, flx_error *reterr)
{
    uint8_t *bytes = flx_alloc(REWRITE_BYTES);
    if (bytes == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "open a log");
    }
    flx_status status = FLX_OK;
    while (from < to && status == FLX_OK) {
        const size_t len = to - from < REWRITE_BYTES ? (size_t)(to - from) : REWRITE_BYTES;
        status = flx_disk_read_all(file, bytes, len, from, reterr);
        if (status == FLX_OK) {
            status = flx_disk_write(file, bytes, len, from, reterr);
        }
        from += len;
    }
    flx_free(bytes);
    return status;
}

/* Cuts the torn tail and the room behind it (journal_room.c), if there is any, or refuses. */
static flx_status tail_judge(found *all, const flx_segment_scan *scan,
                             const flx_segment_tally *tally, uint64_t *ret_proven,
                             flx_error *reterr)
{
    flx_journal *journal = all->journal;
    uint64_t proven = journal->record.checkpoint_end;
    proven = tally->synced_below > proven ? tally->synced_below : proven;
    const bool has_more = tally->position < scan->file_bytes;
    if (has_more) {
        uint64_t beyond = 0;
        const flx_status status = flx_segment_look_beyond(scan, tally, &beyond, reterr);
        if (status != FLX_OK) {
            return status;
        }
        proven = beyond > proven ? beyond : proven;
    }
    if (tally->end < proven) {
        char why[96];
        (void)snprintf(why, sizeof why, "records below %" PRIu64 " were synced and are not whole",
                       proven);
        return damaged(journal, tally->base, tally->position, tally->end, why, reterr);
    }
    *ret_proven = proven;
    if (!has_more) {
        return FLX_OK;
    }
    uint64_t torn_end = 0;
    const flx_status status = flx_segment_blank_from(scan, tally, &torn_end, reterr);
    if (status != FLX_OK) {
        return status;
    }
    if (torn_end > tally->position) {
        all->report->cut_bytes = torn_end - tally->position;
        all->report->cut_at = tally->end;
        flx_segment_path(journal->directory, tally->base, all->report->cut_file);
    }
    return scan->file->disk->ops->truncate(scan->file, tally->position, reterr);
}

/* The last segment when it is not sealed: the one that is appended to. */
static flx_status active_open(found *all, flx_file *file, const flx_segment_header *header,
                              uint64_t file_bytes, flx_error *reterr)
{
    flx_journal *journal = all->journal;
    const flx_segment_scan scan = scan_of(journal, file, file_bytes, header->is_compacted);
    flx_segment_tally *tally = &journal->tally;
    flx_segment_tally_init(tally, header->base_offset);
    flx_status status = flx_segment_scan_run(&scan, tally, reterr);
    all->report->scanned_bytes += tally->position;
    uint64_t proven = 0;
    if (status == FLX_OK) {
        status = tail_judge(all, &scan, tally, &proven, reterr);
    }
    if (status == FLX_OK && proven < tally->end) {
        uint64_t from = 0;
        uint64_t to = 0;
        flx_segment_tally_block(tally, proven, &from, &to);
        status = rewrite(file, from, tally->position, reterr);
    }
    return status == FLX_OK ? file->disk->ops->sync(file, reterr) : status;
}

/* `index`th segment of the chain; *chain is where the next one must begin. */
static flx_status segment_load(found *all, size_t index, uint64_t *chain, flx_error *reterr)
{
    flx_journal *journal = all->journal;
    const uint64_t base = all->bases[index];
    const bool is_last = index + 1 == all->count;
    flx_file *file = NULL;
    flx_segment_header header;
    flx_status status =
        flx_segment_open(journal->disk, journal->directory, base, flx_store_id(journal->store),
                         journal->log_id, FLX_DISK_WRITE, &file, &header, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_segment_trailer trailer;
    uint64_t file_bytes = 0;
    status = flx_journal_sealed_reserve(journal) != FLX_OK
                 ? flx_fail(reterr, FLX_ERR_NOMEM, "open a log")
                 : flx_segment_footer_read(file, base, &trailer, &file_bytes, reterr);
    if (status == FLX_OK) {
        sealed_add_trailer(journal, &trailer, file_bytes, header.is_compacted);
        *chain = trailer.end_offset;
    } else if (status == FLX_ERR_CORRUPT && !is_last) {
        *chain = all->bases[index + 1];
        status = footer_rebuild(all, file, &header, file_bytes, *chain, reterr);
    } else if (status == FLX_ERR_CORRUPT) {
        status = active_open(all, file, &header, file_bytes, reterr);
        if (status == FLX_OK) {
            journal->active = file;
            *chain = journal->tally.end;
            return FLX_OK;
        }
    }
    (void)flx_disk_close(file);
    return status;
}

/* Segments wholly below the start are on their way out; so are those a compacted one has taken in. */
static flx_status bases_tidy(found *all, size_t index, bool is_gone, flx_error *reterr)
{
    if (!is_gone) {
        return FLX_OK;
    }
    char path[FLX_DISK_PATH_MAX];
    flx_segment_path(all->journal->directory, all->bases[index], path);
    const flx_status status = remove_file(all, path, reterr);
    all->count--;
    memmove(all->bases + index, all->bases + index + 1,
            (all->count - index) * sizeof all->bases[0]);
    return status;
}

static flx_status chain_load(found *all, flx_error *reterr)
{
    flx_journal *journal = all->journal;
    const uint64_t start = journal->record.start;
    flx_status status = FLX_OK;
    while (all->count > 1 && all->bases[1] <= start && status == FLX_OK) {
        status = bases_tidy(all, 0, true, reterr);
    }
    if (status == FLX_OK && all->count > 0 && all->bases[0] > start) {
        return damaged(journal, start, 0, start, "the first segment is missing", reterr);
    }
    uint64_t chain = all->count > 0 ? all->bases[0] : 0;
    for (size_t i = 0; i < all->count && status == FLX_OK; i++) {
        const bool is_taken_in = all->bases[i] < chain && journal->sealed_count > 0 &&
                                 journal->sealed[journal->sealed_count - 1].is_compacted;
        if (is_taken_in) {
            status = bases_tidy(all, i, true, reterr);
            i--;
            continue;
        }
        if (all->bases[i] != chain) {
            return damaged(journal, chain, 0, chain, "a segment is missing", reterr);
        }
        status = segment_load(all, i, &chain, reterr);
    }
    return status;
}

/* ---- opening -------------------------------------------------------------------------------- */

static flx_status active_make(flx_journal *journal, flx_error *reterr)
{
    if (journal->active != NULL) {
        return FLX_OK;
    }
    uint64_t end = journal->record.start;
    if (journal->sealed_count > 0) {
        end = journal->sealed[journal->sealed_count - 1].end;
    }
    if (end < journal->record.checkpoint_end || end < journal->record.start) {
        return damaged(journal, end, 0, end, "segments are missing", reterr);
    }
    return segment_make(journal, end, reterr);
}

static flx_status log_load(flx_journal *journal, bool may_create, flx_journal_report *report,
                           flx_error *reterr)
{
    found all = {.journal = journal, .report = report};
    flx_status status = found_read(&all, reterr);
    const bool is_nothing = status == FLX_ERR_NOT_FOUND || (status == FLX_OK && !all.has_state);
    if (is_nothing && all.count > 0) {
        status =
            damaged(journal, all.bases[0], 0, all.bases[0], "the file 'state' is missing", reterr);
    } else if (is_nothing && !may_create) {
        status = flx_fail(reterr, FLX_ERR_NOT_FOUND, "there is none");
    } else if (is_nothing) {
        report->created = true;
        status = leftovers_remove(&all, reterr);
        status = status == FLX_OK ? log_make(journal, reterr) : status;
    } else if (status == FLX_OK) {
        status = state_read(journal, reterr);
        status = status == FLX_OK ? leftovers_remove(&all, reterr) : status;
        status = status == FLX_OK ? chain_load(&all, reterr) : status;
        status = status == FLX_OK ? active_make(journal, reterr) : status;
    }
    found_done(&all);
    return status;
}

static void defaults(flx_journal_options *options)
{
    options->sync_period_ms = options->sync_period_ms == 0 ? 250 : options->sync_period_ms;
    options->segment_bytes = options->segment_bytes == 0 ? 256u << 20 : options->segment_bytes;
    options->block_bytes = options->block_bytes == 0 ? 256u << 10 : options->block_bytes;
    options->pending_bytes_max =
        options->pending_bytes_max == 0 ? 64u << 20 : options->pending_bytes_max;
    options->room_bytes = options->room_bytes == 0 ? 1u << 20 : options->room_bytes;
    options->checkpoint_ms = options->checkpoint_ms == 0 ? 1000 : options->checkpoint_ms;
}

static flx_status journal_new(flx_store *store, const char *name,
                              const flx_journal_options *options, uint64_t now_us,
                              flx_journal **ret_journal)
{
    flx_journal *journal = flx_calloc(1, sizeof *journal);
    if (journal == NULL) {
        return FLX_ERR_NOMEM;
    }
    flx_list_init(&journal->errands);
    flx_list_init(&journal->reads);
    flx_list_init(&journal->fetches);
    flx_list_init(&journal->blocks);
    flx_list_init(&journal->segments);
    journal->store = store;
    journal->disk = flx_store_disk(store);
    if (options != NULL) {
        journal->options = *options;
    }
    defaults(&journal->options);
    journal->now_us = now_us;
    journal->label = flx_strdup(journal->options.label != NULL ? journal->options.label : name);
    journal->options.label = NULL;
    if (journal->label == NULL) {
        (void)flx_journal_free(journal);
        return FLX_ERR_NOMEM;
    }
    if (strlen(journal->label) > FLX_LOG_STATE_LABEL_MAX) {
        journal->label[FLX_LOG_STATE_LABEL_MAX] = '\0';
    }
    (void)snprintf(journal->name, sizeof journal->name, "%s", name);
    (void)snprintf(journal->directory, sizeof journal->directory, "logs/%s", name);
    journal->sync_due_ns = FLX_JOURNAL_NEVER;
    journal->retry_due_ns = FLX_JOURNAL_NEVER;
    journal->checkpoint_due_ns = FLX_JOURNAL_NEVER;
    journal->retain_due_ns = FLX_JOURNAL_NEVER;
    *ret_journal = journal;
    return FLX_OK;
}

flx_status flx_journal_open(flx_store *store, const char *name, bool may_create,
                            const flx_journal_options *options, uint64_t now_us,
                            flx_journal **ret_journal, flx_journal_report *ret_report,
                            flx_error *reterr)
{
    flx_journal_report report = {0};
    flx_journal *journal = NULL;
    flx_status status = FLX_OK;
    if (!flx_log_name_is_valid(name)) {
        status = flx_fail(reterr, FLX_ERR_INVALID, "'%s' is no name of a log", name);
    } else if (journal_new(store, name, options, now_us, &journal) != FLX_OK) {
        status = flx_fail(reterr, FLX_ERR_NOMEM, "open log '%s'", name);
    } else {
        status = log_load(journal, may_create, &report, reterr);
        if (status != FLX_OK) {
            flx_error_prefix(reterr, "log '%s'", name);
        }
    }
    if (status == FLX_OK) {
        journal->end = journal->tally.end;
        journal->written = journal->end;
        journal->synced = journal->end;
        if (journal->tally.batches > 0) {
            journal->last_time_us = journal->tally.time_last_us;
        }
        journal->checkpoint_due_ns =
            journal->synced > journal->record.checkpoint_end ? 0 : FLX_JOURNAL_NEVER;
        journal->retain_due_ns = 0;
        report.segments = (uint32_t)journal->sealed_count + 1;
        report.bytes = journal->sealed_bytes + journal->tally.position;
        report.start = journal->record.start;
        report.end = journal->end;
        *ret_journal = journal;
    } else {
        (void)flx_journal_free(journal);
    }
    if (ret_report != NULL) {
        *ret_report = report;
    }
    return status;
}
