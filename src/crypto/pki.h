/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/pki.h - a small certificate authority for a node's own folder.
 *
 *     DIR/ca.pem       CA certificate: what clients are given to trust       0644
 *     DIR/ca.key       its key                                                0600
 *     DIR/server.pem   leaf, then the CA                                      0644
 *     DIR/server.key   the leaf's key                                         0600
 *
 * All keys are P-256, because every TLS 1.3 client takes them. The leaf is an end entity
 * (CA:FALSE) with its names as subjectAltName, which is what webpki asks for. The time is an
 * argument. Threads: any, but one at a time for a folder.
 */
#ifndef FLX_CRYPTO_PKI_H
#define FLX_CRYPTO_PKI_H

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_PKI_NAMES_MAX 64

typedef struct flx_pki_options {
    /* DNS names ("*.example" too) and addresses beside localhost, 127.0.0.1 and ::1. Borrowed. */
    const char *const *names;
    size_t name_count;
} flx_pki_options;

typedef struct flx_pki_result {
    bool ca_made;     /* clients must be given the new ca.pem */
    bool server_made; /* a new leaf: first start, names changed, or less than 30 days were left */
} flx_pki_result;

/*
 * Makes sure that `dir` (made when missing, 0700) holds a CA and a leaf that is good for at least
 * 30 days, begun, and names exactly what is asked. What is good stays as it is. A CA lives ten years; it is
 * replaced when less than 30 days are left, never because a file of it is missing.
 *
 * FLX_ERR_INVALID  a name that is neither DNS name nor address
 * FLX_ERR_CORRUPT  what is there is damaged or incomplete; the message names the file
 * FLX_ERR_DENIED   a key file that others may read
 * FLX_ERR_UNAVAILABLE  the clock is far off
 * FLX_ERR_IO, FLX_ERR_NOMEM, FLX_ERR_INTERNAL
 */
flx_status flx_pki_ensure(const char *dir, const flx_pki_options *options, uint64_t wall_s,
                          flx_pki_result *ret_result, flx_error *reterr);

#endif /* FLX_CRYPTO_PKI_H */
