/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: who wins, what is refused with which words, what a reload reports. */
#include "common/alloc.h"
#include "common/config.h"
#include "common/nearest.h"
#include "unit.h"

#define ARGS_MAX 8

/* One load: flags, environment and file as literals; problems end in `seen`, a line each. */
typedef struct world {
    const char *argv[ARGS_MAX];
    const char *environment[ARGS_MAX];
    const char *file;
    char seen[4096];
    size_t problems;
    size_t warnings;
} world;

static void collect(void *arg, bool warning, const char *message)
{
    world *in = arg;
    const size_t len = strlen(in->seen);
    (void)snprintf(in->seen + len, sizeof in->seen - len, "%s%s\n", warning ? "warning: " : "",
                   message);
    in->warnings += warning;
    in->problems += !warning;
}

static flx_status load(world *in, flx_config_set **ret_set, flx_error *reterr)
{
    char *argv[ARGS_MAX] = {0};
    char *environment[ARGS_MAX + 1] = {0};
    int argc = 0;
    for (size_t i = 0; i < ARGS_MAX; i++) {
        argv[i] = in->argv[i] != NULL ? strdup(in->argv[i]) : NULL;
        argc += argv[i] != NULL;
        environment[i] = in->environment[i] != NULL ? strdup(in->environment[i]) : NULL;
    }
    flx_config_inputs inputs = {.argc = argc,
                                .argv = argv,
                                .environment = environment,
                                .report = collect,
                                .report_arg = in};
    if (in->file != NULL) {
        inputs.file_text = flx_slice_of(in->file);
    }
    const flx_status status = flx_config_load(&inputs, ret_set, reterr);
    for (size_t i = 0; i < ARGS_MAX; i++) {
        free(argv[i]);
        free(environment[i]);
    }
    return status;
}

static flx_config_set *must_load(world *in)
{
    flx_config_set *set = NULL;
    flx_error error = {0};
    if (load(in, &set, &error) != FLX_OK) {
        fail_msg("%s", in->seen);
    }
    return set;
}

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    world in = {0};
    flx_config_set *set = must_load(&in);
    const flx_config *config = flx_config_values(set);
    assert_string_equal(config->quic_bind, "0.0.0.0:5000");
    assert_string_equal(config->metrics_bind, "0.0.0.0:8080");
    assert_int_equal(config->max_frame_bytes, 16777216);
    assert_int_equal(config->preauth_max_frame_bytes, 65536);
    assert_int_equal(config->auth_timeout_ms, 30000);
    assert_int_equal(config->max_idle_timeout_ms, 30000);
    assert_int_equal(config->keepalive_ms, 5000);
    assert_int_equal(config->publish_window, 256);
    assert_int_equal(in.problems + in.warnings, 0);
    for (size_t i = 0; i < FLX_CONFIG_KEY_COUNT; i++) {
        assert_int_equal(flx_config_origin_of(set, i), FLX_CONFIG_FROM_DEFAULT);
    }
    (void)flx_config_set_free(set);
}

/* The same key said in one more place each time. */
static void the_stronger_place_wins(void **state)
{
    (void)state;
    world file = {.file = "publish_window: 1\n"};
    world env = {.file = "publish_window: 1\n", .environment = {"FELIX_BROKER_PUBLISH_WINDOW=2"}};
    world flag = {.file = "publish_window: 1\n",
                  .environment = {"FELIX_BROKER_PUBLISH_WINDOW=2"},
                  .argv = {"--publish-window", "3"}};
    world *const worlds[] = {&file, &env, &flag};
    static const char *const origins[] = {"(text):1", "FELIX_BROKER_PUBLISH_WINDOW",
                                          "--publish-window"};
    for (uint32_t i = 0; i < 3; i++) {
        flx_config_set *set = must_load(worlds[i]);
        assert_int_equal(flx_config_values(set)->publish_window, i + 1);
        assert_string_equal(flx_config_origin_text(set, FLX_CONFIG_KEY_publish_window), origins[i]);
        (void)flx_config_set_free(set);
    }
}

static void presets_are_weaker_than_files(void **state)
{
    (void)state;
    const flx_config_preset presets[] = {{"quic_bind", "127.0.0.1:5000"}, {"log_level", "warn"}};
    const char *text = "log_level: debug\n";
    const flx_config_inputs inputs = {
        .presets = presets, .preset_count = 2, .file_text = flx_slice_of(text)};
    flx_config_set *set = NULL;
    assert_int_equal(flx_config_load(&inputs, &set, NULL), FLX_OK);
    assert_string_equal(flx_config_values(set)->quic_bind, "127.0.0.1:5000");
    assert_int_equal(flx_config_origin_of(set, FLX_CONFIG_KEY_quic_bind), FLX_CONFIG_FROM_PROGRAM);
    assert_int_equal(flx_config_values(set)->log_level, 0);
    (void)flx_config_set_free(set);
}

/* A profile is a better default: whoever says a key himself is right, wherever he says it. */
static void a_profile_fills_what_nobody_set(void **state)
{
    (void)state;
    world named[] = {{.argv = {"--profile", "low-latency"}},
                     {.environment = {"FELIX_PROFILE=low-latency"}},
                     {.file = "profile: low-latency\n"}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        flx_config_set *set = must_load(&named[i]);
        assert_int_equal(flx_config_values(set)->profile, FLX_CONFIG_LOW_LATENCY);
        assert_int_not_equal(flx_config_values(set)->busy_poll_us, 0);
        assert_int_equal(flx_config_origin_of(set, FLX_CONFIG_KEY_busy_poll_us),
                         FLX_CONFIG_FROM_PROFILE);
        assert_string_equal(flx_config_origin_text(set, FLX_CONFIG_KEY_busy_poll_us),
                            "profile low-latency");
        (void)flx_config_set_free(set);
    }
    world overruled[] = {
        {.argv = {"--profile=low-latency", "--busy-poll-us", "7"}},
        {.argv = {"--busy-poll-us", "7", "--profile=low-latency"}},
        {.argv = {"--profile=low-latency"}, .environment = {"FELIX_BUSY_POLL_US=7"}},
        {.file = "busy_poll_us: 7\nprofile: low-latency\n"}};
    for (size_t i = 0; i < sizeof overruled / sizeof overruled[0]; i++) {
        flx_config_set *set = must_load(&overruled[i]);
        assert_int_equal(flx_config_values(set)->busy_poll_us, 7);
        (void)flx_config_set_free(set);
    }
}

static void every_profile_makes_sense_and_balanced_changes_nothing(void **state)
{
    (void)state;
    static const char *const words[] = {"balanced", "low-latency", "throughput"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        world in = {.argv = {"--profile", words[i]}};
        flx_config_set *set = must_load(&in);
        size_t rows = 0;
        for (size_t key = 0; key < FLX_CONFIG_KEY_COUNT; key++) {
            rows += flx_config_origin_of(set, key) == FLX_CONFIG_FROM_PROFILE;
        }
        assert_int_equal(rows > 0, i > 0);
        assert_int_equal(in.problems + in.warnings, 0);
        (void)flx_config_set_free(set);
    }
    world wrong = {.argv = {"--profile", "fast"}};
    flx_config_set *set = NULL;
    assert_int_equal(load(&wrong, &set, NULL), FLX_ERR_INVALID);
    assert_non_null(strstr(wrong.seen, "--profile"));
    assert_non_null(strstr(wrong.seen, "balanced"));
}

static void flags_come_in_every_usual_form(void **state)
{
    (void)state;
    world in = {.argv = {"--quic-bind=[::1]:7000", "--ephemeral-ports", "--no-tls-require-alpn",
                         "--udp-recv-buffer", "1MiB", "--keepalive-ms=2s"}};
    flx_config_set *set = must_load(&in);
    const flx_config *config = flx_config_values(set);
    assert_string_equal(config->quic_bind, "[::1]:7000");
    assert_true(config->ephemeral_ports);
    assert_false(config->tls_require_alpn);
    assert_int_equal(config->udp_recv_buffer, 1048576);
    assert_int_equal(config->keepalive_ms, 2000);
    assert_int_equal(flx_config_origin_of(set, FLX_CONFIG_KEY_tls_require_alpn),
                     FLX_CONFIG_FROM_FLAG);
    (void)flx_config_set_free(set);
}

typedef struct problem_row {
    const char *name;
    world in;
    const char *says;
} problem_row;

static void problems_are_told_in_full(void **state)
{
    (void)state;
    problem_row rows[] = {
        {"unknown key",
         {.file = "a: 1\nquic_bnd: x\n"},
         "(text):2: unknown key 'quic_bnd', did you mean 'quic_bind'?"},
        {"unknown map, once",
         {.file = "nodes:\n  a: 1\n  b: 2\n"},
         "(text):1: unknown key 'nodes'"},
        {"no value", {.file = "quic_bind:\n"}, "(text):1: quic_bind: has no value"},
        {"list for a value", {.file = "workers: [1, 2]\n"}, "takes one value, not a list"},
        {"bad number in the file",
         {.file = "\nworkers: many\n"},
         "(text):2: workers: 'many' is no whole number"},
        {"out of range", {.file = "workers: 65\n"}, "workers: 65 is out of range, 0 to 64"},
        {"bad duration",
         {.argv = {"--keepalive-ms", "5 s"}},
         "--keepalive-ms: '5 s' is no duration"},
        {"too fine a duration", {.argv = {"--keepalive-ms", "1500us"}}, "finer than a millisecond"},
        {"bad size",
         {.environment = {"FELIX_UDP_RECV_BUFFER=8MB"}},
         "FELIX_UDP_RECV_BUFFER: '8MB' is no size"},
        {"overflow", {.argv = {"--cache-memory-bytes", "99999999999999999999"}}, "is no size"},
        {"overflow by suffix",
         {.argv = {"--cache-memory-bytes", "18446744073709551615KiB"}},
         "is no size"},
        {"bad choice", {.argv = {"--log-level=loud"}}, "'loud' is none of debug|info|warn|error"},
        {"bad switch", {.file = "ephemeral_ports: maybe\n"}, "neither true nor false"},
        {"bare port", {.argv = {"--quic-bind", "5000"}}, "'5000' is no address; write host:port"},
        {"bare IPv6", {.argv = {"--quic-bind", "::1:5000"}}, "with IPv6 as [::1]:5000"},
        {"port too high", {.argv = {"--quic-bind", "a:65536"}}, "the port from 0 to 65535"},
        {"unknown flag",
         {.argv = {"--quick-bind", "a:1"}},
         "unknown flag '--quick-bind', did you mean '--quic-bind'?"},
        {"unknown switch", {.argv = {"--check-confg"}}, "did you mean '--check-config'?"},
        {"flag without value", {.argv = {"--workers"}}, "flag '--workers' needs a value"},
        {"stray word", {.argv = {"start"}}, "unexpected argument 'start'"},
        {"batch above frame",
         {.file = "event_batch_max_bytes: 32MiB\n"},
         "event_batch_max_bytes (32MiB) must not be above max_frame_bytes (16MiB)"},
        {"window below frame",
         {.file = "pub_stream_recv_window: 1MiB\n"},
         "max_frame_bytes (16MiB) must not be above pub_stream_recv_window (1MiB)"},
        {"stream window above connection window",
         {.file = "pub_stream_recv_window: 32MiB\n"},
         "pub_conn_recv_window"},
        {"connection budget above node budget",
         {.file = "pub_conn_inflight_bytes: 128MiB\n"},
         "pub_inflight_bytes (64MiB)"},
        {"total budget below identity budget",
         {.file = "pub_conn_total_inflight_bytes: 1MiB\n"},
         "pub_conn_total_inflight_bytes (1MiB)"},
        {"one ring above all rings",
         {.file = "shard_ring_bytes: 1GiB\n"},
         "shard_ring_bytes (1GiB) must not be above ring_bytes (512MiB)"},
        {"certificate without key",
         {.file = "tls_cert: a.pem\n"},
         "tls_cert and tls_key go together"},
        {"certificate and export",
         {.file = "tls_cert: a\ntls_key: b\ntls_cert_export: c\n"},
         "tls_cert_export"},
        {"same port twice", {.file = "metrics_bind: 127.0.0.1:8443\n"}, "same address"},
        {"impossible packets", {.file = "udp_payload_max: 1000\n"}, "at least 1200"},
        {"late keep-alive", {.file = "keepalive_ms: 30s\n"}, "below max_idle_timeout_ms"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        flx_config_set *set = NULL;
        flx_error error = {0};
        if (load(&rows[i].in, &set, &error) != FLX_ERR_INVALID ||
            strstr(rows[i].in.seen, rows[i].says) == NULL) {
            fail_msg("%s: %s", rows[i].name, rows[i].in.seen);
        }
        assert_null(set);
        assert_int_equal(error.status, FLX_ERR_INVALID);
    }
}

static void all_problems_are_reported_at_once(void **state)
{
    (void)state;
    world in = {.file = "workers: x\nnodes: {a: 1, b: 2}\n", .argv = {"--log-level=loud"}};
    flx_config_set *set = NULL;
    flx_error error = {0};
    assert_int_equal(load(&in, &set, &error), FLX_ERR_INVALID);
    assert_int_equal(in.problems, 3);
    assert_non_null(strstr(error.message, "workers"));
}

static void unknown_variables_only_warn(void **state)
{
    (void)state;
    world in = {.environment = {"FELIX_QUIC_BINDD=x", "FELIX_TOKEN=secret", "FELIX_CONTEXT=local",
                                "FELIX_SERVICE_HOST=10.0.0.1", "OTHER=1"}};
    flx_config_set *set = must_load(&in);
    assert_int_equal(in.warnings, 2);
    assert_non_null(strstr(
        in.seen, "FELIX_QUIC_BINDD is set but nothing reads it; did you mean FELIX_QUIC_BIND?"));
    assert_non_null(strstr(in.seen, "FELIX_SERVICE_HOST is set but nothing reads it"));
    assert_null(strstr(in.seen, "secret"));
    (void)flx_config_set_free(set);
}

static void aliases_are_read_and_the_first_name_counts(void **state)
{
    (void)state;
    world alias = {.environment = {"FELIX_MTU_UPPER_BOUND=4096"}};
    flx_config_set *set = must_load(&alias);
    assert_int_equal(flx_config_values(set)->udp_payload_max, 4096);
    (void)flx_config_set_free(set);
    world both = {.environment = {"FELIX_MTU_UPPER_BOUND=4096", "FELIX_UDP_PAYLOAD_MAX=1400"}};
    set = must_load(&both);
    assert_int_equal(flx_config_values(set)->udp_payload_max, 1400);
    assert_int_equal(both.warnings, 1);
    (void)flx_config_set_free(set);
}

static void help_is_answered_in_spite_of_problems(void **state)
{
    (void)state;
    world in = {.argv = {"--help", "--nonsense-flag"}};
    flx_config_set *set = must_load(&in);
    assert_int_equal(flx_config_wanted(set), FLX_CONFIG_HELP);
    (void)flx_config_set_free(set);
    world print = {.argv = {"--print-config", "--origin"}};
    set = must_load(&print);
    assert_int_equal(flx_config_wanted(set), FLX_CONFIG_PRINT_ORIGIN);
    (void)flx_config_set_free(set);
}

static char *printed(const flx_config_set *set, bool with_origin)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    flx_config_print(set, with_origin, out);
    (void)fclose(out);
    return text;
}

static size_t changes_seen;
static char changes[4096];

static void note_change(void *arg, const flx_config_key *key, const char *from, const char *to)
{
    (void)arg;
    const size_t len = strlen(changes);
    (void)snprintf(changes + len, sizeof changes - len, "%s %s->%s%s;", key->name, from, to,
                   key->live ? "" : " restart");
    changes_seen++;
}

static void a_printed_configuration_loads_again(void **state)
{
    (void)state;
    world in = {
        .argv = {"--node-id", "a\"b\\c", "--busy-poll-us", "250us", "--cache-memory-bytes=3GiB"}};
    flx_config_set *set = must_load(&in);
    char *text = printed(set, true);
    assert_non_null(strstr(text, "cache_memory_bytes: 3GiB  # --cache-memory-bytes\n"));
    assert_non_null(strstr(text, "workers: 0  # default\n"));
    world again = {.file = text};
    flx_config_set *reloaded = must_load(&again);
    changes_seen = 0;
    assert_int_equal(flx_config_diff(set, reloaded, note_change, NULL), 0);
    assert_int_equal(changes_seen, 0);
    free(text);
    (void)flx_config_set_free(reloaded);
    (void)flx_config_set_free(set);
}

static void a_reload_tells_what_changed(void **state)
{
    (void)state;
    world before = {.file = "workers: 1\nlog_level: info\n"};
    world after = {.file = "workers: 2\nlog_level: debug\nkeepalive_ms: 5s\n"};
    flx_config_set *running = must_load(&before);
    flx_config_set *loaded = must_load(&after);
    changes[0] = '\0';
    changes_seen = 0;
    assert_int_equal(flx_config_diff(running, loaded, note_change, NULL), 1);
    assert_string_equal(changes, "workers 1->2 restart;log_level info->debug;");
    (void)flx_config_set_free(running);
    (void)flx_config_set_free(loaded);
}

static void near_words_are_found_and_far_ones_are_not(void **state)
{
    (void)state;
    assert_int_equal(flx_edit_distance("stream", "stream"), 0);
    assert_int_equal(flx_edit_distance("steram", "stream"), 1);
    assert_int_equal(flx_edit_distance("pub", "sub"), 1);
    assert_int_equal(flx_edit_distance("QUIC-BIND", "quic_bind"), 0);
    assert_int_equal(flx_edit_distance("", "abc"), 3);
    const char *best = NULL;
    unsigned distance = ~0u;
    flx_nearest_offer("xyzzy", "stream", &best, &distance);
    assert_null(best);
    flx_nearest_offer("straem", "cache", &best, &distance);
    flx_nearest_offer("straem", "stream", &best, &distance);
    assert_string_equal(best, "stream");
}

/* The documents hold every key, so none can be forgotten there. */
static void documents_name_every_key(void **state)
{
    (void)state;
    void (*const writers[])(FILE *) = {flx_config_write_markdown, flx_config_write_help,
                                       flx_config_write_man};
    for (size_t i = 0; i < 3; i++) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        assert_non_null(out);
        writers[i](out);
        (void)fclose(out);
        for (size_t k = 0; k < FLX_CONFIG_KEY_COUNT; k++) {
            assert_non_null(strstr(text, flx_config_key_at(k)->env));
        }
        free(text);
    }
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 1000; nth++) {
        world in = {.file = "node_id: a\n", .argv = {"--region-id", "eu"}};
        flx_config_set *set = NULL;
        flx_error error = {0};
        flx_alloc_fail_nth(nth);
        const flx_status status = load(&in, &set, &error);
        const int failed = flx_alloc_failed();
        flx_alloc_fail_nth(0);
        if (!failed) {
            assert_int_equal(status, FLX_OK);
            (void)flx_config_set_free(set);
            return;
        }
        assert_int_equal(status, FLX_ERR_NOMEM);
        assert_null(set);
    }
    fail_msg("the loop did not end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(the_stronger_place_wins),
        cmocka_unit_test(presets_are_weaker_than_files),
        cmocka_unit_test(a_profile_fills_what_nobody_set),
        cmocka_unit_test(every_profile_makes_sense_and_balanced_changes_nothing),
        cmocka_unit_test(flags_come_in_every_usual_form),
        cmocka_unit_test(problems_are_told_in_full),
        cmocka_unit_test(all_problems_are_reported_at_once),
        cmocka_unit_test(unknown_variables_only_warn),
        cmocka_unit_test(aliases_are_read_and_the_first_name_counts),
        cmocka_unit_test(help_is_answered_in_spite_of_problems),
        cmocka_unit_test(a_printed_configuration_loads_again),
        cmocka_unit_test(a_reload_tells_what_changed),
        cmocka_unit_test(near_words_are_found_and_far_ones_are_not),
        cmocka_unit_test(documents_name_every_key),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
