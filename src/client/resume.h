/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/resume.h - where one shard's subscription is, and where it goes on after whatever
 * happened to it. Pure.
 *
 * It knows the next offset as soon as the broker has said one. From there every surprise has one
 * answer and, where messages are missing, one notice:
 *
 *   the connection was lost       subscribe at next; not known: as asked at first, and a gap
 *   too_old(available)            subscribe at available, gap [next, available)
 *   in_future(available)          we were there before: the broker lost its memory: latest, gap
 *                                 RESET; asked for at first: that is the caller's mistake
 *   lagged(resume_from)           subscribe there, gap [next, resume_from)
 *   moved(resume_from)            subscribe at the larger of next and resume_from
 *   events above next             gap, unless the broker says these offsets hold none
 *   events below next             seen already: skipped
 *
 * Who asked for a time does not know an offset. It seeks first:
 *
 *   TIME: which offset has it? ---- that one -----------------------------------> subscribe there
 *     | none that late                                                              ^
 *   TAIL: subscribe at latest, learn where that is, and let go of it                |
 *     |                                                                             |
 *   AGAIN: which offset has it? --- the one that came meanwhile, or else the tail --+
 *
 * Going live at once, without AGAIN, would lose what came between the first answer and the
 * subscription.
 */
#ifndef FLX_CLIENT_RESUME_H
#define FLX_CLIENT_RESUME_H

#include "wire/message.h"

#include <felix/subscriber.h>

typedef enum flx_seek { FLX_SEEK_NONE, FLX_SEEK_TIME, FLX_SEEK_TAIL, FLX_SEEK_AGAIN } flx_seek;

typedef struct flx_resume {
    flx_from from; /* as asked */
    uint64_t offset;
    bool has_next;
    uint64_t next;  /* offset of the message that comes next */
    bool started;   /* has been subscribed at least once */
    bool go_latest; /* the next subscribe is at the tail, whatever was asked */
    bool owes_gap;  /* reconnected without knowing where it was */
    flx_seek seek;
    uint64_t tail; /* while seek is AGAIN */
} flx_resume;

typedef struct flx_gap {
    flx_gap_reason reason; /* FLX_GAP_NONE: there is none */
    uint64_t from;
    uint64_t end;
} flx_gap;

void flx_resume_init(flx_resume *resume, flx_from from, uint64_t offset);

/* Whether the broker is to be asked for the offset of the time, before a subscribe. */
bool flx_resume_wants_offset(const flx_resume *resume);
/* Its answer; NULL: nothing is that late. */
void flx_resume_found(flx_resume *resume, const uint64_t *offset);
/* It cannot tell. */
void flx_resume_cannot_find(flx_resume *resume);

/* What to ask for. */
flx_start flx_resume_start(const flx_resume *resume);

/* The broker agreed; `start_offset` NULL: it did not say where it starts. When it wants an offset now,
 * this subscription was only to learn the tail. */
flx_gap flx_resume_subscribed(flx_resume *resume, const uint64_t *start_offset);

/* `count` messages from `base` (NULL: not numbered) arrived. *ret_skip of them were seen before; the
 * gap, if any, lies before the rest. */
flx_gap flx_resume_events(flx_resume *resume, const uint64_t *base, uint64_t skipped_before,
                          uint32_t count, uint32_t *ret_skip);

/* The broker refused the start. False: it cannot be mended, report it. */
bool flx_resume_cursor_error(flx_resume *resume, flx_cursor_reason reason, uint64_t available,
                             flx_gap *ret_gap);
flx_gap flx_resume_lagged(flx_resume *resume, uint64_t resume_from);
void flx_resume_moved(flx_resume *resume, const uint64_t *resume_from);
void flx_resume_lost(flx_resume *resume);

#endif /* FLX_CLIENT_RESUME_H */
