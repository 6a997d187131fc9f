/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client/ask_lines.h - the lines in which asks wait, and which of them an ask stands in. Loop thread.
 *
 * `common` is for any connection that is kept up; a port's line is for that connection alone; `held`
 * of a place is for asks whose place moves once those before them are answered (places.h).
 */
#ifndef FLX_CLIENT_ASK_LINES_H
#define FLX_CLIENT_ASK_LINES_H

#include "client/asks.h"

/* Puts a new ask into the line where it belongs. */
void flx_ask_enqueue(flx_asks *asks, flx_ask *ask);
/* Takes it out of the line it stands in. */
void flx_ask_unlink(flx_asks *asks, flx_ask *ask);
/* One that was in a line or a slot goes back to the front of its line. */
void flx_ask_requeue(flx_asks *asks, flx_ask *ask);
/* Answers an ask that is in no line and no slot any more, and gives it back. */
void flx_ask_finish(flx_ask *ask, flx_msg *msg, const flx_error *error);
/* Lets places move whose asks are answered, and looks after lines of connections that are gone. */
void flx_asks_settle(flx_client *client);

#endif /* FLX_CLIENT_ASK_LINES_H */
