/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/store.h - the embedded catalog: one small SQLite file, every change one transaction.
 *
 *     create/patch/delete ─► transaction { the row, its line in the change log, version + 1 }
 *                              ─► commit is on disk ─► changed(version) ─► snapshot ─► workers
 *
 * What was answered with FLX_OK survives a power cut; what was not has left nothing (README.md).
 *
 * Statuses of every call, besides those named: FLX_ERR_INVALID (a name or value that may not be, the
 * message begins with the field), FLX_ERR_NOMEM, FLX_ERR_IO (the disk), FLX_ERR_CORRUPT (the file),
 * FLX_ERR_UNAVAILABLE (another process holds the file longer than the busy timeout).
 *
 * Threads: any thread may call; calls take turns. `changed` runs on the thread that made the
 * change, after the turn, and may call the store.
 */
#ifndef FLX_METADATA_STORE_H
#define FLX_METADATA_STORE_H

#include "metadata/catalog.h"
#include "metadata/entry.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_STORE_FILE            "catalog.db"
#define FLX_STORE_CHANGE_ROWS     10000U /* kept of each kind's change log */
#define FLX_STORE_PAGE_MAX        10000U
#define FLX_STORE_BATCH_MAX       256U
#define FLX_STORE_ENTRIES_MAX     100000U /* of one kind; bounds snapshots and what a worker holds */
#define FLX_STORE_BUSY_TIMEOUT_MS 5000U

typedef struct flx_catalog_store flx_catalog_store;

typedef struct flx_catalog_store_options {
    const char *directory;    /* the node's data directory, which exists; copied */
    flx_abilities abilities;  /* what may be created here */
    uint32_t change_rows_max; /* 0: FLX_STORE_CHANGE_ROWS */
    uint32_t entries_max;     /* 0: FLX_STORE_ENTRIES_MAX */
    uint32_t busy_timeout_ms; /* 0: FLX_STORE_BUSY_TIMEOUT_MS */
    bool only_looks;          /* a tool beside a stopped node: nothing is made or changed */
    void (*changed)(void *arg, uint64_t version); /* NULL: nobody wants to know */
    void *arg;
} flx_catalog_store_options;

/*
 * Opens DIRECTORY/catalog.db, making it (mode 0600) when there is none; only_looks: FLX_ERR_IO then.
 *
 * FLX_ERR_CORRUPT      damaged, or not a Felix catalog; it is left as it is
 * FLX_ERR_UNSUPPORTED  written by a newer Felix; only_looks: or by an older one
 * FLX_ERR_UNAVAILABLE  another process has it
 * FLX_ERR_INVALID      the path is too long
 * FLX_ERR_IO, FLX_ERR_NOMEM
 */
flx_status flx_catalog_store_open(const flx_catalog_store_options *options,
                                  flx_catalog_store **ret_store, flx_error *reterr);
flx_catalog_store *
flx_catalog_store_close(flx_catalog_store *store); /* NULL is fine. Always returns NULL. */

/* As given at the open; valid as long as the store. */
const flx_abilities *flx_catalog_store_abilities(const flx_catalog_store *store);

/*
 * Creates `count` (1 .. FLX_STORE_BATCH_MAX) entries, all or none, in order: a namespace may stand
 * before the stream that lives in it. ret_created[i] is false where an identical entry was there
 * (README.md, rule 3); the entry is then unchanged. ret_created may be NULL.
 *
 * FLX_ERR_CONFLICT   a different entry has that name
 * FLX_ERR_NOT_FOUND  the tenant or namespace does not exist
 * FLX_ERR_AGAIN      there are entries_max of the kind
 */
flx_status flx_catalog_store_create(flx_catalog_store *store, const flx_entry *entries,
                                    size_t count, bool *ret_created, flx_error *reterr);

/* FLX_ERR_NOT_FOUND. */
flx_status flx_catalog_store_get(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                                 flx_entry *ret_entry, flx_error *reterr);

/* Changes one entry by a patch body (flx_entry_patch_json). FLX_ERR_NOT_FOUND. */
flx_status flx_catalog_store_patch(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                                   const json_t *body, flx_entry *ret_entry, flx_error *reterr);

/* FLX_ERR_NOT_FOUND, FLX_ERR_CONFLICT while it holds namespaces, streams or caches. */
flx_status flx_catalog_store_delete(flx_catalog_store *store, flx_kind kind, const flx_key *key,
                                    flx_error *reterr);

/*
 * Hands the entries of a place (tenant and namespace of `where`; an empty tenant: of everywhere) to
 * `visit`, ordered by name, at most `limit` (1 .. FLX_STORE_PAGE_MAX), beginning after `after`
 * (NULL: at the first). `visit` must not call the store; another status than FLX_OK ends the list
 * and is returned. *ret_more: there are more.
 */
flx_status flx_catalog_store_list(flx_catalog_store *store, flx_kind kind, const flx_key *where,
                                  const flx_key *after, size_t limit,
                                  flx_status (*visit)(void *arg, const flx_entry *entry), void *arg,
                                  bool *ret_more, flx_error *reterr);

/* One line of a change log, borrowed during the visit. */
typedef struct flx_change {
    uint64_t seq;
    flx_slice op;     /* "created", "updated", "deleted" */
    flx_slice key;    /* JSON */
    flx_slice object; /* JSON, empty for a deletion */
} flx_change;

/*
 * Hands the changes of a kind from `since` on to `visit`, at most `limit`. *ret_next_seq is what
 * to ask for next. The seqs of a kind are dense; a consumer that finds the first one above `since`,
 * or none and *ret_next_seq different from `since`, takes a fresh snapshot.
 */
flx_status flx_catalog_store_changes(flx_catalog_store *store, flx_kind kind, uint64_t since,
                                     size_t limit,
                                     flx_status (*visit)(void *arg, const flx_change *change),
                                     void *arg, uint64_t *ret_next_seq, flx_error *reterr);

/* All entries of a kind and the seq of the change that follows, from one moment. */
flx_status flx_catalog_store_feed_snapshot(flx_catalog_store *store, flx_kind kind,
                                           flx_status (*visit)(void *arg, const flx_entry *entry),
                                           void *arg, uint64_t *ret_next_seq, flx_error *reterr);

/*
 * Waits until the log of `kind` has a change with a seq of `since` or more, at most `wait_ms`, or
 * until flx_catalog_store_wake_all. Holds up no other call.
 */
void flx_catalog_store_wait(flx_catalog_store *store, flx_kind kind, uint64_t since,
                            uint32_t wait_ms);
/* Ends all waits, now and from now on: the node is stopping. */
void flx_catalog_store_wake_all(flx_catalog_store *store);

/* The catalog as it stands, with one reference. The same one while nothing changes. */
flx_status flx_catalog_store_snapshot(flx_catalog_store *store, flx_catalog **ret_catalog,
                                      flx_error *reterr);

#endif /* FLX_METADATA_STORE_H */
