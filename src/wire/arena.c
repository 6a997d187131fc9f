/* SPDX-License-Identifier: Apache-2.0 */
/* wire/arena.c - a chain of blocks, each at least twice the one before; only the newest is used. */
#include "wire/arena.h"

#include "common/alloc.h"
#include "common/assert.h"

#include <string.h>

#define BLOCK_BYTES_MIN 1024
#define ALIGNMENT       16

struct flx_arena_block {
    flx_arena_block *older;
    size_t cap;
    size_t used;
    size_t reserved; /* keeps data aligned */
    uint8_t data[];
};
static_assert(sizeof(flx_arena_block) % ALIGNMENT == 0, "data is aligned as the block is");

void flx_arena_init(flx_arena *arena, size_t bytes_max)
{
    memset(arena, 0, sizeof *arena);
    arena->bytes_max = bytes_max;
}

static void free_chain(flx_arena *arena, flx_arena_block *block)
{
    while (block != NULL) {
        flx_arena_block *older = block->older;
        arena->bytes -= block->cap;
        flx_free(block);
        block = older;
    }
}

void flx_arena_done(flx_arena *arena)
{
    free_chain(arena, arena->block);
    FLX_ASSERT(arena->bytes == 0);
    arena->block = NULL;
}

void flx_arena_reset(flx_arena *arena)
{
    if (arena->block != NULL) {
        free_chain(arena, arena->block->older);
        arena->block->older = NULL;
        arena->block->used = 0;
        FLX_ASSERT(arena->bytes == arena->block->cap);
    }
}

static size_t round_up(size_t len)
{
    return (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A new block with room for `len`, or NULL. */
static flx_arena_block *grow(flx_arena *arena, size_t len)
{
    size_t cap = arena->block != NULL ? arena->block->cap * 2 : BLOCK_BYTES_MIN;
    cap = cap < len ? len : cap;
    const size_t room = arena->bytes_max - arena->bytes;
    cap = cap > room ? room : cap; /* the last block may be smaller than wished */
    arena->at_bound = cap < len;
    if (arena->at_bound) {
        return NULL;
    }
    flx_arena_block *block = flx_alloc(sizeof *block + cap);
    if (block != NULL) {
        block->older = arena->block;
        block->cap = cap;
        block->used = 0;
        arena->block = block;
        arena->bytes += cap;
    }
    return block;
}

void *flx_arena_alloc(flx_arena *arena, size_t len)
{
    if (len > arena->bytes_max) {
        arena->at_bound = true;
        return NULL;
    }
    const size_t taken = round_up(len);
    flx_arena_block *block = arena->block;
    if (block == NULL || block->cap - block->used < taken) {
        block = grow(arena, taken);
        if (block == NULL) {
            return NULL;
        }
    }
    void *memory = block->data + block->used;
    block->used += taken;
    return memory;
}

void *flx_arena_extend(flx_arena *arena, void *memory, size_t old_len, size_t new_len)
{
    FLX_ASSERT(memory != NULL && new_len >= old_len);
    flx_arena_block *block = arena->block;
    FLX_ASSERT(block != NULL);
    const size_t taken = round_up(old_len);
    const bool is_newest = (uint8_t *)memory + taken == block->data + block->used;
    if (is_newest && new_len <= arena->bytes_max &&
        block->cap - block->used >= round_up(new_len) - taken) {
        block->used += round_up(new_len) - taken;
        return memory;
    }
    void *moved = flx_arena_alloc(arena, new_len);
    if (moved != NULL) {
        memcpy(moved, memory, old_len);
    }
    return moved;
}
