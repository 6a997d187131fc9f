/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - words to flags and positionals, with the nearest known word when one is unknown. */
#include "args.h"

#include "common/assert.h"
#include "common/error.h"
#include "common/nearest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const cli_flag *find_in(const cli_flag *flags, const char *name, size_t len)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        if (strncmp(flags->name, name, len) == 0 && flags->name[len] == '\0') {
            return flags;
        }
    }
    return NULL;
}

static const cli_flag *find_flag(const cli_command *command, const char *name, size_t len)
{
    const cli_flag *flag = command != NULL ? find_in(command->flags, name, len) : NULL;
    return flag != NULL ? flag : find_in(cli_global_flags, name, len);
}

static const cli_flag *find_letter(const cli_command *command, char letter)
{
    const cli_flag *const lists[2] = {command != NULL ? command->flags : NULL, cli_global_flags};
    for (size_t i = 0; i < 2; i++) {
        for (const cli_flag *flag = lists[i]; flag != NULL && flag->name != NULL; flag++) {
            if (flag->letter == letter) {
                return flag;
            }
        }
    }
    return NULL;
}

static flx_status unknown_flag(const cli_command *command, const char *word, size_t len,
                               flx_error *reterr)
{
    const char *best = NULL;
    unsigned distance = ~0u;
    char name[64];
    char spelled[64] = "";
    (void)snprintf(name, sizeof name, "%.*s", (int)(len < 60 ? len : 60), word);
    const cli_flag *const lists[2] = {command != NULL ? command->flags : NULL, cli_global_flags};
    for (size_t i = 0; i < 2; i++) {
        for (const cli_flag *flag = lists[i]; flag != NULL && flag->name != NULL; flag++) {
            flx_nearest_offer(name, flag->name, &best, &distance);
        }
    }
    const char *of = command != NULL ? cli_command_name(command, spelled, sizeof spelled) : "felix";
    if (best == NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%s' has no flag '--%s'", of, name);
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "'%s' has no flag '--%s', did you mean '--%s'?", of,
                    name, best);
}

const char *cli_nearest_word(const char *noun, const char *word)
{
    const char *best = NULL;
    unsigned distance = ~0u;
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        const bool same = noun == NULL ? command->noun == NULL
                                       : command->noun != NULL && strcmp(command->noun, noun) == 0;
        if (same && !command->hidden) {
            flx_nearest_offer(word, command->verb, &best, &distance);
        }
    }
    for (const cli_noun *row = cli_nouns; noun == NULL && row->noun != NULL; row++) {
        flx_nearest_offer(word, row->noun, &best, &distance);
    }
    return best;
}

static flx_status unknown_word(const char *noun, const char *word, flx_error *reterr)
{
    const char *best = cli_nearest_word(noun, word);
    return flx_fail(reterr, FLX_ERR_INVALID, "unknown %s '%.60s'%s%s%s%s%s",
                    noun != NULL ? "verb" : "command", word, noun != NULL ? " of " : "",
                    noun != NULL ? noun : "", best != NULL ? ", did you mean '" : "",
                    best != NULL ? best : "", best != NULL ? "'?" : "");
}

static flx_status give(cli_args *args, const cli_flag *flag, const char *value, flx_error *reterr)
{
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].flag == flag) {
            args->given[i].value = value;
            return FLX_OK;
        }
    }
    if (args->given_count == CLI_FLAGS_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "too many flags");
    }
    args->given[args->given_count].flag = flag;
    args->given[args->given_count].value = value;
    args->given_count++;
    return FLX_OK;
}

/* Whether `value` is one of the flag's choices; free-form values ("OFFSET") end the list. */
static flx_status check_choice(const cli_flag *flag, const char *value, flx_error *reterr)
{
    const size_t value_len = strlen(value);
    const char *best = NULL;
    unsigned distance = ~0u;
    static _Thread_local char words[8][24];
    size_t count = 0;
    if (strchr(flag->value, '|') == NULL) {
        return FLX_OK;
    }
    for (const char *at = flag->value; *at != '\0';) {
        const size_t len = strcspn(at, "|");
        if (*at < 'a' || *at > 'z') {
            return FLX_OK;
        }
        if (len == value_len && memcmp(at, value, len) == 0) {
            return FLX_OK;
        }
        if (count < 8) {
            (void)snprintf(words[count], sizeof words[count], "%.*s", (int)len, at);
            flx_nearest_offer(value, words[count], &best, &distance);
            count++;
        }
        at += len + (at[len] == '|');
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "--%s takes %s, not '%.40s'%s%s%s", flag->name,
                    flag->value, value, best != NULL ? ", did you mean '" : "",
                    best != NULL ? best : "", best != NULL ? "'?" : "");
}

static flx_status take_value(cli_args *args, const cli_flag *flag, const char *inline_value,
                             const char *next, int *ret_used, flx_error *reterr)
{
    if (flag->value == NULL) {
        *ret_used = 1;
        if (inline_value != NULL) {
            return flx_fail(reterr, FLX_ERR_INVALID, "--%s takes no value", flag->name);
        }
        return give(args, flag, "true", reterr);
    }
    *ret_used = inline_value != NULL ? 1 : 2;
    const char *value = inline_value != NULL ? inline_value : next;
    if (value == NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID, "--%s needs a value: %s", flag->name, flag->value);
    }
    const flx_status status = check_choice(flag, value, reterr);
    return status == FLX_OK ? give(args, flag, value, reterr) : status;
}

static flx_status take_flag(cli_args *args, const char *word, const char *next, int *ret_used,
                            flx_error *reterr)
{
    if (word[1] != '-') {
        const cli_flag *flag = find_letter(args->command, word[1]);
        if (flag == NULL) {
            return flx_fail(reterr, FLX_ERR_INVALID, "unknown flag '%.40s'", word);
        }
        const char *rest = word[2] == '\0' ? NULL : word + 2 + (word[2] == '=');
        return take_value(args, flag, rest, next, ret_used, reterr);
    }
    const char *name = word + 2;
    const size_t len = strcspn(name, "=");
    const cli_flag *flag = find_flag(args->command, name, len);
    if (flag == NULL) {
        return unknown_flag(args->command, name, len, reterr);
    }
    return take_value(args, flag, name[len] == '=' ? name + len + 1 : NULL, next, ret_used, reterr);
}

/* The command's words may have global flags before and between them. */
static flx_status take_word(cli_args *args, const char **noun, const char *word, flx_error *reterr)
{
    if (args->command == NULL && *noun == NULL) {
        const cli_noun *found = cli_noun_find(word);
        if (found != NULL) {
            *noun = found->noun;
            args->only_noun = found;
            return FLX_OK;
        }
        args->command = cli_command_find(NULL, cli_verb_canonical(word));
        return args->command != NULL ? FLX_OK : unknown_word(NULL, word, reterr);
    }
    if (args->command == NULL) {
        args->command = cli_command_find(*noun, word);
        if (args->command == NULL) {
            args->command = cli_command_find(*noun, cli_verb_canonical(word));
        }
        return args->command != NULL ? FLX_OK : unknown_word(*noun, word, reterr);
    }
    if (args->positional_count == CLI_POSITIONALS_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "too many arguments");
    }
    args->positionals[args->positional_count++] = word;
    return FLX_OK;
}

static flx_status check_arity(const cli_args *args, flx_error *reterr)
{
    size_t min = 0;
    size_t max = 0;
    char name[64];
    if (args->command == NULL || args->help || args->command->raw_args) {
        return FLX_OK;
    }
    cli_command_arity(args->command, &min, &max);
    if (args->positional_count < min) {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%s' needs %s",
                        cli_command_name(args->command, name, sizeof name), args->command->args);
    }
    if (args->positional_count > max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%s' has no place for '%.60s'; it takes %s",
                        cli_command_name(args->command, name, sizeof name), args->positionals[max],
                        args->command->args[0] != '\0' ? args->command->args : "no argument");
    }
    return FLX_OK;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

flx_status cli_args_parse(int argc, char *const *argv, cli_args *ret_args, flx_error *reterr)
{
    const char *noun = NULL;
    bool flags_end = false;
    flx_status status = FLX_OK;
    memset(ret_args, 0, sizeof *ret_args);
    for (int i = 0; i < argc && status == FLX_OK;) {
        const char *word = argv[i];
        int used = 1;
        if (!flags_end && strcmp(word, "--") == 0) {
            flags_end = true;
        } else if (!flags_end && is_help(word)) {
            ret_args->help = true;
        } else if (!flags_end && word[0] == '-' && word[1] != '\0') {
            status = take_flag(ret_args, word, i + 1 < argc ? argv[i + 1] : NULL, &used, reterr);
        } else {
            status = take_word(ret_args, &noun, word, reterr);
        }
        i += used;
        if (status == FLX_OK && ret_args->command != NULL && ret_args->command->raw_args) {
            ret_args->raw = argv + i;
            ret_args->raw_count = argc - i;
            for (int j = i; j < argc; j++) {
                ret_args->help = ret_args->help || is_help(argv[j]);
            }
            break;
        }
    }
    if (ret_args->command != NULL) {
        ret_args->only_noun = NULL;
    }
    return status == FLX_OK ? check_arity(ret_args, reterr) : status;
}

const char *cli_args_flag(const cli_args *args, const char *name)
{
    const cli_flag *flag = find_flag(args->command, name, strlen(name));
    FLX_ASSERT(flag != NULL);
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].flag == flag) {
            return args->given[i].value;
        }
    }
    return flag->preset;
}

bool cli_args_has(const cli_args *args, const char *name)
{
    const cli_flag *flag = find_flag(args->command, name, strlen(name));
    FLX_ASSERT(flag != NULL);
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].flag == flag) {
            return true;
        }
    }
    return false;
}

const char *cli_args_at(const cli_args *args, size_t index)
{
    return index < args->positional_count ? args->positionals[index] : NULL;
}
