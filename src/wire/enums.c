/* SPDX-License-Identifier: Apache-2.0 */
/* wire/enums.c - the word lists as data, made from the tables of the header. */
#include "wire/enums.h"

#include "common/assert.h"
#include "common/slice.h"

#include <string.h>

#define WORD(prefix, name, word) {(const uint8_t *)(word), sizeof(word) - 1},
#define NAMES(list, MAP)                                                                           \
    static const flx_slice list##_words[] = {MAP(WORD)};                                           \
    const flx_enum_names flx_##list##_names = {list##_words,                                       \
                                               sizeof list##_words / sizeof list##_words[0]};

NAMES(ack_mode, FLX_ACK_MODE_MAP)
NAMES(owner_kind, FLX_OWNER_KIND_MAP)
NAMES(routing, FLX_ROUTING_MAP)
NAMES(cursor_reason, FLX_CURSOR_REASON_MAP)
NAMES(change_op, FLX_CHANGE_OP_MAP)
NAMES(shard_role, FLX_SHARD_ROLE_MAP)
NAMES(shard_phase, FLX_SHARD_PHASE_MAP)
NAMES(shard_reason, FLX_SHARD_REASON_MAP)
NAMES(replica_role, FLX_REPLICA_ROLE_MAP)
NAMES(replica_state, FLX_REPLICA_STATE_MAP)
NAMES(queue_policy, FLX_QUEUE_POLICY_MAP)

bool flx_enum_find(const flx_enum_names *names, flx_slice word, uint32_t *ret_value)
{
    for (size_t i = 0; i < names->count; i++) {
        const flx_slice candidate = names->words[i];
        if (flx_slice_equal(candidate, word)) {
            *ret_value = (uint32_t)i;
            return true;
        }
    }
    return false;
}

flx_slice flx_enum_word(const flx_enum_names *names, uint32_t value)
{
    FLX_ASSERT(value < names->count);
    return names->words[value];
}
