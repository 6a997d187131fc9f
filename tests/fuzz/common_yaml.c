/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as YAML: refused with a message or flattened; every path it hands out is found again. */
#include "common/assert.h"
#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    flx_yaml *yaml = NULL;
    flx_error error = {0};
    if (flx_yaml_parse((flx_slice){data, size}, "fuzz", &yaml, &error) != FLX_OK) {
        FLX_ASSERT(error.message[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < flx_yaml_count(yaml); i++) {
        const flx_yaml_entry *entry = flx_yaml_at(yaml, i);
        FLX_ASSERT(flx_yaml_find(yaml, entry->path) == entry);
        FLX_ASSERT((entry->kind == FLX_YAML_SCALAR) == (entry->text != NULL));
    }
    (void)flx_yaml_free(yaml);
    return 0;
}
