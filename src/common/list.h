/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/list.h - intrusive doubly-linked list.
 *
 * A ring through a head that lives in the list's owner; nodes live in the members. Adding and
 * removing never allocate. A node is zero or initialised when it is in no list, and
 * flx_list_remove leaves it so, so that "is it linked?" has an answer and removing twice is safe.
 * No locks: a list belongs to one thread.
 */
#ifndef FLX_COMMON_LIST_H
#define FLX_COMMON_LIST_H

#include "common/assert.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct flx_list {
    struct flx_list *next;
    struct flx_list *prev;
} flx_list;

/* The struct whose `member` is the node. */
#define FLX_LIST_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* For each node of a list; the body may remove `node` (and free its owner), no other one. */
#define FLX_LIST_EACH(node, head)                                                                  \
    for (flx_list *node = (head)->next, *node##_next = node->next; node != (head);                 \
         node = node##_next, node##_next = node->next)

static inline void flx_list_init(flx_list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool flx_list_is_empty(const flx_list *head)
{
    return head->next == head;
}

static inline bool flx_list_is_linked(const flx_list *node)
{
    return node->next != NULL;
}

static inline void flx_list_insert_between(flx_list *node, flx_list *prev, flx_list *next)
{
    FLX_DEBUG_ASSERT(!flx_list_is_linked(node));
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void flx_list_push_back(flx_list *head, flx_list *node)
{
    flx_list_insert_between(node, head->prev, head);
}

static inline void flx_list_push_front(flx_list *head, flx_list *node)
{
    flx_list_insert_between(node, head, head->next);
}

/* Takes a node out of its list; fine when it is in none. */
static inline void flx_list_remove(flx_list *node)
{
    if (node->next != NULL) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = NULL;
        node->prev = NULL;
    }
}

/* NULL when empty. */
static inline flx_list *flx_list_first(const flx_list *head)
{
    return head->next == head ? NULL : head->next;
}

static inline flx_list *flx_list_last(const flx_list *head)
{
    return head->prev == head ? NULL : head->prev;
}

static inline flx_list *flx_list_pop_front(flx_list *head)
{
    flx_list *node = flx_list_first(head);
    if (node != NULL) {
        flx_list_remove(node);
    }
    return node;
}

/* Moves all nodes of `from` behind those of `to`; `from` is empty afterwards. */
static inline void flx_list_splice_back(flx_list *to, flx_list *from)
{
    if (!flx_list_is_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        flx_list_init(from);
    }
}

#endif /* FLX_COMMON_LIST_H */
