/* SPDX-License-Identifier: Apache-2.0 */
/* broker/log_name.c - names of logs; see the header. */
#include "broker/log_name.h"

#include "common/slice.h"
#include "storage/crc.h"

#include <stdio.h>

#define READABLE_MAX 64 /* bytes of the subject's name in that of the log */

void flx_log_name(const flx_log_subject *subject, uint32_t shard, flx_log_named *ret_named)
{
    char readable[READABLE_MAX + 1];
    size_t len = 0;
    for (; len < READABLE_MAX && subject->name[len] != '\0'; len++) {
        const char c = subject->name[len];
        readable[len] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    readable[len] = '\0';
    (void)snprintf(ret_named->label, sizeof ret_named->label, "%s%s/%s/%s/%u",
                   subject->is_cache ? "cache:" : "", subject->tenant, subject->namespace_,
                   subject->name, (unsigned)shard);
    const uint32_t hash = flx_crc32c(flx_slice_of(ret_named->label));
    (void)snprintf(ret_named->name, sizeof ret_named->name, "%s-%s%u-%u-%08x", readable,
                   subject->is_cache ? "c" : "", (unsigned)subject->id, (unsigned)shard,
                   (unsigned)hash);
}
