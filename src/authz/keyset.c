/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/keyset.c - public keys by tenant.
 *
 * A keyset is a sorted array of counted groups, one a tenant, and perhaps one for every tenant.
 * Replacing a tenant's keys makes a new array that shares the other groups: readers of the old
 * set are never disturbed, and a change costs one pointer a tenant.
 */
#include "authz/keyset_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "crypto/jwks.h"

#include <stdatomic.h>
#include <string.h>

/* The keys of one tenant. Does not change once made. */
typedef struct key_group {
    _Atomic uint32_t refs;
    char *tenant; /* NULL: of every tenant */
    size_t tenant_len;
    flx_jwks jwks;
} key_group;

struct flx_keyset {
    _Atomic uint32_t refs;
    key_group *every;   /* NULL: none */
    size_t group_count; /* of one tenant each, sorted by tenant */
    key_group *groups[];
};

static key_group *group_unref(key_group *group)
{
    if (group != NULL && atomic_fetch_sub_explicit(&group->refs, 1, memory_order_acq_rel) == 1) {
        flx_jwks_done(&group->jwks);
        flx_free(group->tenant);
        flx_free(group);
    }
    return NULL;
}

static key_group *group_ref(key_group *group)
{
    if (group != NULL) {
        atomic_fetch_add_explicit(&group->refs, 1, memory_order_relaxed);
    }
    return group;
}

static flx_status group_new(const char *tenant, flx_slice json, key_group **ret_group,
                            flx_error *reterr)
{
    key_group *group = flx_calloc(1, sizeof *group);
    if (group == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for keys");
    }
    atomic_init(&group->refs, 1);
    flx_status status = flx_jwks_decode(json, &group->jwks, reterr);
    if (status == FLX_OK && tenant != NULL) {
        group->tenant_len = strlen(tenant);
        group->tenant = flx_strdup(tenant);
        if (group->tenant == NULL) {
            status = flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for keys");
        }
    }
    if (status != FLX_OK) {
        (void)group_unref(group);
        return status;
    }
    *ret_group = group;
    return FLX_OK;
}

static int compare_tenant(const key_group *group, flx_slice tenant)
{
    const size_t shorter = group->tenant_len < tenant.len ? group->tenant_len : tenant.len;
    const int order = shorter == 0 ? 0 : memcmp(group->tenant, tenant.ptr, shorter);
    if (order != 0) {
        return order;
    }
    return (group->tenant_len > tenant.len) - (group->tenant_len < tenant.len);
}

/* The place of a tenant's group, or where it would stand. */
static size_t find_place(const flx_keyset *keyset, flx_slice tenant, bool *ret_found)
{
    size_t low = 0;
    size_t high = keyset->group_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_tenant(keyset->groups[middle], tenant);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_found = false;
    return low;
}

static const key_group *find_group(const flx_keyset *keyset, flx_slice tenant)
{
    bool found = false;
    const size_t place = find_place(keyset, tenant, &found);
    return found ? keyset->groups[place] : NULL;
}

static flx_keyset *keyset_alloc(size_t group_count)
{
    flx_keyset *keyset = flx_calloc(1, sizeof *keyset + group_count * sizeof(key_group *));
    if (keyset != NULL) {
        atomic_init(&keyset->refs, 1);
    }
    return keyset;
}

/* A copy of `base` in which `group` (taken when not NULL) stands for `tenant`, NULL: every tenant. */
static flx_keyset *copy_with_take(const flx_keyset *base, const char *tenant, key_group *group)
{
    const size_t old_count = base == NULL ? 0 : base->group_count;
    const flx_slice name = {(const uint8_t *)tenant, tenant == NULL ? 0 : strlen(tenant)};
    bool found = false;
    const size_t place = base == NULL || tenant == NULL ? 0 : find_place(base, name, &found);
    const size_t inserted = tenant != NULL && group != NULL ? 1 : 0;

    flx_keyset *copy = keyset_alloc(old_count + inserted);
    if (copy == NULL) {
        return NULL;
    }
    copy->every = tenant == NULL ? group : group_ref(base == NULL ? NULL : base->every);
    for (size_t i = 0; i < old_count; i++) {
        if (i == place && inserted == 1) {
            copy->groups[copy->group_count++] = group;
        }
        if (!(found && i == place)) {
            copy->groups[copy->group_count++] = group_ref(base->groups[i]);
        }
    }
    if (inserted == 1 && place == old_count) {
        copy->groups[copy->group_count++] = group;
    }
    FLX_ASSERT(copy->group_count <= old_count + inserted);
    return copy;
}

flx_status flx_keyset_replace(const flx_keyset *base, const char *tenant, flx_slice json,
                              flx_keyset **ret_keyset, flx_error *reterr)
{
    if (tenant != NULL && (tenant[0] == '\0' || strlen(tenant) > FLX_TENANT_BYTES_MAX)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "a tenant has 1 to %u bytes",
                        FLX_TENANT_BYTES_MAX);
    }
    if (base != NULL && base->group_count >= FLX_KEYSET_TENANTS_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "keys of more than %u tenants",
                        FLX_KEYSET_TENANTS_MAX);
    }
    key_group *group = NULL;
    if (json.ptr != NULL) {
        const flx_status status = group_new(tenant, json, &group, reterr);
        if (status != FLX_OK) {
            return status;
        }
    }
    flx_keyset *copy = copy_with_take(base, tenant, group);
    if (copy == NULL) {
        (void)group_unref(group);
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for keys");
    }
    *ret_keyset = copy;
    return FLX_OK;
}

flx_status flx_keyset_parse_jwks(const char *tenant, flx_slice json, flx_keyset **ret_keyset,
                                 flx_error *reterr)
{
    static const uint8_t nothing[1];
    if (json.ptr == NULL) {
        json = (flx_slice){nothing, 0}; /* an empty document, not a request to remove keys */
    }
    return flx_keyset_replace(NULL, tenant, json, ret_keyset, reterr);
}

flx_keyset *flx_keyset_ref(flx_keyset *keyset)
{
    atomic_fetch_add_explicit(&keyset->refs, 1, memory_order_relaxed);
    return keyset;
}

flx_keyset *flx_keyset_unref(flx_keyset *keyset)
{
    if (keyset != NULL && atomic_fetch_sub_explicit(&keyset->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < keyset->group_count; i++) {
            (void)group_unref(keyset->groups[i]);
        }
        (void)group_unref(keyset->every);
        flx_free(keyset);
    }
    return NULL;
}

bool flx_keyset_has_tenant(const flx_keyset *keyset, flx_slice tenant)
{
    const key_group *group = find_group(keyset, tenant);
    return (group != NULL && group->jwks.count > 0) ||
           (keyset->every != NULL && keyset->every->jwks.count > 0);
}

/* One pass over a group: the key the token names, or all the others. */
static bool verify_with(const key_group *group, const flx_jws *jws, bool named)
{
    for (size_t i = 0; group != NULL && i < group->jwks.count; i++) {
        const flx_jwk *jwk = &group->jwks.keys[i];
        const bool is_named = jws->has_kid && strcmp(jwk->kid, jws->kid) == 0;
        if (is_named == named && flx_jws_verify(jws, jwk->key)) {
            return true;
        }
    }
    return false;
}

bool flx_keyset_verify(const flx_keyset *keyset, flx_slice tenant, const flx_jws *jws)
{
    const key_group *group = find_group(keyset, tenant);
    return verify_with(group, jws, true) || verify_with(keyset->every, jws, true) ||
           verify_with(group, jws, false) || verify_with(keyset->every, jws, false);
}
