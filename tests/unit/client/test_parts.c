/* SPDX-License-Identifier: Apache-2.0 */
/* The small pure parts: addresses, names, pauses. */
#include "client/addresses.h"
#include "client/backoff.h"
#include "client/names.h"
#include "unit.h"

static void addresses(void **state)
{
    static const struct {
        const char *text;
        size_t count; /* 0: refused */
        const char *host;
        uint16_t port; /* of the last one */
    } rows[] = {
        {"localhost", 1, "localhost", 5000},
        {"localhost:7", 1, "localhost", 7},
        {"[::1]:7", 1, "::1", 7},
        {"[::1]", 1, "::1", 5000},
        {"::1", 1, "::1", 5000},
        {"a:1, b:2 ,\tc", 3, "c", 5000},
        {"a:65535", 1, "a", 65535},
        {"", 0, NULL, 0},
        {"a,,b", 0, NULL, 0},
        {":7", 0, NULL, 0},
        {"a:", 0, NULL, 0},
        {"a:0", 0, NULL, 0},
        {"a:65536", 0, NULL, 0},
        {"a:7x", 0, NULL, 0},
        {"[::1", 0, NULL, 0},
        {"[::1]7", 0, NULL, 0},
        {"a b", 0, NULL, 0},
        {"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", 0, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        flx_addresses parsed = {.count = 0};
        flx_error error;
        const flx_status status = flx_addresses_parse(rows[i].text, &parsed, &error);
        if ((status == FLX_OK) != (rows[i].count > 0) || parsed.count != rows[i].count)
            fail_msg("'%s': %d, %zu", rows[i].text, status, parsed.count);
        if (status != FLX_OK)
            continue;
        assert_string_equal(parsed.items[parsed.count - 1].host, rows[i].host);
        assert_int_equal(parsed.items[parsed.count - 1].port, rows[i].port);
    }
}

static void numeric_addresses(void **state)
{
    (void)state;
    flx_resolved resolved;
    assert_true(flx_address_is_numeric(&(flx_address){"127.0.0.1", 1}, &resolved));
    assert_int_equal(resolved.address.ss_family, AF_INET);
    assert_true(flx_address_is_numeric(&(flx_address){"::1", 1}, &resolved));
    assert_int_equal(resolved.address.ss_family, AF_INET6);
    assert_false(flx_address_is_numeric(&(flx_address){"localhost", 1}, &resolved));
}

static void names(void **state)
{
    static const struct {
        const char *text, *tenant, *space, *name; /* NULL: refused */
    } rows[] = {
        {"orders", "t", "default", "orders"},
        {"shop/orders", "t", "shop", "orders"},
        {"u/shop/orders", "u", "shop", "orders"},
        {"", NULL, NULL, NULL},
        {"/orders", NULL, NULL, NULL},
        {"shop/", NULL, NULL, NULL},
        {"a/b/c/d", NULL, NULL, NULL},
        {"two words", NULL, NULL, NULL},
        {"line\nbreak", NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        flx_scoped_name name;
        const flx_status status =
            flx_scoped_name_parse(rows[i].text, "t", "default", "stream", &name, NULL);
        if ((status == FLX_OK) != (rows[i].name != NULL))
            fail_msg("'%s': %d", rows[i].text, status);
        if (status != FLX_OK)
            continue;
        assert_string_equal(name.tenant, rows[i].tenant);
        assert_string_equal(name.namespace_, rows[i].space);
        assert_string_equal(name.name, rows[i].name);
    }
}

static void pauses_grow_to_a_bound(void **state)
{
    (void)state;
    flx_backoff backoff = {.min_ms = 50, .max_ms = 400};
    static const uint32_t ceilings[] = {50, 100, 200, 400, 400, 400};
    for (size_t i = 0; i < 6; i++) {
        flx_backoff least = backoff;
        assert_int_equal(flx_backoff_next_ms(&least, 0), ceilings[i] / 2);
        assert_in_range(flx_backoff_next_ms(&backoff, UINT64_MAX), ceilings[i] / 2, ceilings[i]);
    }
    for (size_t i = 0; i < 100; i++) /* never overflows */
        assert_in_range(flx_backoff_next_ms(&backoff, i), 200, 400);
    flx_backoff_reset(&backoff);
    assert_in_range(flx_backoff_next_ms(&backoff, 7), 25, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(numeric_addresses),
        cmocka_unit_test(names),
        cmocka_unit_test(pauses_grow_to_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
