/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node/identity.h - what a node keeps in its data directory to be itself again after a restart.
 *
 *     DATA/lock                 held while a process uses the directory
 *     DATA/tls/                 the development CA and certificate (crypto/pki.h)
 *     DATA/keys/transport.key   32 bytes: stateless resets, Retry
 *     DATA/keys/issuer.pem      Ed25519 key of the embedded token issuer
 *     DATA/tokens/dev.token     for the context: publish, subscribe, cache, all of tenant t1
 *     DATA/tokens/admin.token   for the control-plane API
 *
 * Tokens are minted again at every start, so they are as fresh as the node. One thread.
 */
#ifndef FLX_NODE_IDENTITY_H
#define FLX_NODE_IDENTITY_H

#include "crypto/key.h"
#include "crypto/secret.h"

#include <felix/status.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define FLX_DEV_TENANT    "t1"
#define FLX_DEV_NAMESPACE "default"
#define FLX_DEV_CACHE     "primary"

typedef struct flx_identity {
    int lock_fd; /* -1: not open */
    flx_secret transport_secret;
    flx_signing_key *issuer; /* NULL unless embedded */
    char ca_file[PATH_MAX];
    char cert_file[PATH_MAX];
    char key_file[PATH_MAX];
    char dev_token_file[PATH_MAX];
    char admin_token_file[PATH_MAX];
} flx_identity;

/*
 * Makes or reads it all. `dir` is made when missing (0700). `name` is one more name for the
 * certificate (NULL: none). Without `embedded` only the lock and the transport secret are there.
 *
 * FLX_ERR_CONFLICT  another process holds the directory
 * FLX_ERR_DENIED, FLX_ERR_CORRUPT, FLX_ERR_IO, FLX_ERR_NOMEM, FLX_ERR_UNAVAILABLE
 */
flx_status flx_identity_open(const char *dir, bool embedded, const char *name, uint64_t wall_s,
                             flx_identity *ret_identity, flx_error *reterr);

/* Wipes and unlocks; a zeroed identity with lock_fd -1 is fine. */
void flx_identity_close(flx_identity *identity);

#endif /* FLX_NODE_IDENTITY_H */
