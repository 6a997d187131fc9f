/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the header, one function a row. */
#include "client/watch_resume.h"

#include <string.h>

void flx_watch_resume_init(flx_watch_resume *resume, flx_watch_from from, uint64_t offset)
{
    memset(resume, 0, sizeof(*resume));
    resume->from = from;
    resume->next = offset;
}

/* From the beginning: what was told before is void. */
static void begin_again(flx_watch_resume *resume)
{
    resume->from = FLX_WATCH_FROM_RETAINED;
    resume->in_snapshot = false;
    resume->owes_reset = true;
}

static bool take_ready(flx_watch_resume *resume)
{
    const bool owed = resume->owes_ready;
    resume->owes_ready = false;
    return owed;
}

flx_watch_news flx_watch_resume_started(flx_watch_resume *resume, uint64_t resume_offset,
                                        bool resnapshot, const uint64_t *count)
{
    flx_watch_news news = {.is_reset = resume->owes_reset || resnapshot};
    const bool is_retained = resume->from == FLX_WATCH_FROM_RETAINED;
    resume->owes_reset = false;
    resume->has_started = true;
    resume->is_counted = count != NULL;
    resume->left = count != NULL ? *count : 0;
    resume->in_snapshot = resnapshot || (is_retained && (count == NULL || *count > 0));
    resume->owes_ready = is_retained;
    resume->until = resume_offset;
    resume->from = FLX_WATCH_FROM_OFFSET;
    resume->next = resume_offset;
    if (!resume->in_snapshot)
        news.is_ready = take_ready(resume);
    return news;
}

flx_watch_news flx_watch_resume_event(flx_watch_resume *resume, uint64_t offset)
{
    flx_watch_news news = {.is_reset = false};
    if (resume->in_snapshot && offset < resume->until) {
        news.is_retained = true;
        if (resume->is_counted && resume->left > 0 && --resume->left == 0) {
            resume->in_snapshot = false;
            news.is_ready = take_ready(resume);
        }
        return news;
    }
    if (offset < resume->next) {
        news.is_skipped = true;
        return news;
    }
    resume->in_snapshot = false; /* changes come behind it */
    resume->next = offset + 1;
    news.is_ready = take_ready(resume);
    return news;
}

bool flx_watch_resume_takes_snapshot(const flx_watch_resume *resume, uint64_t end)
{
    return resume->in_snapshot && end == resume->until;
}

flx_watch_news flx_watch_resume_progress(flx_watch_resume *resume, uint64_t resume_from)
{
    flx_watch_news news = {.is_skipped = resume_from < resume->next};
    if (news.is_skipped)
        return news;
    resume->in_snapshot = false; /* it is told behind what was there */
    resume->next = resume_from;
    news.is_ready = take_ready(resume);
    return news;
}

void flx_watch_resume_lagged(flx_watch_resume *resume, uint64_t resume_from)
{
    if (resume->in_snapshot || resume_from < resume->next)
        begin_again(resume);
    else
        resume->next = resume_from;
}

void flx_watch_resume_lost(flx_watch_resume *resume)
{
    if (resume->in_snapshot)
        begin_again(resume);
}

bool flx_watch_resume_in_future(flx_watch_resume *resume)
{
    if (!resume->has_started)
        return false;
    begin_again(resume);
    return true;
}
