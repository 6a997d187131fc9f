/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a token: nothing but a decision, and what was accepted reads the same again. */
#include "common/assert.h"
#include "crypto/base64url.h"
#include "crypto/jws.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The three parts, encoded again, are the token byte for byte: strict means one spelling. */
static void check_spelling(flx_slice token, const flx_jws *jws)
{
    char text[FLX_JWS_BYTES_MAX];
    const size_t payload_len = flx_base64url_encode(jws->payload, text);
    const size_t signed_len = jws->signed_part.len;
    FLX_ASSERT(payload_len < signed_len);
    FLX_ASSERT(memcmp(token.ptr + signed_len - payload_len, text, payload_len) == 0);
    const size_t signature_len =
        flx_base64url_encode((flx_slice){jws->signature, sizeof jws->signature}, text);
    FLX_ASSERT(token.len == signed_len + 1 + signature_len);
    FLX_ASSERT(memcmp(token.ptr + signed_len + 1, text, signature_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static flx_public_key *key;
    if (key == NULL) {
        flx_signing_key *made = NULL;
        FLX_ASSERT(flx_signing_key_generate(&made, NULL) == FLX_OK);
        key = flx_public_key_ref(flx_signing_key_public(made));
        (void)flx_signing_key_unref(made);
    }
    const flx_slice token = {data, size};
    flx_jws jws = {0};
    flx_error error;
    if (flx_jws_decode(token, &jws, &error) == FLX_OK) {
        check_spelling(token, &jws);
        FLX_ASSERT(!flx_jws_verify(&jws, key)); /* nobody has signed with it */
        flx_jws_done(&jws);
    }
    return 0;
}
