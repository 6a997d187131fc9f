/* SPDX-License-Identifier: Apache-2.0 */
/* timespec.c - offsets, times and ages. */
#include "timespec.h"

#include "common/config.h"
#include "common/error.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Exactly `digits` digits at *text. */
static bool take_number(const char **text, int digits, int *ret_value)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        const char letter = (*text)[i];
        if (letter < '0' || letter > '9') {
            return false;
        }
        value = value * 10 + (letter - '0');
    }
    *text += digits;
    *ret_value = value;
    return true;
}

static bool take_letter(const char **text, const char *letters)
{
    if (**text == '\0' || strchr(letters, **text) == NULL) {
        return false;
    }
    (*text)++;
    return true;
}

/* "Z", "+02:00", "-05:30"; seconds to take away. */
static bool take_zone(const char **text, int64_t *ret_seconds)
{
    int hours = 0;
    int minutes = 0;
    if (take_letter(text, "Zz")) {
        *ret_seconds = 0;
        return true;
    }
    const bool west = **text == '-';
    if (!take_letter(text, "+-") || !take_number(text, 2, &hours) || !take_letter(text, ":") ||
        !take_number(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_seconds = ((int64_t)hours * 3600 + (int64_t)minutes * 60) * (west ? -1 : 1);
    return true;
}

/* ".123456"; more digits are cut off. */
static bool take_fraction(const char **text, uint64_t *ret_us)
{
    uint64_t unit = 100000;
    *ret_us = 0;
    if (**text != '.') {
        return true;
    }
    (*text)++;
    if (**text < '0' || **text > '9') {
        return false;
    }
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        *ret_us += (uint64_t)(**text - '0') * unit;
        unit /= 10;
    }
    return true;
}

static bool date_is_real(const struct tm *date, int month_from_1)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int year = date->tm_year + 1900;
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month_from_1 < 1 || month_from_1 > 12 || year < 1970) {
        return false;
    }
    return date->tm_mday >= 1 &&
           date->tm_mday <= days[month_from_1 - 1] + (leap && month_from_1 == 2 ? 1 : 0);
}

static bool parse_rfc3339(const char *text, uint64_t *ret_us)
{
    struct tm date = {0};
    int month = 0;
    int64_t zone = 0;
    uint64_t fraction = 0;
    if (!take_number(&text, 4, &date.tm_year) || !take_letter(&text, "-") ||
        !take_number(&text, 2, &month) || !take_letter(&text, "-") ||
        !take_number(&text, 2, &date.tm_mday)) {
        return false;
    }
    date.tm_year -= 1900;
    date.tm_mon = month - 1;
    if (!date_is_real(&date, month)) {
        return false;
    }
    if (*text != '\0') {
        if (!take_letter(&text, "Tt ") || !take_number(&text, 2, &date.tm_hour) ||
            !take_letter(&text, ":") || !take_number(&text, 2, &date.tm_min) ||
            !take_letter(&text, ":") || !take_number(&text, 2, &date.tm_sec) ||
            !take_fraction(&text, &fraction) || !take_zone(&text, &zone) || *text != '\0' ||
            date.tm_hour > 23 || date.tm_min > 59 || date.tm_sec > 60) {
            return false;
        }
    }
    const int64_t seconds = (int64_t)timegm(&date) - zone;
    if (seconds < 0) {
        return false;
    }
    *ret_us = (uint64_t)seconds * 1000000 + fraction;
    return true;
}

static flx_status parse_time(const char *text, cli_from *ret_from, flx_error *reterr)
{
    uint64_t seconds = 0;
    ret_from->kind = CLI_FROM_TIME;
    if (flx_parse_u64(text, &seconds, NULL) == FLX_OK && seconds <= UINT64_MAX / 1000000) {
        ret_from->time_us = seconds * 1000000;
        return FLX_OK;
    }
    if (parse_rfc3339(text, &ret_from->time_us)) {
        return FLX_OK;
    }
    return flx_fail(reterr, FLX_ERR_INVALID,
                    "'@%.40s' is no time; write @2026-01-31T12:00:00Z, or @ and seconds since 1970",
                    text);
}

flx_status cli_from_parse(const char *text, uint64_t now_us, cli_from *ret_from, flx_error *reterr)
{
    uint64_t age_us = 0;
    memset(ret_from, 0, sizeof *ret_from);
    if (strcmp(text, "latest") == 0) {
        return FLX_OK;
    }
    if (strcmp(text, "earliest") == 0) {
        ret_from->kind = CLI_FROM_EARLIEST;
        return FLX_OK;
    }
    if (text[0] == '@') {
        return parse_time(text + 1, ret_from, reterr);
    }
    if (flx_parse_u64(text, &ret_from->offset, NULL) == FLX_OK) {
        ret_from->kind = CLI_FROM_OFFSET;
        return FLX_OK;
    }
    if (flx_parse_duration(text, 1, &age_us, NULL) == FLX_OK) {
        ret_from->kind = CLI_FROM_TIME;
        ret_from->time_us = age_us < now_us ? now_us - age_us : 0;
        return FLX_OK;
    }
    return flx_fail(
        reterr, FLX_ERR_INVALID,
        "'%.40s' is no start; write latest, earliest, an offset, @TIME or an age like 2h", text);
}

void cli_time_format(uint64_t time_us, char *text, size_t cap)
{
    const time_t seconds = (time_t)(time_us / 1000000);
    const unsigned fraction = (unsigned)(time_us % 1000000);
    struct tm date;
    if (gmtime_r(&seconds, &date) == NULL) {
        (void)snprintf(text, cap, "?");
        return;
    }
    const size_t len = strftime(text, cap, "%Y-%m-%dT%H:%M:%S", &date);
    if (fraction != 0) {
        (void)snprintf(text + len, cap - len, ".%06uZ", fraction);
    } else {
        (void)snprintf(text + len, cap - len, "Z");
    }
}
