/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/sim_disk.h - a disk in memory that is as bad as disks are.
 *
 * It remembers what was synced and, one by one, what was not. A crash throws the second away, or keeps
 * parts of it, by a seed. It stops the world after the Nth change, fills up, fails a sync the way
 * kernels do (the pages are dropped and the next sync says it is fine), and flips bits.
 */
#ifndef FLX_TESTS_SIM_DISK_H
#define FLX_TESTS_SIM_DISK_H

#include "storage/disk.h"

typedef struct sim_disk sim_disk;

typedef enum sim_crash_mode {
    SIM_LOSE,   /* nothing that was not synced is there */
    SIM_TEAR,   /* names are there; of the content a beginning, the last write torn */
    SIM_REORDER /* any sectors of any writes, any beginning of the changes of names */
} sim_crash_mode;

sim_disk *sim_disk_new(void);
flx_disk *sim_disk_of(sim_disk *sim);

/* The power goes and comes back. Files must be closed. */
void sim_disk_crash(sim_disk *sim, sim_crash_mode mode, uint64_t seed);

/* Changes so far: writes, syncs, names made, renamed, removed, cuts. */
uint64_t sim_disk_changes(const sim_disk *sim);
/* The change number `nth` from now (1: the next) is begun and answers FLX_ERR_IO, as do all after it,
 * until the crash. 0: never. */
void sim_disk_stop_at(sim_disk *sim, uint64_t nth);
bool sim_disk_is_stopped(const sim_disk *sim);
/* The sync number `nth` from now fails and drops what it should have kept. */
void sim_disk_fail_sync(sim_disk *sim, uint64_t nth);
bool sim_disk_fail_sync_is_due(const sim_disk *sim); /* it has not come to it yet */
/* Which reads need no disk (read_now): every `one_in`th; 1: all, 0: none, as at first. */
void sim_disk_remember(sim_disk *sim, uint32_t one_in);
/* Bytes all files may have together; UINT64_MAX: no bound. */
void sim_disk_set_room(sim_disk *sim, uint64_t bytes);
uint64_t sim_disk_bytes(const sim_disk *sim);
size_t sim_disk_open_files(const sim_disk *sim);

/* Content of a file as it is now; NULL: there is none. */
uint8_t *sim_disk_content(sim_disk *sim, const char *path, size_t *ret_len);
/* Calls `each` for every file. */
void sim_disk_each(sim_disk *sim, void (*each)(void *arg, const char *path, size_t len), void *arg);
void sim_disk_flip(sim_disk *sim, const char *path, uint64_t bit);
/* Cuts a file, or takes it away, as if it had always been so. */
void sim_disk_cut(sim_disk *sim, const char *path, size_t len);
void sim_disk_lose(sim_disk *sim, const char *path);
/* A copy of everything, as synced; for trying many things from one state. */
sim_disk *sim_disk_clone(const sim_disk *sim);

#endif /* FLX_TESTS_SIM_DISK_H */
