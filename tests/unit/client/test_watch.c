/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches, as an application has them: starts, both ways to take changes, and every way to go on. The
 * broker says what each test has it say, once in JSON and once in batches (docs/spec/extensions.md 3);
 * where the two differ, the test says how.
 */
#include "common/slice.h"
#include "rig.h"
#include "wire/change_batch.h"
#include "wire/flags.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <stdatomic.h>

#define FRAMES_MAX 4096

typedef struct row {
    uint64_t offset;
    const char *key;
    const char *value; /* NULL: a delete */
} row;

typedef struct scene {
    rig r;
    bool in_batches;
    flx_cache_watch *watch;
    uint8_t frames[FRAMES_MAX];
    size_t len;
} scene;

/* Runs the body in JSON, then in batches. */
#define EACH_FORM(s, ...)                                                                          \
    for (int form_ = 0; form_ < 2; form_++)                                                        \
        for (scene *const s = scene_start(form_ == 1, (mock_rules){__VA_ARGS__}); s->r.broker;     \
             scene_stop(s))

static scene *scene_start(bool in_batches, mock_rules rules)
{
    static scene s;
    memset(&s, 0, sizeof(s));
    s.in_batches = in_batches;
    rules.watch.has_batches = in_batches;
    rig_start_with(&s.r, &rules);
    return &s;
}

static void scene_stop(scene *s)
{
    s->watch = flx_cache_watch_free(s->watch);
    rig_stop(&s->r);
    s->r.broker = NULL;
}

static void rules_are(scene *s, mock_rules rules)
{
    rules.watch.has_batches = s->in_batches;
    mock_broker_set(s->r.broker, &rules);
}

static void begin(scene *s, flx_watch_from from, uint64_t offset)
{
    flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
    options.from = from;
    options.offset = offset;
    RIG_OK(flx_cache_watch_new(s->r.client, "primary", &options, &s->watch, err));
}

/* The broker has been asked for the `count`th time. */
static mock_watch_asked await_asked(scene *s, uint32_t count)
{
    mock_watch_asked asked = mock_broker_watch_asked(s->r.broker);
    for (int i = 0; asked.count < count && i < RIG_WAIT_MS; i++) {
        (void)usleep(1000);
        asked = mock_broker_watch_asked(s->r.broker);
    }
    assert_int_equal(asked.count, count);
    assert_int_equal(asked.in_batches, s->in_batches);
    return asked;
}

/* ---- what the broker says ---- */

static void add_msg(scene *s, const flx_msg *msg)
{
    flx_writer writer;
    flx_writer_init(&writer, s->frames + s->len, FRAMES_MAX - s->len);
    flx_msg_encode_frame(msg, &writer);
    assert_true(flx_writer_fits(&writer));
    s->len += writer.len;
}

static void add_frame(scene *s, uint16_t flags, const void *payload, size_t len)
{
    assert_true(s->len + FLX_FRAME_HEADER_BYTES + len <= FRAMES_MAX);
    flx_frame_header_encode(flags, (uint32_t)len, s->frames + s->len);
    memcpy(s->frames + s->len + FLX_FRAME_HEADER_BYTES, payload, len);
    s->len += FLX_FRAME_HEADER_BYTES + len;
}

static flx_change change_of(const row *from)
{
    flx_change change = {.kind = FLX_CHANGE_KIND_DELETE, .key = flx_slice_of(from->key)};
    if (from->value != NULL) {
        change.kind = FLX_CHANGE_KIND_PUT;
        change.value = flx_slice_of(from->value);
        change.expires_at_ms = from->offset * 1000; /* something to be told from others */
    }
    return change;
}

static void add_batch(scene *s, flx_change_batch_kind kind, uint64_t end, const row *rows,
                      size_t count)
{
    uint8_t payload[FRAMES_MAX];
    uint8_t *to = flx_change_batch_head_put(payload, kind, end, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const flx_change change = change_of(&rows[i]);
        to = flx_change_batch_record_put(to, end, rows[i].offset, &change);
    }
    add_frame(s, FLX_FLAG_CHANGE_BATCH, payload, (size_t)(to - payload));
}

static void add_events(scene *s, const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const flx_change change = change_of(&rows[i]);
        flx_msg msg = {.type = FLX_MSG_CACHE_EVENT};
        msg.cache_event.key = change.key;
        msg.cache_event.has_value = rows[i].value != NULL;
        msg.cache_event.value = change.value;
        msg.cache_event.offset = rows[i].offset;
        msg.cache_event.expires_at_millis = change.expires_at_ms;
        add_msg(s, &msg);
    }
}

static void flush_with(scene *s, bool fin)
{
    mock_broker_watch_send(s->r.broker, s->frames, s->len, fin);
    s->len = 0;
}

static void flush(scene *s)
{
    flush_with(s, false);
}

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Changes; in batches the watch has come to `end` with them. */
#define TELL(s, end, ...)                                                                          \
    do {                                                                                           \
        const row rows_[] = {__VA_ARGS__};                                                         \
        add_told(s, FLX_CHANGE_BATCH_CHANGES, end, rows_, COUNT_OF(rows_));                        \
    } while (0)
/* What was there before `end`. */
#define TELL_THERE(s, end, ...)                                                                    \
    do {                                                                                           \
        const row rows_[] = {__VA_ARGS__};                                                         \
        add_told(s, FLX_CHANGE_BATCH_SNAPSHOT, end, rows_, COUNT_OF(rows_));                       \
    } while (0)

static void add_told(scene *s, flx_change_batch_kind kind, uint64_t end, const row *rows,
                     size_t count)
{
    if (s->in_batches)
        add_batch(s, kind, end, rows, count);
    else
        add_events(s, rows, count);
    flush(s);
}

/* All that was there has come; in JSON that is not said. */
static void tell_end_of_snapshot(scene *s, uint64_t end)
{
    if (s->in_batches) {
        add_batch(s, FLX_CHANGE_BATCH_CHANGES, end, NULL, 0);
        flush(s);
    }
}

static void tell_lagged(scene *s, uint64_t resume_from)
{
    flx_msg msg = {.type = FLX_MSG_CACHE_WATCH_LAGGED};
    msg.cache_watch_lagged.resume_from = resume_from;
    add_msg(s, &msg);
    flush_with(s, true);
}

/* ---- what the application hears ---- */

static flx_cache_change next(scene *s)
{
    flx_cache_change change;
    RIG_OK(flx_cache_watch_receive(s->watch, RIG_WAIT_MS, &change, err));
    return change;
}

static void expect(scene *s, uint64_t offset, const char *key, const char *value)
{
    flx_cache_change change = next(s);
    assert_int_equal(change.kind, value != NULL ? FLX_CACHE_CHANGE_PUT : FLX_CACHE_CHANGE_DELETE);
    assert_int_equal(change.offset, offset);
    assert_int_equal(change.expires_at_ms, value != NULL ? offset * 1000 : 0);
    assert_false(change.is_retained);
    rig_check_text(change.key, key);
    rig_check_text(change.value, value != NULL ? value : "");
    flx_cache_change_release(&change);
}

static void expect_there(scene *s, uint64_t offset, const char *key, const char *value)
{
    flx_cache_change change = next(s);
    assert_int_equal(change.kind, FLX_CACHE_CHANGE_PUT);
    assert_int_equal(change.offset, offset);
    assert_true(change.is_retained);
    rig_check_text(change.key, key);
    rig_check_text(change.value, value);
    flx_cache_change_release(&change);
}

static void expect_notice(scene *s, flx_cache_change_kind kind)
{
    flx_cache_change change = next(s);
    assert_int_equal(change.kind, kind);
    flx_cache_change_release(&change);
}

static void expect_position(scene *s, uint64_t position)
{
    uint64_t at = 0;
    assert_true(flx_cache_watch_position(s->watch, 0, &at));
    assert_int_equal(at, position);
}

/* The batch says where it ends, an event where it is. */
static uint64_t behind(const scene *s, uint64_t last, uint64_t end)
{
    return s->in_batches ? end : last + 1;
}

/* ---- starts ---- */

static void live_changes(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        RIG_OK(flx_cache_watch_wait(s->watch, RIG_WAIT_MS, err));
        const mock_watch_asked asked = await_asked(s, 1);
        assert_false(asked.is_key || asked.retained || asked.has_from_offset);
        expect_position(s, 10);
        TELL(s, 20, {10, "a", "one"}, {12, "b", ""}, {13, "a", NULL});
        expect(s, 10, "a", "one");
        expect_position(s, 11); /* not further: 12 has not been taken */
        expect(s, 12, "b", "");
        expect_position(s, 13);
        expect(s, 13, "a", NULL);
        expect_position(s, behind(s, 13, 20));
        TELL(s, 30, {20, "c", "two"});
        expect(s, 20, "c", "two");
        flx_cache_change change;
        assert_int_equal(flx_cache_watch_receive(s->watch, 0, &change, NULL), FLX_ERR_AGAIN);
    }
}

static void what_was_there_then_ready(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100, .retained_count = 3})
    {
        begin(s, FLX_WATCH_FROM_RETAINED, 0);
        assert_true(await_asked(s, 1).retained);
        TELL_THERE(s, 100, {70, "b", "two"}, {7, "a", "one"});
        TELL_THERE(s, 100, {99, "c", "tri"});
        expect_there(s, 70, "b", "two"); /* in any order */
        expect_there(s, 7, "a", "one");
        uint64_t at;
        assert_false(flx_cache_watch_position(s->watch, 0, &at)); /* there is none before READY */
        expect_there(s, 99, "c", "tri");
        tell_end_of_snapshot(s, 100);
        expect_notice(s, FLX_CACHE_CHANGE_READY);
        expect_position(s, 100);
        TELL(s, 105, {100, "a", NULL});
        expect(s, 100, "a", NULL);
    }
}

/* One that was counted changed before it was its turn: it comes as a change. */
static void fewer_than_were_counted(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100, .retained_count = 2})
    {
        begin(s, FLX_WATCH_FROM_RETAINED, 0);
        (void)await_asked(s, 1);
        TELL_THERE(s, 100, {7, "a", "one"});
        expect_there(s, 7, "a", "one");
        tell_end_of_snapshot(s, 100);
        if (s->in_batches) { /* nobody has to wait for it */
            expect_notice(s, FLX_CACHE_CHANGE_READY);
            expect_position(s, 100);
        }
        TELL(s, 111, {110, "b", "two"});
        if (!s->in_batches)
            expect_notice(s, FLX_CACHE_CHANGE_READY);
        expect_position(s, s->in_batches ? 100 : 110); /* the change is not taken yet */
        expect(s, 110, "b", "two");
        expect_position(s, 111);
    }
}

static void nothing_was_there(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100})
    {
        begin(s, FLX_WATCH_FROM_RETAINED, 0);
        expect_notice(s, FLX_CACHE_CHANGE_READY);
        expect_position(s, 100);
        tell_end_of_snapshot(s, 100);
        TELL(s, 101, {100, "a", "one"});
        expect(s, 100, "a", "one");
    }
}

/* The event stream is another than the one of the answer, and may be faster. */
static void changes_before_the_answer(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100, .retained_count = 1, .is_held = true})
    {
        begin(s, FLX_WATCH_FROM_RETAINED, 0);
        (void)await_asked(s, 1);
        TELL_THERE(s, 100, {7, "a", "one"});
        tell_end_of_snapshot(s, 100);
        TELL(s, 105, {104, "a", "two"});
        mock_broker_watch_answer(s->r.broker);
        expect_there(s, 7, "a", "one");
        expect_notice(s, FLX_CACHE_CHANGE_READY);
        expect(s, 104, "a", "two");
    }
}

static void an_id_of_the_brokers_choice(void **state)
{
    (void)state;
    EACH_FORM(s, .own_ids = true, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        (void)await_asked(s, 1);
        TELL(s, 11, {10, "a", "one"});
        expect(s, 10, "a", "one");
    }
}

static void from_an_offset_in_the_future(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 10, .is_in_future = true})
    {
        flx_cache_change change;
        begin(s, FLX_WATCH_FROM_OFFSET, 1000);
        assert_int_equal(flx_cache_watch_receive(s->watch, RIG_WAIT_MS, &change, NULL),
                         FLX_ERR_IN_FUTURE);
        assert_int_equal(await_asked(s, 1).from_offset, 1000);
    }
}

/* A client that keeps to JSON does not offer batches either. */
static void batches_are_not_offered_with_cache_json(void **state)
{
    (void)state;
    const mock_rules rules = {.watch = {.resume_offset = 10, .has_batches = true}};
    scene s = {.r = {.broker = mock_broker_start()}};
    mock_broker_set(s.r.broker, &rules);
    flx_client_options options = rig_options(&s.r);
    options.cache_json = true;
    RIG_OK(flx_client_connect(&options, RIG_WAIT_MS, &s.r.client, err));
    begin(&s, FLX_WATCH_FROM_LIVE, 0);
    (void)await_asked(&s, 1);
    TELL(&s, 11, {10, "a", "one"});
    expect(&s, 10, "a", "one");
    scene_stop(&s);
}

/* ---- going on ---- */

static void resumes_where_it_was(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        (void)await_asked(s, 1);
        TELL(s, 20, {10, "a", "one"}, {12, "b", "two"});
        expect(s, 10, "a", "one");
        expect(s, 12, "b", "two");
        const uint64_t at = behind(s, 12, 20);
        rules_are(s, (mock_rules){.watch = {.resume_offset = at}});
        mock_broker_kick(s->r.broker);
        const mock_watch_asked asked = await_asked(s, 2);
        assert_true(asked.has_from_offset && !asked.retained);
        assert_int_equal(asked.from_offset, at);
        /* What comes again is known, what is new is told. */
        TELL(s, 22, {11, "x", "old"}, {12, "b", "two"}, {21, "c", "new"});
        expect(s, 21, "c", "new");
        expect_position(s, 22);
        TELL(s, 19, {18, "x", "old"}); /* all of it */
        TELL(s, 23, {22, "d", "new"});
        expect(s, 22, "d", "new");
    }
}

/* An empty batch, and a notice of progress, say where to go on as well. */
static void resumes_where_nothing_was_missed(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        (void)await_asked(s, 1);
        if (s->in_batches)
            add_batch(s, FLX_CHANGE_BATCH_CHANGES, 40, NULL, 0);
        flx_msg msg = {.type = FLX_MSG_CACHE_WATCH_PROGRESS};
        msg.cache_watch_progress.resume_from = s->in_batches ? 30 : 40; /* 30: no news */
        add_msg(s, &msg);
        flush(s);
        TELL(s, 41, {40, "a", "one"}); /* so that all of it has been read */
        expect(s, 40, "a", "one");
        mock_broker_kick(s->r.broker);
        assert_int_equal(await_asked(s, 2).from_offset, 41);
    }
}

static void lost_within_what_was_there(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100, .retained_count = 2})
    {
        begin(s, FLX_WATCH_FROM_RETAINED, 0);
        (void)await_asked(s, 1);
        TELL_THERE(s, 100, {7, "a", "one"});
        expect_there(s, 7, "a", "one");
        rules_are(s, (mock_rules){.watch = {.resume_offset = 200, .retained_count = 1}});
        mock_broker_kick(s->r.broker);
        assert_true(await_asked(s, 2).retained);
        TELL_THERE(s, 200, {150, "b", "two"});
        tell_end_of_snapshot(s, 200);
        expect_notice(s, FLX_CACHE_CHANGE_RESET);
        expect_there(s, 150, "b", "two");
        expect_notice(s, FLX_CACHE_CHANGE_READY);
        expect_position(s, 200);
    }
}

/* What is kept no more is told as what is there. In batches it has an end, and the watch a place. */
static void a_resnapshot(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100, .resnapshot = true})
    {
        begin(s, FLX_WATCH_FROM_OFFSET, 5);
        assert_int_equal(await_asked(s, 1).from_offset, 5);
        TELL_THERE(s, 100, {50, "a", "one"});
        tell_end_of_snapshot(s, 100);
        expect_notice(s, FLX_CACHE_CHANGE_RESET);
        expect_there(s, 50, "a", "one");
        add_msg(s, &(flx_msg){.type = FLX_MSG_CACHE_WATCH_PROGRESS}); /* 0: no news, but read */
        flush_with(s, true);
        const mock_watch_asked asked = await_asked(s, 2);
        assert_int_equal(asked.retained, !s->in_batches);
        assert_int_equal(asked.from_offset, s->in_batches ? 100 : 0);
    }
}

static void lagged(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        (void)await_asked(s, 1);
        TELL(s, 11, {10, "a", "one"});
        expect(s, 10, "a", "one");
        /* It goes on where the broker says, and nothing was missed. */
        rules_are(s, (mock_rules){.watch = {.resume_offset = 15}});
        tell_lagged(s, 15);
        assert_int_equal(await_asked(s, 2).from_offset, 15);
        TELL(s, 16, {15, "b", "two"});
        expect(s, 15, "b", "two");
        /* 0: only a new snapshot is whole. */
        rules_are(s, (mock_rules){.watch = {.resume_offset = 50, .retained_count = 1}});
        tell_lagged(s, 0);
        assert_true(await_asked(s, 3).retained);
        TELL_THERE(s, 50, {49, "c", "tri"});
        tell_end_of_snapshot(s, 50);
        expect_notice(s, FLX_CACHE_CHANGE_RESET);
        expect_there(s, 49, "c", "tri");
        expect_notice(s, FLX_CACHE_CHANGE_READY);
    }
}

/* It was there before: the broker has lost its memory. */
static void a_broker_that_forgot(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        (void)await_asked(s, 1);
        TELL(s, 11, {10, "a", "one"});
        expect(s, 10, "a", "one");
        rules_are(s, (mock_rules){.watch = {.resume_offset = 3, .is_in_future = true}});
        mock_broker_kick(s->r.broker);
        assert_true(await_asked(s, 3).retained); /* from 11, which was refused, then from nothing */
        expect_notice(s, FLX_CACHE_CHANGE_RESET);
        expect_notice(s, FLX_CACHE_CHANGE_READY);
        expect_position(s, 3);
    }
}

/* ---- what no broker may send ---- */

static void malformed_frames(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t flags;
        size_t len;
        const char *payload;
    } rows[] = {
        {"a batch cut", FLX_FLAG_CHANGE_BATCH, 12, "\0\0\0\0\0\0\0\0\x28\0\0\0"},
        {"a batch of another kind", FLX_FLAG_CHANGE_BATCH, 13, "\2\0\0\0\0\0\0\0\x28\0\0\0\0"},
        {"fewer records than it says", FLX_FLAG_CHANGE_BATCH, 13, "\0\0\0\0\0\0\0\0\x28\0\0\0\1"},
        {"what was there, unasked", FLX_FLAG_CHANGE_BATCH, 18,
         "\1\0\0\0\0\0\0\0\x28\0\0\0\1\1\1\1k\0"},
        {"an event batch, which is no change", 0x0024, 17, "\0\0\0\0\0\0\0\x28\0\0\0\1\0\0\0\1x"},
        {"an acknowledgement", 0x0010, 8, "\0\0\0\0\0\0\0\0"},
        {"JSON cut", 0, 8, "{\"type\":"},
        {"an event, which is no change", 0, 84,
         "{\"type\":\"event\",\"tenant_id\":\"t1\",\"namespace\":\"n\",\"stream\":\"s\","
         "\"payload\":\"aGVsbG8=\" }"},
    };
    EACH_FORM(s, .watch = {.resume_offset = 10})
    {
        begin(s, FLX_WATCH_FROM_LIVE, 0);
        for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
            print_message("%s\n", rows[i].name);
            /* It begins again where it was, and has been told nothing. */
            const mock_watch_asked asked = await_asked(s, i + 1);
            assert_true(i == 0 || asked.from_offset == 10 + i);
            TELL(s, 11 + i, {10 + i, "a", "fine"});
            expect(s, 10 + i, "a", "fine");
            rules_are(s, (mock_rules){.watch = {.resume_offset = 11 + i}});
            add_frame(s, rows[i].flags, rows[i].payload, rows[i].len);
            flush(s);
        }
        (void)await_asked(s, COUNT_OF(rows) + 1);
    }
}

/* ---- callbacks ---- */

typedef struct heard {
    _Atomic unsigned changes;
    _Atomic unsigned notices;
    _Atomic uint64_t last;
} heard;

static void on_change(void *arg, const flx_cache_change *change)
{
    heard *all = arg;
    if (change->kind == FLX_CACHE_CHANGE_READY) {
        atomic_fetch_add(&all->notices, 1);
        return;
    }
    assert_int_equal(change->key.len, 1);
    atomic_store(&all->last, change->offset);
    atomic_fetch_add(&all->changes, 1);
}

static void by_callback(void **state)
{
    (void)state;
    EACH_FORM(s, .watch = {.resume_offset = 100, .retained_count = 2})
    {
        heard all = {0};
        flx_cache_watch_options options = FLX_CACHE_WATCH_OPTIONS_INIT;
        options.key = flx_slice_of("k");
        options.from = FLX_WATCH_FROM_RETAINED;
        options.change_fn = on_change;
        options.arg = &all;
        RIG_OK(flx_cache_watch_new(s->r.client, "primary", &options, &s->watch, err));
        const mock_watch_asked asked = await_asked(s, 1);
        assert_true(asked.is_key);
        assert_string_equal(asked.text, "k");
        TELL_THERE(s, 100, {3, "k", "one"}, {99, "l", "two"});
        tell_end_of_snapshot(s, 100);
        TELL(s, 110, {100, "k", "two"}, {105, "k", NULL}, {107, "k", "tri"});
        for (int i = 0; atomic_load(&all.changes) < 5 && i < RIG_WAIT_MS; i++)
            (void)usleep(1000);
        assert_int_equal(atomic_load(&all.changes), 5);
        assert_int_equal(atomic_load(&all.notices), 1);
        assert_int_equal(atomic_load(&all.last), 107);
        mock_broker_kick(s->r.broker);
        assert_int_equal(await_asked(s, 2).from_offset, behind(s, 107, 110));
        s->watch = flx_cache_watch_free(s->watch); /* before `all` goes */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_changes),
        cmocka_unit_test(what_was_there_then_ready),
        cmocka_unit_test(fewer_than_were_counted),
        cmocka_unit_test(nothing_was_there),
        cmocka_unit_test(changes_before_the_answer),
        cmocka_unit_test(an_id_of_the_brokers_choice),
        cmocka_unit_test(from_an_offset_in_the_future),
        cmocka_unit_test(batches_are_not_offered_with_cache_json),
        cmocka_unit_test(resumes_where_it_was),
        cmocka_unit_test(resumes_where_nothing_was_missed),
        cmocka_unit_test(lost_within_what_was_there),
        cmocka_unit_test(a_resnapshot),
        cmocka_unit_test(lagged),
        cmocka_unit_test(a_broker_that_forgot),
        cmocka_unit_test(malformed_frames),
        cmocka_unit_test(by_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
