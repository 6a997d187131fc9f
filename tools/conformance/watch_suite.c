/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_suite.c - changes of a cache in batches, an extension of Felix's own (docs/spec/extensions.md
 * 3): who hears them, what they say, and where a watch goes on. A broker that does not offer them
 * skips all but the first row, which must hold for every broker that serves watches.
 */
#include "wire/change_batch.h"
#include "wire/flags.h"
#include "words.h"

#include <stdio.h>

/* One connection: a stream to ask on, and whether changes come in batches. */
typedef struct watcher {
    raw_client *client;
    bool in_batches;
} watcher;

static raw_stream *open_stream(check_suite *suite, watcher *from, bool offers, raw_frame *frame)
{
    flx_msg msg = {.type = FLX_MSG_AUTH};
    char got[200];
    raw_stream *stream = raw_open(from->client, true);
    msg.auth.tenant_id = flx_slice_of(suite->target->tenant);
    msg.auth.token = flx_slice_of(suite->target->token);
    msg.auth.has_client_flags = true;
    msg.auth.client_flags = FLX_FLAGS_ORIGINAL_V1;
    msg.auth.has_client_features = true;
    msg.auth.client_features = FLX_FEATURE_CACHE_WATCH | FLX_FEATURE_CACHE_WATCH_RETAINED |
                               (offers ? FLX_FEATURE_EXTENDED : 0);
    msg.auth.has_client_features_hi = offers;
    msg.auth.client_features_hi = FLX_FEATURE_HI_WATCH_BATCHES;
    if (stream == NULL) {
        (void)check_fail(suite, "no stream can be opened");
        return NULL;
    }
    raw_send_msg(stream, &msg);
    if (!next_msg(stream, FLX_MSG_AUTH_OK, frame, got, sizeof got)) {
        (void)check_fail(suite, "auth: expected auth_ok, got %s", got);
        return NULL;
    }
    from->in_batches = (frame->msg.auth_ok.server_features & FLX_FEATURE_EXTENDED) != 0 &&
                       frame->msg.auth_ok.has_server_features_hi &&
                       (frame->msg.auth_ok.server_features_hi & FLX_FEATURE_HI_WATCH_BATCHES) != 0;
    return stream;
}

/* Watches one key, so that it need not be known how many shards there are. `more` goes into the JSON.
 * The event stream behind its hello; *frame has the answer's numbers in *ret_resume. */
static raw_stream *watch_key(check_suite *suite, watcher *from, bool offers, const char *key,
                             const char *more, uint64_t *ret_resume)
{
    raw_frame frame;
    char got[200];
    char json[512];
    raw_stream *stream = open_stream(suite, from, offers, &frame);
    if (stream == NULL) {
        return NULL;
    }
    (void)snprintf(json, sizeof json,
                   "{\"type\":\"cache_watch\",\"tenant_id\":\"%s\",\"namespace\":\"%s\","
                   "\"cache\":\"%s\",\"key\":\"%s\"%s}",
                   suite->target->tenant, suite->target->namespace_, suite->target->cache, key,
                   more);
    raw_send_json(stream, json);
    raw_finish(stream);
    if (!next_msg(stream, FLX_MSG_CACHE_WATCH_STARTED, &frame, got, sizeof got)) {
        (void)check_fail(suite, "expected cache_watch_started, got %s", got);
        return NULL;
    }
    *ret_resume = frame.msg.cache_watch_started.resume_offset;
    raw_stream *events = raw_accept(from->client);
    if (events == NULL || !next_msg(events, FLX_MSG_EVENT_STREAM_HELLO, &frame, got, sizeof got)) {
        (void)check_fail(suite, "no event stream, or no hello on it");
        return NULL;
    }
    return events;
}

/* A put, or with `value` NULL a delete, and its answer. */
static bool change_key(check_suite *suite, watcher *from, const char *key, const char *value)
{
    raw_frame frame;
    char got[200];
    char json[512];
    raw_stream *stream = open_stream(suite, from, false, &frame);
    if (stream == NULL) {
        return false;
    }
    (void)snprintf(json, sizeof json,
                   "{\"type\":\"%s\",\"tenant_id\":\"%s\",\"namespace\":\"%s\",\"cache\":\"%s\","
                   "\"key\":\"%s\",%s%s%s\"request_id\":1}",
                   value == NULL ? "cache_delete" : "cache_put", suite->target->tenant,
                   suite->target->namespace_, suite->target->cache, key,
                   value == NULL ? "" : "\"value\":\"", value == NULL ? "" : value,
                   value == NULL ? "" : "\",");
    raw_send_json(stream, json);
    if (!next_msg(stream, value == NULL ? FLX_MSG_CACHE_VALUE : FLX_MSG_CACHE_OK, &frame, got,
                  sizeof got)) {
        (void)check_fail(suite, "a write was answered with %s", got);
        return false;
    }
    return true;
}

/* The next batch; what it points to is valid until the next call on its stream. */
static bool next_batch(check_suite *suite, raw_stream *events, flx_change_batch *ret_batch)
{
    raw_frame frame;
    flx_error error;
    const raw_event event = raw_next(events, &frame);
    if (event != RAW_FRAME || frame.flags != FLX_FLAG_CHANGE_BATCH) {
        (void)check_fail(suite, "expected a batch, got %s, flags 0x%04x", raw_event_name(event),
                         event == RAW_FRAME ? frame.flags : 0);
        return false;
    }
    if (flx_change_batch_decode(frame.payload, ret_batch, &error) != FLX_OK) {
        (void)check_fail(suite, "%s", error.message);
        return false;
    }
    return true;
}

#define BEGIN()                                                                                    \
    check_result result = CHECK_PASS;                                                              \
    watcher w = {.client = NULL};                                                                  \
    flx_error error;                                                                               \
    if (raw_connect(suite->target, NULL, &w.client, &error) != FLX_OK) {                           \
        return check_fail(suite, "%s", error.message);                                             \
    }

/* `why` was written by what failed. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            result = CHECK_FAIL;                                                                   \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#define NEED_BATCHES()                                                                             \
    if (!w.in_batches) {                                                                           \
        result = check_skip(suite, "the broker does not offer batches of changes");                \
        goto done;                                                                                 \
    }

#define END()                                                                                      \
    done:                                                                                          \
    (void)raw_disconnect(w.client);                                                                \
    return result

static check_result only_when_asked(check_suite *suite)
{
    uint64_t resume;
    raw_frame frame;
    BEGIN();
    raw_stream *events = watch_key(suite, &w, false, "wb/asked", "", &resume);
    MUST(events != NULL);
    EXPECT(!w.in_batches, "batches are offered to a client that did not ask");
    MUST(change_key(suite, &w, "wb/asked", "YQ=="));
    EXPECT_MSG(events, CACHE_EVENT);
    END();
}

static check_result changes_in_order(check_suite *suite)
{
    uint64_t resume;
    uint64_t offset;
    uint64_t next;
    flx_change_batch batch;
    flx_change change;
    BEGIN();
    raw_stream *events = watch_key(suite, &w, true, "wb/order", "", &next);
    MUST(events != NULL);
    NEED_BATCHES();
    const uint64_t first = next;
    for (int i = 0; i < 4; i++) { /* one at a time, so that each has a batch */
        const bool is_put = i % 2 == 0;
        MUST(change_key(suite, &w, "wb/order", is_put ? "YWJj" : NULL));
        MUST(next_batch(suite, events, &batch));
        const uint64_t end = batch.end;
        EXPECT(batch.kind == FLX_CHANGE_BATCH_CHANGES && batch.count == 1, "batch %d: kind %u, %u",
               i, batch.kind, batch.count);
        (void)flx_change_batch_next(&batch, &offset, &change);
        EXPECT(offset >= next && offset < end, "change %d is at an offset told before", i);
        EXPECT(flx_slice_is(change.key, "wb/order") &&
                   (change.kind == FLX_CHANGE_KIND_PUT) == is_put &&
                   flx_slice_is(change.value, is_put ? "abc" : ""),
               "change %d is another", i);
        next = end;
    }
    /* From where a batch ended, nothing of it comes again; from before, all of it does. */
    char more[64];
    (void)snprintf(more, sizeof more, ",\"from_offset\":%llu", (unsigned long long)first);
    events = watch_key(suite, &w, true, "wb/order", more, &resume);
    MUST(events != NULL);
    EXPECT(resume == first, "a watch from an offset begins elsewhere");
    for (uint32_t seen = 0; seen < 4; seen += batch.count) {
        MUST(next_batch(suite, events, &batch));
        EXPECT(batch.kind == FLX_CHANGE_BATCH_CHANGES && batch.count > 0 && seen + batch.count <= 4,
               "history has other batches");
    }
    END();
}

static check_result snapshot_has_an_end(check_suite *suite)
{
    uint64_t resume;
    uint64_t offset;
    flx_change_batch batch;
    flx_change change;
    BEGIN();
    MUST(change_key(suite, &w, "wb/there", "YWJj"));
    raw_stream *events = watch_key(suite, &w, true, "wb/there", ",\"retained\":true", &resume);
    MUST(events != NULL);
    NEED_BATCHES();
    MUST(next_batch(suite, events, &batch));
    EXPECT(batch.kind == FLX_CHANGE_BATCH_SNAPSHOT && batch.end == resume && batch.count == 1,
           "what was there: kind %u, %u records", batch.kind, batch.count);
    (void)flx_change_batch_next(&batch, &offset, &change);
    EXPECT(offset < resume && flx_slice_is(change.value, "abc"), "what was there is another");
    MUST(next_batch(suite, events, &batch));
    EXPECT(batch.kind == FLX_CHANGE_BATCH_CHANGES && batch.end == resume && batch.count == 0,
           "no end of what was there: kind %u, %u records", batch.kind, batch.count);
    MUST(change_key(suite, &w, "wb/there", NULL));
    MUST(next_batch(suite, events, &batch));
    EXPECT(batch.kind == FLX_CHANGE_BATCH_CHANGES && batch.count == 1 && batch.end > resume,
           "the change behind it: kind %u, %u records", batch.kind, batch.count);
    END();
}

const check watch_checks[] = {
    {"watch_batches.only_when_asked", "JSON to a client that did not offer them", only_when_asked},
    {"watch_batches.changes_in_order", "each once, and a place to go on from", changes_in_order},
    {"watch_batches.snapshot_has_an_end", "what was there, an empty batch, then changes",
     snapshot_has_an_end},
    {NULL, NULL, NULL},
};
