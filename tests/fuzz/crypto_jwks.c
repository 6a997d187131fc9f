/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a JWK set: what is accepted can be written and read again. */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/slice.h"
#include "crypto/jwks.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const flx_jwks *jwks)
{
    if (jwks->count == 0) {
        return;
    }
    char *text = NULL;
    flx_jwks again = {0};
    flx_public_key *const keys[] = {jwks->keys[0].key}; /* two entries may be one key */
    FLX_ASSERT(flx_jwks_encode(keys, 1, &text, NULL) == FLX_OK);
    FLX_ASSERT(flx_jwks_decode(flx_slice_of(text), &again, NULL) == FLX_OK);
    FLX_ASSERT(again.count == 1);
    FLX_ASSERT(strcmp(flx_public_key_id(again.keys[0].key), flx_public_key_id(keys[0])) == 0);
    flx_jwks_done(&again);
    flx_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    flx_jwks jwks = {0};
    flx_error error;
    if (flx_jwks_decode((flx_slice){data, size}, &jwks, &error) == FLX_OK) {
        check_round_trip(&jwks);
        flx_jwks_done(&jwks);
    }
    return 0;
}
