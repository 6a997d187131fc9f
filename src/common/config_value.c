/* SPDX-License-Identifier: Apache-2.0 */
/* common/config_value.c - one value: from text, checked, and back to text. */
#include "common/alloc.h"
#include "common/assert.h"
#include "common/config_int.h"
#include "common/error.h"
#include "common/slice.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct suffix {
    const char *text;
    uint64_t factor;
} suffix;

static const suffix size_suffixes[] = {
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
};

static const suffix duration_suffixes[] = {
    {"us", 1},
    {"ms", 1000},
    {"s", 1000000},
    {"m", UINT64_C(60) * 1000000},
    {"h", UINT64_C(3600) * 1000000},
    {"d", UINT64_C(86400) * 1000000},
};

/* Reads the digits at *text and moves past them. False: none, or more than 64 bits. */
static bool take_digits(const char **text, uint64_t *ret_value)
{
    const char *at = *text;
    uint64_t value = 0;
    while (*at >= '0' && *at <= '9') {
        const uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
        at++;
    }
    if (at == *text) {
        return false;
    }
    *text = at;
    *ret_value = value;
    return true;
}

static bool with_suffix(const char *text, const suffix *suffixes, size_t count, uint64_t bare,
                        uint64_t *ret_value)
{
    uint64_t number = 0;
    if (!take_digits(&text, &number)) {
        return false;
    }
    uint64_t factor = *text == '\0' ? bare : 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, suffixes[i].text) == 0) {
            factor = suffixes[i].factor;
        }
    }
    if (factor == 0 || number > UINT64_MAX / factor) {
        return false;
    }
    *ret_value = number * factor;
    return true;
}

flx_status flx_parse_size(const char *text, uint64_t *ret_bytes, flx_error *reterr)
{
    if (!with_suffix(text, size_suffixes, sizeof size_suffixes / sizeof size_suffixes[0], 1,
                     ret_bytes)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "'%.60s' is no size; write bytes, or a number with KiB, MiB or GiB", text);
    }
    return FLX_OK;
}

flx_status flx_parse_duration(const char *text, uint64_t unit_us, uint64_t *ret_us,
                              flx_error *reterr)
{
    if (!with_suffix(text, duration_suffixes,
                     sizeof duration_suffixes / sizeof duration_suffixes[0], unit_us, ret_us)) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "'%.60s' is no duration; write a number with us, ms, s, m, h or d", text);
    }
    return FLX_OK;
}

flx_status flx_parse_u64(const char *text, uint64_t *ret_value, flx_error *reterr)
{
    const char *at = text;
    uint64_t value = 0;
    if (!take_digits(&at, &value) || *at != '\0') {
        return flx_fail(reterr, FLX_ERR_INVALID, "'%.60s' is no whole number", text);
    }
    *ret_value = value;
    return FLX_OK;
}

flx_status flx_address_split(const char *address, char host[FLX_HOST_MAX], uint16_t *ret_port,
                             flx_error *reterr)
{
    const char *colon = strrchr(address, ':');
    const char *start = address;
    const char *end = colon;
    if (colon != NULL && address[0] == '[' && colon > address && colon[-1] == ']') {
        start = address + 1;
        end = colon - 1;
    } else if (colon == NULL || memchr(address, ':', (size_t)(colon - address)) != NULL) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "'%.80s' is no address; write host:port, with IPv6 as [::1]:5000", address);
    }
    uint64_t port = 0;
    const size_t len = (size_t)(end - start);
    if (len == 0 || len >= FLX_HOST_MAX || flx_parse_u64(colon + 1, &port, NULL) != FLX_OK ||
        port > UINT16_MAX) {
        return flx_fail(reterr, FLX_ERR_INVALID,
                        "'%.80s' is no address; write host:port, the port from 0 to 65535",
                        address);
    }
    memcpy(host, start, len);
    host[len] = '\0';
    *ret_port = (uint16_t)port;
    return FLX_OK;
}

static flx_status check_range(const flx_config_key *key, uint64_t value, const char *unit,
                              flx_error *reterr)
{
    if (value < key->min || value > key->max) {
        return flx_fail(reterr, FLX_ERR_INVALID, "%llu%s is out of range, %llu to %llu%s",
                        (unsigned long long)value, unit, (unsigned long long)key->min,
                        (unsigned long long)key->max, unit);
    }
    return FLX_OK;
}

static flx_status set_bool(bool *field, const char *text, flx_error *reterr)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int value = 0; value < 2; value++) {
            if (strcmp(text, words[i][value]) == 0) {
                *field = value == 1;
                return FLX_OK;
            }
        }
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "'%.60s' is neither true nor false", text);
}

/* Word number `index` of "a|b|c". */
static flx_slice choice_at(const char *choices, uint32_t index)
{
    while (index > 0 && *choices != '\0') {
        choices += strcspn(choices, "|");
        choices += *choices == '|';
        index--;
    }
    return (flx_slice){(const uint8_t *)choices, strcspn(choices, "|")};
}

static flx_status set_choice(uint32_t *field, const flx_config_key *key, const char *text,
                             flx_error *reterr)
{
    for (uint32_t i = 0;; i++) {
        const flx_slice word = choice_at(key->choices, i);
        if (word.len == 0) {
            break;
        }
        if (flx_slice_is(word, text)) {
            *field = i;
            return FLX_OK;
        }
    }
    return flx_fail(reterr, FLX_ERR_INVALID, "'%.60s' is none of %s", text, key->choices);
}

static flx_status check_text(const flx_config_key *key, const char *text, flx_error *reterr)
{
    char host[FLX_HOST_MAX];
    uint16_t port = 0;
    const size_t len = strlen(text);
    switch (key->type) {
    case FLX_CONFIG_TEXT:
        return len >= key->min && len <= key->max
                   ? FLX_OK
                   : flx_fail(reterr, FLX_ERR_INVALID, "must have %llu to %llu letters",
                              (unsigned long long)key->min, (unsigned long long)key->max);
    case FLX_CONFIG_ADDRESS:
        return flx_address_split(text, host, &port, reterr);
    default:
        return FLX_OK;
    }
}

static flx_status set_text(char **field, const flx_config_key *key, const char *text,
                           flx_error *reterr)
{
    const flx_status status = check_text(key, text, reterr);
    if (status != FLX_OK) {
        return status;
    }
    char *copy = flx_strdup(text);
    if (copy == NULL) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "out of memory");
    }
    flx_free(*field);
    *field = copy;
    return FLX_OK;
}

/* Numbers of every type, in the unit of the key. */
static flx_status parse_number(const flx_config_key *key, const char *text, uint64_t *ret_value,
                               flx_error *reterr)
{
    const uint64_t unit_us = key->type == FLX_CONFIG_MS ? 1000 : 1;
    const char *unit = "";
    flx_status status = FLX_OK;
    switch (key->type) {
    case FLX_CONFIG_SIZE:
        status = flx_parse_size(text, ret_value, reterr);
        unit = " bytes";
        break;
    case FLX_CONFIG_MS:
    case FLX_CONFIG_US:
        unit = key->type == FLX_CONFIG_MS ? " ms" : " us";
        status = flx_parse_duration(text, unit_us, ret_value, reterr);
        if (status == FLX_OK && *ret_value % unit_us != 0) {
            status = flx_fail(reterr, FLX_ERR_INVALID, "'%.60s' is finer than a millisecond", text);
        }
        *ret_value /= unit_us;
        break;
    default:
        status = flx_parse_u64(text, ret_value, reterr);
        break;
    }
    return status == FLX_OK ? check_range(key, *ret_value, unit, reterr) : status;
}

flx_status flx_config_value_set(flx_config *config, const flx_config_key *key, const char *text,
                                flx_error *reterr)
{
    void *field = flx_config_field(config, key);
    uint64_t number = 0;
    flx_status status = FLX_OK;
    switch (key->type) {
    case FLX_CONFIG_BOOL:
        return set_bool(field, text, reterr);
    case FLX_CONFIG_CHOICE:
        return set_choice(field, key, text, reterr);
    case FLX_CONFIG_TEXT:
    case FLX_CONFIG_PATH:
    case FLX_CONFIG_ADDRESS:
        return set_text(field, key, text, reterr);
    case FLX_CONFIG_U32:
    case FLX_CONFIG_MS:
    case FLX_CONFIG_US:
        status = parse_number(key, text, &number, reterr);
        if (status == FLX_OK) {
            FLX_ASSERT(number <= UINT32_MAX); /* the table's ranges promise it */
            *(uint32_t *)field = (uint32_t)number;
        }
        return status;
    case FLX_CONFIG_U64:
    case FLX_CONFIG_SIZE:
        status = parse_number(key, text, &number, reterr);
        if (status == FLX_OK) {
            *(uint64_t *)field = number;
        }
        return status;
    }
    FLX_UNREACHABLE();
}

static int print_size(char *text, size_t cap, uint64_t bytes)
{
    for (size_t i = sizeof size_suffixes / sizeof size_suffixes[0] - 1; i > 0; i--) {
        if (bytes != 0 && bytes % size_suffixes[i].factor == 0) {
            return snprintf(text, cap, "%llu%s",
                            (unsigned long long)(bytes / size_suffixes[i].factor),
                            size_suffixes[i].text);
        }
    }
    return snprintf(text, cap, "%llu", (unsigned long long)bytes);
}

size_t flx_config_value_text(const flx_config *config, const flx_config_key *key, char *text,
                             size_t cap)
{
    const void *field = flx_config_field_const(config, key);
    int len = 0;
    switch (key->type) {
    case FLX_CONFIG_BOOL:
        len = snprintf(text, cap, "%s", *(const bool *)field ? "true" : "false");
        break;
    case FLX_CONFIG_CHOICE: {
        const flx_slice word = choice_at(key->choices, *(const uint32_t *)field);
        len = snprintf(text, cap, "%.*s", (int)word.len, (const char *)word.ptr);
        break;
    }
    case FLX_CONFIG_TEXT:
    case FLX_CONFIG_PATH:
    case FLX_CONFIG_ADDRESS:
        len = snprintf(text, cap, "%s", *(char *const *)field);
        break;
    case FLX_CONFIG_U32:
        len = snprintf(text, cap, "%u", *(const uint32_t *)field);
        break;
    case FLX_CONFIG_MS:
        len = snprintf(text, cap, "%ums", *(const uint32_t *)field);
        break;
    case FLX_CONFIG_US:
        len = snprintf(text, cap, "%uus", *(const uint32_t *)field);
        break;
    case FLX_CONFIG_U64:
        len = snprintf(text, cap, "%llu", (unsigned long long)*(const uint64_t *)field);
        break;
    case FLX_CONFIG_SIZE:
        len = print_size(text, cap, *(const uint64_t *)field);
        break;
    }
    FLX_ASSERT(len >= 0);
    return (size_t)len;
}
