/* SPDX-License-Identifier: Apache-2.0 */
/* The log: what a line looks like, what cannot be forged, repeats, a reader that does not read. */
#include "common/alloc.h"
#include "common/log.h"
#include "unit.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define NOW_US  UINT64_C(1700000000123456) /* 2023-11-14T22:13:20.123456Z */
#define THREADS 4
#define LINES   500

static uint64_t fake_now_us;

static uint64_t fake_clock(void)
{
    return fake_now_us;
}

typedef struct piped {
    flx_log *log;
    int reader;
    int writer;
    char text[1 << 17];
} piped;

static void open_piped(piped *self, flx_log_options options)
{
    int ends[2];
    flx_error error;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    self->reader = ends[0];
    self->writer = ends[1];
    options.fd = ends[1];
    options.clock_us = fake_clock;
    fake_now_us = NOW_US;
    assert_int_equal(flx_log_new(&options, &self->log, &error), FLX_OK);
}

/* All that was written since the last call. */
static const char *read_piped(piped *self)
{
    size_t len = 0;
    ssize_t got = 0;
    while ((got = read(self->reader, self->text + len, sizeof self->text - 1 - len)) > 0) {
        len += (size_t)got;
    }
    self->text[len] = '\0';
    return self->text;
}

static void close_piped(piped *self)
{
    self->log = flx_log_free(self->log);
    (void)close(self->reader);
    (void)close(self->writer);
}

static piped pipe_a;

static void test_a_json_line(void **state)
{
    (void)state;
    open_piped(&pipe_a, (flx_log_options){.component = "broker", .level = FLX_LOG_INFO});
    const uint8_t id[] = {0xab, 0x01};
    const flx_error error = {.status = FLX_ERR_IO};
    FLX_LOG(pipe_a.log, FLX_LOG_INFO, "stream.created", "stream created",
            flx_kv_str("tenant", "acme"), flx_kv_u64("shard", UINT64_MAX), flx_kv_i64("delta", -3),
            flx_kv_bool("durable", true), flx_kv_f64("seconds", 0.25), flx_kv_f64("nan", NAN),
            flx_kv_hex("conn", (flx_slice){id, sizeof id}), flx_kv_str("none", NULL),
            flx_kv_err(&error));
    assert_string_equal(
        read_piped(&pipe_a),
        "{\"ts\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\",\"component\":\"broker\","
        "\"event\":\"stream.created\",\"msg\":\"stream created\",\"tenant\":\"acme\","
        "\"shard\":18446744073709551615,\"delta\":-3,\"durable\":true,\"seconds\":0.25,"
        "\"nan\":null,\"conn\":\"ab01\",\"none\":null,\"error\":\"input/output error\"}\n");
    FLX_LOG(pipe_a.log, FLX_LOG_DEBUG, "stream.detail", "not wanted");
    FLX_LOG((flx_log *)NULL, FLX_LOG_ERROR, "no.log", "a NULL log writes nothing");
    assert_string_equal(read_piped(&pipe_a), "");
    flx_log_set_level(pipe_a.log, FLX_LOG_DEBUG);
    assert_true(flx_log_wants(pipe_a.log, FLX_LOG_DEBUG));
    close_piped(&pipe_a);
}

static void test_a_text_line(void **state)
{
    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    open_piped(&pipe_a, (flx_log_options){.component = "broker", .format = FLX_LOG_TEXT});
    FLX_LOG(pipe_a.log, FLX_LOG_WARN, "conn.refused", "connection refused",
            flx_kv_str("source", "10.0.0.1"), flx_kv_str("why", "too many"),
            flx_kv_str("empty", ""));
    assert_string_equal(read_piped(&pipe_a),
                        "22:13:20.123 warn  broker: connection refused [conn.refused] "
                        "source=10.0.0.1 why=\"too many\" empty=\"\"\n");
    close_piped(&pipe_a);
}

/* What a peer chose cannot end a line, end a string, move a cursor or break JSON. */
static void test_foreign_text_is_harmless(void **state)
{
    (void)state;
    const struct {
        const char *name, *given, *shown;
    } rows[] = {
        {"newline", "a\nb", "a\\nb"},
        {"quote and backslash", "\"\\", "\\\"\\\\"},
        {"escape sequence", "\033[2J", "\\u001b[2J"},
        {"8-bit escape", "\xc2\x9b", "\\u009b"},
        {"delete", "\x7f", "\\u007f"},
        {"UTF-8 stays", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"lone continuation", "\x80", "\xef\xbf\xbd"},
        {"cut sequence", "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"overlong", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"beyond Unicode", "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    open_piped(&pipe_a, (flx_log_options){.burst = 1000});
    for (size_t i = 0; i < COUNT(rows); i++) {
        char expected[128];
        (void)snprintf(expected, sizeof expected, ",\"x\":\"%s\"}\n", rows[i].shown);
        FLX_LOG(pipe_a.log, FLX_LOG_INFO, "e", "m", flx_kv_str("x", rows[i].given));
        const char *text = read_piped(&pipe_a);
        if (strstr(text, expected) == NULL) {
            fail_msg("%s: %s", rows[i].name, text);
        }
    }
    close_piped(&pipe_a);
}

static void test_a_field_that_does_not_fit_is_left_out(void **state)
{
    (void)state;
    static char large[5000];
    memset(large, 'x', sizeof large - 1);
    open_piped(&pipe_a, (flx_log_options){0});
    FLX_LOG(pipe_a.log, FLX_LOG_INFO, "e", "m", flx_kv_u64("a", 1), flx_kv_str("large", large));
    const char *text = read_piped(&pipe_a);
    assert_non_null(strstr(text, "\"a\":1,\"truncated\":true}\n"));
    assert_null(strstr(text, "large"));
    FLX_LOG(pipe_a.log, FLX_LOG_INFO, "e", large);
    assert_non_null(strstr(read_piped(&pipe_a), "log.line_too_long"));
    close_piped(&pipe_a);
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        count++;
    }
    return count;
}

static void test_repeats_are_counted(void **state)
{
    (void)state;
    open_piped(&pipe_a, (flx_log_options){.burst = 3, .window_ms = 1000});
    for (int i = 0; i < 10; i++) {
        FLX_LOG(pipe_a.log, FLX_LOG_WARN, "disk.slow", "disk is slow");
        FLX_LOG(pipe_a.log, FLX_LOG_DEBUG, "detail", "debug lines are not counted");
    }
    FLX_LOG(pipe_a.log, FLX_LOG_WARN, "other", "another event has its own count");
    const char *text = read_piped(&pipe_a);
    assert_int_equal(count_of(text, "disk.slow"), 3);
    assert_int_equal(count_of(text, "detail"), 10);
    assert_int_equal(count_of(text, "\"event\":\"other\""), 1);
    fake_now_us += 1000000;
    FLX_LOG(pipe_a.log, FLX_LOG_WARN, "disk.slow", "disk is slow");
    assert_int_equal(count_of(read_piped(&pipe_a), "\"suppressed\":7}"), 1);

    for (int i = 0; i < 5; i++) { /* the storm ends: the tick tells */
        FLX_LOG(pipe_a.log, FLX_LOG_WARN, "disk.slow", "disk is slow");
    }
    assert_int_equal(count_of(read_piped(&pipe_a), "disk.slow"), 2);
    flx_log_tick(pipe_a.log);
    assert_string_equal(read_piped(&pipe_a), "");
    fake_now_us += 1000000;
    flx_log_tick(pipe_a.log);
    assert_int_equal(count_of(read_piped(&pipe_a), "\"suppressed\":3}"), 1);
    close_piped(&pipe_a);
}

/* Nobody reads: lines are dropped, the caller goes on, and the count is told afterwards. */
static void test_a_full_pipe_drops_lines(void **state)
{
    (void)state;
    open_piped(&pipe_a, (flx_log_options){.burst = 1000000});
    static char filler[1000];
    memset(filler, 'x', sizeof filler - 1);
    for (int i = 0; i < 200; i++) { /* 200 KB into a pipe of 64 */
        FLX_LOG(pipe_a.log, FLX_LOG_INFO, "e", "m", flx_kv_str("x", filler));
    }
    const size_t arrived = count_of(read_piped(&pipe_a), "\n");
    assert_true(arrived > 10 && arrived < 200);
    FLX_LOG(pipe_a.log, FLX_LOG_INFO, "e", "m");
    char expected[64];
    (void)snprintf(expected, sizeof expected, "\"dropped\":%zu}\n", 200 - arrived);
    assert_non_null(strstr(read_piped(&pipe_a), expected));
    close_piped(&pipe_a);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        FLX_LOG(pipe_a.log, FLX_LOG_INFO, arg, "from a thread", flx_kv_i64("i", i));
    }
    return NULL;
}

/* Lines of several threads do not mix, and none is lost: written or counted. */
static void test_threads(void **state)
{
    (void)state;
    open_piped(&pipe_a, (flx_log_options){.burst = 100, .window_ms = 1000});
    char names[THREADS][8] = {"t.a", "t.b", "t.c", "t.d"};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    const char *text = read_piped(&pipe_a);
    assert_int_equal(count_of(text, "}\n{") + 1, count_of(text, "}\n"));
    assert_int_equal(count_of(text, "\n"), THREADS * 100);
    fake_now_us += 1000000;
    flx_log_tick(pipe_a.log);
    assert_int_equal(count_of(read_piped(&pipe_a), "\"suppressed\":400}"), THREADS);
    close_piped(&pipe_a);
}

static void test_levels_and_nomem(void **state)
{
    (void)state;
    flx_log_level level = FLX_LOG_DEBUG;
    assert_true(flx_log_level_parse("warn", &level));
    assert_int_equal(level, FLX_LOG_WARN);
    assert_false(flx_log_level_parse("loud", &level));
    flx_log *log = NULL;
    flx_error error;
    flx_alloc_fail_nth(1);
    assert_int_equal(flx_log_new(NULL, &log, &error), FLX_ERR_NOMEM);
    flx_alloc_fail_nth(0);
    assert_null(flx_log_free(log));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_json_line),
        cmocka_unit_test(test_a_text_line),
        cmocka_unit_test(test_foreign_text_is_harmless),
        cmocka_unit_test(test_a_field_that_does_not_fit_is_left_out),
        cmocka_unit_test(test_repeats_are_counted),
        cmocka_unit_test(test_a_full_pipe_drops_lines),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_levels_and_nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
