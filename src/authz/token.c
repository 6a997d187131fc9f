/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/token.c - the verifier: from the text of a token to grants.
 *
 * An Ed25519 check costs some hundred microseconds, and a client opens many streams with one token.
 * So verified tokens are remembered under their SHA-256: to be taken for a remembered token, another
 * one would have to be a second preimage of it. What is remembered is that the signature and the
 * claims hold; the tenant asked for and the time are checked at every use.
 *
 *     digest ─► set (digest mod sets) ─► one of WAYS slots; full: the longest unused one goes
 *
 * Tokens that fail are not remembered: they would push out those that do not.
 */
#include "authz/token.h"

#include "authz/grants_int.h"
#include "authz/keyset_int.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "crypto/digest.h"
#include "crypto/jws.h"

#include <string.h>

#define WAYS               8U
#define REMEMBERED_DEFAULT 4096U
#define REMEMBERED_LIMIT   (1U << 20)
#define US_PER_S           UINT64_C(1000000)

typedef struct remembered_token {
    flx_grants *grants; /* NULL: the slot is free */
    uint64_t used;      /* verifier->clock at the last use */
    uint8_t digest[FLX_SHA256_BYTES];
} remembered_token;

struct flx_verifier {
    flx_keyset *keyset;
    char *issuer;
    char *audience;
    uint32_t leeway_s;
    uint32_t way_count; /* of a set */
    uint32_t set_count;
    uint64_t clock; /* counts uses */
    remembered_token *slots;
};

static flx_status verifier_init(flx_verifier *verifier, const flx_verifier_options *options,
                                flx_error *reterr)
{
    const uint32_t asked =
        options->remembered_max == 0 ? REMEMBERED_DEFAULT : options->remembered_max;
    verifier->leeway_s = options->leeway_s;
    verifier->way_count = asked < WAYS ? asked : WAYS;
    verifier->set_count = asked / verifier->way_count;
    verifier->issuer = flx_strdup(options->issuer);
    verifier->audience = flx_strdup(options->audience);
    verifier->slots =
        flx_calloc((size_t)verifier->set_count * verifier->way_count, sizeof *verifier->slots);
    if (verifier->issuer == NULL || verifier->audience == NULL || verifier->slots == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a token verifier");
    }
    return FLX_OK;
}

flx_status flx_verifier_new(const flx_verifier_options *options, flx_keyset *keyset,
                            flx_verifier **ret_verifier, flx_error *reterr)
{
    FLX_ASSERT(options->issuer != NULL && options->audience != NULL && keyset != NULL);
    if (options->remembered_max > REMEMBERED_LIMIT) {
        return flx_fail(reterr, FLX_ERR_INVALID, "at most %u tokens are remembered",
                        REMEMBERED_LIMIT);
    }
    flx_verifier *verifier = flx_calloc(1, sizeof *verifier);
    if (verifier == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory for a token verifier");
    }
    const flx_status status = verifier_init(verifier, options, reterr);
    if (status != FLX_OK) {
        (void)flx_verifier_free(verifier);
        return status;
    }
    verifier->keyset = flx_keyset_ref(keyset);
    *ret_verifier = verifier;
    return FLX_OK;
}

static void forget_all(flx_verifier *verifier)
{
    const size_t count = (size_t)verifier->set_count * verifier->way_count;
    for (size_t i = 0; i < count; i++) {
        verifier->slots[i].grants = flx_grants_unref(verifier->slots[i].grants);
    }
}

flx_verifier *flx_verifier_free(flx_verifier *verifier)
{
    if (verifier == NULL) {
        return NULL;
    }
    if (verifier->slots != NULL) {
        forget_all(verifier);
    }
    (void)flx_keyset_unref(verifier->keyset);
    flx_free(verifier->slots);
    flx_free(verifier->issuer);
    flx_free(verifier->audience);
    flx_free(verifier);
    return NULL;
}

void flx_verifier_set_keys(flx_verifier *verifier, flx_keyset *keyset)
{
    flx_keyset *old = verifier->keyset;
    verifier->keyset = flx_keyset_ref(keyset);
    (void)flx_keyset_unref(old);
    forget_all(verifier); /* a key that is gone must not live on in what it signed */
}

static remembered_token *set_of(flx_verifier *verifier, const uint8_t digest[FLX_SHA256_BYTES])
{
    uint64_t number = 0;
    memcpy(&number, digest, sizeof number);
    return &verifier->slots[(size_t)(number % verifier->set_count) * verifier->way_count];
}

static remembered_token *recall(flx_verifier *verifier, const uint8_t digest[FLX_SHA256_BYTES])
{
    remembered_token *set = set_of(verifier, digest);
    for (uint32_t i = 0; i < verifier->way_count; i++) {
        if (set[i].grants != NULL && memcmp(set[i].digest, digest, FLX_SHA256_BYTES) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

/* Into a free slot of its set, else in place of the one that was not used for longest. */
static void remember(flx_verifier *verifier, const uint8_t digest[FLX_SHA256_BYTES],
                     flx_grants *grants)
{
    remembered_token *set = set_of(verifier, digest);
    remembered_token *slot = &set[0];
    for (uint32_t i = 0; i < verifier->way_count && slot->grants != NULL; i++) {
        if (set[i].grants == NULL || set[i].used < slot->used) {
            slot = &set[i];
        }
    }
    (void)flx_grants_unref(slot->grants);
    slot->grants = flx_grants_ref(grants);
    slot->used = ++verifier->clock;
    memcpy(slot->digest, digest, FLX_SHA256_BYTES);
}

/* The token is known to be genuine: is it for this tenant, and now? */
static flx_status check_remembered(flx_verifier *verifier, remembered_token *slot,
                                   flx_slice tenant_id, uint64_t wall_s, flx_grants **ret_grants,
                                   flx_error *reterr)
{
    const flx_slice tenant = flx_grants_tenant(slot->grants);
    if (!flx_slice_equal(tenant, tenant_id)) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: tid is another tenant");
    }
    const flx_status status =
        flx_grants_check_time(slot->grants, wall_s, verifier->leeway_s, reterr);
    if (status != FLX_OK) {
        slot->grants = flx_grants_unref(slot->grants);
        return status;
    }
    slot->used = ++verifier->clock;
    *ret_grants = flx_grants_ref(slot->grants);
    return FLX_OK;
}

/* The claims of a payload whose signature holds. */
static flx_status read_grants(const flx_verifier *verifier, flx_slice payload, flx_slice tenant_id,
                              flx_grants **ret_grants, flx_error *reterr)
{
    json_t *object = NULL;
    flx_status status = flx_json_parse_object(payload, FLX_JWS_BYTES_MAX, FLX_JWS_DEPTH_MAX,
                                              "token payload", &object, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_claims claims = {0};
    status =
        flx_claims_read(object, verifier->issuer, verifier->audience, tenant_id, &claims, reterr);
    if (status == FLX_OK) {
        status = flx_grants_new(&claims, ret_grants, reterr);
    }
    json_decref(object);
    return status;
}

static flx_status verify(const flx_verifier *verifier, flx_slice token, flx_slice tenant_id,
                         uint64_t wall_s, flx_grants **ret_grants, flx_error *reterr)
{
    flx_jws jws = {0};
    flx_status status = flx_jws_decode(token, &jws, reterr);
    if (status != FLX_OK) {
        return status;
    }
    flx_grants *grants = NULL;
    if (flx_keyset_verify(verifier->keyset, tenant_id, &jws)) {
        status = read_grants(verifier, jws.payload, tenant_id, &grants, reterr);
    } else {
        status =
            flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: not signed by a key of this tenant");
    }
    flx_jws_done(&jws);
    if (status == FLX_OK) {
        status = flx_grants_check_time(grants, wall_s, verifier->leeway_s, reterr);
    }
    if (status != FLX_OK) {
        (void)flx_grants_unref(grants);
        return status;
    }
    *ret_grants = grants;
    return FLX_OK;
}

/* Whatever is wrong with the text of a token, its bearer is not authenticated. */
static flx_status as_unauthenticated(flx_status status, flx_error *reterr)
{
    const bool is_text = status == FLX_ERR_INVALID || status == FLX_ERR_TOO_LARGE;
    if (is_text && reterr != NULL) {
        reterr->status = FLX_ERR_UNAUTHENTICATED;
    }
    return is_text ? FLX_ERR_UNAUTHENTICATED : status;
}

flx_status flx_verifier_check(flx_verifier *verifier, flx_slice token, flx_slice tenant_id,
                              uint64_t wall_us, flx_grants **ret_grants, flx_error *reterr)
{
    const uint64_t wall_s = wall_us / US_PER_S;
    if (token.len == 0 || token.len > FLX_JWS_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token has %zu bytes, expected 1 to %u",
                        token.len, FLX_JWS_BYTES_MAX);
    }
    if (tenant_id.len == 0 || tenant_id.len > FLX_TENANT_BYTES_MAX) {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "a tenant has 1 to %u bytes",
                        FLX_TENANT_BYTES_MAX);
    }
    uint8_t digest[FLX_SHA256_BYTES];
    flx_status status = flx_sha256(token, digest, reterr);
    if (status != FLX_OK) {
        return status;
    }
    remembered_token *slot = recall(verifier, digest);
    if (slot != NULL) {
        return check_remembered(verifier, slot, tenant_id, wall_s, ret_grants, reterr);
    }
    status = verify(verifier, token, tenant_id, wall_s, ret_grants, reterr);
    if (status != FLX_OK) {
        return as_unauthenticated(status, reterr);
    }
    remember(verifier, digest, *ret_grants);
    return FLX_OK;
}
