/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/issuer.c - claims to token.
 *
 * What a permission to manage stands for is written out when the token is made, because brokers
 * decide on the token alone; what one action implies of another is not (docs/spec/auth.md 4).
 */
#include "authz/issuer.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "crypto/digest.h"
#include "crypto/jws.h"

#include <stdio.h>
#include <string.h>

#define TEXT_BYTES_MAX 256U /* of tenant, subject, issuer, audience */
#define JTI_BYTES      16

static_assert(FLX_PRINCIPAL_ID_CHARS == 2 * FLX_SHA256_BYTES, "hex of a SHA-256");

flx_status flx_principal_id(const char *issuer, const char *subject,
                            char ret_id[FLX_PRINCIPAL_ID_CHARS + 1], flx_error *reterr)
{
    const size_t len = strlen(issuer) + 1 + strlen(subject);
    char *text = flx_alloc(len + 1);
    if (text == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a principal id");
    }
    (void)snprintf(text, len + 1, "%s|%s", issuer, subject);
    uint8_t digest[FLX_SHA256_BYTES];
    const flx_status status = flx_sha256((flx_slice){(const uint8_t *)text, len}, digest, reterr);
    flx_free(text);
    if (status == FLX_OK) {
        flx_hex((flx_slice){digest, sizeof digest}, ret_id);
    }
    return status;
}

/* --- expansion ---------------------------------------------------------------------------------*/

/* What managing a namespace stands for, on every object of that kind in it. */
static const struct {
    flx_action action;
    const char *kind;
} namespace_rights[] = {
    {FLX_ACTION_STREAM_MANAGE, "stream"},    {FLX_ACTION_STREAM_PUBLISH, "stream"},
    {FLX_ACTION_STREAM_SUBSCRIBE, "stream"}, {FLX_ACTION_CACHE_MANAGE, "cache"},
    {FLX_ACTION_CACHE_READ, "cache"},        {FLX_ACTION_CACHE_WRITE, "cache"},
};

#define RIGHT_COUNT (sizeof namespace_rights / sizeof namespace_rights[0])

static bool list_has(const flx_perm_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* Adds a copy, unless it is there. `list->items` has room for FLX_TOKEN_PERMS_MAX. */
static flx_status list_add(flx_perm_list *list, const char *text, flx_error *reterr)
{
    if (list_has(list, text)) {
        return FLX_OK;
    }
    if (list->count == FLX_TOKEN_PERMS_MAX) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "more than %u permissions", FLX_TOKEN_PERMS_MAX);
    }
    char *copy = flx_strdup(text);
    if (copy == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for permissions");
    }
    list->items[list->count++] = copy;
    return FLX_OK;
}

/* "action:kind:tenant" and the stars. */
static flx_status add_right(flx_perm_list *list, flx_action action, const char *kind,
                            flx_slice tenant, const char *stars, flx_error *reterr)
{
    char text[FLX_PERMISSION_BYTES_MAX];
    const int len = snprintf(text, sizeof text, "%s:%s:%.*s%s", flx_action_name(action), kind,
                             (int)tenant.len, (const char *)tenant.ptr, stars);
    FLX_ASSERT(len > 0 && (size_t)len < sizeof text); /* a tenant that parsed is a name long */
    return list_add(list, text, reterr);
}

static flx_status add_namespace_rights(flx_perm_list *list, flx_slice tenant, flx_error *reterr)
{
    flx_status status = FLX_OK;
    for (size_t i = 0; status == FLX_OK && i < RIGHT_COUNT; i++) {
        status = add_right(list, namespace_rights[i].action, namespace_rights[i].kind, tenant,
                           "/*/*", reterr);
    }
    return status;
}

/* Adds what the permission stands for beside itself. */
static flx_status expand(flx_perm_list *list, const flx_permission *permission, flx_error *reterr)
{
    const flx_pattern *object = &permission->object;
    const flx_slice tenant = object->segments[0];
    if (permission->action == FLX_ACTION_TENANT_MANAGE && object->kind == FLX_OBJECT_TENANT) {
        const flx_status status =
            add_right(list, FLX_ACTION_NS_MANAGE, "namespace", tenant, "/*", reterr);
        return status == FLX_OK ? add_namespace_rights(list, tenant, reterr) : status;
    }
    /* One namespace by name brings nothing: the tokens others mint do not have it either. */
    if (permission->action == FLX_ACTION_NS_MANAGE && object->segments[1].ptr[0] == '*') {
        return add_namespace_rights(list, tenant, reterr);
    }
    return FLX_OK;
}

static flx_status expand_one(flx_perm_list *list, const char *text, flx_error *reterr)
{
    flx_permission permission;
    flx_status status = flx_permission_parse(flx_slice_of(text), &permission, reterr);
    if (status != FLX_OK) {
        flx_error_prefix(reterr, "permission '%.160s'", text);
        return status;
    }
    status = list_add(list, text, reterr);
    return status == FLX_OK ? expand(list, &permission, reterr) : status;
}

flx_status flx_perms_expand(const char *const *perms, size_t count, flx_perm_list *ret_list,
                            flx_error *reterr)
{
    flx_perm_list list = {flx_calloc(FLX_TOKEN_PERMS_MAX, sizeof *list.items), 0};
    if (list.items == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for permissions");
    }
    for (size_t i = 0; i < count; i++) {
        const flx_status status = expand_one(&list, perms[i], reterr);
        if (status != FLX_OK) {
            flx_perm_list_done(&list);
            return status;
        }
    }
    *ret_list = list;
    return FLX_OK;
}

void flx_perm_list_done(flx_perm_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        flx_free(list->items[i]);
    }
    flx_free(list->items);
    *list = (flx_perm_list){0};
}

/* --- minting -----------------------------------------------------------------------------------*/

static flx_status check_text(const char *value, const char *name, bool optional, flx_error *reterr)
{
    if (value == NULL && optional) {
        return FLX_OK;
    }
    if (value == NULL || value[0] == '\0' || strlen(value) > TEXT_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "the %s of a token has 1 to %u bytes", name,
                        TEXT_BYTES_MAX);
    }
    return FLX_OK;
}

static flx_status check_claims(const flx_token_claims *claims, flx_error *reterr)
{
    const struct {
        const char *value;
        const char *name;
        bool optional;
    } texts[] = {
        {claims->issuer, "issuer", true},  {claims->audience, "audience", true},
        {claims->tenant, "tenant", false}, {claims->subject, "subject", false},
        {claims->actor, "actor", true},    {claims->may_act, "may_act", true},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const flx_status status =
            check_text(texts[i].value, texts[i].name, texts[i].optional, reterr);
        if (status != FLX_OK) {
            return status;
        }
    }
    return claims->ttl_s > 0
               ? FLX_OK
               : flx_fail(reterr, FLX_ERR_INVALID, "a token lives at least one second");
}

/* A token speaks for one tenant; what it says about another could never be used. */
static flx_status check_tenant(const flx_perm_list *perms, const char *tenant, flx_error *reterr)
{
    for (size_t i = 0; i < perms->count; i++) {
        flx_permission permission;
        const char *text = perms->items[i];
        const flx_status status = flx_permission_parse(flx_slice_of(text), &permission, reterr);
        if (status != FLX_OK) {
            return status;
        }
        const flx_pattern *object = &permission.object;
        const bool cluster_wide =
            object->kind == FLX_OBJECT_CLUSTER || object->kind == FLX_OBJECT_NODE;
        const flx_slice name = object->segments[0];
        if (!cluster_wide && !flx_slice_is(name, tenant)) {
            return flx_fail(reterr, FLX_ERR_INVALID,
                            "permission '%.160s' is not one of tenant '%.40s'", text, tenant);
        }
    }
    return FLX_OK;
}

static json_t *perms_to_json(const flx_perm_list *perms)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < perms->count; i++) {
        if (json_array_append_new(array, json_string(perms->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* The payload; NULL when memory is out or a text is not UTF-8. Takes `perms` in any case. */
static json_t *claims_to_json(const flx_token_claims *claims, const char *jti, json_t *perms,
                              uint64_t wall_s)
{
    json_t *object =
        json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:o}", "iss",
                  claims->issuer != NULL ? claims->issuer : FLX_TOKEN_ISSUER, "aud",
                  claims->audience != NULL ? claims->audience : FLX_TOKEN_AUDIENCE_BROKER, "sub",
                  claims->subject, "tid", claims->tenant, "iat", (json_int_t)wall_s, "exp",
                  (json_int_t)wall_s + (json_int_t)claims->ttl_s, "jti", jti, "perms", perms);
    bool complete = object != NULL;
    if (complete && claims->actor != NULL) {
        complete =
            json_object_set_new(object, "act", json_pack("{s:s}", "sub", claims->actor)) == 0;
    }
    if (complete && claims->may_act != NULL) {
        complete =
            json_object_set_new(object, "may_act", json_pack("{s:s}", "sub", claims->may_act)) == 0;
    }
    if (!complete) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static flx_status sign_claims(const flx_signing_key *key, const flx_token_claims *claims,
                              const flx_perm_list *perms, uint64_t wall_s, flx_secret *ret_token,
                              flx_error *reterr)
{
    uint8_t random[JTI_BYTES];
    flx_status status = flx_random(random, sizeof random, reterr);
    if (status != FLX_OK) {
        return status;
    }
    char jti[2 * JTI_BYTES + 1];
    flx_hex((flx_slice){random, sizeof random}, jti);
    json_t *array = perms_to_json(perms);
    json_t *object = array == NULL ? NULL : claims_to_json(claims, jti, array, wall_s);
    if (object == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory, or a claim that is not UTF-8");
    }
    char *payload = NULL;
    status = flx_json_write(object, &payload, reterr);
    json_decref(object);
    if (status == FLX_OK) {
        status = flx_jws_sign(key, NULL, flx_slice_of(payload), ret_token, reterr);
        flx_free(payload);
    }
    return status;
}

flx_status flx_issuer_mint(const flx_signing_key *key, const flx_token_claims *claims,
                           uint64_t wall_s, flx_secret *ret_token, flx_error *reterr)
{
    flx_status status = check_claims(claims, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_perm_list perms = {0};
    status = flx_perms_expand(claims->perms, claims->perm_count, &perms, reterr);
    if (status != FLX_OK) {
        return status;
    }
    status = check_tenant(&perms, claims->tenant, reterr);
    if (status == FLX_OK) {
        status = sign_claims(key, claims, &perms, wall_s, ret_token, reterr);
    }
    flx_perm_list_done(&perms);
    return status;
}
