/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: the file goes round whole, and the strongest place wins for every value. */
#include "context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/felix-context-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static void path_in(char path[128], const char *name)
{
    (void)snprintf(path, 128, "%s/%s", folder, name);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void a_written_file_reads_the_same(void **state)
{
    (void)state;
    char path[128];
    cli_contexts written = {0};
    cli_contexts read = {0};
    flx_error error = {0};
    cli_context one = {.name = "local",
                       .addresses = "127.0.0.1:5000,[::1]:5000",
                       .tenant = "t1",
                       .namespace_ = "default",
                       .token_file = "/a \"quoted\\path",
                       .dev = true};
    const cli_context two = {.name = "prod-eu_1", .controlplane = "https://cp.example:8443"};
    path_in(path, "deep/er/config.yaml");
    assert_int_equal(cli_contexts_put(&written, &one, NULL), FLX_OK);
    assert_int_equal(cli_contexts_put(&written, &two, NULL), FLX_OK);
    (void)snprintf(written.current, sizeof written.current, "prod-eu_1");
    if (cli_contexts_save(path, &written, &error) != FLX_OK ||
        cli_contexts_load(path, &read, &error) != FLX_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(read.count, 2);
    assert_string_equal(read.current, "prod-eu_1");
    assert_memory_equal(&read.items[0], &one, sizeof one);
    assert_memory_equal(&read.items[1], &two, sizeof two);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    one.dev = false; /* replaced, not added */
    assert_int_equal(cli_contexts_put(&read, &one, NULL), FLX_OK);
    assert_int_equal(read.count, 2);
    assert_true(cli_contexts_remove(&read, "prod-eu_1"));
    assert_string_equal(read.current, "");
    assert_false(cli_contexts_remove(&read, "prod-eu_1"));
    assert_int_equal(cli_contexts_save(path, &read, NULL), FLX_OK);
    cli_contexts_done(&written);
    cli_contexts_done(&read);
}

static void a_missing_file_is_an_empty_one(void **state)
{
    (void)state;
    char path[128];
    cli_contexts contexts = {0};
    path_in(path, "absent.yaml");
    assert_int_equal(cli_contexts_load(path, &contexts, NULL), FLX_OK);
    assert_int_equal(contexts.count, 0);
}

typedef struct bad_row {
    const char *text;
    const char *says;
} bad_row;

static void what_is_wrong_in_the_file_is_pointed_at(void **state)
{
    (void)state;
    static const bad_row rows[] = {
        {"curent: a\n", ":1:1: 'curent' is unknown"},
        {"contexts: [a]\n", "must be a map of contexts"},
        {"contexts: {a: b}\n", "'contexts.a' must be a map"},
        {"contexts:\n  a:\n    adress: x\n", ":3:5: 'contexts.a.adress' is unknown"},
        {"contexts: {a: {dev: maybe}}\n", "must be true or false"},
        {"contexts: {a: {tenant: {b: c}}}\n", "takes a value, not a map"},
        {"current: [a]\n", "must be the name of a context"},
        {"a: [\n", ".yaml:"},
    };
    char path[128];
    path_in(path, "bad.yaml");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cli_contexts contexts = {0};
        flx_error error = {0};
        write_file(path, rows[i].text);
        assert_int_equal(cli_contexts_load(path, &contexts, &error), FLX_ERR_INVALID);
        if (strstr(error.message, rows[i].says) == NULL) {
            fail_msg("%s: %s", rows[i].text, error.message);
        }
        assert_null(contexts.items);
    }
}

/* Flags of a resolution as "name=value" words. */
static const char *flag_of(const void *arg, const char *name)
{
    const char *const *flags = arg;
    const size_t len = strlen(name);
    for (; *flags != NULL; flags++) {
        if (strncmp(*flags, name, len) == 0 && (*flags)[len] == '=') {
            return *flags + len + 1;
        }
    }
    return NULL;
}

static const char two_contexts[] = "current: local\n"
                                   "contexts:\n"
                                   "  local: {addresses: [\"a:1\"], tenant: t1, dev: true}\n"
                                   "  prod: {addresses: [\"b:2\", \"c:3\"], tenant: acme}\n";

static flx_status resolve(const char *const *flags, const char *const *environment,
                          cli_settings *settings, flx_error *error)
{
    char path[128];
    char config[160];
    char copies[6][160];
    char *env[8] = {config, NULL};
    path_in(path, "resolve.yaml");
    write_file(path, two_contexts);
    (void)snprintf(config, sizeof config, "FELIX_CONFIG=%s", path);
    for (size_t i = 0; environment[i] != NULL; i++) {
        (void)snprintf(copies[i], sizeof copies[i], "%s", environment[i]);
        env[i + 1] = copies[i];
        env[i + 2] = NULL;
    }
    const cli_settings_inputs inputs = {flag_of, flags, env};
    return cli_settings_resolve(&inputs, settings, error);
}

static void the_strongest_place_wins(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const env[] = {"FELIX_CONTEXT=prod", "FELIX_TENANT=env", NULL};
    static const char *const flags[] = {"context=local", "tenant=flag", NULL};
    cli_settings settings;
    flx_error error = {0};

    assert_int_equal(resolve(none, none, &settings, &error), FLX_OK);
    assert_string_equal(settings.values.name, "local");
    assert_string_equal(settings.name_origin, "current");
    assert_string_equal(settings.values.addresses, "a:1");
    assert_string_equal(settings.origins[0], "context local");
    assert_string_equal(settings.values.namespace_, "default");
    assert_string_equal(settings.origins[2], "default");
    assert_true(settings.values.dev);

    assert_int_equal(resolve(none, env, &settings, &error), FLX_OK);
    assert_string_equal(settings.values.addresses, "b:2,c:3");
    assert_string_equal(settings.name_origin, "FELIX_CONTEXT");
    assert_string_equal(settings.values.tenant, "env");
    assert_string_equal(settings.origins[1], "FELIX_TENANT");
    assert_false(settings.values.dev);

    assert_int_equal(resolve(flags, env, &settings, &error), FLX_OK);
    assert_string_equal(settings.values.name, "local");
    assert_string_equal(settings.values.tenant, "flag");
    assert_string_equal(settings.origins[1], "--tenant");
}

static void a_named_token_file_beats_a_token_of_the_environment(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const env[] = {"FELIX_TOKEN=secret", NULL};
    static const char *const flags[] = {"token-file=f", NULL};
    cli_settings settings;
    assert_int_equal(resolve(none, env, &settings, NULL), FLX_OK);
    assert_non_null(settings.token);
    assert_int_equal(resolve(flags, env, &settings, NULL), FLX_OK);
    assert_null(settings.token);
    assert_string_equal(settings.values.token_file, "f");
}

static void an_unknown_context_names_the_nearest(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const flags[] = {"context=lokal", NULL};
    cli_settings settings;
    flx_error error = {0};
    assert_int_equal(resolve(flags, none, &settings, &error), FLX_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "context 'lokal' (--context) is not in"));
    assert_non_null(strstr(error.message, "did you mean 'local'?"));
}

static void the_file_is_found_as_the_standard_says(void **state)
{
    (void)state;
    char path[CLI_VALUE_MAX];
    char home[] = "HOME=/home/a";
    char xdg[] = "XDG_CONFIG_HOME=/x";
    char relative[] = "XDG_CONFIG_HOME=x";
    char *only_home[] = {home, NULL};
    char *both[] = {home, xdg, NULL};
    char *wrong[] = {home, relative, NULL};
    char *nothing[] = {NULL};
    assert_true(cli_contexts_path(NULL, only_home, path, sizeof path));
    assert_string_equal(path, "/home/a/.config/felix/config.yaml");
    assert_true(cli_contexts_path(NULL, both, path, sizeof path));
    assert_string_equal(path, "/x/felix/config.yaml");
    assert_true(cli_contexts_path(NULL, wrong, path, sizeof path));
    assert_string_equal(path, "/home/a/.config/felix/config.yaml");
    assert_true(cli_contexts_path("f.yaml", both, path, sizeof path));
    assert_string_equal(path, "f.yaml");
    assert_false(cli_contexts_path(NULL, nothing, path, sizeof path));
}

static void names_are_plain_words(void **state)
{
    (void)state;
    const cli_context bad = {.name = "a.b"};
    cli_contexts contexts = {0};
    assert_true(cli_context_name_is_valid("a-B_9"));
    assert_false(cli_context_name_is_valid(""));
    assert_false(cli_context_name_is_valid("a b"));
    assert_int_equal(cli_contexts_put(&contexts, &bad, NULL), FLX_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_reads_the_same),
        cmocka_unit_test(a_missing_file_is_an_empty_one),
        cmocka_unit_test(what_is_wrong_in_the_file_is_pointed_at),
        cmocka_unit_test(the_strongest_place_wins),
        cmocka_unit_test(a_named_token_file_beats_a_token_of_the_environment),
        cmocka_unit_test(an_unknown_context_names_the_nearest),
        cmocka_unit_test(the_file_is_found_as_the_standard_says),
        cmocka_unit_test(names_are_plain_words),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
