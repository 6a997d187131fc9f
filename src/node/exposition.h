/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/exposition.h - /metrics: the workers' counters added up, as Prometheus text.
 *
 * docs/ops/metrics.md explains every family; a test holds the two together. Any thread: it reads
 * each figure on its own.
 */
#ifndef FLX_NODE_EXPOSITION_H
#define FLX_NODE_EXPOSITION_H

#include "common/buffer.h"
#include "node/worker_thread.h"

typedef struct flx_exposition {
    flx_worker_thread *const *workers;
    uint32_t worker_count;
    uint64_t started_wall_s;
    int64_t certificate_not_after_s; /* of the certificate handshakes get now; 0: unknown */
    int64_t certificate_on_disk_not_after_s;
    uint64_t config_reloads;
    uint64_t config_reload_failures;
    uint64_t catalog_version;
    uint64_t streams;
    uint64_t caches;
    bool ready;
} flx_exposition;

/* Appends the text. FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE: as of the buffer. */
flx_status flx_exposition_render(const flx_exposition *exposition, flx_buffer *buffer);

#endif /* FLX_NODE_EXPOSITION_H */
