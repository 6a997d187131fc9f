/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: which words are understood, and what is said about those that are not. */
#include "args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define WORDS_MAX 12

/* Parses words; the copies live until the next call. */
static flx_status parse(const char *const *words, cli_args *args, flx_error *error)
{
    static char copies[WORDS_MAX][64];
    static char *argv[WORDS_MAX];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        (void)snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    memset(error, 0, sizeof *error);
    return cli_args_parse(argc, argv, args, error);
}

static void flags_may_stand_anywhere(void **state)
{
    (void)state;
    static const char *const lines[][WORDS_MAX] = {
        {"-o", "json", "stream", "create", "orders", "--shards", "4", "--durable"},
        {"stream", "-ojson", "create", "--shards=4", "--durable", "orders"},
        {"stream", "create", "--durable", "--shards", "9", "orders", "--output=json", "--shards",
         "4"},
        {"stream", "new", "orders", "--durable", "--shards", "4", "-o=json"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cli_args args;
        flx_error error;
        if (parse(lines[i], &args, &error) != FLX_OK) {
            fail_msg("%zu: %s", i, error.message);
        }
        assert_string_equal(args.command->verb, "create");
        assert_string_equal(cli_args_at(&args, 0), "orders");
        assert_null(cli_args_at(&args, 1));
        assert_string_equal(cli_args_flag(&args, "shards"), "4");
        assert_true(cli_args_has(&args, "durable"));
        assert_string_equal(cli_args_flag(&args, "output"), "json");
        assert_string_equal(cli_args_flag(&args, "replicas"), "1"); /* its preset */
        assert_false(cli_args_has(&args, "replicas"));
    }
}

static void two_dashes_end_the_flags(void **state)
{
    (void)state;
    static const char *const words[] = {"pub", "orders", "--", "--not-a-flag", NULL};
    cli_args args;
    flx_error error;
    assert_int_equal(parse(words, &args, &error), FLX_OK);
    assert_string_equal(cli_args_at(&args, 1), "--not-a-flag");
}

static void a_single_dash_and_empty_words_are_arguments(void **state)
{
    (void)state;
    static const char *const words[] = {"pub", "orders", "-", NULL};
    static const char *const empty[] = {"pub", "orders", "", NULL};
    cli_args args;
    flx_error error;
    assert_int_equal(parse(words, &args, &error), FLX_OK);
    assert_string_equal(cli_args_at(&args, 1), "-");
    assert_int_equal(parse(empty, &args, &error), FLX_OK);
    assert_string_equal(cli_args_at(&args, 1), "");
}

static void nouns_have_aliases_and_plurals(void **state)
{
    (void)state;
    static const char *const lines[][WORDS_MAX] = {
        {"ctx", "ls"}, {"contexts", "list"}, {"context", "ls"}};
    for (size_t i = 0; i < 3; i++) {
        cli_args args;
        flx_error error;
        assert_int_equal(parse(lines[i], &args, &error), FLX_OK);
        assert_string_equal(args.command->noun, "context");
        assert_string_equal(args.command->verb, "ls");
    }
}

static void up_gets_its_words_as_they_are(void **state)
{
    (void)state;
    static const char *const words[] = {"up", "--data", "x", "--quic-bind=a:1", NULL};
    cli_args args;
    flx_error error;
    assert_int_equal(parse(words, &args, &error), FLX_OK);
    assert_int_equal(args.raw_count, 3);
    assert_string_equal(args.raw[0], "--data");
    assert_false(args.help);
    static const char *const help[] = {"up", "--data", "x", "--help", NULL};
    assert_int_equal(parse(help, &args, &error), FLX_OK);
    assert_true(args.help);
}

static void help_needs_nothing_else_to_be_right(void **state)
{
    (void)state;
    static const char *const lines[][WORDS_MAX] = {
        {"stream", "create", "--help"}, {"-h", "pub"}, {"stream", "--help"}, {"--help"}};
    for (size_t i = 0; i < 4; i++) {
        cli_args args;
        flx_error error;
        assert_int_equal(parse(lines[i], &args, &error), FLX_OK);
        assert_true(args.help);
    }
}

typedef struct refused {
    const char *words[WORDS_MAX];
    const char *says;
} refused;

static const refused refused_rows[] = {
    {{"steram", "ls"}, "unknown command 'steram', did you mean 'stream'?"},
    {{"pubb", "x"}, "unknown command 'pubb', did you mean 'pub'?"},
    {{"xyzzy"}, "unknown command 'xyzzy'"},
    {{"stream", "crate", "x"}, "unknown verb 'crate' of stream, did you mean 'create'?"},
    {{"cache", "frobnicate"}, "unknown verb 'frobnicate' of cache"},
    {{"pub", "orders", "--line"}, "'pub' has no flag '--line', did you mean '--lines'?"},
    {{"stream", "create", "x", "--shard", "2"},
     "'stream create' has no flag '--shard', did you mean '--shards'?"},
    {{"pub", "orders", "--zzzzzz"}, "'pub' has no flag '--zzzzzz'"},
    {{"pub", "orders", "-z"}, "unknown flag '-z'"},
    {{"pub"}, "'pub' needs STREAM [TEXT]"},
    {{"pub", "a", "b", "c"}, "'pub' has no place for 'c'; it takes STREAM [TEXT]"},
    {{"stream", "ls", "x"}, "'stream ls' has no place for 'x'; it takes no argument"},
    {{"sub", "a", "--count"}, "--count needs a value: N"},
    {{"pub", "a", "--lines=yes"}, "--lines takes no value"},
    {{"stream", "ls", "-o", "jason"},
     "--output takes table|wide|json|jsonl|yaml|name|raw, not "
     "'jason', did you mean 'json'?"},
    {{"pub", "a", "b", "--ack", "all"}, "--ack takes batch|message|none, not 'all'"},
};

static void what_is_wrong_is_named_with_what_is_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_rows / sizeof refused_rows[0]; i++) {
        cli_args args;
        flx_error error;
        assert_int_equal(parse(refused_rows[i].words, &args, &error), FLX_ERR_INVALID);
        assert_string_equal(error.message, refused_rows[i].says);
    }
}

static void choices_that_end_in_a_form_take_anything(void **state)
{
    (void)state;
    static const char *const words[] = {"sub", "a", "--from", "@1700000000", NULL};
    cli_args args;
    flx_error error;
    assert_int_equal(parse(words, &args, &error), FLX_OK);
    assert_string_equal(cli_args_flag(&args, "from"), "@1700000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_may_stand_anywhere),
        cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(a_single_dash_and_empty_words_are_arguments),
        cmocka_unit_test(nouns_have_aliases_and_plurals),
        cmocka_unit_test(up_gets_its_words_as_they_are),
        cmocka_unit_test(help_needs_nothing_else_to_be_right),
        cmocka_unit_test(what_is_wrong_is_named_with_what_is_near),
        cmocka_unit_test(choices_that_end_in_a_form_take_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
