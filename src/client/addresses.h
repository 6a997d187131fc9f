/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/addresses.h - the brokers a client may dial, from text; and one of them as a socket
 * address. Pure but for flx_resolve, which runs getaddrinfo in a thread of its own.
 */
#ifndef FLX_CLIENT_ADDRESSES_H
#define FLX_CLIENT_ADDRESSES_H

#include <felix/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define FLX_ADDRESSES_MAX    16
#define FLX_ADDRESS_HOST_MAX 253 /* a DNS name's limit */

typedef struct flx_address {
    char host[FLX_ADDRESS_HOST_MAX + 1]; /* without brackets */
    uint16_t port;
} flx_address;

typedef struct flx_addresses {
    flx_address items[FLX_ADDRESSES_MAX];
    size_t count;
} flx_addresses;

/*
 * Parses "host:port, [::1]:5000, host". Blanks around an item are ignored, a missing port is
 * FLX_PORT_DEFAULT, a bare IPv6 address needs brackets only to carry a port.
 * FLX_ERR_INVALID: empty, too many, a bad host or port; the message names the item.
 */
flx_status flx_addresses_parse(const char *text, flx_addresses *ret_addresses, flx_error *reterr);

typedef struct flx_resolved {
    struct sockaddr_storage address;
    socklen_t len;
} flx_resolved;

/* Fills *ret_resolved when the host is an IP address already, and answers whether it is. */
bool flx_address_is_numeric(const flx_address *address, flx_resolved *ret_resolved);

/* A look-up under way. */
typedef struct flx_resolve flx_resolve;

/*
 * Looks the host up in a thread of its own. `wake` (any thread) is called when flx_resolve_poll has an answer; not
 * after flx_resolve_drop returned. FLX_ERR_IO: no thread; FLX_ERR_NOMEM.
 */
flx_status flx_resolve_start(const flx_address *address, void (*wake)(void *arg), void *arg,
                             flx_resolve **ret_resolve, flx_error *reterr);
/* FLX_ERR_AGAIN: not yet. FLX_OK, or FLX_ERR_UNAVAILABLE with the resolver's words. */
flx_status flx_resolve_poll(flx_resolve *resolve, flx_resolved *ret_resolved, flx_error *reterr);
/* Lets go without waiting: getaddrinfo cannot be interrupted, so its thread ends by itself. NULL is fine. Always
 * returns NULL. */
flx_resolve *flx_resolve_drop(flx_resolve *resolve);

#endif /* FLX_CLIENT_ADDRESSES_H */
