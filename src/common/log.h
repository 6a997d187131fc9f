/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/log.h - what programs tell their operator: one event a line.
 *
 *      FLX_LOG(log, FLX_LOG_INFO, "stream.created", "stream created",
 *              flx_kv_str("tenant", tenant), flx_kv_u64("shard", shard));
 *
 * On a terminal a line is text for people, otherwise it is one JSON object:
 *
 *      {"ts":"2026-11-24T09:15:42.123456Z","level":"info","component":"broker",
 *       "event":"stream.created","msg":"stream created","tenant":"acme","shard":3}
 *
 * The event id is a constant of the program ("subject.what_happened"): alerts and documents are keyed
 * by it, and repeats are counted by it. Of one event, `burst` lines pass in a window; the rest are
 * counted, and the next line that passes carries "suppressed":n (flx_log_tick writes it when none
 * comes). Debug lines are not counted. Never put a payload, a token or a key into a field.
 *
 * A line is one write of at most FLX_LOG_LINE_MAX bytes, which a pipe takes whole. When the reader is
 * slow, a line waits at most 5 ms, and while the pipe stays full further lines are dropped at once;
 * the next one that passes carries "dropped":n. No allocation after flx_log_new. Any thread.
 *
 * Library code does not log: it returns errors, and the program decides (house style 4).
 */
#ifndef FLX_COMMON_LOG_H
#define FLX_COMMON_LOG_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

#define FLX_LOG_LINE_MAX 4096 /* PIPE_BUF of Linux */

typedef enum flx_log_level {
    FLX_LOG_DEBUG,
    FLX_LOG_INFO,
    FLX_LOG_WARN,
    FLX_LOG_ERROR,
    FLX_LOG_OFF
} flx_log_level;

typedef enum flx_log_format { FLX_LOG_AUTO, FLX_LOG_TEXT, FLX_LOG_JSON } flx_log_format;

/* Zero means the default written beside a field. */
typedef struct flx_log_options {
    const char *component;      /* "felix"; "broker", "controlplane", ...; borrowed until freed */
    int fd;                     /* where lines go (2: standard error); borrowed until freed */
    flx_log_level level;        /* the least that is written (0: debug) */
    flx_log_format format;      /* by whether fd is a terminal */
    uint32_t burst;             /* 20 lines of one event a window */
    uint32_t window_ms;         /* 10000 */
    uint64_t (*clock_us)(void); /* flx_clock_wall_us */
} flx_log_options;

typedef struct flx_log flx_log;

/* `options` NULL: defaults. FLX_ERR_NOMEM. */
flx_status flx_log_new(const flx_log_options *options, flx_log **ret_log, flx_error *reterr);
/* Writes what is still to be told (suppressed, dropped), then frees; the descriptor stays open.
 * NULL is fine. Always returns NULL. */
flx_log *flx_log_free(flx_log *log);

/* From the next line on. Any thread. */
void flx_log_set_level(flx_log *log, flx_log_level level);
/* Whether a line of this level would be written. A NULL log writes nothing. */
bool flx_log_wants(const flx_log *log, flx_log_level level);
/* "debug", "info", "warn", "error", "off" -> level; false when it is none of them. */
bool flx_log_level_parse(const char *text, flx_log_level *ret_level);

/* Writes counts of suppressed repeats whose window is over. Call it about once a second. */
void flx_log_tick(flx_log *log);

typedef enum flx_kv_kind {
    FLX_KV_STR,
    FLX_KV_U64,
    FLX_KV_I64,
    FLX_KV_BOOL,
    FLX_KV_F64,
    FLX_KV_HEX
} flx_kv_kind;

/* One field of a line. */
typedef struct flx_kv {
    const char *key; /* NULL ends a list */
    flx_kv_kind kind;
    union {
        flx_slice bytes; /* borrowed during the call */
        uint64_t u64;
        int64_t i64;
        bool boolean;
        double f64;
    } value;
} flx_kv;

flx_kv flx_kv_str(const char *key, const char *text); /* NULL: the field is null */
flx_kv flx_kv_slice(const char *key, flx_slice text); /* UTF-8; what is not is replaced */
flx_kv flx_kv_hex(const char *key, flx_slice bytes);  /* for connection ids */
flx_kv flx_kv_err(const flx_error *error); /* "error": its message, or the status' text */

static inline flx_kv flx_kv_u64(const char *key, uint64_t number)
{
    return (flx_kv){.key = key, .kind = FLX_KV_U64, .value = {.u64 = number}};
}

static inline flx_kv flx_kv_i64(const char *key, int64_t number)
{
    return (flx_kv){.key = key, .kind = FLX_KV_I64, .value = {.i64 = number}};
}

static inline flx_kv flx_kv_bool(const char *key, bool truth)
{
    return (flx_kv){.key = key, .kind = FLX_KV_BOOL, .value = {.boolean = truth}};
}

static inline flx_kv flx_kv_f64(const char *key, double number)
{
    return (flx_kv){.key = key, .kind = FLX_KV_F64, .value = {.f64 = number}};
}

/* Fields that do not fit the line are left out, and "truncated":true says so. Use FLX_LOG. */
void flx_log_write(flx_log *log, flx_log_level level, const char *event, const char *message,
                   const flx_kv *fields);

/* FLX_LOG(log, level, event, message, fields...): fields are evaluated only when they are wanted. */
#define FLX_LOG(log, level, event, ...)                                                            \
    FLX_LOG_FIELDS_(log, level, event, __VA_ARGS__, ((flx_kv){.key = NULL}))
#define FLX_LOG_FIELDS_(log, level, event, message, ...)                                           \
    do {                                                                                           \
        if (flx_log_wants(log, level)) {                                                           \
            flx_log_write(log, level, event, message, (const flx_kv[]){__VA_ARGS__});              \
        }                                                                                          \
    } while (0)

#endif /* FLX_COMMON_LOG_H */
