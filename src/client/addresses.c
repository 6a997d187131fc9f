/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses from text. One item ends at a comma; within it the last colon starts the port, unless
 * the host is in brackets or has more than one colon, which is an IPv6 address without a port.
 */
#include "client/addresses.h"

#include "common/error.h"
#include "common/sockaddr.h"

#include <felix/client.h>

#include <string.h>

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

static const char *drop_blanks(const char *at, const char *end)
{
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return end;
}

static bool parse_port(const char *at, const char *end, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (at == end || end - at > 5)
        return false;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        port = port * 10 + (uint32_t)(*at - '0');
    }
    if (port == 0 || port > 65535)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static bool host_is_plausible(const char *at, const char *end)
{
    if (at == end || end - at > FLX_ADDRESS_HOST_MAX)
        return false;
    for (; at < end; at++) {
        const unsigned char c = (unsigned char)*at;
        if (c <= ' ' || c == '/' || c == '[' || c == ']' || c == 0x7f)
            return false;
    }
    return true;
}

static size_t count_colons(const char *at, const char *end)
{
    size_t count = 0;
    for (; at < end; at++)
        count += *at == ':';
    return count;
}

/* Splits one item into host and port text; *ret_port_at is NULL without a port. */
static bool split(const char *at, const char *end, const char **ret_host, const char **ret_host_end,
                  const char **ret_port_at)
{
    *ret_port_at = NULL;
    if (at < end && *at == '[') {
        const char *close = memchr(at, ']', (size_t)(end - at));
        if (close == NULL)
            return false;
        *ret_host = at + 1;
        *ret_host_end = close;
        if (close + 1 == end)
            return true;
        *ret_port_at = close + 2;
        return close[1] == ':';
    }
    *ret_host = at;
    *ret_host_end = end;
    if (count_colons(at, end) != 1)
        return true;
    const char *colon = memchr(at, ':', (size_t)(end - at));
    *ret_host_end = colon;
    *ret_port_at = colon + 1;
    return true;
}

static flx_status parse_one(const char *at, const char *end, flx_address *ret_address,
                            flx_error *reterr)
{
    const char *host;
    const char *host_end;
    const char *port_at;
    uint16_t port = FLX_PORT_DEFAULT;

    if (!split(at, end, &host, &host_end, &port_at) || !host_is_plausible(host, host_end))
        return flx_fail(reterr, FLX_ERR_INVALID, "address '%.*s': not a host", (int)(end - at), at);
    if (port_at != NULL && !parse_port(port_at, end, &port))
        return flx_fail(reterr, FLX_ERR_INVALID, "address '%.*s': not a port (1 to 65535)",
                        (int)(end - at), at);
    memset(ret_address, 0, sizeof(*ret_address));
    memcpy(ret_address->host, host, (size_t)(host_end - host));
    ret_address->port = port;
    return FLX_OK;
}

flx_status flx_addresses_parse(const char *text, flx_addresses *ret_addresses, flx_error *reterr)
{
    flx_addresses parsed = {0};
    const char *at = text;

    for (;;) {
        const char *comma = strchr(at, ',');
        const char *end = comma != NULL ? comma : at + strlen(at);
        const char *item = skip_blanks(at, end);
        if (parsed.count == FLX_ADDRESSES_MAX)
            return flx_fail(reterr, FLX_ERR_INVALID, "more than %d addresses", FLX_ADDRESSES_MAX);
        const flx_status status =
            parse_one(item, drop_blanks(item, end), &parsed.items[parsed.count], reterr);
        if (status != FLX_OK)
            return status;
        parsed.count++;
        if (comma == NULL)
            break;
        at = comma + 1;
    }
    *ret_addresses = parsed;
    return FLX_OK;
}

bool flx_address_is_numeric(const flx_address *address, flx_resolved *ret_resolved)
{
    memset(ret_resolved, 0, sizeof(*ret_resolved));
    return flx_sockaddr_parse(address->host, address->port, &ret_resolved->address,
                              &ret_resolved->len);
}
