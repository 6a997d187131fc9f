/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/change_frames.h - frames that tell a watch of changes, in the form its client negotiated:
 * one cache_event each, or batches (wire/change_batch.h).
 *
 * Pure. Threads: one worker.
 */
#ifndef FLX_BROKER_CHANGE_FRAMES_H
#define FLX_BROKER_CHANGE_FRAMES_H

#include "common/buffer.h"
#include "wire/change_batch.h"
#include "wire/flags.h"

/* What the frames of a watch carry as flags: 0 for JSON, or FLX_FLAG_CHANGE_BATCH. */
typedef uint16_t flx_change_form;
#define FLX_CHANGE_FORMS 2

static inline unsigned flx_change_form_index(flx_change_form form)
{
    return form == FLX_FLAG_CHANGE_BATCH ? 1 : 0;
}

#define FLX_CHANGE_FRAMES_BYTES_MAX (64u << 20) /* written in one go: a few of the largest values */

/* Frames being written, one behind the other. */
typedef struct flx_change_frames {
    flx_buffer *to; /* borrowed */
    flx_change_form form;
    flx_change_batch_kind kind;
    uint64_t end;     /* of the batches */
    size_t batch_at;  /* where in `to` the batch that is being filled begins */
    uint32_t records; /* in it; 0: there is none */
    uint64_t added;   /* changes, in all frames */
} flx_change_frames;

/* Behind what `to` holds. `kind` and `end` are what wire/change_batch.h says; JSON has neither. */
void flx_change_frames_begin(flx_change_frames *frames, flx_buffer *to, flx_change_form form,
                             flx_change_batch_kind kind, uint64_t end);
/*
 * A put or delete. Nothing is written when it fails:
 *
 * FLX_ERR_TOO_LARGE  no frame of this form holds it
 * FLX_ERR_NOMEM
 */
flx_status flx_change_frames_add(flx_change_frames *frames, uint64_t offset,
                                 const flx_change *change);
/* Completes the last frame; `to` holds whole ones from then on. */
void flx_change_frames_end(flx_change_frames *frames);

/* A whole frame without a record: the watch has come to `end`. Returns the byte after it. */
#define FLX_CHANGE_MARK_BYTES (12 + FLX_CHANGE_BATCH_HEAD_BYTES)
uint8_t *flx_change_mark_put(uint8_t *to, uint64_t end);

#endif /* FLX_BROKER_CHANGE_FRAMES_H */
