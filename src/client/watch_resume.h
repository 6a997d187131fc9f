/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/watch_resume.h - where the watch of one shard is, and where it goes on after whatever
 * happened to it. Pure.
 *
 *   it began with what was there    it is at an offset only when that has all come; until then every
 *                                   surprise means: from the beginning, after a RESET
 *   the connection was lost         from next
 *   lagged(resume_from)             from there; 0, or below what we know: as from the beginning
 *   started with resnapshot         a RESET: what comes first is what is there
 *   in_future(available)            we were there before: the broker lost its memory, from the
 *                                   beginning; asked for at first: that is the caller's mistake
 *   an event below next             seen already: skipped
 *   progress(resume_from)           nothing of ours lies below: from there; below next: not news
 *   a batch of the snapshot         only while that is coming, and of its point: else a broken broker
 *   a batch of changes              behind it the same as progress(end)
 */
#ifndef FLX_CLIENT_WATCH_RESUME_H
#define FLX_CLIENT_WATCH_RESUME_H

#include <felix/watch.h>

typedef struct flx_watch_resume {
    flx_watch_from from; /* what to ask for next */
    uint64_t next;       /* with OFFSET */
    bool has_started;    /* the broker has agreed once */
    bool owes_reset;     /* what was told before is void */
    bool in_snapshot;    /* what was there is coming */
    bool is_counted;     /* `left` says how many of it */
    bool owes_ready;
    uint64_t left;
    uint64_t until; /* in_snapshot: changes begin at this offset */
} flx_watch_resume;

/* What a step means for the application, in this order. */
typedef struct flx_watch_news {
    bool is_reset;
    bool is_skipped;  /* an event: it came before */
    bool is_retained; /* an event of what was there */
    bool is_ready;    /* behind the event, if that is retained; before it otherwise */
} flx_watch_news;

void flx_watch_resume_init(flx_watch_resume *resume, flx_watch_from from, uint64_t offset);
/* The broker agreed. `count`: how many keys are there; NULL: not said. */
flx_watch_news flx_watch_resume_started(flx_watch_resume *resume, uint64_t resume_offset,
                                        bool resnapshot, const uint64_t *count);
flx_watch_news flx_watch_resume_event(flx_watch_resume *resume, uint64_t offset);
/* Whether a batch of what was there, at `end`, may come now. How many there are is not counted: a
 * batch of changes, be it an empty one, says that all have come. */
bool flx_watch_resume_takes_snapshot(const flx_watch_resume *resume, uint64_t end);
/* Never retained. Skipped: it is behind. Also what a batch of changes does that ends there. */
flx_watch_news flx_watch_resume_progress(flx_watch_resume *resume, uint64_t resume_from);
void flx_watch_resume_lagged(flx_watch_resume *resume, uint64_t resume_from);
void flx_watch_resume_lost(flx_watch_resume *resume);
/* False: it cannot be mended, report it. */
bool flx_watch_resume_in_future(flx_watch_resume *resume);
/* Whether `next` is where another watch could go on. */
static inline bool flx_watch_resume_is_placed(const flx_watch_resume *resume)
{
    return resume->from == FLX_WATCH_FROM_OFFSET && !resume->in_snapshot;
}

#endif /* FLX_CLIENT_WATCH_RESUME_H */
