/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of a cache: what reads writes to the same bytes. */
#include "common/assert.h"
#include "wire/change.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    flx_change change;
    if (flx_change_read((flx_slice){data, size}, &change, NULL) != FLX_OK) {
        return 0;
    }
    FLX_ASSERT(flx_change_bytes(&change) == size);
    uint8_t *out = malloc(size);
    FLX_ASSERT(out != NULL);
    FLX_ASSERT(flx_change_write(out, &change) == out + size);
    FLX_ASSERT(memcmp(out, data, size) == 0);
    free(out);
    return 0;
}
