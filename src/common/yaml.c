/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/yaml.c - libyaml's events, one after the other, into a flat list of paths.
 *
 * The recursion goes as deep as the maps, which FLX_YAML_DEPTH_MAX bounds before libyaml's own
 * structures can grow; nothing of the document is looked at before its size was. libyaml allocates
 * with malloc; what we keep comes from common/alloc.
 */
#include "common/yaml.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct flx_yaml {
    char *name;
    flx_yaml_entry *entries;
    size_t count;
    size_t cap;
    size_t total; /* keys and items, for the bound */
};

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one, when has_event */
    bool has_event;
    flx_yaml *yaml;
    char path[FLX_YAML_PATH_MAX];
    size_t path_len;
    flx_error *reterr;
} reader;

static flx_status fail_at(const reader *in, flx_status status, yaml_mark_t mark, const char *what)
{
    return flx_fail(in->reterr, status, "%s:%zu:%zu: %s", in->yaml->name, mark.line + 1,
                    mark.column + 1, what);
}

static flx_status fail_here(const reader *in, const char *what)
{
    return fail_at(in, FLX_ERR_INVALID, in->event.start_mark, what);
}

/* Takes the next event. What no document of ours may contain is refused here, in one place. */
static flx_status next_event(reader *in)
{
    if (in->has_event) {
        yaml_event_delete(&in->event);
        in->has_event = false;
    }
    if (yaml_parser_parse(&in->parser, &in->event) == 0) {
        if (in->parser.error == YAML_MEMORY_ERROR) {
            return flx_fail(in->reterr, FLX_ERR_NOMEM, "%s: out of memory", in->yaml->name);
        }
        char what[160];
        const char *problem = in->parser.problem != NULL ? in->parser.problem : "not YAML";
        (void)snprintf(what, sizeof what, "%s", problem);
        return fail_at(in, FLX_ERR_INVALID, in->parser.problem_mark, what);
    }
    in->has_event = true;
    switch (in->event.type) {
    case YAML_ALIAS_EVENT:
        return fail_here(in, "aliases (*name) are not accepted; write the value out");
    case YAML_SCALAR_EVENT:
        if (in->event.data.scalar.anchor != NULL) {
            return fail_here(in, "anchors (&name) are not accepted");
        }
        return in->event.data.scalar.tag != NULL ? fail_here(in, "tags (!name) are not accepted")
                                                 : FLX_OK;
    case YAML_MAPPING_START_EVENT:
        if (in->event.data.mapping_start.anchor != NULL) {
            return fail_here(in, "anchors (&name) are not accepted");
        }
        return in->event.data.mapping_start.tag != NULL
                   ? fail_here(in, "tags (!name) are not accepted")
                   : FLX_OK;
    case YAML_SEQUENCE_START_EVENT:
        if (in->event.data.sequence_start.anchor != NULL) {
            return fail_here(in, "anchors (&name) are not accepted");
        }
        return in->event.data.sequence_start.tag != NULL
                   ? fail_here(in, "tags (!name) are not accepted")
                   : FLX_OK;
    default:
        return FLX_OK;
    }
}

static bool scalar_is_text(const yaml_event_t *event)
{
    return strlen((const char *)event->data.scalar.value) == event->data.scalar.length;
}

static bool scalar_is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static flx_status count_one(reader *in)
{
    if (++in->yaml->total > FLX_YAML_ENTRIES_MAX) {
        return fail_at(in, FLX_ERR_TOO_LARGE, in->event.start_mark, "too many keys");
    }
    return FLX_OK;
}

/* Makes the entry of the key at in->path. *ret_index, not a pointer: the array may move. */
static flx_status add_entry(reader *in, yaml_mark_t mark, size_t *ret_index)
{
    flx_yaml *yaml = in->yaml;
    const flx_status status = count_one(in);
    if (status != FLX_OK) {
        return status;
    }
    if (yaml->count == yaml->cap) {
        const size_t cap = yaml->cap == 0 ? 16 : yaml->cap * 2;
        flx_yaml_entry *grown = flx_realloc(yaml->entries, cap * sizeof *grown);
        if (grown == NULL) {
            return flx_fail(in->reterr, FLX_ERR_NOMEM, "%s: out of memory", yaml->name);
        }
        yaml->entries = grown;
        yaml->cap = cap;
    }
    flx_yaml_entry *entry = &yaml->entries[yaml->count];
    memset(entry, 0, sizeof *entry);
    entry->path = flx_strdup(in->path);
    if (entry->path == NULL) {
        return flx_fail(in->reterr, FLX_ERR_NOMEM, "%s: out of memory", yaml->name);
    }
    entry->line = (uint32_t)mark.line + 1;
    entry->column = (uint32_t)mark.column + 1;
    *ret_index = yaml->count++;
    return FLX_OK;
}

static bool is_key_letter(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || letter == '_' || letter == '-';
}

/* Appends the key to in->path. Keys are plain words, so a dotted path can mean one thing only. */
static flx_status push_key(reader *in)
{
    const char *key = (const char *)in->event.data.scalar.value;
    const size_t len = in->event.data.scalar.length;
    if (len == 0) {
        return fail_here(in, "a key is empty");
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_key_letter(key[i])) {
            return fail_here(in, "a key is made of letters, digits, _ and -; nest maps instead of "
                                 "writing dots");
        }
    }
    if (in->path_len + len + 2 > sizeof in->path) {
        return fail_at(in, FLX_ERR_TOO_LARGE, in->event.start_mark, "the key is too long");
    }
    if (in->path_len > 0) {
        in->path[in->path_len++] = '.';
    }
    memcpy(in->path + in->path_len, key, len);
    in->path_len += len;
    in->path[in->path_len] = '\0';
    return FLX_OK;
}

static flx_status refuse_duplicate(const reader *in)
{
    const flx_yaml_entry *first = flx_yaml_find(in->yaml, in->path);
    if (first == NULL) {
        return FLX_OK;
    }
    char what[160];
    (void)snprintf(what, sizeof what, "'%.80s' was already given in line %u", in->path,
                   first->line);
    return fail_here(in, what);
}

static flx_status read_item(reader *in, size_t index)
{
    if (in->event.type != YAML_SCALAR_EVENT || !scalar_is_text(&in->event)) {
        return fail_here(in, "a list may hold plain values only");
    }
    const flx_status status = count_one(in);
    if (status != FLX_OK) {
        return status;
    }
    flx_yaml_entry *entry = &in->yaml->entries[index];
    char **grown = flx_realloc(entry->items, (entry->item_count + 1) * sizeof *grown);
    if (grown != NULL) {
        entry->items = grown;
        grown[entry->item_count] = flx_strdup((const char *)in->event.data.scalar.value);
    }
    if (grown == NULL || grown[entry->item_count] == NULL) {
        return flx_fail(in->reterr, FLX_ERR_NOMEM, "%s: out of memory", in->yaml->name);
    }
    entry->item_count++;
    return FLX_OK;
}

static flx_status read_list(reader *in, size_t index)
{
    in->yaml->entries[index].kind = FLX_YAML_LIST;
    for (;;) {
        flx_status status = next_event(in);
        if (status != FLX_OK || in->event.type == YAML_SEQUENCE_END_EVENT) {
            return status;
        }
        status = read_item(in, index);
        if (status != FLX_OK) {
            return status;
        }
    }
}

static flx_status read_scalar(reader *in, size_t index)
{
    flx_yaml_entry *entry = &in->yaml->entries[index];
    if (!scalar_is_text(&in->event)) {
        return fail_here(in, "a value may not hold a zero byte");
    }
    if (scalar_is_null(&in->event)) {
        entry->kind = FLX_YAML_NULL;
        return FLX_OK;
    }
    entry->kind = FLX_YAML_SCALAR;
    entry->text = flx_strdup((const char *)in->event.data.scalar.value);
    return entry->text != NULL
               ? FLX_OK
               : flx_fail(in->reterr, FLX_ERR_NOMEM, "%s: out of memory", in->yaml->name);
}

static flx_status read_map(reader *in, unsigned depth);

/* One "key: value"; the key is the current event. */
static flx_status read_member(reader *in, unsigned depth)
{
    if (in->event.type != YAML_SCALAR_EVENT) {
        return fail_here(in, "a key must be a plain word");
    }
    const size_t parent_len = in->path_len;
    const yaml_mark_t mark = in->event.start_mark;
    size_t index = 0;
    flx_status status = push_key(in);
    if (status == FLX_OK) {
        status = refuse_duplicate(in);
    }
    if (status == FLX_OK) {
        status = add_entry(in, mark, &index);
    }
    if (status == FLX_OK) {
        status = next_event(in);
    }
    if (status != FLX_OK) {
        return status;
    }
    switch (in->event.type) {
    case YAML_SCALAR_EVENT:
        status = read_scalar(in, index);
        break;
    case YAML_SEQUENCE_START_EVENT:
        status = read_list(in, index);
        break;
    case YAML_MAPPING_START_EVENT:
        in->yaml->entries[index].kind = FLX_YAML_MAP;
        status = read_map(in, depth + 1);
        break;
    default:
        status = fail_here(in, "a value is missing");
        break;
    }
    in->path_len = parent_len;
    in->path[parent_len] = '\0';
    return status;
}

static flx_status read_map(reader *in, unsigned depth)
{
    if (depth > FLX_YAML_DEPTH_MAX) {
        return fail_at(in, FLX_ERR_TOO_LARGE, in->event.start_mark, "maps are nested too deeply");
    }
    for (;;) {
        flx_status status = next_event(in);
        if (status != FLX_OK || in->event.type == YAML_MAPPING_END_EVENT) {
            return status;
        }
        status = read_member(in, depth);
        if (status != FLX_OK) {
            return status;
        }
    }
}

/* The document's content is a map, or nothing. */
static flx_status read_root(reader *in)
{
    flx_status status = next_event(in);
    if (status != FLX_OK) {
        return status;
    }
    if (in->event.type == YAML_MAPPING_START_EVENT) {
        status = read_map(in, 1);
    } else if (in->event.type != YAML_SCALAR_EVENT || !scalar_is_null(&in->event)) {
        status = fail_here(in, "expected 'key: value' lines");
    }
    return status == FLX_OK ? next_event(in) : status; /* the end of the document */
}

static flx_status read_stream(reader *in)
{
    flx_status status = next_event(in); /* the start of the stream */
    if (status == FLX_OK) {
        status = next_event(in);
    }
    if (status != FLX_OK || in->event.type == YAML_STREAM_END_EVENT) {
        return status;
    }
    status = read_root(in);
    if (status == FLX_OK) {
        status = next_event(in);
    }
    if (status == FLX_OK && in->event.type != YAML_STREAM_END_EVENT) {
        status = fail_here(in, "a second document starts here; one is accepted");
    }
    return status;
}

static flx_status parse_into(flx_yaml *yaml, flx_slice text, flx_error *reterr)
{
    reader in;
    memset(&in, 0, sizeof in);
    in.yaml = yaml;
    in.reterr = reterr;
    if (yaml_parser_initialize(&in.parser) == 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "%s: out of memory", yaml->name);
    }
    static const uint8_t nothing[1] = {0};
    yaml_parser_set_encoding(&in.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&in.parser, text.len > 0 ? text.ptr : nothing, text.len);
    const flx_status status = read_stream(&in);
    if (in.has_event) {
        yaml_event_delete(&in.event);
    }
    yaml_parser_delete(&in.parser);
    return status;
}

flx_status flx_yaml_parse(flx_slice text, const char *name, flx_yaml **ret_yaml, flx_error *reterr)
{
    FLX_ASSERT(name != NULL && ret_yaml != NULL);
    if (text.len > FLX_YAML_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "%s: larger than %zu KiB", name,
                        FLX_YAML_BYTES_MAX / 1024);
    }
    flx_yaml *yaml = flx_calloc(1, sizeof *yaml);
    if (yaml == NULL || (yaml->name = flx_strdup(name)) == NULL) {
        (void)flx_yaml_free(yaml);
        return flx_fail(reterr, FLX_ERR_NOMEM, "%s: out of memory", name);
    }
    const flx_status status = parse_into(yaml, text, reterr);
    if (status != FLX_OK) {
        (void)flx_yaml_free(yaml);
        return status;
    }
    *ret_yaml = yaml;
    return FLX_OK;
}

flx_status flx_yaml_read(const char *path, flx_yaml **ret_yaml, flx_error *reterr)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        const int why = errno;
        (void)flx_fail_errno(reterr, why, "open '%s'", path);
        if (why == ENOENT && reterr != NULL) {
            reterr->status = FLX_ERR_NOT_FOUND;
        }
        return why == ENOENT ? FLX_ERR_NOT_FOUND : FLX_ERR_IO;
    }
    flx_status status = FLX_OK;
    uint8_t *bytes = flx_alloc(FLX_YAML_BYTES_MAX + 1);
    if (bytes == NULL) {
        status = flx_fail(reterr, FLX_ERR_NOMEM, "read '%s': out of memory", path);
        goto close_file;
    }
    /* One byte more than allowed, so that flx_yaml_parse sees what is too large. */
    const size_t len = fread(bytes, 1, FLX_YAML_BYTES_MAX + 1, file);
    if (ferror(file) != 0) {
        status = flx_fail_errno(reterr, errno, "read '%s'", path);
    } else {
        status = flx_yaml_parse((flx_slice){bytes, len}, path, ret_yaml, reterr);
    }
    flx_free(bytes);
close_file:
    (void)fclose(file);
    return status;
}

flx_yaml *flx_yaml_free(flx_yaml *yaml)
{
    if (yaml == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < yaml->count; i++) {
        flx_yaml_entry *entry = &yaml->entries[i];
        for (size_t j = 0; j < entry->item_count; j++) {
            flx_free(entry->items[j]);
        }
        flx_free(entry->items);
        flx_free(entry->path);
        flx_free(entry->text);
    }
    flx_free(yaml->entries);
    flx_free(yaml->name);
    flx_free(yaml);
    return NULL;
}

size_t flx_yaml_count(const flx_yaml *yaml)
{
    return yaml->count;
}

const flx_yaml_entry *flx_yaml_at(const flx_yaml *yaml, size_t index)
{
    FLX_ASSERT(index < yaml->count);
    return &yaml->entries[index];
}

const flx_yaml_entry *flx_yaml_find(const flx_yaml *yaml, const char *path)
{
    for (size_t i = 0; i < yaml->count; i++) {
        if (strcmp(yaml->entries[i].path, path) == 0) {
            return &yaml->entries[i];
        }
    }
    return NULL;
}

const char *flx_yaml_name(const flx_yaml *yaml)
{
    return yaml->name;
}
