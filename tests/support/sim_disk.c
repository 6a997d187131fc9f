/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/sim_disk.c - content and names, each twice: as a process sees them now, and as the power
 * cut would leave them; between the two a list of changes that were not synced.
 *
 * Uses malloc of libc, so that tests that fail the Nth allocation fail those of the product only.
 */
#include "sim_disk.h"

#include "common/assert.h"
#include "common/error.h"
#include "common/xorshift.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 64u /* small, so that small tests have many */

typedef struct bytes {
    uint8_t *data;
    size_t len;
} bytes;

/* A write, or a cut to `offset` when data is NULL. */
typedef struct edit {
    uint64_t offset;
    bytes content;
    struct edit *next;
} edit;

typedef struct inode {
    bytes live;
    bytes synced;
    edit *edits; /* from `synced` to `live`, oldest first; what a failed sync dropped is not here */
    bool is_dir;
    struct inode *next; /* all of a disk */
} inode;

typedef struct entry {
    char path[FLX_DISK_PATH_MAX];
    inode *node;
} entry;

typedef struct names {
    entry *entries;
    size_t count;
} names;

typedef enum change_kind { CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME } change_kind;

typedef struct change {
    change_kind kind;
    char path[FLX_DISK_PATH_MAX];
    char to[FLX_DISK_PATH_MAX];
    inode *node;
} change;

struct sim_disk {
    flx_disk base;
    inode *inodes;
    names live;
    names synced;
    change *changes; /* of names, not yet synced */
    size_t change_count;
    uint64_t count;
    uint64_t stop_at;
    bool stopped;
    uint64_t syncs;
    uint64_t fail_sync_at;
    uint64_t room;
    size_t open_files;
    uint32_t remembered_one_in; /* 0: never */
    uint64_t reads_now;
};

typedef struct sim_file {
    flx_file base;
    inode *node;
} sim_file;

static sim_disk *sim_of(flx_disk *disk)
{
    return (sim_disk *)(void *)disk;
}

static void *need(void *memory)
{
    FLX_ASSERT(memory != NULL);
    return memory;
}

/* ---- content -------------------------------------------------------------------------------- */

static void bytes_resize(bytes *content, size_t len)
{
    if (len > content->len) {
        content->data = need(realloc(content->data, len));
        memset(content->data + content->len, 0, len - content->len);
    }
    content->len = len;
}

static void bytes_put(bytes *content, uint64_t offset, const uint8_t *data, size_t len)
{
    if (len == 0) {
        return;
    }
    if (offset + len > content->len) {
        bytes_resize(content, (size_t)offset + len);
    }
    memcpy(content->data + offset, data, len);
}

static bytes bytes_copy(const bytes *from)
{
    bytes copy = {NULL, 0};
    bytes_put(&copy, 0, from->data, from->len);
    return copy;
}

static void edit_apply(bytes *content, const edit *made, size_t len)
{
    if (made->content.data == NULL) {
        bytes_resize(content, (size_t)made->offset);
    } else {
        bytes_put(content, made->offset, made->content.data, len);
    }
}

static void edits_free(inode *node)
{
    while (node->edits != NULL) {
        edit *next = node->edits->next;
        free(node->edits->content.data);
        free(node->edits);
        node->edits = next;
    }
}

static void edit_add(inode *node, uint64_t offset, const uint8_t *data, size_t len)
{
    edit *made = need(calloc(1, sizeof *made));
    made->offset = offset;
    if (data != NULL) {
        made->content.data = need(malloc(len + 1));
        memcpy(made->content.data, data, len);
        made->content.len = len;
    }
    edit **at = &node->edits;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = made;
    edit_apply(&node->live, made, len);
}

/* ---- names ---------------------------------------------------------------------------------- */

static entry *names_find(const names *list, const char *path)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->entries[i].path, path) == 0) {
            return &list->entries[i];
        }
    }
    return NULL;
}

static void names_set(names *list, const char *path, inode *node)
{
    entry *found = names_find(list, path);
    if (found == NULL) {
        list->entries = need(realloc(list->entries, (list->count + 1) * sizeof list->entries[0]));
        found = &list->entries[list->count];
        list->count++;
        (void)snprintf(found->path, sizeof found->path, "%s", path);
    }
    found->node = node;
}

static void names_drop(names *list, const char *path)
{
    entry *found = names_find(list, path);
    if (found != NULL) {
        *found = list->entries[list->count - 1];
        list->count--;
    }
}

static void names_move(names *list, const char *from, const char *to)
{
    entry *found = names_find(list, from);
    if (found == NULL) {
        return;
    }
    inode *node = found->node;
    names_drop(list, from);
    names_set(list, to, node);
    const size_t len = strlen(from);
    for (size_t i = 0; node->is_dir && i < list->count; i++) {
        char *path = list->entries[i].path;
        if (strncmp(path, from, len) == 0 && path[len] == '/') {
            char moved[FLX_DISK_PATH_MAX];
            (void)snprintf(moved, sizeof moved, "%.200s%.300s", to, path + len);
            memcpy(path, moved, sizeof moved);
        }
    }
}

static void change_apply(names *list, const change *made)
{
    switch (made->kind) {
    case CHANGE_LINK:
        names_set(list, made->path, made->node);
        break;
    case CHANGE_UNLINK:
        names_drop(list, made->path);
        break;
    case CHANGE_RENAME:
        names_move(list, made->path, made->to);
        break;
    }
}

static void change_add(sim_disk *sim, change_kind kind, const char *path, const char *to,
                       inode *node)
{
    sim->changes = need(realloc(sim->changes, (sim->change_count + 1) * sizeof sim->changes[0]));
    change *made = &sim->changes[sim->change_count];
    sim->change_count++;
    *made = (change){.kind = kind, .node = node};
    (void)snprintf(made->path, sizeof made->path, "%s", path);
    (void)snprintf(made->to, sizeof made->to, "%s", to);
    change_apply(&sim->live, made);
}

static bool is_in(const char *path, const char *directory)
{
    const char *slash = strrchr(path, '/');
    const size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    return path[0] != '\0' && strlen(directory) == len && strncmp(path, directory, len) == 0;
}

static inode *inode_new(sim_disk *sim, bool is_dir)
{
    inode *node = need(calloc(1, sizeof *node));
    node->is_dir = is_dir;
    node->next = sim->inodes;
    sim->inodes = node;
    return node;
}

/* ---- the world stops ------------------------------------------------------------------------ */

static flx_status stopped(flx_error *reterr)
{
    return flx_fail_errno(reterr, EIO, "the world has stopped");
}

/* Counts a change. True: it is the one at which the world stops. */
static bool is_last(sim_disk *sim)
{
    sim->count++;
    if (sim->stop_at != 0 && sim->count == sim->stop_at) {
        sim->stopped = true;
    }
    return sim->stopped;
}

/* ---- the operations ------------------------------------------------------------------------- */

static flx_status not_found(const char *path, flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_NOT_FOUND, "'%s'", path);
}

static flx_status sim_open(flx_disk *disk, const char *path, flx_disk_open_how how,
                           flx_file **ret_file, flx_error *reterr)
{
    sim_disk *sim = sim_of(disk);
    if (sim->stopped) {
        return stopped(reterr);
    }
    const entry *found = names_find(&sim->live, path);
    const bool makes = how == FLX_DISK_CREATE || how == FLX_DISK_LOCK;
    if (found == NULL && !makes) {
        return not_found(path, reterr);
    }
    inode *node = found == NULL ? NULL : found->node;
    if (node == NULL || (how == FLX_DISK_CREATE && node->live.len > 0)) {
        const bool ends = is_last(sim);
        if (node == NULL) {
            node = inode_new(sim, false);
            change_add(sim, CHANGE_LINK, path, "", node);
        } else {
            edit_add(node, 0, NULL, 0);
        }
        if (ends) {
            return stopped(reterr);
        }
    }
    sim_file *file = need(calloc(1, sizeof *file));
    file->base = (flx_file){disk, -1};
    file->node = node;
    sim->open_files++;
    *ret_file = &file->base;
    return FLX_OK;
}

static sim_file *file_of(flx_file *file)
{
    return (sim_file *)(void *)file;
}

static void sim_close(flx_file *file)
{
    sim_of(file->disk)->open_files--;
    free(file);
}

uint64_t sim_disk_bytes(const sim_disk *sim)
{
    uint64_t total = 0;
    for (size_t i = 0; i < sim->live.count; i++) {
        total += sim->live.entries[i].node->live.len;
    }
    return total;
}

static flx_status sim_write(flx_file *file, const struct iovec *iov, size_t iov_count,
                            uint64_t offset, flx_error *reterr)
{
    sim_disk *sim = sim_of(file->disk);
    inode *node = file_of(file)->node;
    if (sim->stopped) {
        return stopped(reterr);
    }
    const bool ends = is_last(sim);
    bytes all = {NULL, 0};
    for (size_t i = 0; i < iov_count; i++) {
        bytes_put(&all, all.len, iov[i].iov_base, iov[i].iov_len);
    }
    const uint64_t end = offset + all.len;
    const uint64_t grows = end > node->live.len ? end - node->live.len : 0;
    const uint64_t used = sim_disk_bytes(sim);
    const uint64_t room = sim->room > used ? sim->room - used : 0;
    const bool fits = grows <= room;
    const size_t len =
        fits ? all.len : all.len - (size_t)(grows - room < all.len ? grows - room : all.len);
    if (len > 0) {
        edit_add(node, offset, all.data, len);
    }
    free(all.data);
    if (ends) {
        return stopped(reterr);
    }
    if (!fits) {
        (void)flx_fail_errno(reterr, ENOSPC, "write");
        if (reterr != NULL) {
            reterr->status = FLX_ERR_AGAIN;
        }
        return FLX_ERR_AGAIN;
    }
    return FLX_OK;
}

static flx_status sim_read(flx_file *file, void *to, size_t len, uint64_t offset, size_t *ret_len,
                           flx_error *reterr)
{
    (void)reterr;
    const bytes *live = &file_of(file)->node->live;
    const size_t left = offset < live->len ? live->len - (size_t)offset : 0;
    *ret_len = len < left ? len : left;
    if (*ret_len > 0) {
        memcpy(to, live->data + offset, *ret_len);
    }
    return FLX_OK;
}

static bool sim_read_now(flx_file *file, void *to, size_t len, uint64_t offset)
{
    sim_disk *sim = sim_of(file->disk);
    size_t got = 0;
    sim->reads_now++;
    return sim->remembered_one_in > 0 && sim->reads_now % sim->remembered_one_in == 0 &&
           sim_read(file, to, len, offset, &got, NULL) == FLX_OK && got == len;
}

static flx_status sim_sync(flx_file *file, flx_error *reterr)
{
    sim_disk *sim = sim_of(file->disk);
    inode *node = file_of(file)->node;
    if (sim->stopped || is_last(sim)) {
        return stopped(reterr);
    }
    sim->syncs++;
    const bool fails = sim->fail_sync_at != 0 && sim->syncs == sim->fail_sync_at;
    for (const edit *made = node->edits; made != NULL && !fails; made = made->next) {
        edit_apply(&node->synced, made, made->content.len);
    }
    edits_free(node);
    return fails ? flx_fail_errno(reterr, EIO, "sync") : FLX_OK;
}

static flx_status sim_size(flx_file *file, uint64_t *ret_bytes, flx_error *reterr)
{
    (void)reterr;
    *ret_bytes = file_of(file)->node->live.len;
    return FLX_OK;
}

static flx_status sim_truncate(flx_file *file, uint64_t len, flx_error *reterr)
{
    sim_disk *sim = sim_of(file->disk);
    inode *node = file_of(file)->node;
    if (sim->stopped) {
        return stopped(reterr);
    }
    if (node->live.len == len) {
        return FLX_OK;
    }
    const bool ends = is_last(sim);
    edit_add(node, len, NULL, 0);
    return ends ? stopped(reterr) : FLX_OK;
}

static flx_status sim_rename(flx_disk *disk, const char *from, const char *to, flx_error *reterr)
{
    sim_disk *sim = sim_of(disk);
    if (sim->stopped) {
        return stopped(reterr);
    }
    if (names_find(&sim->live, from) == NULL) {
        return not_found(from, reterr);
    }
    const bool ends = is_last(sim);
    change_add(sim, CHANGE_RENAME, from, to, NULL);
    return ends ? stopped(reterr) : FLX_OK;
}

static flx_status sim_unlink(flx_disk *disk, const char *path, flx_error *reterr)
{
    sim_disk *sim = sim_of(disk);
    if (sim->stopped) {
        return stopped(reterr);
    }
    if (names_find(&sim->live, path) == NULL) {
        return not_found(path, reterr);
    }
    const bool ends = is_last(sim);
    change_add(sim, CHANGE_UNLINK, path, "", NULL);
    return ends ? stopped(reterr) : FLX_OK;
}

static flx_status sim_make_dir(flx_disk *disk, const char *path, flx_error *reterr)
{
    sim_disk *sim = sim_of(disk);
    if (sim->stopped) {
        return stopped(reterr);
    }
    if (names_find(&sim->live, path) != NULL) {
        return FLX_OK;
    }
    const bool ends = is_last(sim);
    change_add(sim, CHANGE_LINK, path, "", inode_new(sim, true));
    return ends ? stopped(reterr) : FLX_OK;
}

static flx_status sim_sync_dir(flx_disk *disk, const char *path, flx_error *reterr)
{
    sim_disk *sim = sim_of(disk);
    if (sim->stopped || is_last(sim)) {
        return stopped(reterr);
    }
    if (path[0] != '\0' && names_find(&sim->live, path) == NULL) {
        return not_found(path, reterr);
    }
    size_t kept = 0;
    for (size_t i = 0; i < sim->change_count; i++) {
        const change *made = &sim->changes[i];
        if (is_in(made->path, path) || (made->to[0] != '\0' && is_in(made->to, path))) {
            change_apply(&sim->synced, made);
        } else {
            sim->changes[kept] = *made;
            kept++;
        }
    }
    sim->change_count = kept;
    return FLX_OK;
}

static flx_status sim_list(flx_disk *disk, const char *path,
                           flx_status (*each)(void *arg, const flx_disk_entry *entry), void *arg,
                           flx_error *reterr)
{
    sim_disk *sim = sim_of(disk);
    if (path[0] != '\0' && names_find(&sim->live, path) == NULL) {
        return not_found(path, reterr);
    }
    flx_status status = FLX_OK;
    for (size_t i = 0; i < sim->live.count && status == FLX_OK; i++) {
        const entry *found = &sim->live.entries[i];
        if (is_in(found->path, path)) {
            const char *slash = strrchr(found->path, '/');
            const flx_disk_entry seen = {slash == NULL ? found->path : slash + 1,
                                         found->node->is_dir};
            status = each(arg, &seen);
        }
    }
    return status;
}

static void sim_free(flx_disk *disk)
{
    sim_disk *sim = sim_of(disk);
    FLX_ASSERT(sim->open_files == 0); /* a leak of the product */
    while (sim->inodes != NULL) {
        inode *next = sim->inodes->next;
        edits_free(sim->inodes);
        free(sim->inodes->live.data);
        free(sim->inodes->synced.data);
        free(sim->inodes);
        sim->inodes = next;
    }
    free(sim->live.entries);
    free(sim->synced.entries);
    free(sim->changes);
    free(sim);
}

static const flx_disk_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .write = sim_write,
    .read = sim_read,
    .read_now = sim_read_now,
    .sync = sim_sync,
    .size = sim_size,
    .truncate = sim_truncate,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .make_dir = sim_make_dir,
    .remove_dir = sim_unlink,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .free = sim_free,
};

/* ---- crashes -------------------------------------------------------------------------------- */

static size_t edits_count(const inode *node)
{
    size_t count = 0;
    for (const edit *made = node->edits; made != NULL; made = made->next) {
        count++;
    }
    return count;
}

static void tear(inode *node, uint64_t *seed)
{
    const size_t count = edits_count(node);
    const size_t whole = count == 0 ? 0 : flx_xorshift(seed) % (count + 1);
    size_t i = 0;
    for (const edit *made = node->edits; made != NULL && i <= whole; made = made->next, i++) {
        const size_t len = made->content.len;
        edit_apply(&node->synced, made,
                   i < whole || len == 0 ? len : flx_xorshift(seed) % (len + 1));
    }
}

static void reorder(inode *node, uint64_t *seed)
{
    for (const edit *made = node->edits; made != NULL; made = made->next) {
        if (made->content.data == NULL && flx_xorshift(seed) % 2 == 0) {
            edit_apply(&node->synced, made, 0);
        }
        for (size_t at = 0; at < made->content.len;) {
            const size_t into = (size_t)((made->offset + at) % SECTOR);
            size_t len = SECTOR - into;
            len = len < made->content.len - at ? len : made->content.len - at;
            if (flx_xorshift(seed) % 2 == 0) {
                bytes_put(&node->synced, made->offset + at, made->content.data + at, len);
            }
            at += len;
        }
    }
}

static void names_copy(names *to, const names *from)
{
    free(to->entries);
    to->entries = need(malloc((from->count + 1) * sizeof to->entries[0]));
    to->count = from->count;
    if (from->count > 0) {
        memcpy(to->entries, from->entries, from->count * sizeof to->entries[0]);
    }
}

void sim_disk_crash(sim_disk *sim, sim_crash_mode mode, uint64_t seed)
{
    FLX_ASSERT(sim->open_files == 0);
    seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (inode *node = sim->inodes; node != NULL; node = node->next) {
        if (mode == SIM_TEAR) {
            tear(node, &seed);
        } else if (mode == SIM_REORDER) {
            reorder(node, &seed);
        }
        edits_free(node);
        free(node->live.data);
        node->live = bytes_copy(&node->synced);
    }
    const size_t kept = mode == SIM_LOSE   ? 0
                        : mode == SIM_TEAR ? sim->change_count
                                           : flx_xorshift(&seed) % (sim->change_count + 1);
    for (size_t i = 0; i < kept; i++) {
        change_apply(&sim->synced, &sim->changes[i]);
    }
    sim->change_count = 0;
    names_copy(&sim->live, &sim->synced);
    sim->stopped = false;
    sim->stop_at = 0;
    sim->fail_sync_at = 0;
}

/* ---- what tests ask ------------------------------------------------------------------------- */

sim_disk *sim_disk_new(void)
{
    sim_disk *sim = need(calloc(1, sizeof *sim));
    sim->base.ops = &sim_ops;
    sim->room = UINT64_MAX;
    return sim;
}

flx_disk *sim_disk_of(sim_disk *sim)
{
    return &sim->base;
}

uint64_t sim_disk_changes(const sim_disk *sim)
{
    return sim->count;
}

void sim_disk_stop_at(sim_disk *sim, uint64_t nth)
{
    sim->stop_at = nth == 0 ? 0 : sim->count + nth;
}

bool sim_disk_is_stopped(const sim_disk *sim)
{
    return sim->stopped;
}

void sim_disk_fail_sync(sim_disk *sim, uint64_t nth)
{
    sim->fail_sync_at = sim->syncs + nth;
}

bool sim_disk_fail_sync_is_due(const sim_disk *sim)
{
    return sim->syncs < sim->fail_sync_at;
}

size_t sim_disk_open_files(const sim_disk *sim)
{
    return sim->open_files;
}

void sim_disk_remember(sim_disk *sim, uint32_t one_in)
{
    sim->remembered_one_in = one_in;
}

void sim_disk_set_room(sim_disk *sim, uint64_t room)
{
    sim->room = room;
}

uint8_t *sim_disk_content(sim_disk *sim, const char *path, size_t *ret_len)
{
    const entry *found = names_find(&sim->live, path);
    if (found == NULL) {
        return NULL;
    }
    *ret_len = found->node->live.len;
    return found->node->live.data;
}

void sim_disk_each(sim_disk *sim, void (*each)(void *arg, const char *path, size_t len), void *arg)
{
    for (size_t i = 0; i < sim->live.count; i++) {
        if (!sim->live.entries[i].node->is_dir) {
            each(arg, sim->live.entries[i].path, sim->live.entries[i].node->live.len);
        }
    }
}

void sim_disk_flip(sim_disk *sim, const char *path, uint64_t bit)
{
    inode *node = names_find(&sim->live, path)->node;
    const uint8_t mask = (uint8_t)(1u << (bit % 8));
    node->live.data[bit / 8] ^= mask;
    if (bit / 8 < node->synced.len) {
        node->synced.data[bit / 8] ^= mask;
    }
}

void sim_disk_cut(sim_disk *sim, const char *path, size_t len)
{
    inode *node = names_find(&sim->live, path)->node;
    bytes_resize(&node->live, len);
    bytes_resize(&node->synced, len);
}

void sim_disk_lose(sim_disk *sim, const char *path)
{
    names_drop(&sim->live, path);
    names_drop(&sim->synced, path);
}

sim_disk *sim_disk_clone(const sim_disk *sim)
{
    sim_disk *copy = sim_disk_new();
    for (size_t i = 0; i < sim->live.count; i++) {
        const inode *from = sim->live.entries[i].node;
        inode *node = inode_new(copy, from->is_dir);
        node->live = bytes_copy(&from->live);
        node->synced = bytes_copy(&from->live);
        names_set(&copy->live, sim->live.entries[i].path, node);
        names_set(&copy->synced, sim->live.entries[i].path, node);
    }
    return copy;
}
