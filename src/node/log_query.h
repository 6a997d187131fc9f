/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/log_query.h - what the logs of one stream or cache hold now, asked of the workers that own them.
 *
 * An HTTP thread makes a query, gives it to every worker as an order, and waits a bounded time; each
 * worker fills in the rows of the shards it owns and lets go. Who lets go last frees it, so a worker
 * that is late writes into memory that is still there.
 */
#ifndef FLX_NODE_LOG_QUERY_H
#define FLX_NODE_LOG_QUERY_H

#include "broker/worker.h"

#include <jansson.h>

typedef struct flx_log_query flx_log_query;

/* For `answerers` workers and the asker; of a cache with FLX_CACHE_LOG. NULL: out of memory. */
flx_log_query *flx_log_query_new(uint32_t log_id, uint32_t shards, uint32_t answerers);
/* On the thread of a worker: fills in what is its own, and lets go. */
void flx_log_query_answer(flx_log_query *query, flx_worker *worker);
/* A worker that will not answer lets go. */
void flx_log_query_skip(flx_log_query *query);
/* Waits until all answered, `wait_ms` at most, and lets go. The array of shards that were answered; NULL:
 * out of memory. The caller owns it. */
json_t *flx_log_query_wait(flx_log_query *query, uint32_t wait_ms);

#endif /* FLX_NODE_LOG_QUERY_H */
