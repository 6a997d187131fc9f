/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/certificate.h - a look at certificates: what is in a file, and whether a client would take it.
 *
 * For `felix doctor` and `felix check`; the handshake itself is transport's. The time is an
 * argument. Threads: any.
 */
#ifndef FLX_CRYPTO_CERTIFICATE_H
#define FLX_CRYPTO_CERTIFICATE_H

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_CERTIFICATES_MAX           64U /* looked at in one file; a bundle of CAs may be long */
#define FLX_CERTIFICATES_PEM_BYTES_MAX 262144U

/* One certificate, for people. Text that does not fit ends in "...". */
typedef struct flx_certificate_info {
    char subject[256];
    char issuer[256];
    char names[512]; /* "DNS:localhost, IP:127.0.0.1"; empty: no subjectAltName */
    char serial[48]; /* hex */
    int64_t not_before_s;
    int64_t not_after_s;
    bool is_ca;
    bool self_signed; /* subject is issuer, and the signature is its own */
} flx_certificate_info;

/*
 * Reads the certificates of a PEM file, in order: how many, and the first `cap` of them.
 * FLX_ERR_INVALID: none there, or damaged. FLX_ERR_TOO_LARGE: more than FLX_CERTIFICATES_MAX.
 * FLX_ERR_NOT_FOUND, FLX_ERR_IO.
 */
flx_status flx_certificates_inspect_file(const char *path, flx_certificate_info *ret_infos,
                                         size_t cap, size_t *ret_count, flx_error *reterr);

/*
 * Whether a client that trusts `ca` would take `chain` (leaf first) from the server called `name`
 * (DNS name or address; NULL: any) at this time. A leaf that is itself listed in `ca` is taken.
 *
 * FLX_ERR_DENIED   no; the message is the reason in words
 * FLX_ERR_INVALID  one of the texts holds no certificate
 */
flx_status flx_certificates_verify(flx_slice chain, flx_slice ca, const char *name, uint64_t wall_s,
                                   flx_error *reterr);

#endif /* FLX_CRYPTO_CERTIFICATE_H */
