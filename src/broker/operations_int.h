/* SPDX-License-Identifier: Apache-2.0 */
/* broker/operations_int.h - operation frames: many small requests, each answered when it is done. */
#ifndef FLX_BROKER_OPERATIONS_INT_H
#define FLX_BROKER_OPERATIONS_INT_H

#include "broker/worker.h"
#include "wire/frame.h"

void flx_operations_frame(flx_lane *lane, const flx_frame *frame);
void flx_operations_resume(flx_lane *lane);    /* with the rest of a frame, as far as it may */
void flx_operations_drop_rest(flx_lane *lane); /* its stream is over */
void flx_operations_lane_done(flx_lane *lane);

#endif /* FLX_BROKER_OPERATIONS_INT_H */
