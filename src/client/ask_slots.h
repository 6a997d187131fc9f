/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/ask_slots.h - the channels requests leave on and answers come back on. Loop thread.
 */
#ifndef FLX_CLIENT_ASK_SLOTS_H
#define FLX_CLIENT_ASK_SLOTS_H

#include "client/asks.h"

/* All slots there are, one behind the other; after NULL the first one. */
flx_ask_slot *flx_ask_slot_next(const flx_asks *asks, flx_ask_slot *slot);
/* The asks on it have been taken off. */
void flx_ask_slot_close(flx_ask_slot *slot);
/* Takes an ask that was sent and not answered in time off its slot, which is not used on: in JSON a
 * late answer would meet the next request. */
void flx_ask_slot_leave(flx_ask *ask);
/* Sends what can be sent. */
void flx_ask_slots_feed(flx_client *client);
/* Opens channels for what still waits; it is fed to them when they are ready. */
void flx_ask_slots_open(flx_client *client);

#endif /* FLX_CLIENT_ASK_SLOTS_H */
