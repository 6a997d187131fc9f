/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker/handles_int.h - names for things that may be gone when an answer comes back.
 *
 * A handle is a slot and the generation that filled it; after the thing is dropped its handle finds
 * NULL for ever. Threads: one worker.
 */
#ifndef FLX_BROKER_HANDLES_INT_H
#define FLX_BROKER_HANDLES_INT_H

#include <felix/status.h>

#include <stdint.h>

typedef struct flx_handle_slot {
    void *thing;         /* NULL: free */
    uint32_t generation; /* of the handle that is valid, or the next one */
    uint32_t next_free;  /* index + 1, 0: none */
} flx_handle_slot;

typedef struct flx_handles {
    flx_handle_slot *slots;
    uint32_t cap;
    uint32_t first_free; /* index + 1 */
} flx_handles;

/* Never 0. FLX_ERR_NOMEM. */
flx_status flx_handles_put(flx_handles *handles, void *thing, uint64_t *ret_handle);
void *flx_handles_get(const flx_handles *handles, uint64_t handle);
void flx_handles_drop(flx_handles *handles, uint64_t handle);
void flx_handles_done(flx_handles *handles);

#endif /* FLX_BROKER_HANDLES_INT_H */
