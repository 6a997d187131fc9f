/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata/entry.h - a tenant, namespace, stream or cache as one value, and its JSON form.
 *
 * The four kinds share the store's operations and the REST routes, so they travel as one tagged
 * struct. The JSON form is that of docs/spec/control-plane.md 3: what REST answers, what the change
 * feeds carry and what the store's change log keeps.
 */
#ifndef FLX_METADATA_ENTRY_H
#define FLX_METADATA_ENTRY_H

#include "metadata/catalog.h"
#include "metadata/rules.h"

#include <felix/slice.h>
#include <felix/status.h>

#include <jansson.h>
#include <stdbool.h>

#define FLX_DISPLAY_NAME_MAX 128 /* bytes */

typedef enum flx_kind {
    FLX_KIND_TENANT = 0,
    FLX_KIND_NAMESPACE = 1,
    FLX_KIND_STREAM = 2,
    FLX_KIND_CACHE = 3,
    FLX_KIND_COUNT
} flx_kind;

/* Names one entry, or a place to list: parts a kind does not have are empty. */
typedef struct flx_key {
    flx_slice tenant;
    flx_slice namespace_;
    flx_slice name; /* of a stream or cache */
} flx_key;

typedef struct flx_tenant_info {
    char tenant[FLX_NAME_MAX + 1];
    char display_name[FLX_DISPLAY_NAME_MAX + 1];
} flx_tenant_info;

typedef struct flx_namespace_info {
    char tenant[FLX_NAME_MAX + 1];
    char namespace_[FLX_NAME_MAX + 1];
    char display_name[FLX_DISPLAY_NAME_MAX + 1];
} flx_namespace_info;

typedef struct flx_entry {
    flx_kind kind;
    union {
        flx_tenant_info tenant;
        flx_namespace_info namespace_;
        flx_stream_info stream;
        flx_cache_info cache;
    };
} flx_entry;

const char *flx_kind_name(flx_kind kind); /* "tenant", "namespace", "stream", "cache" */

/* The key of an entry; borrows it. */
flx_key flx_entry_key(const flx_entry *entry);
/* FLX_ERR_INVALID "field: ..." unless every part the kind has is a name. */
flx_status flx_key_check(flx_kind kind, const flx_key *key, flx_error *reterr);
/* "t/n/s" for messages, cut to `size`. Returns `text`. */
const char *flx_key_text(const flx_key *key, char *text, size_t size);

/* Whether every member is the same; ids, which the store gives, do not count. */
bool flx_entry_equal(const flx_entry *a, const flx_entry *b);
/* As flx_stream_info_check and flx_cache_info_check, for all four kinds. */
flx_status flx_entry_check(const flx_entry *entry, const flx_abilities *abilities,
                           flx_error *reterr);

/* The members of REST; NULL when memory is out. The caller owns it (json_decref). */
json_t *flx_entry_to_json(const flx_entry *entry);
/* The key as the feeds spell it: an object, for a tenant its id as a string. */
json_t *flx_key_to_json(flx_kind kind, const flx_key *key);

/*
 * Reads the body of a create (TenantCreate, StreamCreate, ...) for the place `where` (its tenant
 * and namespace come from the path of the request; the name is in the body). Members left out take
 * their defaults; the result is checked against `abilities`.
 */
flx_status flx_entry_from_json(flx_kind kind, const flx_key *where, const json_t *body,
                               const flx_abilities *abilities, flx_entry *ret_entry,
                               flx_error *reterr);

/*
 * Applies the body of a patch to `entry` (in place on success only) and checks the result. What is
 * fixed when an entry is created may be named when it says the same: "shards: is fixed at create".
 * A retention bound that is null is lifted.
 */
flx_status flx_entry_patch_json(flx_entry *entry, const json_t *body,
                                const flx_abilities *abilities, flx_error *reterr);

#endif /* FLX_METADATA_ENTRY_H */
