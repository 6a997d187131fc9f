/* SPDX-License-Identifier: Apache-2.0 */
/*
 * producer.h - an idempotent producer, by the raw protocol: what was not answered when the node was killed is
 * sent again under the same sequence, and must be there exactly once.
 *
 * It has a thread of its own, which publishes while it is let. The main thread calls these.
 */
#ifndef FLX_CRASH_PRODUCER_H
#define FLX_CRASH_PRODUCER_H

#include "node.h"
#include "streams.h"

typedef struct producer producer;

producer *producer_new(const node *n, streams *all, uint64_t seed);
producer *producer_free(producer *p);

/* The stream was made anew: another producer from here on. Paused. */
void producer_begin(producer *p);
/* The node serves. With `feed` it publishes as much as the session may, otherwise what is still open and one
 * batch. */
void producer_run(producer *p, bool feed);
/* Stops using the node; returns when it does no more. */
void producer_pause(producer *p);
/* Batches that were sent again. */
uint64_t producer_repeats(const producer *p);

#endif /* FLX_CRASH_PRODUCER_H */
