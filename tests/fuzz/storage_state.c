/* SPDX-License-Identifier: Apache-2.0 */
/* State files, store files and register entries: what decodes encodes to the same bytes, except what is reserved. */
#include "common/assert.h"
#include "storage/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static flx_log_epoch epochs[FLX_LOG_STATE_EPOCHS_MAX];
    static uint8_t made[FLX_LOG_STATE_BYTES_MAX];
    const flx_slice bytes = {data, size};
    flx_log_state state;
    flx_error error;
    if (flx_log_state_decode(bytes, epochs, &state, &error) == FLX_OK) {
        FLX_ASSERT(flx_log_state_bytes(&state) == size);
        flx_log_state_encode(&state, made);
    }
    flx_store_file store;
    if (flx_store_file_decode(bytes, &store, &error) == FLX_OK) {
        flx_store_file_encode(&store, made);
    }
    flx_register_entry entry;
    if (flx_register_entry_decode(bytes, &entry, &error) == FLX_OK) {
        flx_register_entry_encode(&entry, made);
    }
    return 0;
}
