/* SPDX-License-Identifier: Apache-2.0 */
/* reach.h - whether anybody listens on a UDP port, as far as the kernel tells. */
#ifndef FELIX_CLI_REACH_H
#define FELIX_CLI_REACH_H

#include <netdb.h>
#include <stdbool.h>

/* True when an empty datagram comes back as "connection refused", which happens when nobody listens
 * and nothing filters. Waits up to 100 ms. */
bool cli_udp_is_refused(const struct addrinfo *at);

/* Whether every one of "host:port,host:port" is refused. False as soon as one may be there. */
bool cli_nobody_listens(const char *addresses);

#endif /* FELIX_CLI_REACH_H */
