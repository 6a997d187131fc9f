/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the header, one function a row. */
#include "client/resume.h"

#include "common/assert.h"

#include <string.h>

static const flx_gap no_gap = {FLX_GAP_NONE, 0, 0};

static void set_next(flx_resume *resume, uint64_t next)
{
    resume->has_next = true;
    resume->next = next;
    resume->go_latest = false;
}

void flx_resume_init(flx_resume *resume, flx_from from, uint64_t offset)
{
    memset(resume, 0, sizeof(*resume));
    resume->from = from;
    resume->offset = offset;
    if (from == FLX_FROM_OFFSET)
        set_next(resume, offset);
    if (from == FLX_FROM_TIME)
        resume->seek = FLX_SEEK_TIME;
}

bool flx_resume_wants_offset(const flx_resume *resume)
{
    return resume->seek == FLX_SEEK_TIME || resume->seek == FLX_SEEK_AGAIN;
}

void flx_resume_found(flx_resume *resume, const uint64_t *offset)
{
    FLX_ASSERT(flx_resume_wants_offset(resume));
    if (offset != NULL)
        set_next(resume, *offset);
    else if (resume->seek == FLX_SEEK_AGAIN)
        set_next(resume, resume->tail);
    resume->seek = resume->has_next ? FLX_SEEK_NONE : FLX_SEEK_TAIL;
}

void flx_resume_cannot_find(flx_resume *resume)
{
    FLX_ASSERT(flx_resume_wants_offset(resume));
    resume->from = FLX_FROM_EARLIEST;
    resume->seek = FLX_SEEK_NONE;
}

flx_start flx_resume_start(const flx_resume *resume)
{
    if (resume->go_latest)
        return (flx_start){FLX_START_LATEST, 0};
    if (resume->has_next)
        return (flx_start){FLX_START_OFFSET, resume->next};
    return (flx_start){resume->from == FLX_FROM_EARLIEST ? FLX_START_EARLIEST : FLX_START_LATEST,
                       0};
}

flx_gap flx_resume_subscribed(flx_resume *resume, const uint64_t *start_offset)
{
    flx_gap gap = no_gap;
    if (resume->seek == FLX_SEEK_TAIL && start_offset != NULL) {
        resume->seek = FLX_SEEK_AGAIN;
        resume->tail = *start_offset;
        return no_gap;
    }
    resume->seek = FLX_SEEK_NONE;
    if (resume->owes_gap)
        gap = (flx_gap){FLX_GAP_UNKNOWN, 0, 0};
    resume->owes_gap = false;
    resume->started = true;
    /* Only a start we did not choose tells something new. */
    if (start_offset != NULL && !resume->has_next)
        set_next(resume, *start_offset);
    return gap;
}

flx_gap flx_resume_events(flx_resume *resume, const uint64_t *base, uint64_t skipped_before,
                          uint32_t count, uint32_t *ret_skip)
{
    *ret_skip = 0;
    if (base == NULL)
        return no_gap;
    const uint64_t end = *base + count;
    FLX_ASSERT(end >= *base); /* the decoder refuses offsets that wrap */

    flx_gap gap = no_gap;
    if (resume->has_next && *base < resume->next) {
        *ret_skip = end <= resume->next ? count : (uint32_t)(resume->next - *base);
        if (end <= resume->next)
            return no_gap;
    } else if (resume->has_next && *base - resume->next > skipped_before) {
        gap = (flx_gap){FLX_GAP_MISSING, resume->next, *base - skipped_before};
    }
    set_next(resume, end);
    return gap;
}

bool flx_resume_cursor_error(flx_resume *resume, flx_cursor_reason reason, uint64_t available,
                             flx_gap *ret_gap)
{
    *ret_gap = no_gap;
    if (reason == FLX_CURSOR_TOO_OLD) {
        const uint64_t from = resume->has_next ? resume->next : 0;
        /* A broker that calls an offset too old and offers an older one would have us ask for ever. */
        if (available <= from && resume->has_next)
            return false;
        *ret_gap = (flx_gap){FLX_GAP_TOO_OLD, from, available};
        set_next(resume, available);
        return true;
    }
    if (!resume->started)
        return false;
    *ret_gap = (flx_gap){FLX_GAP_RESET, resume->next, available};
    resume->has_next = false;
    resume->go_latest = true;
    return true;
}

flx_gap flx_resume_lagged(flx_resume *resume, uint64_t resume_from)
{
    const uint64_t from =
        resume->has_next && resume->next < resume_from ? resume->next : resume_from;
    if (!resume->has_next || resume->next < resume_from)
        set_next(resume, resume_from);
    return (flx_gap){FLX_GAP_LAGGED, from, resume->next};
}

void flx_resume_moved(flx_resume *resume, const uint64_t *resume_from)
{
    if (resume_from != NULL && (!resume->has_next || resume->next < *resume_from))
        set_next(resume, *resume_from);
    flx_resume_lost(resume);
}

void flx_resume_lost(flx_resume *resume)
{
    /* From earliest nothing is missed by beginning again, as long as nothing had come. */
    if (resume->started && !resume->has_next &&
        (resume->from != FLX_FROM_EARLIEST || resume->go_latest))
        resume->owes_gap = true;
}
