/* SPDX-License-Identifier: Apache-2.0 */
/*
 * felix/slice.h - bytes that belong to somebody else.
 *
 * A slice borrows: who hands one out says how long it stays valid. It may hold any bytes, zeros
 * included, and is not terminated. ptr may be NULL when len is 0.
 */
#ifndef FELIX_SLICE_H
#define FELIX_SLICE_H

#include <stddef.h>
#include <stdint.h>

typedef struct flx_slice {
    const uint8_t *ptr;
    size_t len; /* bytes */
} flx_slice;

#endif /* FELIX_SLICE_H */
