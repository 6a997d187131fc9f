/* SPDX-License-Identifier: Apache-2.0 */
/* reach.c - see the header. QUIC itself cannot tell "not there" from "slow"; the kernel often can. */
#include "reach.h"

#include "common/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

bool cli_udp_is_refused(const struct addrinfo *at)
{
    bool refused = false;
    const int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    const struct timeval wait = {0, 100000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0 && send(fd, "", 0, 0) >= 0) {
        char byte = 0;
        refused = recv(fd, &byte, 1, 0) < 0 && errno == ECONNREFUSED;
    }
    (void)close(fd);
    return refused;
}

static bool address_is_refused(const char *address)
{
    char host[FLX_HOST_MAX];
    char service[8];
    uint16_t port = 0;
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    if (flx_address_split(address, host, &port, NULL) != FLX_OK) {
        return false;
    }
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return false;
    }
    bool refused = true;
    for (const struct addrinfo *at = found; refused && at != NULL; at = at->ai_next) {
        refused = cli_udp_is_refused(at);
    }
    freeaddrinfo(found);
    return refused;
}

bool cli_nobody_listens(const char *addresses)
{
    const char *at = addresses + strspn(addresses, ", ");
    bool refused = *at != '\0';
    while (refused && *at != '\0') {
        char address[FLX_HOST_MAX + 8];
        const size_t len = strcspn(at, ", ");
        if (len >= sizeof address) {
            return false;
        }
        memcpy(address, at, len);
        address[len] = '\0';
        refused = address_is_refused(address);
        at += len;
        at += strspn(at, ", ");
    }
    return refused;
}
