/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire/arena.h - memory for the arrays of one decoded message, taken in one go and given back in one.
 *
 * Blocks come from the heap the first time and stay: once it has seen the largest message of a
 * session, an arena allocates no more. What it gives out is valid until the reset. One thread.
 */
#ifndef FLX_WIRE_ARENA_H
#define FLX_WIRE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct flx_arena_block flx_arena_block;

typedef struct flx_arena {
    flx_arena_block *block; /* newest and largest first */
    size_t bytes;           /* of all blocks */
    size_t bytes_max;
    bool at_bound; /* the last NULL came from the bound, not from the heap */
} flx_arena;

/* Takes no memory yet. `bytes_max` bounds all blocks together. */
void flx_arena_init(flx_arena *arena, size_t bytes_max);
void flx_arena_done(flx_arena *arena);

/* Forgets what was given out. Keeps the largest block. */
void flx_arena_reset(flx_arena *arena);

/* `len` bytes aligned for anything, not zeroed. NULL: out of memory, or the bound is reached. */
void *flx_arena_alloc(flx_arena *arena, size_t len);

/* Makes an earlier allocation longer, in place when it is the newest. NULL: as above, old intact. */
void *flx_arena_extend(flx_arena *arena, void *memory, size_t old_len, size_t new_len);

#endif /* FLX_WIRE_ARENA_H */
