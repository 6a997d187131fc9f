/* SPDX-License-Identifier: Apache-2.0 */
/* node/settings.h - from configuration keys to what the rooms below want. Pure; any thread. */
#ifndef FLX_NODE_SETTINGS_H
#define FLX_NODE_SETTINGS_H

#include "broker/worker.h"
#include "common/config.h"
#include "transport/quic.h"

void flx_settings_limits(const flx_config *config, flx_worker_limits *ret_limits);
void flx_settings_quic(const flx_config *config, flx_quic_options *ret_options);
/* Threads that carry data: the configured number, or one a processor of worker_cpus, or of all. */
uint32_t flx_settings_workers(const flx_config *config);
/* The processor worker `index` is bound to; -1: to none. */
int flx_settings_cpu(const flx_config *config, uint32_t index);

/* Looks an address up ("127.0.0.1:5000", "[::]:5000", "localhost:5000"); with `any_port` port 0 is
 * taken instead. FLX_ERR_INVALID, FLX_ERR_NOT_FOUND. */
flx_status flx_settings_address(const char *text, bool any_port,
                                struct sockaddr_storage *ret_address, socklen_t *ret_len,
                                flx_error *reterr);
/* "127.0.0.1:5000" or "[::1]:5000"; a wildcard becomes the loopback address of its family, so that
 * a client can use it. */
void flx_settings_address_text(const struct sockaddr_storage *address, char *text, size_t cap);

#endif /* FLX_NODE_SETTINGS_H */
