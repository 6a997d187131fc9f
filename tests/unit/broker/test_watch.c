/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches and counters of a cache, as a client hears them: CACHE.md, rules 9 to 16. Each story is
 * told on one worker, and with the watch on another worker than the shard; in JSON, and in batches.
 */
#include "broker_harness.h"
#include "json_text.h"
#include "unit.h"
#include "wire/flags.h"

#include <stdio.h>

#define OF_PRIMARY "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"primary\""
#define OF_CACHED  "\"tenant_id\":\"t1\",\"namespace\":\"default\",\"cache\":\"cached\""

typedef struct place {
    uint32_t workers;
    uint32_t writer; /* worker of who writes */
    uint32_t reader; /* worker of who watches */
} place;

static const place places[] = {{1, 0, 0}, {2, 0, 1}, {2, 1, 0}, {4, 2, 3}};
#define PLACES (sizeof places / sizeof places[0])

typedef struct scene {
    hx *h;
    hx_stream *writer;
    hx_conn *conn; /* the watcher's */
    char answer[512];
} scene;

static scene at_with(const place *where, bool in_batches, hx_options options)
{
    options.workers = where->workers;
    options.watch_features_hi |= in_batches ? FLX_FEATURE_HI_WATCH_BATCHES : 0;
    scene s = {.h = hx_new(&options)};
    assert_non_null(s.h);
    s.writer = hx_open(hx_connect(s.h, where->writer), true);
    hx_auth_as(s.writer, 0x7fff, 0xffffffff);
    s.conn = hx_connect(s.h, where->reader);
    return s;
}

/* Values are texts of whole base64 groups: "AAAA" is three zero bytes. */
static void put(scene *s, const char *key, const char *value)
{
    hx_json(s->writer,
            "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"%s\",\"value\":\"%s\","
            "\"request_id\":1,\"ttl_ms\":null}",
            key, value);
    assert_true(hx_run(s->h));
    assert_string_equal(hx_read_json(s->writer), "{\"type\":\"cache_ok\",\"request_id\":1}");
}

static void put_for(scene *s, const char *key, unsigned ttl_ms)
{
    hx_json(s->writer,
            "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"%s\",\"value\":\"AAAA\","
            "\"request_id\":1,\"ttl_ms\":%u}",
            key, ttl_ms);
    assert_true(hx_run(s->h));
    assert_string_equal(hx_read_json(s->writer), "{\"type\":\"cache_ok\",\"request_id\":1}");
}

static void drop(scene *s, const char *key)
{
    hx_json(s->writer, "{\"type\":\"cache_delete\"," OF_PRIMARY ",\"key\":\"%s\"}", key);
    assert_true(hx_run(s->h));
    (void)hx_read_json(s->writer);
}

static hx_stream *watch(scene *s, const char *what)
{
    hx_stream *events = hx_watch(s->conn, "primary", what, s->answer);
    if (events == NULL) {
        print_message("%s\n", s->answer);
    }
    assert_non_null(events);
    return events;
}

/* The next change, which must be of this key; NULL value: a delete. Returns its offset. */
static uint64_t expect(hx_stream *events, const char *key, const char *value)
{
    const hx_change change = hx_next_change(events);
    assert_true(change.is_change);
    assert_string_equal(change.key, key);
    assert_int_equal(change.has_value, value != NULL);
    if (value != NULL) {
        assert_string_equal(change.value, value);
    }
    return change.offset;
}

static void expect_nothing(hx_stream *events)
{
    const hx_change change = hx_next_change(events);
    assert_false(change.is_change || change.is_lagged || change.is_progress);
}

#define EACH_PLACE(scene_, limits_) EACH_PLACE_WITH(scene_, ((hx_options){.limits = limits_}))

#define EACH_PLACE_WITH(scene_, options)                                                           \
    for (size_t i_ = 0; i_ < 2 * PLACES; i_++)                                                     \
        for (scene scene_ = at_with(&places[i_ / 2], i_ % 2 == 1, (options)); scene_.h != NULL;    \
             hx_free(scene_.h), scene_.h = NULL)

#define NO_LIMITS                                                                                  \
    (flx_worker_limits)                                                                            \
    {                                                                                              \
        0                                                                                          \
    }

/* ---- starts ---- */

static void test_live_changes_of_a_key(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        put(&s, "a", "b2xk"); /* old */
        hx_stream *events = watch(&s, "\"key\":\"a\"");
        assert_null(strstr(s.answer, "retained_count"));
        expect_nothing(events);
        put(&s, "a", "b25l"); /* one */
        put(&s, "b", "dHdv");
        drop(&s, "a");
        put(&s, "a", "");
        const uint64_t first = expect(events, "a", "one");
        assert_int_equal(first, number_in(s.answer, "resume_offset"));
        assert_int_equal(expect(events, "a", NULL), first + 2); /* dense over the whole shard */
        assert_int_equal(expect(events, "a", ""), first + 3);
        expect_nothing(events);
    }
}

static void test_retained_begins_with_what_is_there(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        put(&s, "user/1", "b25l");
        put(&s, "user/2", "dHdv");
        put(&s, "other", "dHdv");
        put(&s, "user/2", "dHJp");
        hx_stream *events = watch(&s, "\"prefix\":\"user/\",\"retained\":true");
        assert_int_equal(number_in(s.answer, "retained_count"), 2);
        const uint64_t resume = number_in(s.answer, "resume_offset");
        const char *seen[2];
        hx_change there[2] = {hx_next_change(events), hx_next_change(events)};
        for (int i = 0; i < 2; i++) {
            assert_true(there[i].is_change && there[i].offset < resume);
            seen[i] = there[i].key;
            assert_string_equal(there[i].value, strcmp(seen[i], "user/1") == 0 ? "one" : "tri");
        }
        assert_string_not_equal(seen[0], seen[1]);
        expect_nothing(events);
        drop(&s, "user/1");
        assert_int_equal(expect(events, "user/1", NULL), resume);
        /* Of a key, and of nothing. */
        events = watch(&s, "\"key\":\"user/2\",\"retained\":true");
        assert_int_equal(number_in(s.answer, "retained_count"), 1);
        (void)expect(events, "user/2", "tri");
        events = watch(&s, "\"key\":\"user/1\",\"retained\":true");
        assert_int_equal(number_in(s.answer, "retained_count"), 0);
        expect_nothing(events);
    }
}

static void test_from_an_offset(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        char what[128];
        (void)watch(&s, "\"prefix\":\"\""); /* from now on changes are kept */
        const uint64_t first = number_in(s.answer, "resume_offset");
        put(&s, "a", "b25l");
        put(&s, "b", "dHdv");
        drop(&s, "a");
        (void)snprintf(what, sizeof what, "\"prefix\":\"\",\"from_offset\":%llu",
                       (unsigned long long)first + 1);
        hx_stream *events = watch(&s, what);
        assert_int_equal(number_in(s.answer, "resume_offset"), first + 1);
        assert_non_null(strstr(s.answer, "\"resnapshot\":false"));
        assert_int_equal(expect(events, "b", "two"), first + 1);
        assert_int_equal(expect(events, "a", NULL), first + 2);
        expect_nothing(events);
        put(&s, "c", "b25l");
        assert_int_equal(expect(events, "c", "one"), first + 3);
    }
}

static void test_history_that_is_gone_is_a_new_snapshot(void **state)
{
    (void)state;
    EACH_PLACE(s, (flx_worker_limits){.shard_ring_frames = 4})
    {
        (void)watch(&s, "\"prefix\":\"\"");
        char what[128];
        (void)snprintf(what, sizeof what, "\"prefix\":\"\",\"from_offset\":%llu",
                       (unsigned long long)number_in(s.answer, "resume_offset"));
        for (int i = 0; i < 10; i++) {
            put(&s, "a", "b25l");
        }
        put(&s, "b", "dHdv");
        hx_stream *events = watch(&s, what);
        assert_non_null(strstr(s.answer, "\"resnapshot\":true"));
        assert_null(strstr(s.answer, "retained_count"));
        const hx_change one = hx_next_change(events);
        const hx_change two = hx_next_change(events);
        assert_true(one.is_change && two.is_change);
        assert_string_not_equal(one.key, two.key);
        expect_nothing(events);
        put(&s, "a", "dHJp");
        (void)expect(events, "a", "tri");
    }
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *cache;
        const char *what;
        const char *code;
    } rows[] = {
        {"primary", "\"shard\":0", "invalid_request"},                    /* neither */
        {"primary", "\"key\":\"a\",\"prefix\":\"a\"", "invalid_request"}, /* both */
        {"primary", "\"key\":\"a\",\"retained\":true,\"from_offset\":0", "invalid_request"},
        {"primary", "\"key\":\"a\",\"shard\":1", "invalid_request"},
        {"cached", "\"prefix\":\"a\"", "invalid_request"},          /* which of its shards? */
        {"cached", "\"key\":\"a\",\"shard\":1", "invalid_request"}, /* "a" is on shard 0 */
        {"nowhere", "\"key\":\"a\"", "not_found"},
        {"primary", "\"key\":\"a\",\"from_offset\":18446744073709551615", "in_future"},
    };
    EACH_PLACE(s, NO_LIMITS)
    {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            assert_null(hx_watch(s.conn, rows[i].cache, rows[i].what, s.answer));
            assert_non_null(strstr(s.answer, rows[i].code));
        }
        /* What is right on a cache of several shards. */
        assert_non_null(hx_watch(s.conn, "cached", "\"key\":\"a\"", s.answer));
        assert_non_null(hx_watch(s.conn, "cached", "\"key\":\"a\",\"shard\":0", s.answer));
        assert_non_null(hx_watch(s.conn, "cached", "\"prefix\":\"\",\"shard\":3", s.answer));
    }
}

static void test_an_offset_in_the_future_is_typed(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        (void)watch(&s, "\"key\":\"a\"");
        const unsigned long long tail = number_in(s.answer, "resume_offset");
        char what[128];
        char expected[256];
        (void)snprintf(what, sizeof what, "\"key\":\"a\",\"from_offset\":%llu", tail + 7);
        assert_null(hx_watch(s.conn, "primary", what, s.answer));
        (void)snprintf(
            expected, sizeof expected,
            "{\"type\":\"subscribe_cursor_error\",\"reason\":\"in_future\",\"requested\":"
            "%llu,\"available\":%llu}",
            tail + 7, tail);
        assert_string_equal(s.answer, expected);
    }
}

static void test_a_token_that_may_not(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){0});
    hx_stream *s = hx_open(hx_connect(h, 0), true);
    hx_json(s, "{\"type\":\"auth\",\"tenant_id\":\"t1\",\"token\":\"%s\"}", hx_token_bare(h));
    hx_json(s, "{\"type\":\"cache_watch\"," OF_PRIMARY ",\"key\":\"a\"}");
    assert_true(hx_run(h));
    assert_string_equal(hx_read_json(s), "{\"type\":\"ok\"}");
    assert_string_equal(hx_read_json(s), "{\"type\":\"error\",\"message\":\"permission denied\"}");
    assert_true(hx_is_finished(s));
    hx_free(h);
}

/* ---- every way a key changes ---- */

static void test_expiry_is_heard_as_a_delete(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        hx_stream *events = watch(&s, "\"prefix\":\"\"");
        put_for(&s, "a", 500);
        put_for(&s, "b", 500);
        put_for(&s, "b", 5000);
        const hx_change change = hx_next_change(events);
        assert_int_equal(change.expires, hx_wall_us(s.h) / 1000 + 500); /* absolute */
        (void)expect(events, "b", "\0\0");
        (void)expect(events, "b", "\0\0");
        expect_nothing(events);
        hx_advance_ms(s.h, 1000); /* the pass, nobody read */
        assert_true(hx_run(s.h));
        (void)expect(events, "a", NULL);
        expect_nothing(events);
        /* And by a read that comes before the pass. */
        put_for(&s, "c", 0);
        (void)expect(events, "c", NULL); /* written and expired at once */
        expect_nothing(events);
    }
}

static void test_eviction_is_heard_as_a_delete(void **state)
{
    (void)state;
    EACH_PLACE(s, (flx_worker_limits){.cache_bytes = 256 << 10})
    {
        hx_stream *events = watch(&s, "\"prefix\":\"\"");
        static char value[4001];
        memset(value, 'A', sizeof value - 1);
        unsigned puts = 0;
        unsigned deletes = 0;
        for (; puts < 200; puts++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", puts);
            put(&s, key, value);
        }
        hx_change change;
        bool is_there[200] = {false};
        while ((change = hx_next_change(events)).is_change) {
            is_there[atoi(change.key + 1)] = change.has_value;
            deletes += change.has_value ? 0 : 1;
        }
        assert_true(deletes > 100);
        for (unsigned i = 0; i < 200; i++) { /* what was folded is what is there */
            hx_json(s.writer, "{\"type\":\"cache_get\"," OF_PRIMARY ",\"key\":\"k%u\"}", i);
            assert_true(hx_run(s.h));
            const bool is_null = strstr(hx_read_json(s.writer), "\"value\":null") != NULL;
            assert_int_equal(is_null, !is_there[i]);
        }
    }
}

static void test_conditions_that_fail_are_no_changes(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        hx_stream *events = watch(&s, "\"prefix\":\"\"");
        put(&s, "a", "b25l");
        const uint64_t version = expect(events, "a", "one");
        hx_json(s.writer, "{\"type\":\"cache_put_if\"," OF_PRIMARY ",\"key\":\"a\",\"value\":\"\","
                          "\"condition\":\"absent\",\"request_id\":2}");
        hx_json(s.writer,
                "{\"type\":\"cache_delete_if\"," OF_PRIMARY ",\"key\":\"a\",\"version\":1,"
                "\"request_id\":3}");
        assert_true(hx_run(s.h));
        assert_int_equal(number_in(hx_read_json(s.writer), "version"), version); /* the offset */
        (void)hx_read_json(s.writer);
        drop(&s, "nothing");
        expect_nothing(events);
        hx_json(s.writer,
                "{\"type\":\"cache_delete_if\"," OF_PRIMARY ",\"key\":\"a\",\"version\":"
                "%llu,\"request_id\":3}",
                (unsigned long long)version);
        assert_true(hx_run(s.h));
        assert_int_equal(expect(events, "a", NULL), version + 1);
    }
}

/* ---- slow ones ---- */

static void test_a_watch_that_lags_is_told(void **state)
{
    (void)state;
    EACH_PLACE(s, ((flx_worker_limits){.shard_ring_frames = 4, .pull_bytes = 1}))
    {
        hx_stream *slow = watch(&s, "\"prefix\":\"\"");
        const uint64_t first = number_in(s.answer, "resume_offset");
        hx_stream *quick = watch(&s, "\"prefix\":\"\"");
        hx_stall(slow, true);
        for (int i = 0; i < 20; i++) {
            put(&s, "a", "b25l");
            (void)expect(quick, "a", "one"); /* nobody else notices */
        }
        hx_stall(slow, false);
        assert_true(hx_run(s.h));
        uint64_t next = first;
        hx_change change;
        while ((change = hx_next_change(slow)).is_change) {
            assert_int_equal(change.offset, next++);
        }
        assert_true(change.is_lagged);
        assert_int_equal(change.offset, next); /* the first it did not get */
        assert_true(hx_is_finished(slow));
        char what[128];
        (void)snprintf(what, sizeof what, "\"prefix\":\"\",\"from_offset\":%llu",
                       (unsigned long long)next);
        (void)watch(&s, what);
        assert_non_null(strstr(s.answer, "\"resnapshot\":true"));
    }
}

static void test_an_idle_watch_is_not_overrun_by_what_it_did_not_ask_for(void **state)
{
    (void)state;
    EACH_PLACE(s, (flx_worker_limits){.shard_ring_frames = 4})
    {
        hx_stream *events = watch(&s, "\"key\":\"mine\"");
        const uint64_t before = hx_bytes_out(events);
        for (int i = 0; i < 50; i++) {
            put(&s, "yours", "b25l");
        }
        assert_int_equal(hx_bytes_out(events), before);
        put(&s, "mine", "b25l");
        (void)expect(events, "mine", "one");
        expect_nothing(events);
    }
}

/* A retained watch of everything that is not read further as soon as it is open. */
static hx_stream *watch_stalled(scene *s, hx_stream **ret_request)
{
    hx_stream *request = hx_open(s->conn, true);
    hx_stream *events = NULL;
    hx_auth_as(request, 0x7fff, 0xffffffff);
    hx_json(request, "{\"type\":\"cache_watch\"," OF_PRIMARY ",\"prefix\":\"\",\"retained\":true}");
    for (int i = 0; i < 10 && (events = hx_accept(s->conn)) == NULL; i++) {
        hx_step(s->h);
    }
    assert_non_null(events);
    hx_stall(events, true);
    *ret_request = request;
    return events;
}

/* More changes in one tick than the ring holds: nobody could look at all of them for an idle watch. */
static void test_an_idle_watch_overrun_within_a_tick_is_told(void **state)
{
    (void)state;
    hx *h = hx_new(&(hx_options){.limits = {.shard_ring_frames = 4, .frame_events_max = 1}});
    hx_stream *writer = hx_open(hx_connect(h, 0), true);
    hx_auth(writer);
    char answer[512];
    hx_stream *events = hx_watch(hx_connect(h, 0), "primary", "\"key\":\"a\"", answer);
    const uint64_t first = number_in(answer, "resume_offset");
    hx_json(writer, "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"a\",\"value\":\"\"}");
    for (int i = 0; i < 20; i++) {
        hx_json(writer, "{\"type\":\"cache_put\"," OF_PRIMARY ",\"key\":\"b\",\"value\":\"\"}");
    }
    assert_true(hx_run(h));
    const hx_change change = hx_next_change(events);
    assert_true(change.is_lagged);
    assert_int_equal(change.offset, first);
    hx_free(h);
}

static void test_a_snapshot_is_read_as_its_reader_can(void **state)
{
    (void)state;
    EACH_PLACE(s, ((flx_worker_limits){.pull_bytes = 64 << 10}))
    {
        static char value[1001];
        memset(value, 'A', sizeof value - 1);
        for (unsigned i = 0; i < 1000; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i);
            put(&s, key, value);
        }
        hx_stream *request;
        hx_stream *events = watch_stalled(&s, &request);
        assert_true(hx_run(s.h));
        assert_true(hx_queued(events) < 256 << 10); /* of more than a megabyte */
        /* Meanwhile half of it changes. */
        for (unsigned i = 0; i < 1000; i += 2) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i);
            drop(&s, key);
        }
        hx_stall(events, false);
        assert_true(hx_run(s.h));
        assert_non_null(strstr(hx_read_json(events), "event_stream_hello"));
        bool is_there[1000] = {false};
        uint64_t seen = 0;
        hx_change change;
        while ((change = hx_next_change(events)).is_change) {
            is_there[atoi(change.key + 1)] = change.has_value;
            seen++;
        }
        assert_false(change.is_lagged);
        for (unsigned i = 0; i < 1000; i++) {
            assert_int_equal(is_there[i], i % 2 == 1);
        }
        assert_true(seen >= number_in(hx_read_json(request), "retained_count"));
    }
}

static void test_a_lag_within_the_snapshot_begins_again(void **state)
{
    (void)state;
    EACH_PLACE(s, ((flx_worker_limits){.shard_ring_frames = 4, .pull_bytes = 16 << 10}))
    {
        static char value[1001];
        memset(value, 'A', sizeof value - 1);
        for (unsigned i = 0; i < 1000; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "k%u", i);
            put(&s, key, value);
        }
        hx_stream *request;
        hx_stream *events = watch_stalled(&s, &request);
        for (unsigned i = 0; i < 20; i++) {
            put(&s, "k0", "b25l");
        }
        hx_stall(events, false);
        assert_true(hx_run(s.h));
        (void)hx_read_json(events);
        hx_change change;
        while ((change = hx_next_change(events)).is_change) {
        }
        assert_true(change.is_lagged);
        assert_int_equal(change.offset, 0); /* nothing less than a new snapshot is whole */
        (void)watch(&s, "\"prefix\":\"\",\"from_offset\":0");
        assert_non_null(strstr(s.answer, "\"resnapshot\":true"));
    }
}

/* ---- progress ---- */

/* A ring that soon forgets, and watches that hear how far they missed nothing. */
#define WITH_PROGRESS                                                                              \
    ((hx_options){.limits = {.shard_ring_frames = 4},                                              \
                  .watch_features_hi = FLX_FEATURE_HI_WATCH_PROGRESS})
#define INTERVAL_MS 5000

static void wait_for_notices(scene *s)
{
    hx_advance_ms(s->h, INTERVAL_MS);
    assert_true(hx_run(s->h));
}

static void expect_progress(hx_stream *events, uint64_t offset)
{
    const hx_change change = hx_next_change(events);
    assert_true(change.is_progress);
    assert_int_equal(change.offset, offset);
    expect_nothing(events);
}

static void others_change(scene *s, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put(s, "yours", "b25l");
    }
}

static void test_an_idle_watch_hears_how_far_it_missed_nothing(void **state)
{
    (void)state;
    EACH_PLACE_WITH(s, WITH_PROGRESS)
    {
        hx_stream *events = watch(&s, "\"key\":\"mine\"");
        const uint64_t first = number_in(s.answer, "resume_offset");
        others_change(&s, 50);
        expect_nothing(events);
        wait_for_notices(&s);
        expect_progress(events, first + 50);
        /* Which the ring still has: nothing needs to be told twice. */
        char what[128];
        (void)snprintf(what, sizeof what, "\"key\":\"mine\",\"from_offset\":%llu",
                       (unsigned long long)first + 50);
        hx_stream *again = watch(&s, what);
        assert_non_null(strstr(s.answer, "\"resnapshot\":false"));
        /* A shard that stands still has no news. */
        wait_for_notices(&s);
        wait_for_notices(&s);
        expect_nothing(events);
        others_change(&s, 1);
        put(&s, "mine", "b25l");
        (void)expect(events, "mine", "one");
        (void)expect(again, "mine", "one");
        others_change(&s, 1);
        wait_for_notices(&s);
        expect_progress(events, first + 53);
    }
}

static void test_who_hears_everything_needs_no_notice(void **state)
{
    (void)state;
    EACH_PLACE_WITH(s, WITH_PROGRESS)
    {
        hx_stream *events = watch(&s, "\"prefix\":\"\"");
        others_change(&s, 1);
        (void)expect(events, "yours", "one");
        wait_for_notices(&s);
        expect_nothing(events);
    }
}

static void test_who_did_not_ask_hears_no_notice(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        hx_stream *events = watch(&s, "\"key\":\"mine\"");
        others_change(&s, 5);
        wait_for_notices(&s);
        expect_nothing(events);
    }
}

/* However long, one notice waits for it, and what others write cannot overrun it. */
static void test_a_stalled_watch_is_owed_one_notice(void **state)
{
    (void)state;
    EACH_PLACE_WITH(s, WITH_PROGRESS)
    {
        hx_stream *events = watch(&s, "\"key\":\"mine\"");
        const uint64_t first = number_in(s.answer, "resume_offset");
        const uint64_t before = hx_bytes_out(events);
        hx_stall(events, true);
        for (int i = 0; i < 5; i++) {
            others_change(&s, 10);
            wait_for_notices(&s);
        }
        assert_int_equal(hx_bytes_out(events), before);
        hx_stall(events, false);
        assert_true(hx_run(s.h));
        expect_progress(events, first + 50);
        put(&s, "mine", "b25l");
        (void)expect(events, "mine", "one");
    }
}

#define MANY 300

static unsigned count_told(hx_stream *const *events, const uint64_t *before)
{
    unsigned told = 0;
    for (unsigned i = 0; i < MANY; i++) {
        told += hx_bytes_out(events[i]) > before[i];
    }
    return told;
}

static void test_a_tick_looks_at_some_watches(void **state)
{
    (void)state;
    scene s = at_with(&places[0], false, WITH_PROGRESS);
    hx_stream *events[MANY];
    uint64_t before[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        if (i % 100 == 0) {
            s.conn = hx_connect(s.h, 0);
        }
        events[i] = watch(&s, "\"key\":\"mine\"");
        before[i] = hx_bytes_out(events[i]);
    }
    const uint64_t tail = number_in(s.answer, "resume_offset");
    others_change(&s, 1);
    hx_advance_ms(s.h, INTERVAL_MS);
    hx_step(s.h);
    assert_in_range(count_told(events, before), 1, MANY - 1);
    others_change(&s, 1); /* in the middle of the round */
    assert_true(hx_run(s.h));
    assert_int_equal(count_told(events, before), MANY);
    wait_for_notices(&s); /* and those that were told before it hear of it */
    for (unsigned i = 0; i < MANY; i++) {
        hx_change last = {0};
        for (hx_change next; (next = hx_next_change(events[i])).is_progress;) {
            last = next;
        }
        assert_int_equal(last.offset, tail + 2);
    }
    hx_disconnect(s.conn); /* some go while others are quiet */
    others_change(&s, 1);
    wait_for_notices(&s);
    expect_progress(events[0], tail + 3);
    hx_free(s.h);
}

/* ---- endings ---- */

static void test_a_cache_that_goes_ends_its_watches(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        hx_stream *idle = watch(&s, "\"key\":\"a\"");
        hx_stream *other = watch(&s, "\"prefix\":\"\"");
        hx_set_catalog(s.h, false);
        assert_true(hx_run(s.h));
        assert_true(hx_is_finished(idle) && hx_is_finished(other));
        hx_set_catalog(s.h, true);
        assert_true(hx_run(s.h));
        hx_stream *again = watch(&s, "\"key\":\"a\"");
        put(&s, "a", "b25l");
        (void)expect(again, "a", "one");
    }
}

static void test_a_watch_that_is_stopped(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        hx_stream *idle = watch(&s, "\"key\":\"a\"");
        hx_stream *kept = watch(&s, "\"key\":\"a\"");
        hx_stop(idle);
        assert_true(hx_run(s.h));
        put(&s, "a", "b25l");
        (void)expect(kept, "a", "one");
        expect_nothing(idle);
        hx_disconnect(s.conn);
        assert_true(hx_run(s.h));
        put(&s, "a", "b25l");
    }
}

/* ---- counters ---- */

static const char *ask(scene *s, const char *json)
{
    hx_json(s->writer, "%s", json);
    assert_true(hx_run(s->h));
    return hx_read_json(s->writer);
}

static void test_counters(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        hx_stream *events = watch(&s, "\"prefix\":\"\"");
        assert_string_equal(
            ask(&s, "{\"type\":\"counter_get\"," OF_CACHED ",\"key\":\"c\",\"request_id\":1}"),
            "{\"type\":\"counter_value\",\"request_id\":1}");
        assert_string_equal(ask(&s, "{\"type\":\"counter_add\"," OF_CACHED
                                    ",\"key\":\"c\",\"delta\":5,\"request_id\":2}"),
                            "{\"type\":\"counter_value\",\"value\":5,\"request_id\":2}");
        assert_string_equal(ask(&s, "{\"type\":\"counter_add\"," OF_CACHED
                                    ",\"key\":\"c\",\"delta\":-7,\"request_id\":3}"),
                            "{\"type\":\"counter_value\",\"value\":-2,\"request_id\":3}");
        assert_string_equal(ask(&s, "{\"type\":\"counter_add\"," OF_CACHED
                                    ",\"key\":\"zero\",\"delta\":0,\"request_id\":3}"),
                            "{\"type\":\"counter_value\",\"value\":0,\"request_id\":3}");
        assert_string_equal(
            ask(&s, "{\"type\":\"counter_get\"," OF_CACHED ",\"key\":\"c\",\"request_id\":4}"),
            "{\"type\":\"counter_value\",\"value\":-2,\"request_id\":4}");
        /* Apart from the value under the same key, and no change to who watches it. */
        assert_non_null(strstr(ask(&s, "{\"type\":\"counter_add\"," OF_PRIMARY
                                       ",\"key\":\"k\",\"delta\":1,\"request_id\":5}"),
                               "\"value\":1"));
        put(&s, "k", "b25l");
        (void)expect(events, "k", "one");
        drop(&s, "k");
        assert_string_equal(
            ask(&s, "{\"type\":\"counter_get\"," OF_PRIMARY ",\"key\":\"k\",\"request_id\":6}"),
            "{\"type\":\"counter_value\",\"value\":1,\"request_id\":6}");
        (void)expect(events, "k", NULL);
        expect_nothing(events);
    }
}

static void test_a_counter_does_not_wrap(void **state)
{
    (void)state;
    EACH_PLACE(s, NO_LIMITS)
    {
        (void)ask(&s, "{\"type\":\"counter_add\"," OF_CACHED
                      ",\"key\":\"c\",\"delta\":9223372036854775807,\"request_id\":1}");
        assert_non_null(strstr(ask(&s, "{\"type\":\"counter_add\"," OF_CACHED
                                       ",\"key\":\"c\",\"delta\":1,\"request_id\":2}"),
                               "invalid_request"));
        assert_string_equal(
            ask(&s, "{\"type\":\"counter_get\"," OF_CACHED ",\"key\":\"c\",\"request_id\":3}"),
            "{\"type\":\"counter_value\",\"value\":9223372036854775807,\"request_id\":3}");
    }
}

static void test_counters_have_a_budget(void **state)
{
    (void)state;
    EACH_PLACE(s, (flx_worker_limits){.counter_bytes = 4096})
    {
        unsigned made = 0;
        for (unsigned i = 0; i < 200; i++) {
            char json[256];
            (void)snprintf(json, sizeof json,
                           "{\"type\":\"counter_add\"," OF_PRIMARY
                           ",\"key\":\"k%u\",\"delta\":1,\"request_id\":2}",
                           i);
            const char *answer = ask(&s, json);
            made += strstr(answer, "counter_value") != NULL;
            assert_true(strstr(answer, "counter_value") != NULL ||
                        strstr(answer, "overloaded") != NULL);
        }
        assert_in_range(made, 10, 100);
        assert_non_null(strstr(ask(&s, "{\"type\":\"counter_add\"," OF_PRIMARY
                                       ",\"key\":\"k0\",\"delta\":1,\"request_id\":2}"),
                               "\"value\":2")); /* those that are there go on */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_changes_of_a_key),
        cmocka_unit_test(test_retained_begins_with_what_is_there),
        cmocka_unit_test(test_from_an_offset),
        cmocka_unit_test(test_history_that_is_gone_is_a_new_snapshot),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_an_offset_in_the_future_is_typed),
        cmocka_unit_test(test_a_token_that_may_not),
        cmocka_unit_test(test_expiry_is_heard_as_a_delete),
        cmocka_unit_test(test_eviction_is_heard_as_a_delete),
        cmocka_unit_test(test_conditions_that_fail_are_no_changes),
        cmocka_unit_test(test_a_watch_that_lags_is_told),
        cmocka_unit_test(test_an_idle_watch_is_not_overrun_by_what_it_did_not_ask_for),
        cmocka_unit_test(test_an_idle_watch_overrun_within_a_tick_is_told),
        cmocka_unit_test(test_a_snapshot_is_read_as_its_reader_can),
        cmocka_unit_test(test_a_lag_within_the_snapshot_begins_again),
        cmocka_unit_test(test_an_idle_watch_hears_how_far_it_missed_nothing),
        cmocka_unit_test(test_who_hears_everything_needs_no_notice),
        cmocka_unit_test(test_who_did_not_ask_hears_no_notice),
        cmocka_unit_test(test_a_stalled_watch_is_owed_one_notice),
        cmocka_unit_test(test_a_tick_looks_at_some_watches),
        cmocka_unit_test(test_a_cache_that_goes_ends_its_watches),
        cmocka_unit_test(test_a_watch_that_is_stopped),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_a_counter_does_not_wrap),
        cmocka_unit_test(test_counters_have_a_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
