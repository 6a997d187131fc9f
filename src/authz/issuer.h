/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/issuer.h - makes Felix access tokens: the embedded issuer of `felix up`, and the last step
 * of the control plane's token endpoints.
 *
 * Pure: the time is an argument. Threads: any.
 */
#ifndef FLX_AUTHZ_ISSUER_H
#define FLX_AUTHZ_ISSUER_H

#include "authz/permission.h"
#include "crypto/key.h"
#include "crypto/secret.h"

#define FLX_TOKEN_ISSUER                "felix-auth"
#define FLX_TOKEN_AUDIENCE_BROKER       "felix-broker"
#define FLX_TOKEN_AUDIENCE_CONTROLPLANE "felix-controlplane"
#define FLX_PRINCIPAL_ID_CHARS          64

typedef struct flx_token_claims {
    const char *issuer;       /* NULL: FLX_TOKEN_ISSUER */
    const char *audience;     /* NULL: FLX_TOKEN_AUDIENCE_BROKER */
    const char *tenant;       /* tid */
    const char *subject;      /* a principal id, see flx_principal_id */
    const char *actor;        /* act.sub; NULL: none */
    const char *may_act;      /* may_act.sub; NULL: none */
    const char *const *perms; /* checked as flx_permission_parse does, then expanded */
    size_t perm_count;
    uint32_t ttl_s; /* 1 .. */
} flx_token_claims;

/* Hex SHA-256 of "issuer|subject", terminated. */
flx_status flx_principal_id(const char *issuer, const char *subject,
                            char ret_id[FLX_PRINCIPAL_ID_CHARS + 1], flx_error *reterr);

/*
 * Mints a token. tenant.manage and ns.manage bring what they stand for (docs/spec/auth.md 4), each
 * permission once.
 *
 * FLX_ERR_INVALID    a claim is missing, a permission cannot be granted, or is another tenant's
 * FLX_ERR_NOT_FOUND  an action is unknown
 * FLX_ERR_TOO_LARGE  more than FLX_TOKEN_PERMS_MAX permissions, or a token past 16 KiB
 */
flx_status flx_issuer_mint(const flx_signing_key *key, const flx_token_claims *claims,
                           uint64_t wall_s, flx_secret *ret_token, flx_error *reterr);

/* A list of permission strings. */
typedef struct flx_perm_list {
    char **items;
    size_t count;
} flx_perm_list;

/* The permissions a token carries for these: checked, expanded, each once, in order. */
flx_status flx_perms_expand(const char *const *perms, size_t count, flx_perm_list *ret_list,
                            flx_error *reterr);
void flx_perm_list_done(flx_perm_list *list);

#endif /* FLX_AUTHZ_ISSUER_H */
