/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/yaml.h - the small, strict part of YAML that configuration needs, flattened to paths.
 *
 *     log:                     ->  "log"            MAP
 *       level: info            ->  "log.level"      SCALAR "info"
 *     addresses: [a:1, b:2]    ->  "addresses"      LIST   "a:1" "b:2"
 *
 * Refused with line and column: anchors, aliases, tags, duplicate keys, a second document, keys that
 * are not plain words, lists of anything but scalars, and whatever passes the limits below. So a
 * file means what it looks like, and nothing in it can blow up.
 *
 * Threads: a parsed document never changes; any thread may read it.
 */
#ifndef FLX_COMMON_YAML_H
#define FLX_COMMON_YAML_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stddef.h>
#include <stdint.h>

#define FLX_YAML_BYTES_MAX   ((size_t)1 << 20) /* of a document */
#define FLX_YAML_DEPTH_MAX   8                 /* maps inside maps */
#define FLX_YAML_ENTRIES_MAX 4096              /* keys and list items */
#define FLX_YAML_PATH_MAX    512               /* bytes of a dotted path */

typedef struct flx_yaml flx_yaml;

typedef enum flx_yaml_kind {
    FLX_YAML_SCALAR,
    FLX_YAML_NULL, /* written as nothing, ~ or null */
    FLX_YAML_LIST,
    FLX_YAML_MAP /* its members follow with longer paths */
} flx_yaml_kind;

/* One key. Everything it points to lives as long as the document. */
typedef struct flx_yaml_entry {
    char *path; /* "contexts.local.tenant" */
    char *text; /* FLX_YAML_SCALAR: its value, no zero byte inside; NULL otherwise */
    char **items;
    size_t item_count;
    flx_yaml_kind kind;
    uint32_t line; /* of the key, from 1 */
    uint32_t column;
} flx_yaml_entry;

/*
 * Parses one document. `name` (copied into messages) is what people know the text by. An empty
 * document has no entries.
 *
 * FLX_ERR_INVALID    "felix.yaml:3:7: ..."
 * FLX_ERR_TOO_LARGE  a limit above
 * FLX_ERR_NOMEM
 */
flx_status flx_yaml_parse(flx_slice text, const char *name, flx_yaml **ret_yaml, flx_error *reterr);

/* Reads and parses a file. FLX_ERR_NOT_FOUND: there is none; FLX_ERR_IO: it cannot be read. */
flx_status flx_yaml_read(const char *path, flx_yaml **ret_yaml, flx_error *reterr);

/* Also all entries. NULL is fine. Always returns NULL. */
flx_yaml *flx_yaml_free(flx_yaml *yaml);

/* The entries in the order of the document. */
size_t flx_yaml_count(const flx_yaml *yaml);
const flx_yaml_entry *flx_yaml_at(const flx_yaml *yaml, size_t index);
/* NULL when there is none. */
const flx_yaml_entry *flx_yaml_find(const flx_yaml *yaml, const char *path);
/* What the document was read as, for messages. */
const char *flx_yaml_name(const flx_yaml *yaml);

#endif /* FLX_COMMON_YAML_H */
