/* SPDX-License-Identifier: Apache-2.0 */
/* http/server_pair.c - the certificate and the key a server shows, as PEM in memory. */
#include "common/alloc.h"
#include "common/error.h"
#include "common/file.h"
#include "http/server_int.h"

#include <gnutls/gnutls.h>
#include <string.h>

#define PEM_BYTES_MAX ((size_t)256 * 1024)

/* One file, terminated. All the room is taken at once, because growing would leave copies of a key
 * behind. */
static flx_status read_pem(const char *path, flx_buffer *text, flx_error *reterr)
{
    uint8_t *room;
    flx_buffer_init(text, PEM_BYTES_MAX);
    if (flx_buffer_reserve(text, PEM_BYTES_MAX, &room) != FLX_OK) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "read '%s': out of memory", path);
    }
    const flx_status status = flx_file_read(path, text, reterr);
    if (status == FLX_OK && flx_buffer_text(text) == NULL) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "read '%s': larger than %zu bytes", path,
                        PEM_BYTES_MAX - 1);
    }
    return status;
}

static gnutls_datum_t datum_of(const flx_buffer *text)
{
    return (gnutls_datum_t){text->data, (unsigned)text->len};
}

/* Whether the two belong together, asked before libmicrohttpd, which would only say no. */
static flx_status check_pair(const flx_http_pair *pair, const char *path, flx_error *reterr)
{
    gnutls_certificate_credentials_t credentials;
    if (gnutls_certificate_allocate_credentials(&credentials) != 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "certificate: out of memory");
    }
    const gnutls_datum_t certificate = datum_of(&pair->certificate);
    const gnutls_datum_t key = datum_of(&pair->key);
    const int code =
        gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    return code >= 0 ? FLX_OK
                     : flx_fail(reterr, FLX_ERR_INVALID, "certificate '%s': %s", path,
                                gnutls_strerror(code));
}

flx_status flx_http_pair_load(const char *certificate_file, const char *key_file,
                              flx_http_pair *ret_pair, flx_error *reterr)
{
    flx_http_pair pair = {0};
    flx_status status = read_pem(certificate_file, &pair.certificate, reterr);
    if (status == FLX_OK) {
        status = read_pem(key_file, &pair.key, reterr);
    }
    if (status == FLX_OK) {
        status = check_pair(&pair, certificate_file, reterr);
    }
    if (status != FLX_OK) {
        flx_http_pair_done(&pair);
        return status;
    }
    *ret_pair = pair;
    return FLX_OK;
}

static bool equal(const flx_buffer *left, const flx_buffer *right)
{
    return left->len == right->len && memcmp(left->data, right->data, left->len) == 0;
}

bool flx_http_pair_equal(const flx_http_pair *left, const flx_http_pair *right)
{
    return equal(&left->certificate, &right->certificate) && equal(&left->key, &right->key);
}

void flx_http_pair_done(flx_http_pair *pair)
{
    if (pair->key.data != NULL) {
        explicit_bzero(pair->key.data, pair->key.cap);
    }
    flx_buffer_done(&pair->certificate);
    flx_buffer_done(&pair->key);
}
