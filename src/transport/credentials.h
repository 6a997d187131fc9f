/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport/credentials.h - certificate, key, trusted CAs; counted and swapped whole.
 *
 * A flx_credentials is a holder: handshakes take the set that is current, running connections
 * keep theirs, so a reload disconnects nobody. Reload and read may come from any thread.
 */
#ifndef FLX_TRANSPORT_CREDENTIALS_H
#define FLX_TRANSPORT_CREDENTIALS_H

#include <felix/status.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct flx_credentials flx_credentials;

/* Paths are copied; NULL means none. PEM files, several certificates allowed in each. */
typedef struct flx_credentials_options {
    const char *certificate_file; /* chain, leaf first; server: required */
    const char *key_file;
    const char *ca_file; /* whom we trust; client: NULL means the system's store */
    const char *crl_file;
    bool client_certificate_required; /* server: ask for one signed by ca_file */
} flx_credentials_options;

flx_status flx_credentials_new(bool server, const flx_credentials_options *options,
                               flx_credentials **ret_credentials, flx_error *reterr);
flx_credentials *flx_credentials_free(flx_credentials *credentials);

/* Reads the files again. *ret_changed: the set differs and is current now. On error the old one
 * stays. */
flx_status flx_credentials_reload(flx_credentials *credentials, bool *ret_changed,
                                  flx_error *reterr);

/* Seconds since 1970 when the served leaf expires, 0 without one. */
int64_t flx_credentials_not_after(const flx_credentials *credentials);

#endif /* FLX_TRANSPORT_CREDENTIALS_H */
