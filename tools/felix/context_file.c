/* SPDX-License-Identifier: Apache-2.0 */
/* context_file.c - reading and writing the file of contexts. */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/yaml.h"
#include "context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- reading --- */

static flx_status bad_entry(const flx_yaml *yaml, const flx_yaml_entry *entry, const char *what,
                            flx_error *reterr)
{
    return flx_fail(reterr, FLX_ERR_INVALID, "%.100s:%u:%u: '%.60s' %s", flx_yaml_name(yaml),
                    entry->line, entry->column, entry->path, what);
}

/* A text, or a list joined with commas, into a value of a context. */
static flx_status take_value(const flx_yaml *yaml, const flx_yaml_entry *entry, char *value,
                             flx_error *reterr)
{
    size_t len = 0;
    if (entry->kind == FLX_YAML_NULL) {
        return FLX_OK;
    }
    if (entry->kind == FLX_YAML_MAP) {
        return bad_entry(yaml, entry, "takes a value, not a map", reterr);
    }
    const size_t count = entry->kind == FLX_YAML_LIST ? entry->item_count : 1;
    for (size_t i = 0; i < count; i++) {
        const char *item = entry->kind == FLX_YAML_LIST ? entry->items[i] : entry->text;
        const int wrote =
            snprintf(value + len, CLI_VALUE_MAX - len, "%s%s", i > 0 ? "," : "", item);
        if (wrote < 0 || (size_t)wrote >= CLI_VALUE_MAX - len) {
            return bad_entry(yaml, entry, "is too long", reterr);
        }
        len += (size_t)wrote;
    }
    return FLX_OK;
}

static flx_status take_member(const flx_yaml *yaml, const flx_yaml_entry *entry, const char *member,
                              cli_context *context, flx_error *reterr)
{
    for (size_t i = 0; i < CLI_CONTEXT_FIELDS; i++) {
        if (strcmp(member, cli_context_fields[i].name) == 0) {
            return take_value(yaml, entry, cli_context_value(context, &cli_context_fields[i]),
                              reterr);
        }
    }
    if (strcmp(member, "dev") != 0) {
        return bad_entry(yaml, entry, "is unknown; 'felix help context' names what a context has",
                         reterr);
    }
    if (entry->kind != FLX_YAML_SCALAR ||
        (strcmp(entry->text, "true") != 0 && strcmp(entry->text, "false") != 0)) {
        return bad_entry(yaml, entry, "must be true or false", reterr);
    }
    context->dev = strcmp(entry->text, "true") == 0;
    return FLX_OK;
}

/* Entries come in the order of the file: "contexts.NAME" opens one, its members follow. */
static flx_status take_entry(const flx_yaml *yaml, const flx_yaml_entry *entry,
                             cli_contexts *contexts, flx_error *reterr)
{
    static const char prefix[] = "contexts.";
    if (strcmp(entry->path, "contexts") == 0) {
        return entry->kind == FLX_YAML_MAP || entry->kind == FLX_YAML_NULL
                   ? FLX_OK
                   : bad_entry(yaml, entry, "must be a map of contexts", reterr);
    }
    if (strcmp(entry->path, "current") == 0) {
        if (entry->kind == FLX_YAML_NULL) {
            return FLX_OK;
        }
        if (entry->kind != FLX_YAML_SCALAR || !cli_context_name_is_valid(entry->text)) {
            return bad_entry(yaml, entry, "must be the name of a context", reterr);
        }
        (void)snprintf(contexts->current, sizeof contexts->current, "%s", entry->text);
        return FLX_OK;
    }
    if (strncmp(entry->path, prefix, sizeof prefix - 1) != 0) {
        return bad_entry(yaml, entry, "is unknown; the file has 'current' and 'contexts'", reterr);
    }
    const char *name = entry->path + sizeof prefix - 1;
    const char *dot = strchr(name, '.');
    if (dot == NULL) {
        cli_context context = {0};
        if (entry->kind != FLX_YAML_MAP) {
            return bad_entry(yaml, entry, "must be a map", reterr);
        }
        if (strlen(name) > CLI_CONTEXT_MAX) {
            return bad_entry(yaml, entry, "has too long a name", reterr);
        }
        (void)snprintf(context.name, sizeof context.name, "%s", name);
        return cli_contexts_put(contexts, &context, reterr);
    }
    FLX_ASSERT(contexts->count > 0); /* the map around it came first */
    return take_member(yaml, entry, dot + 1, &contexts->items[contexts->count - 1], reterr);
}

flx_status cli_contexts_load(const char *path, cli_contexts *ret_contexts, flx_error *reterr)
{
    flx_yaml *yaml = NULL;
    memset(ret_contexts, 0, sizeof *ret_contexts);
    flx_status status = flx_yaml_read(path, &yaml, reterr);
    if (status == FLX_ERR_NOT_FOUND) {
        return FLX_OK;
    }
    for (size_t i = 0; status == FLX_OK && i < flx_yaml_count(yaml); i++) {
        status = take_entry(yaml, flx_yaml_at(yaml, i), ret_contexts, reterr);
    }
    (void)flx_yaml_free(yaml);
    if (status != FLX_OK) {
        cli_contexts_done(ret_contexts);
    }
    return status;
}

/* --- writing --- */

static void write_quoted(FILE *file, const char *text, size_t len)
{
    (void)fputc('"', file);
    for (size_t i = 0; i < len; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7f) {
            (void)fprintf(file, "\\x%02x", byte);
            continue;
        }
        if (byte == '"' || byte == '\\') {
            (void)fputc('\\', file);
        }
        (void)fputc(byte, file);
    }
    (void)fputc('"', file);
}

static void write_list(FILE *file, const char *text)
{
    (void)fputc('[', file);
    for (const char *at = text; *at != '\0';) {
        const size_t len = strcspn(at, ",");
        write_quoted(file, at, len);
        at += len + (at[len] == ',');
        (void)fputs(*at != '\0' ? ", " : "", file);
    }
    (void)fputc(']', file);
}

static void write_context(FILE *file, const cli_context *context)
{
    (void)fprintf(file, "  %s:\n", context->name);
    for (size_t i = 0; i < CLI_CONTEXT_FIELDS; i++) {
        const char *value = cli_context_value_const(context, &cli_context_fields[i]);
        if (value[0] == '\0') {
            continue;
        }
        (void)fprintf(file, "    %s: ", cli_context_fields[i].name);
        if (i == 0) {
            write_list(file, value); /* addresses */
        } else {
            write_quoted(file, value, strlen(value));
        }
        (void)fputc('\n', file);
    }
    (void)fprintf(file, "    dev: %s\n", context->dev ? "true" : "false");
}

static void write_all(FILE *file, const cli_contexts *contexts)
{
    (void)fputs("# Contexts of the felix command; 'felix context' writes this file.\n", file);
    if (contexts->current[0] != '\0') {
        (void)fprintf(file, "current: %s\n", contexts->current);
    }
    (void)fputs(contexts->count > 0 ? "contexts:\n" : "contexts: {}\n", file);
    for (size_t i = 0; i < contexts->count; i++) {
        write_context(file, &contexts->items[i]);
    }
}

/* Makes the directories a path lies in, as mkdir -p. */
static flx_status make_parents(const char *path, flx_error *reterr)
{
    char dir[CLI_VALUE_MAX];
    (void)snprintf(dir, sizeof dir, "%s", path);
    for (char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
            return flx_fail_errno(reterr, errno, "make directory '%s'", dir);
        }
        *slash = '/';
    }
    return FLX_OK;
}

static flx_status write_new(int fd, const char *path, const cli_contexts *contexts,
                            flx_error *reterr)
{
    FILE *file = fdopen(fd, "w");
    if (file == NULL) {
        const int why = errno;
        (void)close(fd);
        return flx_fail_errno(reterr, why, "write '%s'", path);
    }
    write_all(file, contexts);
    const bool written = fflush(file) == 0 && ferror(file) == 0 && fsync(fd) == 0;
    const int why = errno;
    if (fclose(file) != 0 || !written) {
        return flx_fail_errno(reterr, why, "write '%s'", path);
    }
    return FLX_OK;
}

flx_status cli_contexts_save(const char *path, const cli_contexts *contexts, flx_error *reterr)
{
    char temporary[CLI_VALUE_MAX + 8];
    flx_status status = make_parents(path, reterr);
    if (status != FLX_OK) {
        return status;
    }
    (void)snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    const int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "write beside '%s'", path);
    }
    status = write_new(fd, temporary, contexts, reterr);
    if (status == FLX_OK && rename(temporary, path) != 0) {
        status = flx_fail_errno(reterr, errno, "replace '%s'", path);
    }
    if (status != FLX_OK) {
        (void)unlink(temporary);
    }
    return status;
}
