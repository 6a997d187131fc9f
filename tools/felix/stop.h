/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop.h - ending early: Ctrl-C, SIGTERM, or a callback that found the work cannot go on.
 *
 * One for the process, as signals are. The first request asks for an orderly end, the second for
 * one at once.
 */
#ifndef FELIX_CLI_STOP_H
#define FELIX_CLI_STOP_H

#include <felix/status.h>

#include <stdbool.h>

/* Takes over SIGINT and SIGTERM. FLX_ERR_IO. */
flx_status cli_stop_init(flx_error *reterr);
/* Readable once a stop was requested; -1 before cli_stop_init. Poll it, do not read it. */
int cli_stop_fd(void);
/* Any thread, and signal handlers. */
void cli_stop_request(void);
bool cli_stop_requested(void);
/* A second signal: do not wait for anything any more. */
bool cli_stop_at_once(void);

#endif /* FELIX_CLI_STOP_H */
