/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/sockaddr.h - addresses of sockets to text and back, IPv4 and IPv6.
 */
#ifndef FLX_COMMON_SOCKADDR_H
#define FLX_COMMON_SOCKADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define FLX_SOCKADDR_HOST_MAX INET6_ADDRSTRLEN /* with its terminator */

/* The IP address; "?" when it is neither. */
void flx_sockaddr_host(const struct sockaddr *address, char host[FLX_SOCKADDR_HOST_MAX]);
/* "127.0.0.1:5000", "[::1]:5000"; cut to `cap`. */
void flx_sockaddr_text(const struct sockaddr *address, char *text, size_t cap);
uint16_t flx_sockaddr_port(const struct sockaddr *address); /* 0: it is neither */
void flx_sockaddr_set_port(struct sockaddr_storage *address, uint16_t port);

/* The address that `host` is in digits; false: it is a name, or nothing. */
bool flx_sockaddr_parse(const char *host, uint16_t port, struct sockaddr_storage *ret_address,
                        socklen_t *ret_len);
/* The first address of a name or of digits, for datagrams. Blocks while a resolver is asked. `flags`
 * are getaddrinfo's, and so is what it returns: 0, or what gai_strerror explains. */
int flx_sockaddr_lookup(const char *host, uint16_t port, int flags,
                        struct sockaddr_storage *ret_address, socklen_t *ret_len);

#endif /* FLX_COMMON_SOCKADDR_H */
