/* SPDX-License-Identifier: Apache-2.0 */
/* node/identity.c - see the header for the files. */
#include "node/identity.h"

#include "authz/issuer.h"
#include "common/error.h"
#include "common/file.h"
#include "crypto/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define TRANSPORT_SECRET_BYTES 32
#define TOKEN_TTL_S            (400U * 24 * 3600) /* longer than a node runs without a restart */

static flx_status path_join(char ret_path[PATH_MAX], const char *dir, const char *name,
                            flx_error *reterr)
{
    const int len = snprintf(ret_path, PATH_MAX, "%s/%s", dir, name);
    if (len < 0 || len >= PATH_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID, "the path '%s/%s' is too long", dir, name);
    }
    return FLX_OK;
}

static flx_status lock_directory(const char *dir, int *ret_fd, flx_error *reterr)
{
    char path[PATH_MAX];
    flx_status status = path_join(path, dir, "lock", reterr);
    if (status != FLX_OK) {
        return status;
    }
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return flx_fail_errno(reterr, errno, "open '%s'", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK
                     ? flx_fail(reterr, FLX_ERR_CONFLICT,
                                "the data directory '%s' is in use by another node; stop it, or "
                                "choose another with --data",
                                dir)
                     : flx_fail_errno(reterr, errno, "lock '%s'", path);
        (void)close(fd);
        return status;
    }
    *ret_fd = fd;
    return FLX_OK;
}

static flx_status write_token(const flx_identity *identity, const char *path, const char *audience,
                              const char *principal, const char *const *perms, size_t count,
                              uint64_t wall_s, flx_error *reterr)
{
    char subject[FLX_PRINCIPAL_ID_CHARS + 1];
    flx_status status = flx_principal_id(FLX_TOKEN_ISSUER, principal, subject, reterr);
    if (status != FLX_OK) {
        return status;
    }
    const flx_token_claims claims = {
        .audience = audience,
        .tenant = FLX_DEV_TENANT,
        .subject = subject,
        .perms = perms,
        .perm_count = count,
        .ttl_s = TOKEN_TTL_S,
    };
    flx_secret token = {0};
    status = flx_issuer_mint(identity->issuer, &claims, wall_s, &token, reterr);
    if (status == FLX_OK) {
        status = flx_file_write_atomic(path, flx_secret_slice(&token), 0600, reterr);
    }
    flx_secret_done(&token);
    return status;
}

static flx_status write_tokens(const flx_identity *identity, uint64_t wall_s, flx_error *reterr)
{
    static const char *const dev[] = {
        "stream.publish:stream:" FLX_DEV_TENANT "/*/*",
        "stream.subscribe:stream:" FLX_DEV_TENANT "/*/*",
        "cache.read:cache:" FLX_DEV_TENANT "/*/*",
        "cache.write:cache:" FLX_DEV_TENANT "/*/*",
    };
    static const char *const admin[] = {
        "tenant.manage:tenant:" FLX_DEV_TENANT,
        "ns.manage:namespace:" FLX_DEV_TENANT "/*",
        "tenant.manage:cluster:*",
        "node.view:cluster:*",
    };
    flx_status status = write_token(identity, identity->dev_token_file, FLX_TOKEN_AUDIENCE_BROKER,
                                    "dev", dev, sizeof dev / sizeof dev[0], wall_s, reterr);
    if (status == FLX_OK) {
        status = write_token(identity, identity->admin_token_file, FLX_TOKEN_AUDIENCE_CONTROLPLANE,
                             "admin", admin, sizeof admin / sizeof admin[0], wall_s, reterr);
    }
    return status;
}

/* The CA, the certificate, the issuer's key and its tokens. */
static flx_status open_embedded(const char *dir, const char *name, uint64_t wall_s,
                                flx_identity *identity, flx_error *reterr)
{
    char tls[PATH_MAX];
    char issuer[PATH_MAX];
    char tokens[PATH_MAX];
    flx_status status = path_join(tls, dir, "tls", reterr);
    const struct {
        char *path;
        const char *below;
    } paths[] = {
        {issuer, "keys/issuer.pem"},
        {tokens, "tokens"},
        {identity->ca_file, "tls/ca.pem"},
        {identity->cert_file, "tls/server.pem"},
        {identity->key_file, "tls/server.key"},
        {identity->dev_token_file, "tokens/dev.token"},
        {identity->admin_token_file, "tokens/admin.token"},
    };
    for (size_t i = 0; status == FLX_OK && i < sizeof paths / sizeof paths[0]; i++) {
        status = path_join(paths[i].path, dir, paths[i].below, reterr);
    }
    if (status != FLX_OK) {
        return status;
    }
    const flx_pki_options pki = {.names = &name, .name_count = name == NULL ? 0 : 1};
    flx_pki_result made;
    status = flx_pki_ensure(tls, &pki, wall_s, &made, reterr);
    if (status == FLX_OK) {
        status = flx_signing_key_load_or_create(issuer, &identity->issuer, reterr);
    }
    if (status == FLX_OK) {
        status = flx_dir_make(tokens, reterr);
    }
    return status == FLX_OK ? write_tokens(identity, wall_s, reterr) : status;
}

flx_status flx_identity_open(const char *dir, bool embedded, const char *name, uint64_t wall_s,
                             flx_identity *ret_identity, flx_error *reterr)
{
    flx_identity *identity = ret_identity;
    memset(identity, 0, sizeof *identity);
    identity->lock_fd = -1;
    char keys[PATH_MAX];
    char secret[PATH_MAX];
    flx_status status = flx_dir_make(dir, reterr);
    if (status == FLX_OK) {
        status = lock_directory(dir, &identity->lock_fd, reterr);
    }
    if (status == FLX_OK) {
        status = path_join(keys, dir, "keys", reterr);
    }
    if (status == FLX_OK) {
        status = path_join(secret, dir, "keys/transport.key", reterr);
    }
    if (status == FLX_OK) {
        status = flx_dir_make(keys, reterr);
    }
    if (status == FLX_OK) {
        status = flx_secret_load_or_create(secret, TRANSPORT_SECRET_BYTES,
                                           &identity->transport_secret, reterr);
    }
    if (status == FLX_OK && embedded) {
        status = open_embedded(dir, name, wall_s, identity, reterr);
    }
    if (status != FLX_OK) {
        flx_identity_close(identity);
    }
    return status;
}

void flx_identity_close(flx_identity *identity)
{
    flx_secret_done(&identity->transport_secret);
    identity->issuer = flx_signing_key_unref(identity->issuer);
    if (identity->lock_fd >= 0) {
        (void)close(identity->lock_fd);
        identity->lock_fd = -1;
    }
}
