/* SPDX-License-Identifier: Apache-2.0 */
/* common/alloc.c - the heap behind one door, with a failure that tests can order. */
#include "common/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t alloc_count;
static _Atomic uint64_t fail_at; /* the allocation number that fails, 0 = none */
static _Atomic bool has_failed;

/* Counts one allocation; false when it is the one that must fail. */
static bool may_allocate(void)
{
    const uint64_t number = atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed) + 1;
    if (number != atomic_load_explicit(&fail_at, memory_order_relaxed)) {
        return true;
    }
    atomic_store(&has_failed, true);
    return false;
}

void *flx_alloc(size_t size)
{
    return may_allocate() ? malloc(size == 0 ? 1 : size) : NULL;
}

void *flx_calloc(size_t count, size_t size)
{
    if (!may_allocate()) {
        return NULL;
    }
    return (count == 0 || size == 0) ? calloc(1, 1) : calloc(count, size);
}

void *flx_realloc(void *memory, size_t size)
{
    return may_allocate() ? realloc(memory, size == 0 ? 1 : size) : NULL;
}

void *flx_aligned_alloc(size_t alignment, size_t size)
{
    const size_t rounded = (size + alignment - 1) / alignment * alignment;
    return may_allocate() ? aligned_alloc(alignment, rounded) : NULL;
}

char *flx_strndup(const char *text, size_t len)
{
    char *copy = flx_alloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *flx_strdup(const char *text)
{
    return flx_strndup(text, strlen(text));
}

void flx_free(void *memory)
{
    free(memory);
}

void flx_alloc_fail_nth(uint64_t nth)
{
    atomic_store(&has_failed, false);
    atomic_store(&fail_at, nth == 0 ? 0 : atomic_load(&alloc_count) + nth);
}

int flx_alloc_failed(void)
{
    return atomic_load(&has_failed);
}

uint64_t flx_alloc_count(void)
{
    return atomic_load_explicit(&alloc_count, memory_order_relaxed);
}
