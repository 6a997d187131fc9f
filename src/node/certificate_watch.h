/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/certificate_watch.h - notices when the certificate's files change on disk.
 *
 * Watches the directories, not the files: Kubernetes swaps a symbolic link beside them, and editors
 * rename. Changes are gathered for a moment, because certificate and key are replaced one after the
 * other. The loop's thread.
 */
#ifndef FLX_NODE_CERTIFICATE_WATCH_H
#define FLX_NODE_CERTIFICATE_WATCH_H

#include "common/loop.h"

#include <stddef.h>

typedef struct flx_certificate_watch {
    flx_loop *loop;
    flx_watch watch;
    flx_timer settle;
    void (*changed)(void *arg);
    void *arg;
} flx_certificate_watch;

/* Watches the folders of these files (NULL entries are passed over). FLX_ERR_IO. */
flx_status flx_certificate_watch_start(flx_certificate_watch *watch, flx_loop *loop,
                                       const char *const *files, size_t count,
                                       void (*changed)(void *arg), void *arg, flx_error *reterr);
void flx_certificate_watch_stop(flx_certificate_watch *watch);

#endif /* FLX_NODE_CERTIFICATE_WATCH_H */
