/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate, key and trusted CAs, counted and swapped whole.
 *
 * The holder keeps a pointer to the current set under a lock that only handshakes and reloads take.
 * A handshake takes a reference for its own lifetime, so replacing the set disturbs nobody. A set is
 * built completely from bytes that were read before anything changes: a half-written file fails the
 * reload and leaves the old set in place.
 */
#include "transport/credentials.h"

#include "common/alloc.h"
#include "common/error.h"
#include "transport/quic_int.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (8 << 20)

enum { FILE_CERTIFICATE, FILE_KEY, FILE_CA, FILE_CRL, FILES };

struct credential_set {
    _Atomic uint32_t refs;
    gnutls_certificate_credentials_t gnutls;
    uint8_t digest[32]; /* of the files it came from */
    int64_t not_after;
};

struct flx_credentials {
    bool server;
    bool client_required;
    char *paths[FILES];
    pthread_mutex_t lock; /* of `current` */
    credential_set *current;
};

typedef struct file_bytes {
    uint8_t *bytes; /* NULL: no such file is configured */
    size_t len;
} file_bytes;

static void file_wipe(file_bytes *file)
{
    if (file->bytes != NULL)
        explicit_bzero(file->bytes, file->len);
    flx_free(file->bytes);
    *file = (file_bytes){0};
}

static flx_status read_all(int fd, const char *path, file_bytes *ret_file, flx_error *reterr)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return flx_fail_errno(reterr, errno, "stat '%s'", path);
    if (!S_ISREG(info.st_mode) || info.st_size > FILE_BYTES_MAX)
        return flx_fail(reterr, FLX_ERR_INVALID, "'%s' is no file of a sensible size", path);
    file_bytes file = {.bytes = flx_alloc((size_t)info.st_size + 1), .len = 0};
    if (file.bytes == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for '%s'", path);
    while (file.len < (size_t)info.st_size) {
        const ssize_t n = read(fd, file.bytes + file.len, (size_t)info.st_size - file.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const int read_errno = errno;
            file_wipe(&file);
            return flx_fail_errno(reterr, read_errno, "read '%s'", path);
        }
        if (n == 0)
            break;
        file.len += (size_t)n;
    }
    file.bytes[file.len] = 0;
    *ret_file = file;
    return FLX_OK;
}

static flx_status file_read(const char *path, file_bytes *ret_file, flx_error *reterr)
{
    if (path == NULL)
        return FLX_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return flx_fail_errno(reterr, errno, "open '%s'", path);
    const flx_status status = read_all(fd, path, ret_file, reterr);
    (void)close(fd);
    return status;
}

static flx_status digest_files(const file_bytes files[FILES], uint8_t ret_digest[32],
                               flx_error *reterr)
{
    gnutls_hash_hd_t hash;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for a digest");
    for (int i = 0; i < FILES; i++) {
        (void)gnutls_hash(hash, &files[i].len, sizeof files[i].len);
        if (files[i].len > 0)
            (void)gnutls_hash(hash, files[i].bytes, files[i].len);
    }
    gnutls_hash_deinit(hash, ret_digest);
    return FLX_OK;
}

/* When the leaf, the first certificate of the chain, ends. */
static int64_t leaf_not_after(const gnutls_datum_t *pem)
{
    gnutls_x509_crt_t leaf;
    if (gnutls_x509_crt_init(&leaf) < 0)
        return 0;
    int64_t not_after = 0;
    if (gnutls_x509_crt_import(leaf, pem, GNUTLS_X509_FMT_PEM) >= 0)
        not_after = (int64_t)gnutls_x509_crt_get_expiration_time(leaf);
    gnutls_x509_crt_deinit(leaf);
    return not_after;
}

static flx_status gnutls_fail(flx_error *reterr, int error, const char *what, const char *path)
{
    const flx_status status = error == GNUTLS_E_MEMORY_ERROR ? FLX_ERR_NOMEM : FLX_ERR_INVALID;
    return flx_fail(reterr, status, "%s '%s': %s", what, path, gnutls_strerror(error));
}

static gnutls_datum_t datum_of(const file_bytes *file)
{
    return (gnutls_datum_t){file->bytes, (unsigned)file->len};
}

static flx_status fill_own(const flx_credentials *holder, const file_bytes files[FILES],
                           credential_set *set, flx_error *reterr)
{
    if (files[FILE_CERTIFICATE].bytes == NULL)
        return FLX_OK;
    const gnutls_datum_t certificate = datum_of(&files[FILE_CERTIFICATE]);
    const gnutls_datum_t key = datum_of(&files[FILE_KEY]);
    const int rv =
        gnutls_certificate_set_x509_key_mem(set->gnutls, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (rv < 0)
        return gnutls_fail(reterr, rv, "use the certificate and key of",
                           holder->paths[FILE_CERTIFICATE]);
    set->not_after = leaf_not_after(&certificate);
    return FLX_OK;
}

static flx_status fill_trust(const flx_credentials *holder, const file_bytes files[FILES],
                             credential_set *set, flx_error *reterr)
{
    int rv;
    if (files[FILE_CA].bytes != NULL) {
        const gnutls_datum_t ca = datum_of(&files[FILE_CA]);
        rv = gnutls_certificate_set_x509_trust_mem(set->gnutls, &ca, GNUTLS_X509_FMT_PEM);
        if (rv == 0)
            return flx_fail(reterr, FLX_ERR_INVALID, "'%s' holds no certificate",
                            holder->paths[FILE_CA]);
        if (rv < 0)
            return gnutls_fail(reterr, rv, "trust", holder->paths[FILE_CA]);
    } else if (!holder->server) {
        rv = gnutls_certificate_set_x509_system_trust(set->gnutls);
        if (rv < 0)
            return flx_fail(reterr, FLX_ERR_INVALID, "load the system's trusted certificates: %s",
                            gnutls_strerror(rv));
    }
    if (files[FILE_CRL].bytes != NULL) {
        const gnutls_datum_t crl = datum_of(&files[FILE_CRL]);
        rv = gnutls_certificate_set_x509_crl_mem(set->gnutls, &crl, GNUTLS_X509_FMT_PEM);
        if (rv < 0)
            return gnutls_fail(reterr, rv, "use the revocation list", holder->paths[FILE_CRL]);
    }
    return FLX_OK;
}

static flx_status set_build(const flx_credentials *holder, const file_bytes files[FILES],
                            credential_set **ret_set, flx_error *reterr)
{
    credential_set *set = flx_calloc(1, sizeof *set);
    if (set == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for credentials");
    atomic_init(&set->refs, 1);
    if (gnutls_certificate_allocate_credentials(&set->gnutls) < 0) {
        flx_free(set);
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for credentials");
    }
    flx_status status = digest_files(files, set->digest, reterr);
    if (status == FLX_OK)
        status = fill_own(holder, files, set, reterr);
    if (status == FLX_OK)
        status = fill_trust(holder, files, set, reterr);
    if (status != FLX_OK) {
        (void)flx_credential_set_unref(set);
        return status;
    }
    *ret_set = set;
    return FLX_OK;
}

static flx_status set_load(const flx_credentials *holder, credential_set **ret_set,
                           flx_error *reterr)
{
    file_bytes files[FILES] = {{0}};
    flx_status status = FLX_OK;
    for (int i = 0; i < FILES && status == FLX_OK; i++)
        status = file_read(holder->paths[i], &files[i], reterr);
    if (status == FLX_OK)
        status = set_build(holder, files, ret_set, reterr);
    for (int i = 0; i < FILES; i++)
        file_wipe(&files[i]);
    return status;
}

static flx_status options_check(bool server, const flx_credentials_options *options,
                                flx_error *reterr)
{
    if ((options->certificate_file == NULL) != (options->key_file == NULL))
        return flx_fail(reterr, FLX_ERR_INVALID, "a certificate and its key go together");
    if (server && options->certificate_file == NULL)
        return flx_fail(reterr, FLX_ERR_INVALID, "a server needs a certificate");
    if (options->client_certificate_required && (!server || options->ca_file == NULL))
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "only a server with a ca_file can require client certificates");
    return FLX_OK;
}

static bool copy_paths(flx_credentials *holder, const flx_credentials_options *options)
{
    const char *given[FILES] = {options->certificate_file, options->key_file, options->ca_file,
                                options->crl_file};
    for (int i = 0; i < FILES; i++) {
        if (given[i] == NULL)
            continue;
        holder->paths[i] = flx_strdup(given[i]);
        if (holder->paths[i] == NULL)
            return false;
    }
    return true;
}

flx_status flx_credentials_new(bool server, const flx_credentials_options *options,
                               flx_credentials **ret_credentials, flx_error *reterr)
{
    flx_status status = flx_tls_init(reterr);
    if (status == FLX_OK)
        status = options_check(server, options, reterr);
    if (status != FLX_OK)
        return status;

    flx_credentials *holder = flx_calloc(1, sizeof *holder);
    if (holder == NULL)
        return flx_fail(reterr, FLX_ERR_NOMEM, "no memory for credentials");
    holder->server = server;
    holder->client_required = options->client_certificate_required;
    (void)pthread_mutex_init(&holder->lock, NULL);
    if (copy_paths(holder, options))
        status = set_load(holder, &holder->current, reterr);
    else
        status = flx_fail(reterr, FLX_ERR_NOMEM, "no memory for credentials");
    if (status != FLX_OK) {
        (void)flx_credentials_free(holder);
        return status;
    }
    *ret_credentials = holder;
    return FLX_OK;
}

flx_credentials *flx_credentials_free(flx_credentials *credentials)
{
    if (credentials == NULL)
        return NULL;
    (void)flx_credential_set_unref(credentials->current);
    for (int i = 0; i < FILES; i++)
        flx_free(credentials->paths[i]);
    (void)pthread_mutex_destroy(&credentials->lock);
    flx_free(credentials);
    return NULL;
}

flx_status flx_credentials_reload(flx_credentials *credentials, bool *ret_changed,
                                  flx_error *reterr)
{
    credential_set *fresh = NULL;
    const flx_status status = set_load(credentials, &fresh, reterr);
    if (status != FLX_OK)
        return status;

    (void)pthread_mutex_lock(&credentials->lock);
    credential_set *old = credentials->current;
    const bool changed = memcmp(old->digest, fresh->digest, sizeof old->digest) != 0;
    if (changed)
        credentials->current = fresh;
    (void)pthread_mutex_unlock(&credentials->lock);
    (void)flx_credential_set_unref(changed ? old : fresh);
    *ret_changed = changed;
    return FLX_OK;
}

credential_set *flx_credentials_current(flx_credentials *credentials)
{
    (void)pthread_mutex_lock(&credentials->lock);
    credential_set *set = credentials->current;
    (void)atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&credentials->lock);
    return set;
}

credential_set *flx_credential_set_unref(credential_set *set)
{
    if (set != NULL && atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) == 1) {
        gnutls_certificate_free_credentials(set->gnutls);
        flx_free(set);
    }
    return NULL;
}

gnutls_certificate_credentials_t flx_credential_set_gnutls(credential_set *set)
{
    return set->gnutls;
}

bool flx_credentials_client_required(const flx_credentials *credentials)
{
    return credentials->client_required;
}

int64_t flx_credentials_not_after(const flx_credentials *credentials)
{
    flx_credentials *holder = (flx_credentials *)(uintptr_t)credentials; /* only its lock moves */
    credential_set *set = flx_credentials_current(holder);
    const int64_t not_after = set->not_after;
    (void)flx_credential_set_unref(set);
    return not_after;
}
