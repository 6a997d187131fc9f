/* SPDX-License-Identifier: Apache-2.0 */
/* common/chunk.c - counted append-only memory; the shape is drawn in the header. */
#include "common/chunk.h"

#include "common/alloc.h"
#include "common/assert.h"

#define CHUNK_BYTES_MAX ((size_t)1 << 30)

flx_chunk *flx_chunk_new(size_t cap)
{
    FLX_ASSERT(cap > 0 && cap <= CHUNK_BYTES_MAX);
    flx_chunk *chunk = flx_alloc(sizeof *chunk + cap);
    if (chunk == NULL) {
        return NULL;
    }
    atomic_init(&chunk->refs, 1);
    chunk->cap = (uint32_t)cap;
    chunk->len = 0;
    chunk->reserved = 0;
    return chunk;
}

flx_chunk *flx_chunk_unref(flx_chunk *chunk)
{
    if (chunk != NULL) {
        /* Release orders this holder's reads before the free; acquire orders the free after all. */
        const uint32_t before = atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel);
        FLX_ASSERT(before > 0);
        if (before == 1) {
            flx_free(chunk);
        }
    }
    return NULL;
}
