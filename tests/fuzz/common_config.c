/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration file: refused, or a set whose printed form loads to the same values. */
#include "common/assert.h"
#include "common/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void no_change(void *arg, const flx_config_key *key, const char *from, const char *to)
{
    (void)arg;
    (void)key;
    (void)from;
    (void)to;
    FLX_UNREACHABLE();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1] = {0};
    flx_config_set *set = NULL;
    flx_error error = {0};
    flx_config_inputs inputs = {.file_text = {size > 0 ? data : nothing, size}};
    if (flx_config_load(&inputs, &set, &error) != FLX_OK) {
        FLX_ASSERT(error.message[0] != '\0');
        return 0;
    }
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FLX_ASSERT(out != NULL);
    flx_config_print(set, true, out);
    (void)fclose(out);
    flx_config_set *again = NULL;
    inputs.file_text = (flx_slice){(const uint8_t *)text, len};
    FLX_ASSERT(flx_config_load(&inputs, &again, &error) == FLX_OK);
    FLX_ASSERT(flx_config_diff(set, again, no_change, NULL) == 0);
    free(text);
    (void)flx_config_set_free(again);
    (void)flx_config_set_free(set);
    return 0;
}
