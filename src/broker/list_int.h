/* SPDX-License-Identifier: Apache-2.0 */
/* broker/list_int.h - a ring of nodes that live in their owners; a list is a node of its own. */
#ifndef FLX_BROKER_LIST_INT_H
#define FLX_BROKER_LIST_INT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct flx_node {
    struct flx_node *next; /* NULL: in no list */
    struct flx_node *prev;
} flx_node;

/* The struct a node lies in. */
#define FLX_NODE_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void flx_node_init(flx_node *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool flx_node_in_list(const flx_node *node)
{
    return node->next != NULL;
}

static inline bool flx_list_empty(const flx_node *list)
{
    return list->next == list;
}

static inline void flx_list_append(flx_node *list, flx_node *node)
{
    node->next = list;
    node->prev = list->prev;
    list->prev->next = node;
    list->prev = node;
}

/* In no list is fine. */
static inline void flx_node_remove(flx_node *node)
{
    if (node->next != NULL) {
        node->next->prev = node->prev;
        node->prev->next = node->next;
        node->next = NULL;
        node->prev = NULL;
    }
}

/* Moves all nodes of `from` behind those of `to`. */
static inline void flx_list_splice(flx_node *to, flx_node *from)
{
    if (!flx_list_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        flx_node_init(from);
    }
}

#endif /* FLX_BROKER_LIST_INT_H */
