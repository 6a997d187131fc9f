/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of creates and patches from strangers. What is accepted must obey the rules, survive the
 * way through its own JSON form, and be unchanged by a patch that says nothing.
 *
 * Input: one byte that picks the kind and the abilities, then the body.
 */
#include "common/assert.h"
#include "common/json.h"
#include "controlplane/api.h"
#include "http/message.h"
#include "metadata/entry.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const flx_key place = {.tenant = {(const uint8_t *)"t", 1},
                              .namespace_ = {(const uint8_t *)"n", 1}};

static void round_trip(const flx_entry *entry, const flx_abilities *abilities)
{
    const flx_key key = flx_entry_key(entry);
    FLX_ASSERT(flx_key_check(entry->kind, &key, NULL) == FLX_OK);
    json_t *json = flx_entry_to_json(entry);
    FLX_ASSERT(json != NULL);
    flx_entry again;
    const flx_key where = entry->kind == FLX_KIND_TENANT ? (flx_key){0} : place;
    FLX_ASSERT(flx_entry_from_json(entry->kind, &where, json, abilities, &again, NULL) == FLX_OK);
    FLX_ASSERT(flx_entry_equal(entry, &again));
    FLX_ASSERT(flx_entry_patch_json(&again, json, abilities, NULL) == FLX_OK);
    FLX_ASSERT(flx_entry_equal(entry, &again));
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body = NULL;
    if (size == 0 || flx_json_parse((flx_slice){data + 1, size - 1}, 65536, FLX_HTTP_DEPTH_MAX,
                                    "body", &body, NULL) != FLX_OK) {
        return 0;
    }
    const flx_kind kind = (flx_kind)(data[0] & 3);
    const flx_abilities abilities = {.durable = (data[0] & 4) != 0, .quorum = (data[0] & 8) != 0};
    const flx_key where = kind == FLX_KIND_TENANT ? (flx_key){0} : place;
    flx_entry entry;
    if (flx_entry_from_json(kind, &where, body, &abilities, &entry, NULL) == FLX_OK) {
        round_trip(&entry, &abilities);
    }
    memset(&entry, 0, sizeof entry);
    entry.kind = FLX_KIND_STREAM;
    flx_stream_info_init(&entry.stream, "t", "n", "s");
    if (flx_entry_patch_json(&entry, body, &abilities, NULL) == FLX_OK) {
        round_trip(&entry, &abilities);
    }
    json_decref(body);
    return 0;
}
