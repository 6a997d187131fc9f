/* SPDX-License-Identifier: Apache-2.0 */
/* storage/crc.c - CRC32C by ISA-L, which has the instructions of the processor for it. */
#include "storage/crc.h"

#include "common/assert.h"

#include <isa-l/crc.h>

uint32_t flx_crc32c_add(uint32_t crc, flx_slice bytes)
{
    FLX_ASSERT(bytes.len <= INT32_MAX);
    if (bytes.len == 0) {
        return crc;
    }
    /* ISA-L only reads; its prototype does not say so. It also leaves both inversions to us. */
    union {
        const uint8_t *read;
        uint8_t *write;
    } at = {bytes.ptr};
    return ~crc32_iscsi(at.write, (int)bytes.len, ~crc);
}
