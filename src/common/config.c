/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/config.c - four places folded into one set, weakest first.
 *
 * default -> program -> file -> environment -> flag: each layer writes over the one before, so the
 * last writer is the winner and its origin stands. Which profile is meant is known only after all of
 * them; it writes where the default still stands. A bad value in a place that is overridden is
 * reported all the same: it would bite on the day the stronger place goes away.
 */
#include "common/config.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/config_int.h"
#include "common/error.h"
#include "common/nearest.h"
#include "common/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const flx_config_key keys[FLX_CONFIG_KEY_COUNT] = {
#define RELOAD_LIVE    true
#define RELOAD_RESTART false
#define KEY_ROW(field, TYPE, ENV, ALIAS, PRESET, MIN, MAX, CHOICES, RELOAD, DOC)                   \
    {.name = #field,                                                                               \
     .env = ENV,                                                                                   \
     .env_alias = ALIAS,                                                                           \
     .preset = PRESET,                                                                             \
     .choices = CHOICES,                                                                           \
     .doc = DOC,                                                                                   \
     .min = MIN,                                                                                   \
     .max = MAX,                                                                                   \
     .offset = offsetof(flx_config, field),                                                        \
     .type = FLX_CONFIG_##TYPE,                                                                    \
     .live = RELOAD_##RELOAD},
    FLX_CONFIG_TABLE(KEY_ROW, FLX_CONFIG_NO_SECTION)};

/* FELIX_ names that are not ours to read but are no mistake either. */
static const char *const foreign_names[] = {
    "FELIX_ADDRESS",    "FELIX_ADMIN_TOKEN", "FELIX_ADMIN_TOKEN_FILE", "FELIX_AUTH_TENANT",
    "FELIX_AUTH_TOKEN", "FELIX_BROKERS",     "FELIX_BROKER_CONFIG",    "FELIX_CA_FILE",
    "FELIX_CONFIG",     "FELIX_CONTEXT",     "FELIX_CONTROLPLANE_URL", "FELIX_CONTROLPLANE_TOKEN",
    "FELIX_NAMESPACE",  "FELIX_OUTPUT",      "FELIX_SERVER_NAME",      "FELIX_TENANT",
    "FELIX_TOKEN",      "FELIX_TOKEN_FILE",
};

typedef struct loader {
    const flx_config_inputs *inputs;
    flx_config_set *set;
    flx_error first; /* the first problem; status FLX_OK while there is none */
    const char *flag_file;
    bool print;
    bool origin;
} loader;

const flx_config_key *flx_config_key_at(size_t index)
{
    FLX_ASSERT(index < FLX_CONFIG_KEY_COUNT);
    return &keys[index];
}

/* By YAML name, NULL when unknown. */
static const flx_config_key *key_find(const char *name)
{
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        if (strcmp(keys[i].name, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

static void report(loader *load, flx_status status, const flx_error *problem)
{
    if (status != FLX_OK && load->first.status == FLX_OK) {
        load->first = *problem;
        load->first.status = status;
    }
    if (load->inputs->report != NULL) {
        load->inputs->report(load->inputs->report_arg, status == FLX_OK, problem->message);
    }
}

/* Sets a value and remembers where it came from; a bad one is reported with that place in front. */
static void apply(loader *load, const flx_config_key *key, const char *text,
                  flx_config_origin origin, const char *where)
{
    flx_error problem = {0};
    const flx_status status = flx_config_value_set(&load->set->values, key, text, &problem);
    if (status != FLX_OK) {
        if (origin == FLX_CONFIG_FROM_FILE || origin == FLX_CONFIG_FROM_PROGRAM) {
            flx_error_prefix(&problem, "%s: %s", where, key->name);
        } else {
            flx_error_prefix(&problem, "%s", where);
        }
        report(load, status, &problem);
        return;
    }
    const size_t index = (size_t)(key - keys);
    load->set->from[index].origin = origin;
    (void)snprintf(load->set->from[index].text, sizeof load->set->from[index].text, "%s", where);
}

static flx_status apply_defaults(loader *load)
{
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        apply(load, &keys[i], keys[i].preset, FLX_CONFIG_FROM_DEFAULT, "default");
    }
    return load->first.status; /* only memory can fail here */
}

static void apply_presets(loader *load)
{
    for (size_t i = 0; i < load->inputs->preset_count; i++) {
        const flx_config_key *key = key_find(load->inputs->presets[i].name);
        FLX_ASSERT(key != NULL);
        apply(load, key, load->inputs->presets[i].value, FLX_CONFIG_FROM_PROGRAM, "program");
    }
}

/* What the chosen profile sets and nobody else did. */
static void apply_profile(loader *load)
{
    static const struct {
        const char *profile;
        const char *value;
        size_t index;
    } rows[] = {
#define PROFILE_ROW(PROFILE, field, VALUE)                                                         \
    {.profile = (PROFILE), .value = (VALUE), .index = FLX_CONFIG_KEY_##field},
        FLX_CONFIG_PROFILE_TABLE(PROFILE_ROW)};
    char chosen[32];
    char where[48];
    (void)flx_config_value_text(&load->set->values, &keys[FLX_CONFIG_KEY_profile], chosen,
                                sizeof chosen);
    (void)snprintf(where, sizeof where, "profile %s", chosen);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].profile, chosen) == 0 &&
            load->set->from[rows[i].index].origin == FLX_CONFIG_FROM_DEFAULT) {
            apply(load, &keys[rows[i].index], rows[i].value, FLX_CONFIG_FROM_PROFILE, where);
        }
    }
}

/* --- file --- */

static void unknown_key(loader *load, const flx_yaml *yaml, const flx_yaml_entry *entry)
{
    const char *best = NULL;
    unsigned distance = ~0u;
    flx_error problem = {0};
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        flx_nearest_offer(entry->path, keys[i].name, &best, &distance);
    }
    (void)flx_fail(&problem, FLX_ERR_INVALID, "%.100s:%u: unknown key '%.60s'%s%s%s",
                   flx_yaml_name(yaml), entry->line, entry->path,
                   best != NULL ? ", did you mean '" : "; --help lists all",
                   best != NULL ? best : "", best != NULL ? "'?" : "");
    report(load, FLX_ERR_INVALID, &problem);
}

/* Every key takes one value. */
static void refuse_list(loader *load, const flx_config_key *key, const char *where)
{
    flx_error problem = {0};
    (void)flx_fail(&problem, FLX_ERR_INVALID, "%s: %s: takes one value, not a list", where,
                   key->name);
    report(load, FLX_ERR_INVALID, &problem);
}

static void apply_entry(loader *load, const flx_yaml *yaml, const flx_yaml_entry *entry)
{
    const flx_config_key *key = key_find(entry->path);
    char where[120];
    flx_error problem = {0};
    if (strchr(entry->path, '.') != NULL) {
        return; /* no key has members: the map around it was refused */
    }
    if (key == NULL) {
        unknown_key(load, yaml, entry);
        return;
    }
    (void)snprintf(where, sizeof where, "%.100s:%u", flx_yaml_name(yaml), entry->line);
    switch (entry->kind) {
    case FLX_YAML_SCALAR:
        apply(load, key, entry->text, FLX_CONFIG_FROM_FILE, where);
        break;
    case FLX_YAML_LIST:
        refuse_list(load, key, where);
        break;
    case FLX_YAML_NULL:
    case FLX_YAML_MAP:
        (void)flx_fail(&problem, FLX_ERR_INVALID, "%s: %s: %s", where, key->name,
                       entry->kind == FLX_YAML_MAP
                           ? "takes one value, not a map"
                           : "has no value; remove the line to get the default");
        report(load, FLX_ERR_INVALID, &problem);
        break;
    }
}

static const char *env_value(const loader *load, const char *name)
{
    const size_t len = strlen(name);
    for (char *const *at = load->inputs->environment; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=') {
            return *at + len + 1;
        }
    }
    return NULL;
}

/* Which file to read: named by flag, named by environment, or the default one if it is there. */
static const char *file_to_read(const loader *load)
{
    if (load->flag_file != NULL) {
        return load->flag_file;
    }
    const char *named = env_value(load, "FELIX_BROKER_CONFIG");
    if (named != NULL && named[0] != '\0') {
        return named;
    }
    const char *usual = load->inputs->default_file;
    return usual != NULL && access(usual, F_OK) == 0 ? usual : NULL;
}

static void apply_file(loader *load)
{
    flx_error problem = {0};
    flx_yaml *yaml = NULL;
    flx_status status = FLX_OK;
    const char *path = file_to_read(load);
    if (load->inputs->file_text.ptr != NULL) {
        path = "(text)";
        status = flx_yaml_parse(load->inputs->file_text, path, &yaml, &problem);
    } else if (path != NULL) {
        status = flx_yaml_read(path, &yaml, &problem);
        flx_error_prefix(&problem, "configuration");
    }
    if (status != FLX_OK) {
        report(load, status, &problem);
    }
    for (size_t i = 0; yaml != NULL && i < flx_yaml_count(yaml); i++) {
        apply_entry(load, yaml, flx_yaml_at(yaml, i));
    }
    (void)flx_yaml_free(yaml);
}

/* --- environment --- */

static void apply_environment(loader *load)
{
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        const flx_config_key *key = &keys[i];
        const char *value = env_value(load, key->env);
        const char *other = key->env_alias != NULL ? env_value(load, key->env_alias) : NULL;
        if (value != NULL && other != NULL && strcmp(value, other) != 0) {
            flx_error problem = {0};
            (void)flx_fail(&problem, FLX_ERR_INVALID, "%s and %s differ; %s counts", key->env,
                           key->env_alias, key->env);
            report(load, FLX_OK, &problem);
        }
        if (value != NULL) {
            apply(load, key, value, FLX_CONFIG_FROM_ENVIRONMENT, key->env);
        } else if (other != NULL) {
            apply(load, key, other, FLX_CONFIG_FROM_ENVIRONMENT, key->env_alias);
        }
    }
}

/* Whether `name` is a FELIX_ variable that somebody reads; otherwise the nearest such name. */
static bool env_is_known(const char *name, const char **ret_best)
{
    unsigned distance = ~0u;
    *ret_best = NULL;
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        const char *const own[2] = {keys[i].env, keys[i].env_alias};
        for (size_t j = 0; j < 2 && own[j] != NULL; j++) {
            if (strcmp(name, own[j]) == 0) {
                return true;
            }
            flx_nearest_offer(name, own[j], ret_best, &distance);
        }
    }
    for (size_t i = 0; i < sizeof foreign_names / sizeof foreign_names[0]; i++) {
        if (strcmp(name, foreign_names[i]) == 0) {
            return true;
        }
        flx_nearest_offer(name, foreign_names[i], ret_best, &distance);
    }
    return false;
}

static void warn_about_environment(loader *load)
{
    for (char *const *at = load->inputs->environment; at != NULL && *at != NULL; at++) {
        const size_t len = strcspn(*at, "=");
        char name[80];
        const char *best = NULL;
        if (strncmp(*at, "FELIX_", 6) != 0 || len >= sizeof name) {
            continue;
        }
        memcpy(name, *at, len);
        name[len] = '\0';
        if (env_is_known(name, &best)) {
            continue;
        }
        flx_error problem = {0};
        (void)flx_fail(&problem, FLX_ERR_INVALID, "%s is set but nothing reads it%s%s%s", name,
                       best != NULL ? "; did you mean " : "", best != NULL ? best : "",
                       best != NULL ? "?" : "");
        report(load, FLX_OK, &problem);
    }
}

/* --- flags --- */

/* Whether the flag text `word` (without dashes, `len` long) spells `name` with - for _. */
static bool flag_is(const char *word, size_t len, const char *name)
{
    if (strlen(name) != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        const char spelled = name[i] == '_' ? '-' : name[i];
        if (word[i] != spelled && word[i] != name[i]) {
            return false;
        }
    }
    return true;
}

static const flx_config_key *flag_key(const char *word, size_t len)
{
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        if (flag_is(word, len, keys[i].name)) {
            return &keys[i];
        }
    }
    return NULL;
}

static void unknown_flag(loader *load, const char *word)
{
    static const char *const others[] = {"config", "check_config", "print_config",
                                         "origin", "help",         "version"};
    char name[80];
    char spelled[80];
    const char *best = NULL;
    unsigned distance = ~0u;
    flx_error problem = {0};
    const size_t len = strcspn(word, "=");
    (void)snprintf(name, sizeof name, "%.*s", (int)(len < 70 ? len : 70), word);
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        flx_nearest_offer(name, keys[i].name, &best, &distance);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        flx_nearest_offer(name, others[i], &best, &distance);
    }
    (void)snprintf(spelled, sizeof spelled, "%s", best != NULL ? best : "");
    for (char *at = spelled; *at != '\0'; at++) {
        *at = *at == '_' ? '-' : *at;
    }
    (void)flx_fail(&problem, FLX_ERR_INVALID, "unknown flag '--%s'%s%s%s", name,
                   best != NULL ? ", did you mean '--" : "; --help lists all", spelled,
                   best != NULL ? "'?" : "");
    report(load, FLX_ERR_INVALID, &problem);
}

static bool take_program_flag(loader *load, const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
        load->set->action = FLX_CONFIG_HELP;
    } else if (strcmp(arg, "--version") == 0) {
        load->set->action = FLX_CONFIG_VERSION;
    } else if (strcmp(arg, "--check-config") == 0) {
        load->set->action = FLX_CONFIG_CHECK;
    } else if (strcmp(arg, "--print-config") == 0) {
        load->print = true;
    } else if (strcmp(arg, "--origin") == 0) {
        load->origin = true;
    } else {
        return false;
    }
    return true;
}

static void missing_value(loader *load, const char *arg)
{
    flx_error problem = {0};
    (void)flx_fail(&problem, FLX_ERR_INVALID, "flag '%.60s' needs a value", arg);
    report(load, FLX_ERR_INVALID, &problem);
}

/* One argument and, for those that take a value, the next. Returns how many were used. */
static int take_flag(loader *load, int index, bool only_file)
{
    const char *arg = load->inputs->argv[index];
    const char *next = index + 1 < load->inputs->argc ? load->inputs->argv[index + 1] : NULL;
    if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0') {
        if (!only_file && !take_program_flag(load, arg)) {
            flx_error problem = {0};
            (void)flx_fail(&problem, FLX_ERR_INVALID,
                           "unexpected argument '%.60s'; flags are --name", arg);
            report(load, FLX_ERR_INVALID, &problem);
        }
        return 1;
    }
    const char *word = arg + 2;
    const size_t len = strcspn(word, "=");
    const char *value = word[len] == '=' ? word + len + 1 : next;
    const int used = word[len] == '=' ? 1 : 2;
    if (flag_is(word, len, "config")) {
        if (value == NULL && only_file) {
            missing_value(load, arg);
        }
        load->flag_file = value;
        return used;
    }
    const flx_config_key *key = flag_key(word, len);
    const bool negated = key == NULL && strncmp(word, "no-", 3) == 0;
    if (negated) {
        key = flag_key(word + 3, len - 3);
    }
    const bool is_switch = key != NULL && key->type == FLX_CONFIG_BOOL && word[len] != '=';
    char where[120];
    (void)snprintf(where, sizeof where, "--%.*s", (int)(len < 100 ? len : 100), word);
    if (only_file) {
        return key == NULL || is_switch ? 1 : used;
    }
    if (key != NULL && is_switch) {
        apply(load, key, negated ? "false" : "true", FLX_CONFIG_FROM_FLAG, where);
        return 1;
    }
    if (key == NULL || negated) {
        if (!take_program_flag(load, arg)) {
            unknown_flag(load, word);
        }
        return 1;
    }
    if (value == NULL) {
        missing_value(load, arg);
        return 1;
    }
    apply(load, key, value, FLX_CONFIG_FROM_FLAG, where);
    return used;
}

static void walk_flags(loader *load, bool only_file)
{
    for (int i = 0; i < load->inputs->argc;) {
        i += take_flag(load, i, only_file);
    }
    if (load->print && load->set->action == FLX_CONFIG_RUN) {
        load->set->action = load->origin ? FLX_CONFIG_PRINT_ORIGIN : FLX_CONFIG_PRINT;
    }
}

/* --- all of it --- */

static void report_cross(void *arg, const char *text)
{
    flx_error problem = {0};
    (void)flx_fail(&problem, FLX_ERR_INVALID, "%s", text);
    report(arg, FLX_ERR_INVALID, &problem);
}

flx_status flx_config_load(const flx_config_inputs *inputs, flx_config_set **ret_set,
                           flx_error *reterr)
{
    loader load = {.inputs = inputs};
    load.set = flx_calloc(1, sizeof *load.set);
    if (load.set == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "configuration: out of memory");
    }
    if (apply_defaults(&load) == FLX_OK) {
        apply_presets(&load);
        walk_flags(&load, true);
        apply_file(&load);
        apply_environment(&load);
        walk_flags(&load, false);
        apply_profile(&load);
        warn_about_environment(&load);
    }
    if (load.first.status != FLX_ERR_NOMEM) {
        flx_config_cross_check(&load.set->values, report_cross, &load);
    }
    const bool informs =
        load.set->action == FLX_CONFIG_HELP || load.set->action == FLX_CONFIG_VERSION;
    if (load.first.status == FLX_OK || (informs && load.first.status != FLX_ERR_NOMEM)) {
        *ret_set = load.set;
        return FLX_OK;
    }
    (void)flx_config_set_free(load.set);
    if (reterr != NULL) {
        *reterr = load.first;
    }
    return load.first.status;
}

static bool owns_text(const flx_config_key *key)
{
    return key->type == FLX_CONFIG_TEXT || key->type == FLX_CONFIG_PATH ||
           key->type == FLX_CONFIG_ADDRESS;
}

flx_config_set *flx_config_set_free(flx_config_set *set)
{
    if (set == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        if (owns_text(&keys[i])) {
            flx_free(*(char **)flx_config_field(&set->values, &keys[i]));
        }
    }
    flx_free(set);
    return NULL;
}

const flx_config *flx_config_values(const flx_config_set *set)
{
    return &set->values;
}

flx_config_action flx_config_wanted(const flx_config_set *set)
{
    return set->action;
}

flx_config_origin flx_config_origin_of(const flx_config_set *set, size_t index)
{
    FLX_ASSERT(index < FLX_CONFIG_KEY_COUNT);
    return set->from[index].origin;
}

const char *flx_config_origin_text(const flx_config_set *set, size_t index)
{
    FLX_ASSERT(index < FLX_CONFIG_KEY_COUNT);
    return set->from[index].text;
}

size_t flx_config_diff(const flx_config_set *running, const flx_config_set *loaded,
                       void (*changed)(void *arg, const flx_config_key *key, const char *from,
                                       const char *to),
                       void *arg)
{
    size_t restart_count = 0;
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        char from[4200];
        char to[4200];
        (void)flx_config_value_text(&running->values, &keys[i], from, sizeof from);
        (void)flx_config_value_text(&loaded->values, &keys[i], to, sizeof to);
        if (strcmp(from, to) != 0) {
            restart_count += keys[i].live ? 0 : 1;
            changed(arg, &keys[i], from, to);
        }
    }
    return restart_count;
}
