/* SPDX-License-Identifier: Apache-2.0 */
/* broker/handles.c - slots with generations. */
#include "broker/handles_int.h"
#include "common/alloc.h"
#include "common/assert.h"

#include <stddef.h>

#define HANDLES_CAP_FIRST 64

static flx_status handles_grow(flx_handles *handles)
{
    const uint32_t cap = handles->cap == 0 ? HANDLES_CAP_FIRST : handles->cap * 2;
    flx_handle_slot *slots = flx_realloc(handles->slots, cap * sizeof *slots);
    if (slots == NULL) {
        return FLX_ERR_NOMEM;
    }
    for (uint32_t i = cap; i > handles->cap; i--) {
        slots[i - 1] = (flx_handle_slot){NULL, 1, handles->first_free};
        handles->first_free = i;
    }
    handles->slots = slots;
    handles->cap = cap;
    return FLX_OK;
}

flx_status flx_handles_put(flx_handles *handles, void *thing, uint64_t *ret_handle)
{
    FLX_ASSERT(thing != NULL);
    if (handles->first_free == 0) {
        const flx_status status = handles_grow(handles);
        if (status != FLX_OK) {
            return status;
        }
    }
    const uint32_t index = handles->first_free - 1;
    flx_handle_slot *slot = &handles->slots[index];
    handles->first_free = slot->next_free;
    slot->thing = thing;
    *ret_handle = (uint64_t)slot->generation << 32 | index;
    return FLX_OK;
}

static flx_handle_slot *slot_of(const flx_handles *handles, uint64_t handle)
{
    const uint32_t index = (uint32_t)handle;
    if (index >= handles->cap || handles->slots[index].generation != (uint32_t)(handle >> 32)) {
        return NULL;
    }
    return &handles->slots[index];
}

void *flx_handles_get(const flx_handles *handles, uint64_t handle)
{
    const flx_handle_slot *slot = slot_of(handles, handle);
    return slot == NULL ? NULL : slot->thing;
}

void flx_handles_drop(flx_handles *handles, uint64_t handle)
{
    flx_handle_slot *slot = slot_of(handles, handle);
    FLX_ASSERT(slot != NULL && slot->thing != NULL);
    slot->thing = NULL;
    if (++slot->generation == 0) {
        slot->generation = 1;
    }
    slot->next_free = handles->first_free;
    handles->first_free = (uint32_t)handle + 1;
}

void flx_handles_done(flx_handles *handles)
{
    flx_free(handles->slots);
    *handles = (flx_handles){0};
}
