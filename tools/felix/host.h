/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h - what of this machine holds a node back: socket buffers, frequency governor, idle states,
 * too few processors. It only reads files below `root` ("" is the machine's own), so a test hands it
 * a folder.
 */
#ifndef FELIX_CLI_HOST_H
#define FELIX_CLI_HOST_H

#include <stdint.h>

typedef enum cli_host_verdict {
    CLI_HOST_FINE,
    CLI_HOST_SLOW,   /* it works, and could be faster */
    CLI_HOST_UNKNOWN /* this system does not say */
} cli_host_verdict;

typedef struct cli_host_finding {
    const char *check;
    cli_host_verdict verdict;
    char detail[200];
    char next[160]; /* what to do; "" unless SLOW */
} cli_host_finding;

/* Calls `found` once a check. `processors`: what this process may run on, as the scheduler says. */
void cli_host_examine(const char *root, unsigned processors,
                      void (*found)(void *arg, const cli_host_finding *finding), void *arg);

#endif /* FELIX_CLI_HOST_H */
