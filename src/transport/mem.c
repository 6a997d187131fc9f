/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of ngtcp2: through our allocator, and in small blocks.
 *
 * ngtcp2 0.12.1 keeps ten pools a connection (stream, packet, range and id nodes ...), and each asks
 * for room for 8 to 32 nodes with its first one. An idle connection uses one or two of each: 70 KB
 * asked for, 1 KB written, and every block costs the pages it lies on. Programs link the packaged
 * archive with `--wrap=ngtcp2_balloc_init`, so a pool is told an eighth of its block: the same nodes,
 * asked for one to four at a time, and kept by the pool as before (README rule 21).
 *
 * Without the wrap (libfelix.so, another version) all of this is dead text and pools are large.
 */
#include "common/alloc.h"
#include "transport/quic_int.h"

#include <stdint.h>

enum {
    POOL_PARTS = 8,      /* every pool of this version holds a multiple of 8 nodes a block ... */
    POOL_NODE_STEP = 16, /* ... and a node is a multiple of 16 bytes */
    POOL_HEAD = 24,      /* bytes before the nodes of a block */
    SENT_POOL = 7168,    /* what the pool of sent packets asks for */
    RESERVE_BLOCKS = 8
};

/*
 * Where memory for a sent packet fails, this version of ngtcp2 aborts the process: it asserts the
 * wrong variable. So such a block never fails: it comes from a reserve, and whoever called ngtcp2
 * asks flx_mem_starved behind the call and ends the connection, which gives the block back.
 */
static _Alignas(16) uint8_t reserve[RESERVE_BLOCKS][SENT_POOL + POOL_HEAD + 8];
static atomic_bool reserve_taken[RESERVE_BLOCKS];
static _Thread_local bool starved;

static bool is_sent_pool(size_t size)
{
    return size == SENT_POOL + POOL_HEAD || size == SENT_POOL / POOL_PARTS + POOL_HEAD;
}

static void *reserve_take(void)
{
    starved = true;
    for (size_t i = 0; i < RESERVE_BLOCKS; i++)
        if (!atomic_exchange(&reserve_taken[i], true))
            return reserve[i];
    return NULL;
}

static bool reserve_give_back(const void *memory)
{
    const uintptr_t offset = (uintptr_t)memory - (uintptr_t)reserve;
    if (offset >= sizeof reserve)
        return false;
    atomic_store(&reserve_taken[offset / sizeof reserve[0]], false);
    return true;
}

bool flx_mem_starved(void)
{
    const bool was = starved;
    starved = false;
    return was;
}

static void *mem_malloc(size_t size, void *arg)
{
    (void)arg;
    void *memory = flx_alloc(size);
    return memory == NULL && is_sent_pool(size) ? reserve_take() : memory;
}

static void mem_free(void *memory, void *arg)
{
    (void)arg;
    if (!reserve_give_back(memory))
        flx_free(memory);
}

static void *mem_calloc(size_t count, size_t size, void *arg)
{
    (void)arg;
    return flx_calloc(count, size);
}

static void *mem_realloc(void *memory, size_t size, void *arg)
{
    (void)arg;
    return flx_realloc(memory, size);
}

const ngtcp2_mem flx_ngtcp2_mem = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};

void flx_balloc_init(struct ngtcp2_balloc *pool, size_t block_bytes,
                     const ngtcp2_mem *mem) __asm__("__wrap_ngtcp2_balloc_init");
extern void balloc_init_real(struct ngtcp2_balloc *pool, size_t block_bytes,
                             const ngtcp2_mem *mem) __asm__("__real_ngtcp2_balloc_init")
    __attribute__((weak));

size_t flx_pool_block_bytes(size_t asked)
{
    const bool divides = asked % ((size_t)POOL_PARTS * POOL_NODE_STEP) == 0;
    return divides && flx_ngtcp2_known() ? asked / POOL_PARTS : asked;
}

/* The linker puts it between ngtcp2's pools and ngtcp2's own function. */
__attribute__((used)) void flx_balloc_init(struct ngtcp2_balloc *pool, size_t block_bytes,
                                           const ngtcp2_mem *mem)
{
    balloc_init_real(pool, flx_pool_block_bytes(block_bytes), mem);
    flx_nodes_join(pool, block_bytes, mem);
}
