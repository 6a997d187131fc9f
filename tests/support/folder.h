/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/folder.h - a folder of the test's own below /tmp, gone with all that is in it. */
#ifndef FLX_TESTS_FOLDER_H
#define FLX_TESTS_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static char folder[80] = "/tmp/felix-unit-XXXXXX";

/* Group set-up and tear-down. */
static inline int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static inline int remove_one(const char *path, const struct stat *info, int flag, struct FTW *where)
{
    (void)info;
    (void)flag;
    (void)where;
    return remove(path);
}

static inline int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in it, valid until the fourth call after this one. */
static inline const char *path_of(const char *name)
{
    static char paths[4][160];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

#endif /* FLX_TESTS_FOLDER_H */
