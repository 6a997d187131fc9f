/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of streams and caches. Only what would break a frame or a log line is refused here; what
 * else a name may be is the broker's to say, and it says so in its answer.
 */
#include "client/names.h"

#include "common/error.h"

#include <stdbool.h>
#include <string.h>

static bool part_is_valid(const char *at, size_t len)
{
    if (len == 0 || len > FLX_NAME_PART_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)at[i] <= ' ' || at[i] == 0x7f || at[i] == '/')
            return false;
    return true;
}

static bool take_part(char part[FLX_NAME_PART_MAX + 1], const char *at, size_t len)
{
    if (!part_is_valid(at, len))
        return false;
    memcpy(part, at, len);
    part[len] = '\0';
    return true;
}

flx_status flx_scoped_name_parse(const char *text, const char *tenant, const char *namespace_,
                                 const char *what, flx_scoped_name *ret_name, flx_error *reterr)
{
    flx_scoped_name name = {0};
    const char *last = strrchr(text, '/');
    const char *first = strchr(text, '/');
    const char *base = last != NULL ? last + 1 : text;
    bool ok = take_part(name.name, base, strlen(base));

    if (last == NULL)
        ok = ok && take_part(name.namespace_, namespace_, strlen(namespace_));
    else if (first == last)
        ok = ok && take_part(name.namespace_, text, (size_t)(last - text));
    else
        ok = ok && take_part(name.namespace_, first + 1, (size_t)(last - first - 1));

    if (first == last)
        ok = ok && take_part(name.tenant, tenant, strlen(tenant));
    else
        ok = ok && take_part(name.tenant, text, (size_t)(first - text));

    if (!ok)
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "'%.80s' is not a %s name (name, namespace/name or tenant/namespace/name)",
                        text, what);
    *ret_name = name;
    return FLX_OK;
}
