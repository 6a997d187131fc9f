/* SPDX-License-Identifier: Apache-2.0 */
/* common/config_print.c - the configuration and its table for people. */
#include "common/assert.h"
#include "common/config_int.h"

#include <string.h>

enum {
#define SECTION_COUNTS(title) +1
#define NO_KEY(field, TYPE, env, alias, preset, min, max, choices, reload, doc)
    SECTION_COUNT = 0 FLX_CONFIG_TABLE(NO_KEY, SECTION_COUNTS)
};

static const char *const walk[] = {
#define WALK_KEY(field, TYPE, env, alias, preset, min, max, choices, reload, doc) NULL,
#define WALK_SECTION(title)                                                       title,
    FLX_CONFIG_TABLE(WALK_KEY, WALK_SECTION)};

static_assert(sizeof walk / sizeof walk[0] == SECTION_COUNT + FLX_CONFIG_KEY_COUNT,
              "the table is sections and keys");

/* Calls for each section and each key in the order of the table. */
static void each_row(void (*on_section)(FILE *out, const char *title),
                     void (*on_key)(FILE *out, const flx_config_key *key), FILE *out)
{
    size_t index = 0;
    for (size_t i = 0; i < sizeof walk / sizeof walk[0]; i++) {
        if (walk[i] != NULL) {
            on_section(out, walk[i]);
        } else {
            on_key(out, flx_config_key_at(index++));
        }
    }
    FLX_ASSERT(index == FLX_CONFIG_KEY_COUNT);
}

static void write_flag(FILE *out, const flx_config_key *key)
{
    for (const char *at = key->name; *at != '\0'; at++) {
        (void)fputc(*at == '_' ? '-' : *at, out);
    }
}

static const char *type_word(const flx_config_key *key)
{
    switch (key->type) {
    case FLX_CONFIG_BOOL:
        return "true|false";
    case FLX_CONFIG_U32:
    case FLX_CONFIG_U64:
        return "number";
    case FLX_CONFIG_SIZE:
        return "size";
    case FLX_CONFIG_MS:
    case FLX_CONFIG_US:
        return "duration";
    case FLX_CONFIG_TEXT:
        return "text";
    case FLX_CONFIG_PATH:
        return "path";
    case FLX_CONFIG_ADDRESS:
        return "host:port";
    case FLX_CONFIG_CHOICE:
        return key->choices;
    }
    FLX_UNREACHABLE();
}

/* Texts are always quoted; a quote or backslash inside is escaped. */
static void write_yaml_text(FILE *out, const char *text)
{
    (void)fputc('"', out);
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            (void)fprintf(out, "\\x%02x", (unsigned)(unsigned char)*text);
            continue;
        }
        if (*text == '"' || *text == '\\') {
            (void)fputc('\\', out);
        }
        (void)fputc(*text, out);
    }
    (void)fputc('"', out);
}

static bool is_text(const flx_config_key *key)
{
    return key->type == FLX_CONFIG_TEXT || key->type == FLX_CONFIG_PATH ||
           key->type == FLX_CONFIG_ADDRESS;
}

void flx_config_print(const flx_config_set *set, bool with_origin, FILE *out)
{
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        const flx_config_key *key = flx_config_key_at(i);
        (void)fprintf(out, "%s: ", key->name);
        if (is_text(key)) {
            const void *field = flx_config_field_const(&set->values, key);
            write_yaml_text(out, *(char *const *)field);
        } else {
            char text[64];
            (void)flx_config_value_text(&set->values, key, text, sizeof text);
            (void)fputs(text, out);
        }
        (void)fprintf(out, with_origin ? "  # %s\n" : "\n", flx_config_origin_text(set, i));
    }
}

static void help_section(FILE *out, const char *title)
{
    (void)fprintf(out, "\n%s:\n", title);
}

static void help_key(FILE *out, const flx_config_key *key)
{
    (void)fputs("  --", out);
    write_flag(out, key);
    (void)fprintf(out, " %s\n      %s", type_word(key), key->doc);
    if (key->preset[0] != '\0') {
        (void)fprintf(out, " (%s)", key->preset);
    }
    (void)fprintf(out, "\n      environment: %s\n", key->env);
}

void flx_config_write_help(FILE *out)
{
    each_row(help_section, help_key, out);
}

static void markdown_section(FILE *out, const char *title)
{
    (void)fprintf(out,
                  "\n## %s\n\n"
                  "| key | environment | default | takes | reload | meaning |\n"
                  "|---|---|---|---|---|---|\n",
                  title);
}

/* Table cells: | would end one. */
static void write_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        (void)fputs(*text == '|' ? "\\|" : (char[]){*text, '\0'}, out);
    }
}

static void write_range(FILE *out, const flx_config_key *key)
{
    const bool number = key->type == FLX_CONFIG_U32 || key->type == FLX_CONFIG_U64 ||
                        key->type == FLX_CONFIG_SIZE || key->type == FLX_CONFIG_MS ||
                        key->type == FLX_CONFIG_US;
    const char *unit = key->type == FLX_CONFIG_MS     ? " ms"
                       : key->type == FLX_CONFIG_US   ? " us"
                       : key->type == FLX_CONFIG_SIZE ? " bytes"
                                                      : "";
    if (number) {
        (void)fprintf(out, ", %llu to %llu%s", (unsigned long long)key->min,
                      (unsigned long long)key->max, unit);
    }
}

static void markdown_key(FILE *out, const flx_config_key *key)
{
    (void)fprintf(out, "| `%s` | `%s`", key->name, key->env);
    if (key->env_alias != NULL) {
        (void)fprintf(out, " or `%s`", key->env_alias);
    }
    (void)fprintf(out, key->preset[0] != '\0' ? " | `%s` | " : " | unset%s | ", key->preset);
    write_cell(out, type_word(key));
    write_range(out, key);
    (void)fprintf(out, " | %s | ", key->live ? "yes" : "restart");
    write_cell(out, key->doc);
    (void)fputs(" |\n", out);
}

static void write_profiles(FILE *out)
{
    (void)fputs(
        "\n## Profiles\n\n"
        "`profile` names values for keys that nothing else sets; `balanced` is the defaults "
        "above.\n\n"
        "| profile | key | value | default |\n"
        "|---|---|---|---|\n",
        out);
#define WRITE_ROW(PROFILE, field, VALUE)                                                           \
    (void)fprintf(out, "| `%s` | `%s` | `%s` | `%s` |\n", PROFILE, #field, VALUE,                  \
                  flx_config_key_at(FLX_CONFIG_KEY_##field)->preset);
    FLX_CONFIG_PROFILE_TABLE(WRITE_ROW)
#undef WRITE_ROW
}

void flx_config_write_markdown(FILE *out)
{
    (void)fputs(
        "# Configuration\n\n"
        "<!-- Written by tools/docs from src/common/config_keys.h; edit that. -->\n\n"
        "A node reads a YAML file (`--config FILE` or `FELIX_BROKER_CONFIG`), the environment and "
        "its flags. "
        "A flag beats the environment, the environment beats the file, the file beats the profile, "
        "the profile "
        "beats the default. "
        "The flag of a key is its name with dashes: `--quic-bind 127.0.0.1:5000`; a switch needs "
        "no value "
        "and has a `--no-` form.\n\n"
        "- `--check-config` reports everything wrong and ends; exit code 2 when there is "
        "something.\n"
        "- `--print-config` prints the result as YAML that can be loaded again; with `--origin` "
        "each line "
        "says where its value came from. No key holds a secret: secrets are named by files.\n"
        "- An unknown key or flag is an error that names the nearest known one. An unknown "
        "`FELIX_` variable "
        "is a warning, because Kubernetes makes up such names for services.\n"
        "- SIGHUP reads everything again. Keys with reload \"yes\" apply at once, the others are "
        "reported as "
        "needing a restart; when something is wrong the old configuration stays.\n"
        "- Sizes take `KiB`, `MiB`, `GiB`, `TiB`; durations `us`, `ms`, `s`, `m`, `h`, `d`.\n",
        out);
    each_row(markdown_section, markdown_key, out);
    write_profiles(out);
}

static void man_section(FILE *out, const char *title)
{
    (void)fprintf(out, ".SS %s\n", title);
}

static void man_key(FILE *out, const flx_config_key *key)
{
    (void)fputs(".TP\n\\fB\\-\\-", out);
    for (const char *at = key->name; *at != '\0'; at++) {
        (void)fputs(*at == '_' ? "\\-" : (char[]){*at, '\0'}, out);
    }
    (void)fprintf(out, "\\fR \\fI%s\\fR\n%s.", type_word(key), key->doc);
    if (key->preset[0] != '\0') {
        (void)fprintf(out, " Default: %s.", key->preset);
    }
    (void)fprintf(out, " Environment: \\fB%s\\fR.\n", key->env);
}

void flx_config_write_man(FILE *out)
{
    each_row(man_section, man_key, out);
}
