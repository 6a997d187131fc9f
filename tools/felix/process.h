/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - what /proc tells: who holds a port, how much processor time somebody used. */
#ifndef FELIX_CLI_PROCESS_H
#define FELIX_CLI_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct cli_port_owner {
    pid_t pid;
    char command[64];
} cli_port_owner;

/* Which process has a socket bound to the local port. False: none, or not to be seen by us. */
bool cli_port_owner_find(bool udp, uint16_t port, cli_port_owner *ret_owner);

/* User and system time of a process so far. False: it is gone. */
bool cli_process_cpu_us(pid_t pid, uint64_t *ret_us);

#endif /* FELIX_CLI_PROCESS_H */
