/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authz/token.h - from a token to a decision.
 *
 * A verifier holds the keys of the tenants (from a JWKS document or the embedded issuer), swapped
 * whole; it remembers verified tokens by their hash, so that the hundredth stream with the same
 * token costs a lookup, with its exp checked again each time. Grants are immutable, counted, and
 * answer the same question again from a small table.
 *
 * Threads: one verifier a worker (no lock on the data path); grants stay on that worker. A keyset
 * may be shared, referenced and dropped by any thread.
 */
#ifndef FLX_AUTHZ_TOKEN_H
#define FLX_AUTHZ_TOKEN_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_KEYSET_TENANTS_MAX 65536U
#define FLX_TENANT_BYTES_MAX   256U

typedef struct flx_keyset flx_keyset;     /* public keys by tenant and kid; immutable, counted */
typedef struct flx_verifier flx_verifier; /* keys + remembered tokens; one thread */
typedef struct flx_grants flx_grants;     /* who, which tenant, what may be done; counted */

typedef enum flx_action {
    FLX_ACTION_RBAC_VIEW,
    FLX_ACTION_RBAC_POLICY_MANAGE,
    FLX_ACTION_RBAC_ASSIGNMENT_MANAGE,
    FLX_ACTION_TENANT_MANAGE,
    FLX_ACTION_NS_MANAGE,
    FLX_ACTION_STREAM_MANAGE,
    FLX_ACTION_CACHE_MANAGE,
    FLX_ACTION_STREAM_PUBLISH,
    FLX_ACTION_STREAM_SUBSCRIBE,
    FLX_ACTION_CACHE_READ,
    FLX_ACTION_CACHE_WRITE,
    FLX_ACTION_GROUP_CONSUME,
    FLX_ACTION_GROUP_MANAGE,
    FLX_ACTION_NODE_VIEW,
    FLX_ACTION_NODE_MANAGE,
    FLX_ACTION_TOKEN_DELEGATE,
    FLX_ACTION_COUNT
} flx_action;

typedef enum flx_object_kind {
    FLX_OBJECT_TENANT,    /* tenant:{t} */
    FLX_OBJECT_NAMESPACE, /* namespace:{t}/{ns} */
    FLX_OBJECT_STREAM,    /* stream:{t}/{ns}/{name} */
    FLX_OBJECT_CACHE,     /* cache:{t}/{ns}/{name} */
    FLX_OBJECT_GROUP,     /* group:{t}/{ns}/{stream}/{group} */
    FLX_OBJECT_CLUSTER,   /* cluster:* */
    FLX_OBJECT_NODE       /* node:{name} */
} flx_object_kind;

typedef struct flx_object {
    flx_object_kind kind;
    flx_slice tenant;
    flx_slice namespace_;
    flx_slice name;  /* stream, cache, node */
    flx_slice group; /* FLX_OBJECT_GROUP */
} flx_object;

typedef struct flx_verifier_options {
    const char *issuer;      /* "felix-auth" */
    const char *audience;    /* "felix-broker" or "felix-controlplane" */
    uint32_t leeway_s;       /* 60 broker, 5 control plane */
    uint32_t remembered_max; /* verified tokens kept; 0: 4096 */
} flx_verifier_options;

/* Reads a JWKS document (RFC 7517, OKP Ed25519 keys). `tenant` NULL: keys for every tenant. */
flx_status flx_keyset_parse_jwks(const char *tenant, flx_slice json, flx_keyset **ret_keyset,
                                 flx_error *reterr);
/*
 * A new set: `base` (NULL: empty) with the keys of one tenant taken from `json`, or gone when
 * json.ptr is NULL. `base` keeps its reference. FLX_ERR_TOO_LARGE past FLX_KEYSET_TENANTS_MAX.
 */
flx_status flx_keyset_replace(const flx_keyset *base, const char *tenant, flx_slice json,
                              flx_keyset **ret_keyset, flx_error *reterr);
/* Whether there is a key for this tenant, so that a node knows whether to fetch. */
bool flx_keyset_has_tenant(const flx_keyset *keyset, flx_slice tenant);
flx_keyset *flx_keyset_ref(flx_keyset *keyset);
flx_keyset *flx_keyset_unref(flx_keyset *keyset);

/*
 * Copies `options`, takes a reference of its own to `keyset`.
 *
 * FLX_ERR_INVALID  remembered_max is more than 1048576
 * FLX_ERR_NOMEM
 */
flx_status flx_verifier_new(const flx_verifier_options *options, flx_keyset *keyset,
                            flx_verifier **ret_verifier, flx_error *reterr);
/* Grants that were given out stay. NULL is fine. Always returns NULL. */
flx_verifier *flx_verifier_free(flx_verifier *verifier);
/* Takes a reference to the new keys; remembered tokens are forgotten. */
void flx_verifier_set_keys(flx_verifier *verifier, flx_keyset *keyset);

/*
 * Checks a token: signature, iss, aud, exp, iat/nbf, tid == tenant_id, every action known.
 * *ret_grants is a reference. FLX_ERR_UNAUTHENTICATED with a message that says why, never the token.
 */
flx_status flx_verifier_check(flx_verifier *verifier, flx_slice token, flx_slice tenant_id,
                              uint64_t wall_us, flx_grants **ret_grants, flx_error *reterr);

flx_grants *flx_grants_ref(flx_grants *grants);
flx_grants *flx_grants_unref(flx_grants *grants);
/* Valid as long as the grants. */
flx_slice flx_grants_tenant(const flx_grants *grants);
flx_slice flx_grants_subject(const flx_grants *grants);
uint64_t flx_grants_expires_s(const flx_grants *grants); /* NumericDate */
flx_slice flx_grants_actor(const flx_grants *grants);    /* act.sub; ptr NULL when there is none */
flx_slice flx_grants_may_act(const flx_grants *grants);  /* may_act.sub; likewise */
/* The token's permission strings in its order, those that can match nothing included. */
size_t flx_grants_count(const flx_grants *grants);
flx_slice flx_grants_permission(const flx_grants *grants, size_t index);

/* The decision, with the implications of docs/spec/auth.md. Remembered inside `grants`. */
bool flx_grants_allow(flx_grants *grants, flx_action action, const flx_object *object);

/* The same decision with its reason in words, cut at `cap` and terminated. Not remembered. */
bool flx_grants_explain(const flx_grants *grants, flx_action action, const flx_object *object,
                        char *text, size_t cap);

/* "stream.publish"; NULL for a name that is none / the action of a name, false when unknown. */
const char *flx_action_name(flx_action action);
bool flx_action_from_name(flx_slice name, flx_action *ret_action);

#endif /* FLX_AUTHZ_TOKEN_H */
