/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/log.c - one event, one line, one write.
 *
 * A line is built on the stack of whoever logs and written under a lock that is held for one poll and
 * one write. The descriptor is usually standard error, shared with the shell and with siblings, so it
 * is not ours to make non-blocking; instead we ask poll first. For a pipe, writable means that
 * PIPE_BUF bytes fit, and a line is no longer than that. Another process that fills the same pipe
 * between poll and write could still make us wait; nothing short of a thread of our own helps there.
 *
 * Repeats are counted in a small table of event ids (the pointers' texts are compared, the table is
 * never cleared: ids are constants, a program has a few hundred at the most). Past its size, events
 * are not limited.
 */
#include "common/log.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST_DEFAULT     20
#define WINDOW_DEFAULT_MS 10000
#define SLOW_WAIT_MS      5
#define EVENTS_MAX        256          /* a power of two */
#define TAIL_BYTES        ((size_t)64) /* kept free for what ends a line */

/* How often one event was logged. */
typedef struct repeat {
    const char *event; /* NULL: free */
    flx_log_level level;
    uint32_t passed; /* lines in this window */
    uint64_t suppressed;
    uint64_t window_end_us;
} repeat;

struct flx_log {
    const char *component;
    int fd;
    bool is_json;
    bool has_color;
    uint32_t burst;
    uint64_t window_us;
    uint64_t (*clock_us)(void);
    _Atomic int level;

    pthread_mutex_t lock; /* guards the rest, and keeps lines apart */
    uint64_t dropped;
    bool is_slow; /* the last write found the pipe full */
    uint32_t repeat_count;
    repeat repeats[EVENTS_MAX];
};

/* A line that is being built: `len` bytes of text, never more than `max`. */
typedef struct line {
    bool is_json;
    bool is_truncated;
    size_t len;
    size_t max;
    char text[FLX_LOG_LINE_MAX];
} line;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

/* --- text ---------------------------------------------------------------------------------------- */

static void put_bytes(line *out, const char *bytes, size_t len)
{
    if (len > out->max - out->len) {
        out->is_truncated = true;
        return;
    }
    memcpy(out->text + out->len, bytes, len);
    out->len += len;
}

static void put_text(line *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

static void put_format(line *out, const char *format, ...) FLX_PRINTF(2, 3);
static void put_format(line *out, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    FLX_ASSERT(len >= 0 && (size_t)len < sizeof text);
    put_bytes(out, text, (size_t)len);
}

/* The length of the UTF-8 sequence at `at` (RFC 3629: no surrogates, shortest form), 0: none. */
static size_t utf8_len(const uint8_t *at, size_t left)
{
    const uint8_t lead = at[0];
    const size_t len = lead < 0x80                   ? 1
                       : lead >= 0xc2 && lead < 0xe0 ? 2
                       : lead >= 0xe0 && lead < 0xf0 ? 3
                       : lead >= 0xf0 && lead < 0xf5 ? 4
                                                     : 0;
    if (len == 0 || len > left) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    const bool is_bad = (lead == 0xe0 && at[1] < 0xa0) || (lead == 0xed && at[1] >= 0xa0) ||
                        (lead == 0xf0 && at[1] < 0x90) || (lead == 0xf4 && at[1] >= 0x90);
    return is_bad ? 0 : len;
}

/* One character as JSON and terminals can bear it: nobody forges a line or moves the cursor. */
static size_t put_escaped_char(line *out, const uint8_t *at, size_t left)
{
    const size_t len = utf8_len(at, left);
    if (len == 0) {
        put_text(out, "\xef\xbf\xbd");
        return 1;
    }
    const bool is_c1 = len == 2 && at[0] == 0xc2 && at[1] < 0xa0; /* 8-bit terminal controls */
    if (is_c1) {
        put_format(out, "\\u%04x", at[1]);
    } else if (at[0] == '"' || at[0] == '\\') {
        put_format(out, "\\%c", at[0]);
    } else if (at[0] == '\n') {
        put_text(out, "\\n");
    } else if (at[0] < 0x20 || at[0] == 0x7f) {
        put_format(out, "\\u%04x", at[0]);
    } else {
        put_bytes(out, (const char *)at, len);
    }
    return len;
}

static void put_escaped(line *out, flx_slice text)
{
    for (size_t i = 0; i < text.len && !out->is_truncated;) {
        i += put_escaped_char(out, text.ptr + i, text.len - i);
    }
}

static void put_quoted(line *out, flx_slice text)
{
    put_text(out, "\"");
    put_escaped(out, text);
    put_text(out, "\"");
}

/* On a terminal a plain word goes without quotes. */
static void put_string(line *out, flx_slice text)
{
    bool is_plain = !out->is_json && text.len > 0;
    for (size_t i = 0; i < text.len && is_plain; i++) {
        const uint8_t c = text.ptr[i];
        is_plain = c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
    }
    if (is_plain) {
        put_bytes(out, (const char *)text.ptr, text.len);
    } else {
        put_quoted(out, text);
    }
}

static void put_hex(line *out, flx_slice bytes)
{
    put_text(out, out->is_json ? "\"" : "");
    for (size_t i = 0; i < bytes.len && !out->is_truncated; i++) {
        put_format(out, "%02x", bytes.ptr[i]);
    }
    put_text(out, out->is_json ? "\"" : "");
}

static void put_value(line *out, const flx_kv *field)
{
    switch (field->kind) {
    case FLX_KV_STR:
        if (field->value.bytes.ptr == NULL) {
            put_text(out, "null");
        } else {
            put_string(out, field->value.bytes);
        }
        return;
    case FLX_KV_HEX:
        put_hex(out, field->value.bytes);
        return;
    case FLX_KV_U64:
        put_format(out, "%llu", (unsigned long long)field->value.u64);
        return;
    case FLX_KV_I64:
        put_format(out, "%lld", (long long)field->value.i64);
        return;
    case FLX_KV_BOOL:
        put_text(out, field->value.boolean ? "true" : "false");
        return;
    case FLX_KV_F64:
        if (isfinite(field->value.f64)) {
            put_format(out, "%.9g", field->value.f64);
        } else {
            put_text(out, "null"); /* JSON has no other word for it */
        }
        return;
    }
    FLX_UNREACHABLE();
}

/* Whole or not at all: a field that does not fit leaves no trace but is_truncated. */
static void put_field(line *out, const flx_kv *field)
{
    const size_t before = out->len;
    if (out->is_json) {
        put_text(out, ",\"");
        put_escaped(out, flx_slice_of(field->key));
        put_text(out, "\":");
    } else {
        put_text(out, " ");
        put_escaped(out, flx_slice_of(field->key));
        put_text(out, "=");
    }
    put_value(out, field);
    if (out->is_truncated) {
        out->len = before;
    }
}

/* --- a line -------------------------------------------------------------------------------------- */

static void begin_json(const flx_log *log, line *out, uint64_t now_us, flx_log_level level,
                       const char *event, const char *message)
{
    const time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    (void)gmtime_r(&seconds, &utc);
    char date[32];
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    put_format(out, "{\"ts\":\"%s.%06uZ\"", date, (unsigned)(now_us % 1000000));
    put_format(out, ",\"level\":\"%s\",\"component\":", level_names[level]);
    put_quoted(out, flx_slice_of(log->component));
    put_text(out, ",\"event\":");
    put_quoted(out, flx_slice_of(event));
    put_text(out, ",\"msg\":");
    put_quoted(out, flx_slice_of(message));
}

static void begin_text(const flx_log *log, line *out, uint64_t now_us, flx_log_level level,
                       const char *event, const char *message)
{
    static const char *const colors[] = {"\033[2m", "", "\033[33m", "\033[31m"};
    const time_t seconds = (time_t)(now_us / 1000000);
    struct tm local;
    (void)localtime_r(&seconds, &local);
    put_format(out, "%02d:%02d:%02d.%03u ", local.tm_hour, local.tm_min, local.tm_sec,
               (unsigned)(now_us / 1000 % 1000));
    put_format(out, "%s%-5s%s ", log->has_color ? colors[level] : "", level_names[level],
               log->has_color && colors[level][0] != '\0' ? "\033[0m" : "");
    put_escaped(out, flx_slice_of(log->component));
    put_text(out, ": ");
    put_escaped(out, flx_slice_of(message));
    put_text(out, " [");
    put_escaped(out, flx_slice_of(event));
    put_text(out, "]");
}

/* All but the end of a line. */
static void build(const flx_log *log, line *out, uint64_t now_us, flx_log_level level,
                  const char *event, const char *message, const flx_kv *fields)
{
    out->is_json = log->is_json;
    out->is_truncated = false;
    out->len = 0;
    out->max = sizeof out->text - 2 * TAIL_BYTES;
    if (log->is_json) {
        begin_json(log, out, now_us, level, event, message);
        if (out->is_truncated) { /* only an unheard-of message does that: keep the line JSON */
            out->len = 0;
            out->is_truncated = false;
            begin_json(log, out, now_us, level, "log.line_too_long", "a message was too long");
        }
    } else {
        begin_text(log, out, now_us, level, event, message);
    }
    for (const flx_kv *field = fields; field != NULL && field->key != NULL; field++) {
        put_field(out, field);
    }
    if (out->is_truncated) {
        out->max += TAIL_BYTES;
        out->is_truncated = false;
        const flx_kv truncated = flx_kv_bool("truncated", true);
        put_field(out, &truncated);
    }
    out->max = sizeof out->text;
}

/* --- writing; with the lock held ------------------------------------------------------------------ */

static bool is_writable(flx_log *log)
{
    struct pollfd wanted = {.fd = log->fd, .events = POLLOUT};
    const bool is_ready =
        poll(&wanted, 1, log->is_slow ? 0 : SLOW_WAIT_MS) == 1 && (wanted.revents & POLLOUT) != 0;
    log->is_slow = !is_ready;
    return is_ready;
}

static void finish_and_write(flx_log *log, line *out, uint64_t suppressed)
{
    if (suppressed > 0) {
        const flx_kv field = flx_kv_u64("suppressed", suppressed);
        put_field(out, &field);
    }
    if (log->dropped > 0) {
        const flx_kv field = flx_kv_u64("dropped", log->dropped);
        put_field(out, &field);
    }
    put_text(out, log->is_json ? "}\n" : "\n");
    FLX_ASSERT(!out->is_truncated); /* the tail was kept free */
    if (!is_writable(log) || write(log->fd, out->text, out->len) < 0) {
        log->dropped++; /* there is nowhere to complain */
    } else {
        log->dropped = 0;
    }
}

static uint32_t hash_of(const char *event)
{
    uint32_t hash = 2166136261U; /* FNV-1a: a table of our own constants */
    for (; *event != '\0'; event++) {
        hash = (hash ^ (uint8_t)*event) * 16777619U;
    }
    return hash;
}

/* The counts of an event; NULL when the table is full. */
static repeat *repeat_of(flx_log *log, const char *event)
{
    uint32_t index = hash_of(event) & (EVENTS_MAX - 1);
    while (log->repeats[index].event != NULL) {
        if (strcmp(log->repeats[index].event, event) == 0) {
            return &log->repeats[index];
        }
        index = (index + 1) & (EVENTS_MAX - 1);
    }
    if (log->repeat_count >= EVENTS_MAX - EVENTS_MAX / 4) {
        return NULL;
    }
    log->repeat_count++;
    log->repeats[index].event = event;
    return &log->repeats[index];
}

/* Whether a line of this event may pass now; tells how many did not since the last that did. */
static bool may_pass(flx_log *log, const char *event, flx_log_level level, uint64_t now_us,
                     uint64_t *ret_suppressed)
{
    *ret_suppressed = 0;
    repeat *counts = level == FLX_LOG_DEBUG ? NULL : repeat_of(log, event);
    if (counts == NULL) {
        return true;
    }
    /* A wall clock that was set back opens a new window too. */
    if (now_us >= counts->window_end_us || counts->window_end_us > now_us + log->window_us) {
        counts->window_end_us = now_us + log->window_us;
        counts->passed = 0;
    }
    counts->level = level;
    if (counts->passed >= log->burst) {
        counts->suppressed++;
        return false;
    }
    counts->passed++;
    *ret_suppressed = counts->suppressed;
    counts->suppressed = 0;
    return true;
}

void flx_log_write(flx_log *log, flx_log_level level, const char *event, const char *message,
                   const flx_kv *fields)
{
    FLX_ASSERT(level < FLX_LOG_OFF);
    const uint64_t now_us = log->clock_us();
    uint64_t suppressed = 0;
    (void)pthread_mutex_lock(&log->lock);
    const bool passes = may_pass(log, event, level, now_us, &suppressed);
    (void)pthread_mutex_unlock(&log->lock);
    if (!passes) {
        return; /* and a storm costs no formatting */
    }
    line out;
    build(log, &out, now_us, level, event, message, fields);
    (void)pthread_mutex_lock(&log->lock);
    finish_and_write(log, &out, suppressed);
    (void)pthread_mutex_unlock(&log->lock);
}

/* Tells what was suppressed of events whose window is over (or of all). */
static void tell_suppressed(flx_log *log, uint64_t now_us, bool all)
{
    (void)pthread_mutex_lock(&log->lock);
    for (uint32_t i = 0; i < EVENTS_MAX; i++) {
        repeat *counts = &log->repeats[i];
        if (counts->suppressed > 0 && (all || now_us >= counts->window_end_us)) {
            line out;
            build(log, &out, now_us, counts->level, counts->event, "repeats were not written",
                  NULL);
            finish_and_write(log, &out, counts->suppressed);
            counts->suppressed = 0;
        }
    }
    (void)pthread_mutex_unlock(&log->lock);
}

void flx_log_tick(flx_log *log)
{
    if (log != NULL) {
        tell_suppressed(log, log->clock_us(), false);
    }
}

/* --- life ---------------------------------------------------------------------------------------- */

flx_status flx_log_new(const flx_log_options *options, flx_log **ret_log, flx_error *reterr)
{
    flx_log_options given = {0};
    if (options != NULL) {
        given = *options;
    }
    flx_log *log = flx_calloc(1, sizeof *log);
    if (log == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "make a log");
    }
    log->component = given.component == NULL ? "felix" : given.component;
    log->fd = given.fd == 0 ? STDERR_FILENO : given.fd;
    const bool is_terminal = isatty(log->fd) == 1;
    log->is_json = given.format == FLX_LOG_JSON || (given.format == FLX_LOG_AUTO && !is_terminal);
    log->has_color = is_terminal && getenv("NO_COLOR") == NULL;
    log->burst = given.burst == 0 ? BURST_DEFAULT : given.burst;
    log->window_us = (given.window_ms == 0 ? WINDOW_DEFAULT_MS : given.window_ms) * UINT64_C(1000);
    log->clock_us = given.clock_us == NULL ? flx_clock_wall_us : given.clock_us;
    atomic_init(&log->level, (int)given.level);
    (void)pthread_mutex_init(&log->lock, NULL);
    *ret_log = log;
    return FLX_OK;
}

flx_log *flx_log_free(flx_log *log)
{
    if (log != NULL) {
        tell_suppressed(log, log->clock_us(), true);
        (void)pthread_mutex_destroy(&log->lock);
        flx_free(log);
    }
    return NULL;
}

void flx_log_set_level(flx_log *log, flx_log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

bool flx_log_wants(const flx_log *log, flx_log_level level)
{
    return log != NULL && (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

bool flx_log_level_parse(const char *text, flx_log_level *ret_level)
{
    for (int i = FLX_LOG_DEBUG; i <= FLX_LOG_OFF; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (flx_log_level)i;
            return true;
        }
    }
    return false;
}

/* --- fields --------------------------------------------------------------------------------------- */

flx_kv flx_kv_slice(const char *key, flx_slice text)
{
    static const uint8_t empty[1];
    if (text.ptr == NULL) {
        text.ptr = empty; /* an empty slice is "", not null */
    }
    return (flx_kv){.key = key, .kind = FLX_KV_STR, .value = {.bytes = text}};
}

flx_kv flx_kv_str(const char *key, const char *text)
{
    if (text == NULL) {
        return (flx_kv){.key = key, .kind = FLX_KV_STR};
    }
    return flx_kv_slice(key, flx_slice_of(text));
}

flx_kv flx_kv_hex(const char *key, flx_slice bytes)
{
    return (flx_kv){.key = key, .kind = FLX_KV_HEX, .value = {.bytes = bytes}};
}

flx_kv flx_kv_err(const flx_error *error)
{
    return flx_kv_str("error",
                      error->message[0] != '\0' ? error->message : flx_status_text(error->status));
}
