/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/config.h - the configuration of a node: one table of keys, four places to say them.
 *
 * Flag beats environment beats file beats profile beats default, and every value remembers where it
 * came from.
 * Everything wrong is reported, not only the first thing; an unknown key of the file or flag is an
 * error that names the nearest known one, an unknown FELIX_ variable a warning (Kubernetes makes up
 * such names for services). No key holds a secret: secrets are named by files, so a printed
 * configuration may be shown to anybody.
 *
 * Threads: a set never changes once it is loaded; any thread may read it.
 */
#ifndef FLX_COMMON_CONFIG_H
#define FLX_COMMON_CONFIG_H

#include "common/config_keys.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum flx_config_type {
    FLX_CONFIG_BOOL,
    FLX_CONFIG_U32,
    FLX_CONFIG_U64,
    FLX_CONFIG_SIZE, /* bytes */
    FLX_CONFIG_MS,
    FLX_CONFIG_US,
    FLX_CONFIG_TEXT, /* min and max are its length */
    FLX_CONFIG_PATH,
    FLX_CONFIG_ADDRESS, /* host:port or [v6]:port */
    FLX_CONFIG_CHOICE
} flx_config_type;

#define FLX_CONFIG_CTYPE_BOOL    bool
#define FLX_CONFIG_CTYPE_U32     uint32_t
#define FLX_CONFIG_CTYPE_U64     uint64_t
#define FLX_CONFIG_CTYPE_SIZE    uint64_t
#define FLX_CONFIG_CTYPE_MS      uint32_t
#define FLX_CONFIG_CTYPE_US      uint32_t
#define FLX_CONFIG_CTYPE_TEXT    char *
#define FLX_CONFIG_CTYPE_PATH    char *
#define FLX_CONFIG_CTYPE_ADDRESS char *
#define FLX_CONFIG_CTYPE_CHOICE  uint32_t

/* The values, a field a key, in the order of the table: there is one of it, so padding is no matter.
 * Texts are never NULL; "" means unset. */
typedef struct flx_config { // NOLINT(clang-analyzer-optin.performance.Padding)
#define FLX_CONFIG_FIELD(field, TYPE, env, alias, preset, min, max, choices, reload, doc)          \
    FLX_CONFIG_CTYPE_##TYPE field;
#define FLX_CONFIG_NO_SECTION(title)
    FLX_CONFIG_TABLE(FLX_CONFIG_FIELD, FLX_CONFIG_NO_SECTION)
#undef FLX_CONFIG_FIELD
} flx_config;

enum {
#define FLX_CONFIG_INDEX(field, TYPE, env, alias, preset, min, max, choices, reload, doc)          \
    FLX_CONFIG_KEY_##field,
    FLX_CONFIG_TABLE(FLX_CONFIG_INDEX, FLX_CONFIG_NO_SECTION)
#undef FLX_CONFIG_INDEX
        FLX_CONFIG_KEY_COUNT
};

/* Values of the CHOICE keys, in the order of their words. */
enum { FLX_CONFIG_CUBIC, FLX_CONFIG_BBR };
enum { FLX_CONFIG_BALANCED, FLX_CONFIG_LOW_LATENCY, FLX_CONFIG_THROUGHPUT };
enum { FLX_CONFIG_LOG_AUTO, FLX_CONFIG_LOG_TEXT, FLX_CONFIG_LOG_JSON };
/* log_level has the values of flx_log_level. */

/* One row of the table. */
typedef struct flx_config_key {
    const char *name; /* YAML key; with dashes the flag */
    const char *env;
    const char *env_alias; /* NULL: none */
    const char *preset;    /* the default, as one would write it */
    const char *choices;   /* NULL: not a choice */
    const char *doc;
    uint64_t min;
    uint64_t max;
    size_t offset; /* in flx_config */
    flx_config_type type;
    bool live; /* SIGHUP applies a change */
} flx_config_key;

typedef enum flx_config_origin {
    FLX_CONFIG_FROM_DEFAULT,
    FLX_CONFIG_FROM_PROFILE, /* a row of FLX_CONFIG_PROFILE_TABLE */
    FLX_CONFIG_FROM_PROGRAM, /* a default of the program: felix up listens on 127.0.0.1 */
    FLX_CONFIG_FROM_FILE,
    FLX_CONFIG_FROM_ENVIRONMENT,
    FLX_CONFIG_FROM_FLAG
} flx_config_origin;

/* What the flags ask the program to do. */
typedef enum flx_config_action {
    FLX_CONFIG_RUN,
    FLX_CONFIG_CHECK,        /* --check-config */
    FLX_CONFIG_PRINT,        /* --print-config */
    FLX_CONFIG_PRINT_ORIGIN, /* --print-config --origin */
    FLX_CONFIG_HELP,         /* --help, -h */
    FLX_CONFIG_VERSION       /* --version */
} flx_config_action;

typedef struct flx_config_set flx_config_set;

typedef struct flx_config_preset {
    const char *name;
    const char *value;
} flx_config_preset;

/* Where values come from. All borrowed for the call; zero means absent. */
typedef struct flx_config_inputs {
    int argc; /* without the name of the program */
    char *const *argv;
    char *const *environment;         /* "NAME=value", NULL at the end */
    const char *default_file;         /* read when it exists and neither --config nor */
                                      /* FELIX_BROKER_CONFIG names one */
    const flx_config_preset *presets; /* the program's own defaults */
    size_t preset_count;
    flx_slice file_text; /* parsed instead of a file (tests); named "(text)" */
    /* Told each problem as it is found, one line. warning: the load goes on and succeeds. */
    void (*report)(void *arg, bool warning, const char *message);
    void *report_arg;
} flx_config_inputs;

/*
 * Reads all places, checks every value and the values against each other. An action other than RUN
 * is answered even when there are problems, so that --help always works.
 *
 * FLX_ERR_INVALID  something is wrong; all of it was reported, *reterr is the first
 * FLX_ERR_NOMEM
 */
flx_status flx_config_load(const flx_config_inputs *inputs, flx_config_set **ret_set,
                           flx_error *reterr);
flx_config_set *flx_config_set_free(flx_config_set *set);

/* Valid as long as the set. */
const flx_config *flx_config_values(const flx_config_set *set);
flx_config_action flx_config_wanted(const flx_config_set *set);
/* `index` is a FLX_CONFIG_KEY_ value. */
flx_config_origin flx_config_origin_of(const flx_config_set *set, size_t index);
/* "felix.yaml:3", "FELIX_QUIC_BIND", "--quic-bind", "felix up", "profile low-latency" or "default". */
const char *flx_config_origin_text(const flx_config_set *set, size_t index);

/* The table: index 0 .. FLX_CONFIG_KEY_COUNT-1. */
const flx_config_key *flx_config_key_at(size_t index);

/* Writes a value as one would write it in the file, whole or cut to `cap`; returns its length. */
size_t flx_config_value_text(const flx_config *config, const flx_config_key *key, char *text,
                             size_t cap);

/* The whole configuration as YAML that can be loaded again; origins become comments. */
void flx_config_print(const flx_config_set *set, bool with_origin, FILE *out);

/*
 * What differs between the running set and one loaded at SIGHUP: calls `changed` for each key, with
 * both values as text and whether it applies at once. Returns the number of keys that need a restart.
 */
size_t flx_config_diff(const flx_config_set *running, const flx_config_set *loaded,
                       void (*changed)(void *arg, const flx_config_key *key, const char *from,
                                       const char *to),
                       void *arg);

/* The table for people: --help of a program, the Markdown page, the part of a man page. */
void flx_config_write_help(FILE *out);
void flx_config_write_markdown(FILE *out);
void flx_config_write_man(FILE *out);

/* "127.0.0.1:5000", "[::1]:5000", "node.example:5000" -> host (without brackets) and port.
 * FLX_ERR_INVALID with a message that says what is accepted. */
#define FLX_HOST_MAX 254
flx_status flx_address_split(const char *address, char host[FLX_HOST_MAX], uint16_t *ret_port,
                             flx_error *reterr);

/* "8MiB", "64KiB", "100": FLX_ERR_INVALID with a message that says what is accepted. */
flx_status flx_parse_size(const char *text, uint64_t *ret_bytes, flx_error *reterr);
/* "250us", "5s", "2h"; a bare number counts in `unit_us`. */
flx_status flx_parse_duration(const char *text, uint64_t unit_us, uint64_t *ret_us,
                              flx_error *reterr);
/* Digits only, no sign, no overflow. */
flx_status flx_parse_u64(const char *text, uint64_t *ret_value, flx_error *reterr);

#endif /* FLX_COMMON_CONFIG_H */
