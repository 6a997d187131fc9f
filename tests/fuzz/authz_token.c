/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the claims of a properly signed token, then as a token: grants or a reason. */
#include "authz/token.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/slice.h"
#include "crypto/jwks.h"
#include "crypto/jws.h"

#include <string.h>

#define WALL_US (UINT64_C(1800000000) * 1000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static flx_signing_key *key;
static flx_verifier *verifier;

static void set_up(void)
{
    char *json = NULL;
    flx_keyset *keyset = NULL;
    const flx_verifier_options options = {"felix-auth", "felix-broker", 60, 16};
    FLX_ASSERT(flx_signing_key_generate(&key, NULL) == FLX_OK);
    flx_public_key *const keys[] = {flx_signing_key_public(key)};
    FLX_ASSERT(flx_jwks_encode(keys, 1, &json, NULL) == FLX_OK);
    FLX_ASSERT(flx_keyset_parse_jwks(NULL, flx_slice_of(json), &keyset, NULL) == FLX_OK);
    FLX_ASSERT(flx_verifier_new(&options, keyset, &verifier, NULL) == FLX_OK);
    (void)flx_keyset_unref(keyset);
    flx_free(json);
}

/* Asks every action on a stream of the tenant; the answer is the explained one. */
static void ask(flx_grants *grants)
{
    static const uint8_t name[] = {'a'};
    const flx_slice part = {name, 1};
    const flx_object object = {FLX_OBJECT_GROUP, flx_grants_tenant(grants), part, part, part};
    for (unsigned action = 0; action < FLX_ACTION_COUNT; action++) {
        char why[128];
        const bool allowed = flx_grants_allow(grants, (flx_action)action, &object);
        FLX_ASSERT(allowed ==
                   flx_grants_explain(grants, (flx_action)action, &object, why, sizeof why));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t tenant[] = {'t', '1'};
    const flx_slice tenant_id = {tenant, sizeof tenant};
    if (verifier == NULL) {
        set_up();
    }
    flx_error error;
    flx_grants *grants = NULL;
    FLX_ASSERT(flx_verifier_check(verifier, (flx_slice){data, size}, tenant_id, WALL_US, &grants,
                                  &error) != FLX_OK); /* nobody else has the key */
    flx_secret token = {0};
    if (flx_jws_sign(key, NULL, (flx_slice){data, size}, &token, &error) != FLX_OK) {
        return 0;
    }
    if (flx_verifier_check(verifier, flx_secret_slice(&token), tenant_id, WALL_US, &grants,
                           &error) == FLX_OK) {
        ask(grants);
        (void)flx_grants_unref(grants);
    }
    flx_secret_done(&token);
    return 0;
}
