/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/claims.c - the claims of a token whose signature holds (docs/spec/auth.md 1).
 *
 * A signature says who wrote the claims, not that they are sane: every one is checked for shape and
 * bound before it is used. Messages name the claim, and never hold its value.
 */
#include "authz/grants_int.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"

#include <math.h>
#include <string.h>

static flx_status refuse(flx_error *reterr, const char *reason)
{
    return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "token: %s", reason);
}

/* RFC 7519: a number of seconds, perhaps with a fraction, which is cut off. */
static bool read_date(const json_t *object, const char *member, uint64_t *ret_seconds)
{
    const json_t *value = json_object_get(object, member);
    if (json_is_integer(value)) {
        const json_int_t number = json_integer_value(value);
        *ret_seconds = (uint64_t)number;
        return number >= 0 && (uint64_t)number <= FLX_NUMERIC_DATE_MAX;
    }
    if (!json_is_real(value)) {
        return false;
    }
    const double number = json_real_value(value);
    if (!(number >= 0 && number <= (double)FLX_NUMERIC_DATE_MAX)) {
        return false;
    }
    *ret_seconds = (uint64_t)floor(number);
    return true;
}

static bool audience_matches(const json_t *aud, const char *audience)
{
    if (json_is_string(aud)) {
        return strcmp(json_string_value(aud), audience) == 0;
    }
    for (size_t i = 0; i < json_array_size(aud); i++) { /* 0 for what is no array */
        const json_t *item = json_array_get(aud, i);
        if (json_is_string(item) && strcmp(json_string_value(item), audience) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_bounded(const json_t *object, const char *member, size_t len_max,
                         flx_slice *ret_text)
{
    return flx_json_find_text(object, member, ret_text) && ret_text->len > 0 &&
           ret_text->len <= len_max;
}

/* act and may_act: absent, or an object that names somebody. Deeper chains are not ours to judge. */
static bool read_party(const json_t *object, const char *member, flx_slice *ret_subject)
{
    const json_t *party = json_object_get(object, member);
    *ret_subject = (flx_slice){0};
    return party == NULL ||
           (json_is_object(party) && read_bounded(party, "sub", FLX_CLAIM_BYTES_MAX, ret_subject));
}

static flx_status read_identity(const json_t *object, const char *issuer, const char *audience,
                                flx_slice tenant_id, flx_claims *claims, flx_error *reterr)
{
    flx_slice text = {0};
    if (!flx_json_find_text(object, "iss", &text) || !flx_slice_is(text, issuer)) {
        return refuse(reterr, "iss is not the expected issuer");
    }
    if (!audience_matches(json_object_get(object, "aud"), audience)) {
        return refuse(reterr, "aud does not name this service");
    }
    if (!read_bounded(object, "tid", FLX_TENANT_BYTES_MAX, &claims->tenant)) {
        return refuse(reterr, "tid is not a tenant");
    }
    if (!flx_slice_equal(claims->tenant, tenant_id)) {
        return refuse(reterr, "tid is another tenant");
    }
    if (!read_bounded(object, "sub", FLX_CLAIM_BYTES_MAX, &claims->subject)) {
        return refuse(reterr, "sub is not a principal");
    }
    if (!read_party(object, "act", &claims->actor)) {
        return refuse(reterr, "act is not an object with a sub");
    }
    if (!read_party(object, "may_act", &claims->may_act)) {
        return refuse(reterr, "may_act is not an object with a sub");
    }
    return FLX_OK;
}

static flx_status read_dates(const json_t *object, flx_claims *claims, flx_error *reterr)
{
    if (!read_date(object, "exp", &claims->expires_s)) {
        return refuse(reterr, "exp is not a date");
    }
    if (!read_date(object, "iat", &claims->not_before_s)) {
        return refuse(reterr, "iat is not a date");
    }
    if (json_object_get(object, "nbf") != NULL) {
        uint64_t nbf_s = 0;
        if (!read_date(object, "nbf", &nbf_s)) {
            return refuse(reterr, "nbf is not a date");
        }
        claims->not_before_s = nbf_s > claims->not_before_s ? nbf_s : claims->not_before_s;
    }
    return FLX_OK;
}

static flx_status read_perms(const json_t *object, flx_claims *claims, flx_error *reterr)
{
    const json_t *perms = json_object_get(object, "perms");
    if (!json_is_array(perms)) {
        return refuse(reterr, "perms is not an array");
    }
    if (json_array_size(perms) > FLX_TOKEN_PERMS_MAX) {
        return refuse(reterr, "perms has too many entries");
    }
    for (size_t i = 0; i < json_array_size(perms); i++) {
        const json_t *item = json_array_get(perms, i);
        if (!json_is_string(item)) {
            return refuse(reterr, "perms holds something that is not a string");
        }
        if (json_string_length(item) > FLX_PERMISSION_BYTES_MAX) {
            return refuse(reterr, "perms holds a permission that is too long");
        }
    }
    claims->perms = perms;
    return FLX_OK;
}

flx_status flx_claims_read(const json_t *object, const char *issuer, const char *audience,
                           flx_slice tenant_id, flx_claims *ret_claims, flx_error *reterr)
{
    flx_claims claims = {0};
    flx_status status = read_identity(object, issuer, audience, tenant_id, &claims, reterr);
    if (status == FLX_OK) {
        status = read_dates(object, &claims, reterr);
    }
    if (status == FLX_OK) {
        status = read_perms(object, &claims, reterr);
    }
    if (status == FLX_OK) {
        *ret_claims = claims;
    }
    return status;
}
