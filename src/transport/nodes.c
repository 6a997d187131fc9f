/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of ngtcp2 that all connections of an endpoint share.
 *
 * ngtcp2 0.12.1 keeps a record and a frame for each packet in flight, and a struct for each stream,
 * in pools of the connection. With a thousand subscribers that take turns, a connection's free nodes
 * are out of the cache whenever its turn comes: every packet missed twice to be recorded and twice
 * more to be forgotten. So these pools are one for the endpoint (README rule 26): what an
 * acknowledgement of one connection gave back a moment ago is what the next packet of another is
 * recorded in. An idle connection holds no free nodes at all, and what a burst on one needed serves
 * the others afterwards.
 *
 *     connection A ─┐  pop                    ┌──────────────────────────────┐
 *     connection B ─┼───────► free ► free ► … │ slabs, until the endpoint goes│
 *     connection C ─┘  push                   └──────────────────────────────┘
 *
 * That only goes for pools whose nodes ngtcp2 gives back one by one, also when a connection ends:
 * records, frames and streams. The others throw their blocks away and keep them to themselves.
 *
 * The linker puts these functions between ngtcp2 and its own (`--wrap`); where it did not, as in
 * libfelix.so, all of this is dead text and pools are as ngtcp2 makes them.
 */
#include "common/alloc.h"
#include "transport/quic_int.h"

enum {
    SLAB_BYTES = 16 * 1024,
    SLAB_HEAD = 16,
    READY_MIN = 256, /* more than one call of ngtcp2 takes: README rule 22 */
    SHARED = 1       /* in place of a block's size, which is a multiple of 16 */
};

/* What a pool asks for and what a node of it has; records and frames have the same size. */
static const struct {
    size_t asked;
    uint32_t bytes;
} kinds[FLX_NODE_KINDS] = {[FLX_NODES_PACKET] = {7168, 112}, [FLX_NODES_STREAM] = {11264, 176}};

typedef struct free_node {
    struct free_node *next; /* lies where ngtcp2's own link does: at the front of every kind */
} free_node;

/* ngtcp2's own, as of 0.12.1. In a pool that is shared, `begin` is our node_pool. */
struct ngtcp2_balloc {
    const ngtcp2_mem *mem;
    size_t block_bytes;
    void *blocks;
    void *begin;
    void *end;
    void *position;
    void *last;
};

typedef struct object_pool {
    struct ngtcp2_balloc blocks;
    free_node *free;
} object_pool;

static object_pool *pool_of(free_node **head)
{
    return (object_pool *)(void *)((char *)head - offsetof(object_pool, free));
}

static bool slab_add(node_pool *pool)
{
    uint8_t *slab = flx_alloc(SLAB_BYTES);
    if (slab == NULL)
        return false;
    *(void **)(void *)slab = pool->slabs;
    pool->slabs = slab;
    for (size_t at = SLAB_HEAD; at + pool->node_bytes <= SLAB_BYTES; at += pool->node_bytes) {
        free_node *node = (free_node *)(void *)(slab + at);
        node->next = pool->free;
        pool->free = node;
        pool->free_count++;
    }
    return true;
}

static free_node *node_pop(node_pool *pool)
{
    free_node *node = pool->free;
    if (node == NULL)
        return NULL;
    pool->free = node->next;
    __builtin_prefetch(pool->free, 1);
    pool->free_count--;
    pool->used_count++;
    return node;
}

void flx_nodes_init(flx_nodes *nodes)
{
    nodes->mem = flx_ngtcp2_mem;
    nodes->mem.user_data = nodes;
    for (int i = 0; i < FLX_NODE_KINDS; i++)
        nodes->pools[i] = (node_pool){.node_bytes = kinds[i].bytes};
}

void flx_nodes_done(flx_nodes *nodes)
{
    for (int i = 0; i < FLX_NODE_KINDS; i++) {
        node_pool *pool = &nodes->pools[i];
        FLX_ASSERT(pool->used_count == 0); /* every connection has given its nodes back */
        while (pool->slabs != NULL) {
            void *slab = pool->slabs;
            pool->slabs = *(void **)slab;
            flx_free(slab);
        }
    }
}

bool flx_nodes_ready(flx_nodes *nodes)
{
    node_pool *pool = &nodes->pools[FLX_NODES_PACKET];
    while (pool->is_shared && pool->free_count < READY_MIN)
        if (!slab_add(pool))
            return false;
    return true;
}

void flx_nodes_join(struct ngtcp2_balloc *blocks, size_t asked, const ngtcp2_mem *mem)
{
    flx_nodes *nodes = mem->user_data;
    if (nodes == NULL || !flx_ngtcp2_known())
        return;
    for (int i = 0; i < FLX_NODE_KINDS; i++) {
        if (kinds[i].asked != asked)
            continue;
        nodes->pools[i].is_shared = true;
        blocks->block_bytes = SHARED;
        blocks->begin = &nodes->pools[i];
    }
}

/* --- what the linker puts in front of ngtcp2's ------------------------------------------------ */

int flx_balloc_get(struct ngtcp2_balloc *blocks, void **ret_node,
                   size_t len) __asm__("__wrap_ngtcp2_balloc_get");
free_node *flx_opl_pop(free_node **head) __asm__("__wrap_ngtcp2_opl_pop");
void flx_opl_push(free_node **head, free_node *node) __asm__("__wrap_ngtcp2_opl_push");
extern int balloc_get_real(struct ngtcp2_balloc *blocks, void **ret_node,
                           size_t len) __asm__("__real_ngtcp2_balloc_get") __attribute__((weak));

/* ngtcp2 comes here when the list of free nodes had none. */
__attribute__((used)) int flx_balloc_get(struct ngtcp2_balloc *blocks, void **ret_node, size_t len)
{
    if (blocks->block_bytes != SHARED)
        return balloc_get_real(blocks, ret_node, len);
    node_pool *pool = blocks->begin;
    FLX_ASSERT(len <= pool->node_bytes);
    if (!slab_add(pool))
        return NGTCP2_ERR_NOMEM;
    *ret_node = node_pop(pool);
    return 0;
}

__attribute__((used)) free_node *flx_opl_pop(free_node **head)
{
    const object_pool *pool = pool_of(head);
    if (pool->blocks.block_bytes == SHARED)
        return node_pop(pool->blocks.begin);
    free_node *node = *head;
    if (node != NULL)
        *head = node->next;
    return node;
}

__attribute__((used)) void flx_opl_push(free_node **head, free_node *node)
{
    const object_pool *pool = pool_of(head);
    if (pool->blocks.block_bytes != SHARED) {
        node->next = *head;
        *head = node;
        return;
    }
    node_pool *shared = pool->blocks.begin;
    node->next = shared->free;
    shared->free = node;
    shared->free_count++;
    shared->used_count--;
}
