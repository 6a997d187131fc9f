/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a permission: what may be written can also be read, and matches what it names. */
#include "authz/permission.h"
#include "common/assert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The object the pattern spells, its stars taken as the names they stand for. */
static flx_object spelled(const flx_pattern *pattern)
{
    flx_object object = {.kind = pattern->kind};
    flx_slice *const parts[] = {&object.tenant, &object.namespace_, &object.name, &object.group};
    if (pattern->kind == FLX_OBJECT_NODE) {
        object.name = pattern->segments[0];
        return object;
    }
    for (unsigned i = 0; i < pattern->segment_count; i++) {
        *parts[i] = pattern->segments[i];
    }
    return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const flx_slice text = {data, size};
    flx_permission written;
    flx_permission read_back;
    flx_error error;
    const flx_status strict = flx_permission_parse(text, &written, &error);
    const flx_status lenient = flx_permission_parse_token(text, &read_back, &error);
    if (strict != FLX_OK) {
        return 0;
    }
    FLX_ASSERT(lenient == FLX_OK);
    FLX_ASSERT(written.action == read_back.action);
    const flx_object object = spelled(&written.object);
    FLX_ASSERT(flx_pattern_matches(&written.object, &object));
    FLX_ASSERT(flx_pattern_matches(&read_back.object, &object));
    FLX_ASSERT(flx_pattern_covers(&written.object, &read_back.object));
    return 0;
}
