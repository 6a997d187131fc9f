/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/sockaddr.c - see the header. What is behind a struct sockaddr is copied out before it is
 * looked at: it may come from anywhere, and need not be aligned.
 */
#include "common/sockaddr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

void flx_sockaddr_host(const struct sockaddr *address, char host[FLX_SOCKADDR_HOST_MAX])
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    (void)snprintf(host, FLX_SOCKADDR_HOST_MAX, "?");
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, host, FLX_SOCKADDR_HOST_MAX);
    } else if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, host, FLX_SOCKADDR_HOST_MAX);
    }
}

uint16_t flx_sockaddr_port(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        return ntohs(v6.sin6_port);
    }
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return ntohs(v4.sin_port);
    }
    return 0;
}

void flx_sockaddr_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    } else if (address->ss_family == AF_INET) {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    }
}

void flx_sockaddr_text(const struct sockaddr *address, char *text, size_t cap)
{
    char host[FLX_SOCKADDR_HOST_MAX];
    flx_sockaddr_host(address, host);
    (void)snprintf(text, cap, address->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
                   flx_sockaddr_port(address));
}

bool flx_sockaddr_parse(const char *host, uint16_t port, struct sockaddr_storage *ret_address,
                        socklen_t *ret_len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(ret_address, &v4, sizeof v4);
        *ret_len = sizeof v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(ret_address, &v6, sizeof v6);
        *ret_len = sizeof v6;
        return true;
    }
    return false;
}

int flx_sockaddr_lookup(const char *host, uint16_t port, int flags,
                        struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    const int failed = getaddrinfo(host, service, &hints, &found);
    if (failed == 0) {
        memcpy(ret_address, found->ai_addr, found->ai_addrlen);
        *ret_len = found->ai_addrlen;
        freeaddrinfo(found);
    }
    return failed;
}
