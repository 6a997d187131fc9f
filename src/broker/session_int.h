/* SPDX-License-Identifier: Apache-2.0 */
/* broker/session_int.h - the messages of a lane, sorted; and what its token allows. */
#ifndef FLX_BROKER_SESSION_INT_H
#define FLX_BROKER_SESSION_INT_H

#include "broker/worker.h"
#include "wire/frame.h"

typedef struct flx_job flx_job;

void flx_session_frame(flx_lane *lane, const flx_frame *frame);
void flx_session_job_done(flx_worker *worker, flx_job *job);
/* The stream of a request when the lane may do `action` on it; otherwise the error was written. */
const flx_stream_info *flx_session_stream(flx_lane *lane, flx_slice tenant, flx_slice namespace_,
                                          flx_slice name, flx_action action);
const flx_cache_info *flx_session_cache(flx_lane *lane, flx_slice tenant, flx_slice namespace_,
                                        flx_slice name, flx_action action);
/* Whether the lane's token allows it, in its own tenant. Says nothing to the client. */
bool flx_session_allows(const flx_lane *lane, const flx_object *object, flx_action action);

#endif /* FLX_BROKER_SESSION_INT_H */
