/* SPDX-License-Identifier: Apache-2.0 */
/* authz/keyset_int.h - which keys may have signed a token. */
#ifndef FLX_AUTHZ_KEYSET_INT_H
#define FLX_AUTHZ_KEYSET_INT_H

#include "authz/token.h"
#include "crypto/jws.h"

/* Whether a key of this tenant signed it: the one its kid names first, then every other. */
bool flx_keyset_verify(const flx_keyset *keyset, flx_slice tenant, const flx_jws *jws);

#endif /* FLX_AUTHZ_KEYSET_INT_H */
