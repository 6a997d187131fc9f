/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/pki.h - a small certificate authority for a node's own folder, and a look at certificates.
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

#include <felix/slice.h>
#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLX_PKI_NAMES_MAX 64
#define FLX_PKI_CHAIN_MAX 8 /* certificates looked at in one file */
#define FLX_PKI_PEM_MAX   (64U * 1024)

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
 * 30 days and names exactly what is asked. What is good stays as it is. A CA lives ten years; it is
 * replaced when less than 30 days are left, never because a file of it is missing.
 *
 * FLX_ERR_INVALID  a name that is neither DNS name nor address
 * FLX_ERR_CORRUPT  what is there is damaged or incomplete; the message names the file
 * FLX_ERR_DENIED   a key file that others may read
 * FLX_ERR_IO, FLX_ERR_NOMEM, FLX_ERR_INTERNAL
 */
flx_status flx_pki_ensure(const char *dir, const flx_pki_options *options, uint64_t wall_s,
                          flx_pki_result *ret_result, flx_error *reterr);

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
 * Reads the certificates of a PEM text, in order: how many, and the first `cap` of them.
 * FLX_ERR_INVALID: none there, or damaged. FLX_ERR_TOO_LARGE: more than FLX_PKI_CHAIN_MAX.
 */
flx_status flx_certificates_inspect(flx_slice pem, flx_certificate_info *ret_infos, size_t cap,
                                    size_t *ret_count, flx_error *reterr);
/* The same of a file. FLX_ERR_NOT_FOUND, FLX_ERR_IO. */
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

#endif /* FLX_CRYPTO_PKI_H */
