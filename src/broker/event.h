/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/event.h - a sealed frame as one subscriber negotiated it.
 *
 * The primary variant (shared, with offsets) lies ready in front of the region. Any other gets a
 * head of its own from a scratch chunk and the same region; only times rewrite the region. Records
 * before the offset a subscriber starts at are left out the same way.
 *
 * Pure. Threads: one worker.
 */
#ifndef FLX_BROKER_EVENT_H
#define FLX_BROKER_EVENT_H

#include "broker/scratch.h"
#include "broker/sealed.h"
#include "wire/flags.h"

#include <felix/status.h>

#define FLX_EVENT_PRIMARY_BYTES 24
#define FLX_EVENT_PRIMARY_FLAGS                                                                    \
    ((uint16_t)(FLX_FLAG_BINARY_EVENT_BATCH_SHARED | FLX_FLAG_EVENT_BATCH_OFFSETS))

/* What goes over one event stream. */
typedef struct flx_event_form {
    uint16_t flags; /* of the frames; 0: JSON, for a client that knows no binary form */
    uint64_t subscription_id;
    flx_slice tenant, namespace_, stream; /* for JSON; borrowed */
} flx_event_form;

/* The frame flags for a client that offered `client_flags`. */
uint16_t flx_event_flags(uint16_t client_flags);

/* Writes envelope and head of the primary variant: FLX_EVENT_PRIMARY_BYTES. */
void flx_event_primary_put(uint8_t *to, uint64_t base_offset, uint32_t count, uint32_t region_len);

/*
 * The ranges to send, in order, each with a reference of its own; at most 2.
 * `skip` records at the front are left out (less than the frame's count).
 * FLX_ERR_NOMEM, FLX_ERR_TOO_LARGE (a rewritten frame past what a client reads).
 */
flx_status flx_event_ranges(const flx_sealed *frame, const flx_event_form *form, uint32_t skip,
                            flx_scratch *scratch, flx_range ret_ranges[2], size_t *ret_count);

#endif /* FLX_BROKER_EVENT_H */
