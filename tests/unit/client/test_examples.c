/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of examples/, linked with -lfelix, do what their first line says. */
#include "rig.h"

#include <stdio.h>

/* Runs one example with the broker's address and CA; its output and exit code. */
static int run(const rig *r, const char *example, const char *arguments, char output[256])
{
    char command[512];
    (void)snprintf(command, sizeof(command), "%s/example_%s %s %s %s", FLX_EXAMPLES_DIR, example,
                   mock_broker_address(r->broker), mock_broker_ca_file(r->broker), arguments);
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c): a command of our own making */
    assert_non_null(pipe);
    const size_t len = fread(output, 1, 255, pipe);
    output[len] = '\0';
    return pclose(pipe) >> 8;
}

static void examples(void **state)
{
    static const struct {
        const char *example, *arguments, *output;
        int code;
    } rows[] = {
        {"publish", "demo hello world", "0 hello\n1 world\n", 0},
        {"subscribe", "demo 2", "0/0 hello\n0/1 world\n", 0},
        {"cache", "primary k", "", 3},
        {"cache", "primary k v", "", 0},
        {"cache", "primary k", "v\n", 0},
        {"publish", "", "", 2},
    };
    (void)state;
    rig r = {.broker = mock_broker_start()};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char output[256];
        const int code = run(&r, rows[i].example, rows[i].arguments, output);
        assert_string_equal(output, rows[i].output);
        assert_int_equal(code, rows[i].code);
    }
    mock_broker_stop(r.broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
