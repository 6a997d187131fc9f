/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_log.c - felix log: the logs in the data directory of a node, looked at and mended. */
#include "commands.h"
#include "common/error.h"
#include "node/log_owners.h"
#include "storage/inspect.h"
#include "wire/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The store of the first argument: the data directory of a node, or the folder of logs in it. */
typedef struct opened {
    char directory[FLX_DISK_PATH_MAX]; /* where it was found */
    char data_dir[FLX_DISK_PATH_MAX];  /* which has the catalog */
    flx_disk *disk;
    flx_store *store;
} opened;

#define LOG_FOLDER "log" /* of a node's data directory */

static flx_status open_in(opened *store, flx_store_how how, flx_error *reterr)
{
    flx_status status = flx_disk_posix_new(store->directory, false, &store->disk, reterr);
    if (status == FLX_OK) {
        status = flx_store_open(store->disk, how, 0, &store->store, reterr);
        if (status != FLX_OK) {
            store->disk = flx_disk_free(store->disk);
        }
    }
    return status;
}

static cli_exit open_store(cli_run *run, flx_store_how how, opened *ret_opened)
{
    const char *directory = cli_args_at(&run->args, 0);
    const char *const folders[] = {"", "/" LOG_FOLDER};
    flx_status status = FLX_ERR_NOT_FOUND;
    flx_error error = {0};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && status == FLX_ERR_NOT_FOUND; i++) {
        *ret_opened = (opened){.disk = NULL};
        const int len = snprintf(ret_opened->directory, sizeof ret_opened->directory, "%s%s",
                                 directory, folders[i]);
        if (len < 0 || (size_t)len >= sizeof ret_opened->directory) {
            return cli_error(run, CLI_EXIT_USAGE, "name a directory", "the name is too long");
        }
        (void)snprintf(ret_opened->data_dir, sizeof ret_opened->data_dir, "%s%s", directory,
                       folders[i][0] == '\0' ? "/.." : "");
        status = open_in(ret_opened, how, &error);
    }
    if (status == FLX_ERR_NOT_FOUND) {
        return cli_error(run, CLI_EXIT_NOT_FOUND,
                         "name the data directory of a node (`felix up --data DIR`)",
                         "no logs in '%s'", directory);
    }
    return status == FLX_OK ? CLI_EXIT_OK : cli_failed(run, &error, "open '%s'", directory);
}

static void close_store(opened *store)
{
    store->store = flx_store_free(store->store);
    store->disk = flx_disk_free(store->disk);
}

/* ---- the catalog ---------------------------------------------------------------------------- */

/* A running node has it for itself. */
static flx_status open_catalog_in(const char *directory, bool only_looks,
                                  flx_catalog_store **ret_catalog, flx_error *reterr)
{
    const flx_catalog_store_options options = {
        .directory = directory, .only_looks = only_looks, .busy_timeout_ms = 1};
    return flx_catalog_store_open(&options, ret_catalog, reterr);
}

/* NULL: nobody knows. */
static flx_log_owners *read_owners(const opened *store)
{
    flx_catalog_store *catalog = NULL;
    flx_log_owners *owners = NULL;
    if (open_catalog_in(store->data_dir, true, &catalog, NULL) == FLX_OK) {
        (void)flx_log_owners_read(catalog, &owners, NULL);
        catalog = flx_catalog_store_close(catalog);
    }
    return owners;
}

/* ---- ls ------------------------------------------------------------------------------------- */

typedef struct list {
    const flx_store *store;
    const flx_log_owners *owners;
    cli_out *out;
    flx_error error;
} list;

static const char *state_word(const list *all, const char *name, const flx_inspect_summary *summary)
{
    if (summary->is_gone) {
        return "gone";
    }
    if (!summary->has_state) {
        return "unreadable";
    }
    if (all->owners == NULL) {
        return "-";
    }
    switch (flx_log_owners_find(all->owners, name)) {
    case FLX_LOG_OWNED:
        return "owned";
    case FLX_LOG_DROPPED:
        return "deleted";
    case FLX_LOG_ORPHAN:
        break;
    }
    return "orphan";
}

static flx_status list_one(void *arg, const char *name)
{
    list *all = arg;
    flx_inspect_summary summary;
    const flx_status status = flx_inspect_glance(all->store, name, &summary, &all->error);
    if (status != FLX_OK) {
        return status;
    }
    cli_out_row(all->out,
                json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:i,s:I}", "name", name, "label", summary.label,
                          "state", state_word(all, name, &summary), "start",
                          (json_int_t)summary.start, "checkpoint",
                          (json_int_t)summary.checkpoint_end, "bytes", (json_int_t)summary.bytes,
                          "segments", (int)summary.segments, "epoch", (json_int_t)summary.epoch));
    return FLX_OK;
}

cli_exit cli_cmd_log_ls(cli_run *run)
{
    static const cli_column columns[] = {
        {"NAME", "name", false, 0},
        {"LABEL", "label", false, 0},
        {"STATE", "state", false, 0},
        {"START", "start", false, 0},
        {"CHECKPOINT", "checkpoint", false, 0},
        {"BYTES", "bytes", false, 0},
        {"SEGMENTS", "segments", false, 0},
        {"EPOCH", "epoch", true, 0},
        {NULL, NULL, false, 0},
    };
    opened store;
    cli_exit code = open_store(run, FLX_STORE_LOOK, &store);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    cli_out out;
    cli_out_begin(&out, run->out, cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSONL),
                  CLI_SHAPE_LIST, columns, "name", run->out_is_terminal);
    flx_log_owners *owners = read_owners(&store);
    list all = {store.store, owners, &out, {0}};
    const flx_status status = flx_store_list(store.store, list_one, &all, &all.error);
    (void)flx_log_owners_free(owners);
    const bool is_written = cli_out_end(&out);
    close_store(&store);
    if (status != FLX_OK) {
        return cli_failed(run, &all.error, "list the logs");
    }
    return is_written ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

/* ---- verify --------------------------------------------------------------------------------- */

typedef struct verification {
    cli_run *run;
    const flx_inspect_visit *visit;
    const flx_store *store;
    uint32_t logs;
    uint32_t problems;
    flx_error error;
} verification;

static void problem_print(void *arg, const flx_inspect_problem *problem)
{
    const verification *all = arg;
    (void)fprintf(all->run->out, "%s %s byte %" PRIu64 " offset %" PRIu64 ": %s\n",
                  problem->is_harmless ? "note" : "DAMAGED", problem->file, problem->position,
                  problem->offset, problem->what);
}

static flx_status verify_one(void *arg, const char *name)
{
    verification *all = arg;
    flx_inspect_summary summary;
    const flx_inspect_visit visit = {.problem = problem_print, .arg = all};
    const flx_status status = flx_inspect_log(all->store, name, &visit, &summary, &all->error);
    if (status != FLX_OK) {
        return status;
    }
    all->logs++;
    all->problems += summary.problems;
    (void)fprintf(all->run->out,
                  "%s %s %s: offsets %" PRIu64 " to %" PRIu64 ", %" PRIu64
                  " bytes in %u segments\n",
                  summary.problems == 0 ? "ok" : "BROKEN", name, summary.label, summary.start,
                  summary.end, summary.bytes, summary.segments);
    return FLX_OK;
}

cli_exit cli_cmd_log_verify(cli_run *run)
{
    opened store;
    cli_exit code = open_store(run, FLX_STORE_LOOK, &store);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    verification all = {.run = run, .store = store.store};
    const char *name = cli_args_at(&run->args, 1);
    const flx_status status = name != NULL
                                  ? verify_one(&all, name)
                                  : flx_store_list(store.store, verify_one, &all, &all.error);
    close_store(&store);
    if (status != FLX_OK) {
        return cli_failed(run, &all.error, "verify");
    }
    if (all.problems > 0) {
        return cli_error(run, CLI_EXIT_FAILURE,
                         "'felix log repair DIR LOG --yes' keeps what is before the first damage, "
                         "'--accept-loss' gives up a log that is gone",
                         "%u problem%s in %u log%s", all.problems, all.problems == 1 ? "" : "s",
                         all.logs, all.logs == 1 ? "" : "s");
    }
    return CLI_EXIT_OK;
}

/* ---- dump, export --------------------------------------------------------------------------- */

typedef struct dump {
    cli_run *run;
    cli_out *out; /* NULL: payloads */
    uint64_t from;
    uint64_t left; /* batches or records still to be written */
} dump;

static flx_status dump_batch(void *arg, const flx_stored *stored, uint64_t segment,
                             uint64_t position)
{
    dump *all = arg;
    if (flx_stored_end(stored) <= all->from) {
        return FLX_OK;
    }
    if (all->left == 0) {
        return FLX_ERR_CANCELED;
    }
    all->left--;
    cli_out_row(all->out,
                json_pack("{s:I,s:i,s:i,s:I,s:I,s:I,s:I,s:s%,s:I,s:I}", "offset",
                          (json_int_t)stored->base_offset, "count", (int)stored->count, "kind",
                          (int)stored->kind, "time_us", (json_int_t)stored->time_us, "epoch",
                          (json_int_t)stored->epoch, "bytes", (json_int_t)flx_stored_bytes(stored),
                          "skipped", (json_int_t)stored->skipped_before, "publisher",
                          stored->publisher.len > 0 ? (const char *)stored->publisher.ptr : "",
                          stored->publisher.len, "segment", (json_int_t)segment, "position",
                          (json_int_t)position));
    return FLX_OK;
}

static flx_status export_batch(void *arg, const flx_stored *stored, uint64_t segment,
                               uint64_t position)
{
    (void)segment;
    (void)position;
    dump *all = arg;
    flx_slice rest = stored->region;
    flx_slice payload;
    for (uint64_t offset = stored->base_offset; flx_records_next(&rest, &payload); offset++) {
        if (offset < all->from) {
            continue;
        }
        if (all->left == 0) {
            return FLX_ERR_CANCELED;
        }
        all->left--;
        (void)fwrite(payload.ptr, 1, payload.len, all->run->out);
        (void)fputc('\n', all->run->out);
    }
    return ferror(all->run->out) != 0 ? FLX_ERR_IO : FLX_OK;
}

static cli_exit walk(cli_run *run, dump *all,
                     flx_status (*batch)(void *arg, const flx_stored *stored, uint64_t segment,
                                         uint64_t position))
{
    uint64_t count = 0;
    if (!cli_flag_u64(run, "from", 0, UINT64_MAX, &all->from) ||
        !cli_flag_u64(run, "count", 0, UINT64_MAX, &count)) {
        return CLI_EXIT_USAGE;
    }
    all->left = count == 0 ? UINT64_MAX : count;
    opened store;
    const cli_exit code = open_store(run, FLX_STORE_LOOK, &store);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    const char *name = cli_args_at(&run->args, 1);
    flx_error error = {0};
    flx_inspect_summary summary = {0};
    const flx_inspect_visit visit = {.batch = batch, .arg = all};
    const flx_status status = flx_inspect_log(store.store, name, &visit, &summary, &error);
    close_store(&store);
    if (status != FLX_OK && status != FLX_ERR_CANCELED) {
        return cli_failed(run, &error, "read log '%s'", name);
    }
    if (summary.problems > 0) {
        return cli_error(run, CLI_EXIT_PARTIAL, "'felix log verify' says where",
                         "log '%s' is damaged: this is what is whole", name);
    }
    return CLI_EXIT_OK;
}

cli_exit cli_cmd_log_dump(cli_run *run)
{
    static const cli_column columns[] = {
        {"OFFSET", "offset", false, 10},  {"COUNT", "count", false, 6},
        {"KIND", "kind", false, 4},       {"TIME_US", "time_us", false, 16},
        {"EPOCH", "epoch", false, 5},     {"BYTES", "bytes", false, 8},
        {"SKIPPED", "skipped", true, 7},  {"PUBLISHER", "publisher", false, 12},
        {"SEGMENT", "segment", true, 10}, {"POSITION", "position", true, 10},
        {NULL, NULL, false, 0},
    };
    cli_out out;
    cli_out_begin(&out, run->out, cli_run_format(run, CLI_FORMAT_TABLE, CLI_FORMAT_JSONL),
                  CLI_SHAPE_STREAM, columns, "offset", run->out_is_terminal);
    dump all = {.run = run, .out = &out};
    const cli_exit code = walk(run, &all, dump_batch);
    return cli_out_end(&out) ? code : CLI_EXIT_FAILURE;
}

cli_exit cli_cmd_log_export(cli_run *run)
{
    dump all = {.run = run};
    return walk(run, &all, export_batch);
}

/* ---- repair --------------------------------------------------------------------------------- */

/* The log ends at its first damage. */
static flx_status cut_back(cli_run *run, const opened *store, const char *name, flx_error *reterr)
{
    uint64_t end = 0;
    char aside[FLX_DISK_PATH_MAX];
    const flx_status status = flx_inspect_repair(store->store, name, &end, aside, reterr);
    if (status == FLX_OK) {
        cli_say(run, "log '%s' now ends with offset %" PRIu64 "; what was behind is in '%s/%s'",
                name, end, store->directory, aside);
    }
    return status;
}

/* All of the log is given up. */
static flx_status accept_loss(cli_run *run, const opened *store, const char *name,
                              flx_error *reterr)
{
    char aside[FLX_DISK_PATH_MAX];
    const flx_status status = flx_inspect_forget(store->store, name, aside, reterr);
    if (status == FLX_OK && aside[0] != '\0') {
        cli_say(run, "log '%s' is made anew at the next start; what was left is in '%s/%s'", name,
                store->directory, aside);
    } else if (status == FLX_OK) {
        cli_say(run, "log '%s' is made anew at the next start; nothing was left of it", name);
    }
    return status;
}

/* All of the logs are given up: the catalog goes on with the store that is there, or a new one. */
static cli_exit accept_loss_of_all(cli_run *run)
{
    opened place = {.disk = NULL};
    const char *directory = cli_args_at(&run->args, 0);
    const int len = snprintf(place.directory, sizeof place.directory, "%s/" LOG_FOLDER, directory);
    flx_catalog_store *catalog = NULL;
    flx_error error = {0};
    bool is_known = false;
    uint8_t id[FLX_LOG_STORE_ID_BYTES];
    if (len < 0 || (size_t)len >= sizeof place.directory) {
        return cli_error(run, CLI_EXIT_USAGE, "name a directory", "the name is too long");
    }
    flx_status status = open_catalog_in(directory, false, &catalog, &error);
    if (status == FLX_OK) {
        status = flx_catalog_store_get_log_store(catalog, &is_known, id, &error);
    }
    if (status == FLX_OK && is_known) {
        status = open_in(&place, FLX_STORE_EXISTING, &error);
        const bool is_it =
            status == FLX_OK && memcmp(id, flx_store_id(place.store), FLX_LOG_STORE_ID_BYTES) == 0;
        close_store(&place);
        if (is_it) {
            status = flx_fail(&error, FLX_ERR_CONFLICT, "the logs of this catalog are there");
        } else if (status == FLX_OK || status == FLX_ERR_NOT_FOUND) {
            status = flx_catalog_store_set_log_store(catalog, NULL, &error);
        }
    }
    catalog = flx_catalog_store_close(catalog);
    if (status != FLX_OK) {
        return cli_failed(run, &error, "repair '%s'", directory);
    }
    cli_say(run, "the next start goes on with the logs in '%s', or makes new ones",
            place.directory);
    return CLI_EXIT_OK;
}

cli_exit cli_cmd_log_repair(cli_run *run)
{
    const char *name = cli_args_at(&run->args, 1);
    const bool accepts_loss = cli_args_has(&run->args, "accept-loss");
    if (name == NULL && accepts_loss) {
        return accept_loss_of_all(run);
    }
    if (name == NULL) {
        return cli_error(run, CLI_EXIT_USAGE, "'felix log ls DIR' lists them",
                         "name the log to repair");
    }
    if (!accepts_loss && !cli_args_has(&run->args, "yes")) {
        return cli_error(run, CLI_EXIT_USAGE, "say --yes when that is what you want",
                         "repairing ends log '%s' at its first damage and moves the rest to "
                         "'aside' beside the logs",
                         name);
    }
    opened store;
    const cli_exit code = open_store(run, FLX_STORE_EXISTING, &store);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    flx_error error = {0};
    const flx_status status =
        accepts_loss ? accept_loss(run, &store, name, &error) : cut_back(run, &store, name, &error);
    close_store(&store);
    return status == FLX_OK ? CLI_EXIT_OK : cli_failed(run, &error, "repair log '%s'", name);
}

/* ---- rm ------------------------------------------------------------------------------------- */

/* FLX_OK: no stream or cache has it. */
static flx_status check_orphan(const opened *store, const char *name, flx_error *reterr)
{
    flx_log_owners *owners = read_owners(store);
    flx_status status = FLX_OK;
    if (owners == NULL) {
        status =
            flx_fail(reterr, FLX_ERR_CONFLICT,
                     "there is no catalog beside it that says whose it is, or a node has it open");
    } else if (flx_log_owners_find(owners, name) == FLX_LOG_OWNED) {
        status = flx_fail(reterr, FLX_ERR_CONFLICT,
                          "a stream or cache of the catalog has it: delete that instead");
    }
    (void)flx_log_owners_free(owners);
    return status;
}

cli_exit cli_cmd_log_rm(cli_run *run)
{
    const char *name = cli_args_at(&run->args, 1);
    if (!cli_args_has(&run->args, "yes")) {
        return cli_error(run, CLI_EXIT_USAGE, "say --yes when that is what you want",
                         "removing log '%s' deletes its records", name);
    }
    opened store;
    const cli_exit code = open_store(run, FLX_STORE_EXISTING, &store);
    if (code != CLI_EXIT_OK) {
        return code;
    }
    flx_error error = {0};
    flx_status status = check_orphan(&store, name, &error);
    if (status == FLX_OK) {
        status = flx_store_remove(store.store, name, &error);
    }
    close_store(&store);
    return status == FLX_OK ? CLI_EXIT_OK : cli_failed(run, &error, "remove log '%s'", name);
}
