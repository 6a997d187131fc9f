/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of sockets to text and back. */
#include "common/sockaddr.h"
#include "unit.h"

#include <netdb.h>

static void digits_and_back(void **state)
{
    (void)state;
    static const struct {
        const char *host; /* as it is written */
        uint16_t port;
        const char *text; /* NULL: not an address */
    } rows[] = {
        {"127.0.0.1", 5000, "127.0.0.1:5000"},
        {"0.0.0.0", 0, "0.0.0.0:0"},
        {"255.255.255.255", 65535, "255.255.255.255:65535"},
        {"::1", 5000, "[::1]:5000"},
        {"::", 1, "[::]:1"},
        {"2001:DB8:0:0:0:0:0:1", 443, "[2001:db8::1]:443"},
        {"::ffff:10.0.0.1", 9, "[::ffff:10.0.0.1]:9"},
        {"localhost", 5000, NULL},
        {"127.0.0.256", 5000, NULL},
        {"127.0.1", 5000, NULL},
        {"[::1]", 5000, NULL},
        {"", 5000, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sockaddr_storage address;
        socklen_t len = 0;
        char text[FLX_SOCKADDR_HOST_MAX + 8];
        const bool is_address = flx_sockaddr_parse(rows[i].host, rows[i].port, &address, &len);
        if (is_address != (rows[i].text != NULL)) {
            fail_msg("%s", rows[i].host);
        }
        if (is_address) {
            const struct sockaddr *plain = (const struct sockaddr *)&address;
            assert_int_equal(flx_sockaddr_port(plain), rows[i].port);
            flx_sockaddr_text(plain, text, sizeof text);
            assert_string_equal(text, rows[i].text);
            flx_sockaddr_set_port(&address, 7);
            assert_int_equal(flx_sockaddr_port(plain), 7);
            struct sockaddr_storage same;
            socklen_t same_len = 0;
            assert_int_equal(
                flx_sockaddr_lookup(rows[i].host, rows[i].port, AI_NUMERICHOST, &same, &same_len),
                0);
            assert_int_equal(same_len, len);
            flx_sockaddr_text((const struct sockaddr *)&same, text, sizeof text);
            assert_string_equal(text, rows[i].text);
        }
    }
}

static void another_family_is_said_to_be_unknown(void **state)
{
    (void)state;
    const struct sockaddr other = {.sa_family = AF_UNIX};
    char text[16];
    flx_sockaddr_text(&other, text, sizeof text);
    assert_string_equal(text, "?:0");
}

static void what_is_not_found_is_explained(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len = 77;
    const int failed = flx_sockaddr_lookup("a name", 1, AI_NUMERICHOST, &address, &len);
    assert_int_not_equal(failed, 0);
    assert_non_null(gai_strerror(failed));
    assert_int_equal(len, 77); /* nothing was written */
}

static void text_is_cut_to_its_room(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len = 0;
    char text[8];
    assert_true(flx_sockaddr_parse("127.0.0.1", 5000, &address, &len));
    flx_sockaddr_text((const struct sockaddr *)&address, text, sizeof text);
    assert_string_equal(text, "127.0.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_and_back),
        cmocka_unit_test(another_family_is_said_to_be_unknown),
        cmocka_unit_test(what_is_not_found_is_explained),
        cmocka_unit_test(text_is_cut_to_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
