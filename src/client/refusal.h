/* SPDX-License-Identifier: Apache-2.0 */
/* client/refusal.h - what the broker refused, as a flx_error; and what may be tried again. Pure. */
#ifndef FLX_CLIENT_REFUSAL_H
#define FLX_CLIENT_REFUSAL_H

#include "wire/ack.h"
#include "wire/message.h"
#include "wire/operation.h"

#include <felix/status.h>

/* Fills *ret_error from error, publish_error, unsupported, not_leader or publish_refused. False: the
 * message is none of these. */
bool flx_refusal_from_msg(const flx_msg *msg, flx_error *ret_error);
/* The same from a failed binary ack. */
void flx_refusal_from_ack(const flx_publish_ack *ack, flx_error *ret_error);
/* The same from a failed operation. */
void flx_refusal_from_operation(const flx_operation_answer *answer, flx_error *ret_error);

/* Whether the broker says that nothing happened, so that the same may be sent again. */
bool flx_refusal_is_harmless(const flx_error *error);
/* How long to wait before that: the broker's word, or `fallback_ms`. */
uint32_t flx_refusal_pause_ms(const flx_error *error, uint32_t fallback_ms);

#endif /* FLX_CLIENT_REFUSAL_H */
