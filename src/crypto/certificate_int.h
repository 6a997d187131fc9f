/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/certificate_int.h - what pki.c and certificate.c share. */
#ifndef FLX_CRYPTO_CERTIFICATE_INT_H
#define FLX_CRYPTO_CERTIFICATE_INT_H

#include "crypto/certificate.h"

#include <gnutls/x509.h>

/* "DNS:localhost, IP:127.0.0.1" in the order of the certificate; cut with "...". */
void flx_certificate_names(gnutls_x509_crt_t crt, char *text, size_t cap);

/* GnuTLS takes what it only reads through pointers that are not const. */
gnutls_datum_t flx_crypto_datum(flx_slice bytes);

/* flx_fail with the reason GnuTLS gives; its out-of-memory stays FLX_ERR_NOMEM. */
flx_status flx_crypto_fail(flx_error *reterr, int rc, flx_status status, const char *what);

#endif /* FLX_CRYPTO_CERTIFICATE_INT_H */
