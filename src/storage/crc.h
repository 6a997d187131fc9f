/* SPDX-License-Identifier: Apache-2.0 */
/* storage/crc.h - CRC32C (Castagnoli), the checksum of everything on disk. Pure; any thread. */
#ifndef FLX_STORAGE_CRC_H
#define FLX_STORAGE_CRC_H

#include <felix/slice.h>

#include <stdint.h>

/* The CRC of no bytes yet; what flx_crc32c_add continues from. */
#define FLX_CRC32C_INIT UINT32_C(0)

/* The CRC of the bytes behind `crc` followed by `bytes`: the pieces of a batch need not adjoin. */
uint32_t flx_crc32c_add(uint32_t crc, flx_slice bytes);

static inline uint32_t flx_crc32c(flx_slice bytes)
{
    return flx_crc32c_add(FLX_CRC32C_INIT, bytes);
}

#endif /* FLX_STORAGE_CRC_H */
