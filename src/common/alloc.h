/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/alloc.h - the one door to the heap, so that tests can fail the Nth allocation.
 *
 * All answer NULL when memory is out (or a test says so); nobody aborts. Memory from here is freed
 * with flx_free and nothing else. Any thread.
 */
#ifndef FLX_COMMON_ALLOC_H
#define FLX_COMMON_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *flx_alloc(size_t size);
void *flx_calloc(size_t count, size_t size); /* zeroed; NULL when count * size overflows */
void *flx_realloc(void *memory, size_t size);
void *flx_aligned_alloc(size_t alignment, size_t size);
char *flx_strdup(const char *text);
char *flx_strndup(const char *text, size_t len); /* terminated copy of len bytes */
void flx_free(void *memory);                     /* NULL is fine */

/* Fault loops: fail the allocation number `nth` from now (1 = the next), once; 0 turns it off. */
void flx_alloc_fail_nth(uint64_t nth);
/* Whether the failure asked for has happened. Ends a fault loop: no failure means a clean run. */
int flx_alloc_failed(void);
/* Allocations made by this process since start, for counts per message in benches. */
uint64_t flx_alloc_count(void);

#endif /* FLX_COMMON_ALLOC_H */
