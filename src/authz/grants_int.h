/* SPDX-License-Identifier: Apache-2.0 */
/* authz/grants_int.h - how the claims of a verified token become grants. */
#ifndef FLX_AUTHZ_GRANTS_INT_H
#define FLX_AUTHZ_GRANTS_INT_H

#include "authz/permission.h"

#include <jansson.h>

#define FLX_CLAIM_BYTES_MAX  256U /* sub, act.sub, may_act.sub */
#define FLX_NUMERIC_DATE_MAX (UINT64_C(1) << 53)

/* What is left of the claims once they are checked. Borrows the JSON. */
typedef struct flx_claims {
    flx_slice tenant;
    flx_slice subject;
    flx_slice actor;   /* ptr NULL: none */
    flx_slice may_act; /* ptr NULL: none */
    uint64_t expires_s;
    uint64_t not_before_s; /* the later of nbf and iat */
    const json_t *perms;   /* an array of strings */
} flx_claims;

/*
 * Reads the claims and checks all that does not depend on the time: iss, aud, tid and shapes.
 * FLX_ERR_UNAUTHENTICATED with the reason.
 */
flx_status flx_claims_read(const json_t *object, const char *issuer, const char *audience,
                           flx_slice tenant_id, flx_claims *ret_claims, flx_error *reterr);

/* Copies. FLX_ERR_UNAUTHENTICATED: an action nobody knows. FLX_ERR_NOMEM. */
flx_status flx_grants_new(const flx_claims *claims, flx_grants **ret_grants, flx_error *reterr);

/* Whether the token is good at this second; FLX_ERR_UNAUTHENTICATED says which way it is not. */
flx_status flx_grants_check_time(const flx_grants *grants, uint64_t wall_s, uint32_t leeway_s,
                                 flx_error *reterr);

#endif /* FLX_AUTHZ_GRANTS_INT_H */
