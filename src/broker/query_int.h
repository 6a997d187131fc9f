/* SPDX-License-Identifier: Apache-2.0 */
/* broker/query_int.h - requests in JSON that a shard answers at once. */
#ifndef FLX_BROKER_QUERY_INT_H
#define FLX_BROKER_QUERY_INT_H

#include "broker/worker.h"
#include "wire/message.h"

typedef struct flx_job flx_job;

/* query.c: counts and history. */
void flx_query_message(flx_lane *lane, const flx_msg *msg);
bool flx_query_job(flx_worker *worker, flx_job *job); /* true: answered */
void flx_query_done(flx_lane *lane, flx_job *job);

/* query_cache.c: cache requests as JSON. */
void flx_cache_message(flx_lane *lane, const flx_msg *msg);
bool flx_cache_job(flx_worker *worker, flx_job *job); /* on the owner; true: answered */
void flx_cache_answer(flx_lane *lane, flx_job *job);  /* back home */

#endif /* FLX_BROKER_QUERY_INT_H */
