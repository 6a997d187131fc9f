/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a node that can be looked at alone: settings (README.md, Shape), identity (rules 2 to
 * 4), the watch over certificate folders, and the figures as Prometheus text (rule 11).
 */
#include "common/alloc.h"
#include "common/clock.h"
#include "common/loop.h"
#include "node/certificate_watch.h"
#include "node/exposition.h"
#include "rig.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>

/* ---- settings ---- */

static void test_limits_come_from_their_keys(void **state)
{
    (void)state;
    rig_dir dir;
    rig_dir_make(&dir);
    const flx_config_preset presets[] = {{"publish_window", "0"},     {"auth_timeout_ms", "0"},
                                         {"shard_ring_frames", "77"}, {"ring_bytes", "300MiB"},
                                         {"keepalive_ms", "0"},       {"workers", "3"}};
    flx_config_set *set = rig_config(&dir, presets, sizeof presets / sizeof presets[0]);
    const flx_config *config = flx_config_values(set);
    flx_worker_limits limits;
    flx_quic_options quic;
    flx_settings_limits(config, &limits);
    flx_settings_quic(config, &quic);
    assert_int_equal(limits.publish_window, UINT32_MAX); /* 0 switches off, and is not a default */
    assert_int_equal(limits.auth_timeout_ms, UINT32_MAX);
    assert_int_equal(limits.shard_ring_frames, 77);
    assert_int_equal(limits.ring_bytes, 300u << 20);
    assert_int_equal(limits.frame_bytes_max, config->max_frame_bytes);
    assert_int_equal(quic.keepalive_ms, UINT32_MAX);
    assert_int_equal(quic.idle_timeout_ms, config->max_idle_timeout_ms);
    assert_int_equal(flx_settings_workers(config), 3);
    (void)flx_config_set_free(set);
    rig_dir_remove(&dir);
}

static void test_workers_follow_their_processors(void **state)
{
    (void)state;
    static const struct {
        const char *workers, *cpus;
        uint32_t count; /* 0: as many as the machine has */
        int bound[3];
    } rows[] = {
        {"0", "", 0, {-1, -1, -1}},
        {"0", "4,6-7", 3, {4, 6, 7}},
        {"3", "5", 3, {5, 5, 5}},
        {"3", "0-1", 3, {0, 1, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_dir dir;
        rig_dir_make(&dir);
        const flx_config_preset presets[] = {{"workers", rows[i].workers},
                                             {"worker_cpus", rows[i].cpus}};
        flx_config_set *set = rig_config(&dir, presets, 2);
        const flx_config *config = flx_config_values(set);
        const uint32_t count = flx_settings_workers(config);
        assert_true(rows[i].count == 0 ? count >= 1 : count == rows[i].count);
        for (uint32_t worker = 0; worker < 3; worker++) {
            assert_int_equal(flx_settings_cpu(config, worker), rows[i].bound[worker]);
        }
        (void)flx_config_set_free(set);
        rig_dir_remove(&dir);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool any_port;
        flx_status status;
        const char *back; /* as a client can use it */
    } cases[] = {
        {"127.0.0.1:5000", false, FLX_OK, "127.0.0.1:5000"},
        {"127.0.0.1:5000", true, FLX_OK, "127.0.0.1:0"},
        {"0.0.0.0:5000", false, FLX_OK, "127.0.0.1:5000"},
        {"[::]:5000", false, FLX_OK, "[::1]:5000"},
        {"[::1]:65535", false, FLX_OK, "[::1]:65535"},
        {"127.0.0.1:65536", false, FLX_ERR_INVALID, NULL},
        {"127.0.0.1", false, FLX_ERR_INVALID, NULL},
        {"no.such.host.invalid:1", false, FLX_ERR_NOT_FOUND, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage address;
        socklen_t len = 0;
        char text[80];
        print_message("  %s\n", cases[i].text);
        assert_int_equal(
            flx_settings_address(cases[i].text, cases[i].any_port, &address, &len, NULL),
            cases[i].status);
        if (cases[i].status == FLX_OK) {
            flx_settings_address_text(&address, text, sizeof text);
            assert_string_equal(text, cases[i].back);
        }
    }
}

/* ---- identity ---- */

static unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

static void test_identity_is_kept_and_private(void **state)
{
    (void)state;
    rig_dir dir;
    rig_dir_make(&dir);
    char data[256];
    (void)rig_path(&dir, "data", data);
    flx_identity first;
    OK(flx_identity_open(data, true, NULL, flx_clock_wall_us() / 1000000, &first, err));
    char path[300];
    (void)snprintf(path, sizeof path, "%s/keys/transport.key", data);
    assert_int_equal(mode_of(data), 0700);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(first.key_file), 0600);
    assert_int_equal(mode_of(first.dev_token_file), 0600);
    assert_int_equal(mode_of(first.admin_token_file), 0600);

    flx_identity second;
    flx_error error = {0};
    assert_int_equal(flx_identity_open(data, true, NULL, 0, &second, &error), FLX_ERR_CONFLICT);
    assert_non_null(strstr(error.message, "in use by another node"));

    uint8_t secret[64];
    const size_t len = first.transport_secret.len;
    assert_int_equal(len, 32);
    memcpy(secret, first.transport_secret.bytes, len);
    flx_identity_close(&first);
    OK(flx_identity_open(data, false, NULL, 0, &second, err)); /* the same after a restart */
    assert_memory_equal(second.transport_secret.bytes, secret, len);
    assert_null(second.issuer); /* not embedded */
    flx_identity_close(&second);
    flx_identity_close(&second); /* twice is fine */
    rig_dir_remove(&dir);
}

static void test_identity_refuses_what_others_may_read(void **state)
{
    (void)state;
    static const char *const files[] = {"keys/transport.key", "keys/issuer.pem", "tls/server.key"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        rig_dir dir;
        rig_dir_make(&dir);
        flx_identity identity;
        const uint64_t now_s = flx_clock_wall_us() / 1000000;
        OK(flx_identity_open(dir.path, true, NULL, now_s, &identity, err));
        flx_identity_close(&identity);
        char path[256];
        assert_int_equal(chmod(rig_path(&dir, files[i], path), 0644), 0);
        flx_error error = {0};
        const flx_status status = flx_identity_open(dir.path, true, NULL, now_s, &identity, &error);
        print_message("  %s: %s\n", files[i], error.message);
        assert_int_equal(status, FLX_ERR_DENIED);
        assert_non_null(strstr(error.message, path));
        assert_int_equal(identity.lock_fd, -1); /* the lock went with it */
        rig_dir_remove(&dir);
    }
}

static void test_identity_refuses_what_is_damaged(void **state)
{
    (void)state;
    rig_dir dir;
    rig_dir_make(&dir);
    flx_identity identity;
    char path[256];
    assert_int_equal(mkdir(rig_path(&dir, "keys", path), 0700), 0);
    const int fd = open(rig_path(&dir, "keys/transport.key", path), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "short", 5), 5);
    assert_int_equal(close(fd), 0);
    assert_int_equal(flx_identity_open(dir.path, false, NULL, 0, &identity, NULL), FLX_ERR_CORRUPT);
    rig_dir_remove(&dir);
}

/* ---- the watch ---- */

static void count_change(void *arg)
{
    (*(int *)arg)++;
}

static void write_file(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(close(fd), 0);
}

static void step_until(flx_loop *loop, const int *count, int wanted)
{
    for (int i = 0; *count < wanted; i++) {
        assert_true(i < 10000);
        OK(flx_loop_step(loop, flx_loop_now_ns(loop) + FLX_NS_PER_MS, err));
    }
}

static void test_a_change_of_two_files_is_one(void **state)
{
    (void)state;
    rig_dir dir;
    rig_dir_make(&dir);
    char cert[256];
    char key[256];
    char next[256];
    flx_loop *loop = NULL;
    OK(flx_loop_new(NULL, &loop, err));
    flx_certificate_watch watch;
    int changes = 0;
    const char *const files[] = {rig_path(&dir, "server.pem", cert),
                                 rig_path(&dir, "server.key", key), NULL, ""};
    OK(flx_certificate_watch_start(&watch, loop, files, 4, count_change, &changes, err));
    write_file(cert);
    write_file(key);
    step_until(loop, &changes, 1);
    assert_int_equal(changes, 1);
    /* As Kubernetes and editors do it: beside, then over. */
    write_file(rig_path(&dir, "next", next));
    assert_int_equal(rename(next, cert), 0);
    step_until(loop, &changes, 2);
    assert_int_equal(changes, 2);
    flx_certificate_watch_stop(&watch);
    flx_certificate_watch_stop(&watch); /* twice is fine */

    const char *const nowhere[] = {"/nowhere/at/all/server.pem"};
    assert_int_equal(
        flx_certificate_watch_start(&watch, loop, nowhere, 1, count_change, &changes, NULL),
        FLX_ERR_IO);
    flx_certificate_watch_stop(&watch);
    loop = flx_loop_free(loop);
    rig_dir_remove(&dir);
}

/* ---- figures ---- */

/* A metric name: letters, digits, '_' and ':', not a digit first. */
static const char *skip_name(const char *at)
{
    assert_true(isalpha((unsigned char)*at) || *at == '_');
    while (isalnum((unsigned char)*at) || *at == '_' || *at == ':')
        at++;
    return at;
}

/* name{label="value",...} number */
static void check_sample(const char *line, const char *family)
{
    assert_memory_equal(line, family, strlen(family));
    const char *at = skip_name(line);
    const char *const ends[] = {"", "_bucket", "_sum", "_count"};
    bool is_of_family = false;
    for (size_t i = 0; i < 4; i++) {
        const size_t len = strlen(family) + strlen(ends[i]);
        is_of_family =
            is_of_family || ((size_t)(at - line) == len &&
                             strncmp(line + strlen(family), ends[i], strlen(ends[i])) == 0);
    }
    assert_true(is_of_family);
    if (*at == '{') {
        do {
            at = skip_name(at + 1);
            assert_memory_equal(at, "=\"", 2);
            at = strchr(at + 2, '"');
            assert_non_null(at);
            at++;
        } while (*at == ',');
        assert_int_equal(*at++, '}');
    }
    assert_int_equal(*at++, ' ');
    char *end = NULL;
    (void)strtod(at, &end);
    assert_true(end > at && *end == '\0');
}

/* Every family has its HELP and TYPE, once, in front of its samples; counters end in _total. */
static void check_text(char *text)
{
    char family[128] = "";
    char seen[16384] = " "; /* names so far, a space on both sides */
    char *rest = NULL;
    size_t samples = 0;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char type[16];
        char name[132];
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line, "# HELP %127s", family), 1);
            (void)snprintf(name, sizeof name, " %s ", family);
            assert_null(strstr(seen, name));
            (void)strncat(seen, name + 1, sizeof seen - strlen(seen) - 1);
            assert_true(strlen(line) > strlen("# HELP  ") + strlen(family));
            assert_int_equal(line[strlen(line) - 1], '.'); /* a sentence */
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line, "# TYPE %127s %15s", name, type), 2);
            assert_string_equal(name, family);
            const bool is_total =
                strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
            assert_int_equal(strcmp(type, "counter") == 0, is_total);
        } else {
            check_sample(line, family);
            samples++;
        }
    }
    assert_true(samples > 60);
}

/* Buckets grow, and the last one is the count. */
static void check_histogram(const char *text, const char *name)
{
    char prefix[128];
    (void)snprintf(prefix, sizeof prefix, "\n%s_bucket{le=\"", name);
    double bound = 0;
    uint64_t count = 0;
    size_t buckets = 0;
    const char *at = text;
    while ((at = strstr(at, prefix)) != NULL) {
        at += strlen(prefix);
        char *end = NULL;
        const double next = strtod(at, &end);
        assert_true(next > bound);
        bound = next;
        const char *space = strchr(end, ' ');
        assert_non_null(space);
        const uint64_t value = strtoull(space, NULL, 10);
        assert_true(value >= count);
        count = value;
        buckets++;
    }
    assert_int_equal(buckets, FLX_HISTOGRAM_BUCKETS);
    assert_true(bound > 1e300); /* +Inf */
    (void)snprintf(prefix, sizeof prefix, "\n%s_count ", name);
    at = strstr(text, prefix);
    assert_non_null(at);
    assert_int_equal(strtoull(at + strlen(prefix), NULL, 10), count);
}

/* The figures of a node that is ready: it is when each worker has looked for logs to open. */
static char *figures_when_ready(const flx_health *health)
{
    for (int i = 0; i < 10000; i++) { /* 10 s only guard against a hang */
        char *text = NULL;
        OK(health->metrics(health->arg, &text, err));
        if (strstr(text, "\nfelix_ready_state 1\n") != NULL)
            return text;
        flx_free(text);
        (void)usleep(1000);
    }
    fail_msg("the node does not become ready");
    return NULL;
}

static void test_exposition_is_well_formed(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "2");
    flx_health health;
    flx_node_probes(r.node, &health);
    char *text = figures_when_ready(&health);
    check_histogram(text, "felix_publish_latency_seconds");
    check_histogram(text, "felix_delivery_latency_seconds");
    assert_non_null(strstr(text, "_bucket{le=\"0.000001\"} "));
    assert_non_null(strstr(text, "_bucket{le=\"16.777216\"} "));
    assert_non_null(strstr(text, "\nfelix_workers 2\n"));
    assert_non_null(strstr(text, "\nfelix_certificate_on_disk_is_served 1\n"));
    check_text(text);
    flx_free(text);
    rig_stop(&r);
}

/* A certificate on disk that cannot be taken over shows; the next good one is served. */
static void test_a_bad_certificate_shows(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "1");
    flx_health health;
    flx_node_probes(r.node, &health);
    const int64_t served = flx_credentials_not_after(r.node->credentials);
    char *text = NULL;
    char saved[300];
    (void)snprintf(saved, sizeof saved, "%s/saved", r.dir.path);
    assert_int_equal(rename(r.node->identity.key_file, saved), 0);
    write_file(r.node->identity.key_file);
    flx_node_reload_certificates(r.node, "test");
    OK(health.metrics(health.arg, &text, err));
    const bool is_repaired = strstr(text, "\nfelix_config_reload_failures_total 0\n") != NULL;
    assert_true(is_repaired || strstr(text, "\nfelix_certificate_on_disk_is_served 0\n") != NULL);
    assert_int_equal(flx_credentials_not_after(r.node->credentials), served);
    flx_free(text);
    assert_int_equal(rename(saved, r.node->identity.key_file), 0);
    flx_node_reload_certificates(r.node, "test");
    OK(health.metrics(health.arg, &text, err));
    assert_non_null(strstr(text, "\nfelix_certificate_on_disk_is_served 1\n"));
    flx_free(text);
    rig_stop(&r);
}

/* ---- starting ---- */

static void test_what_cannot_start_leaves_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        flx_config_preset preset;
        bool embedded;
        const char *words;
    } cases[] = {
        {"no data directory", {"data_dir", ""}, true, "data_dir is not set"},
        {"no keys", {"workers", "1"}, false, "jwks_file is not set"},
        {"no such processor", {"worker_cpus", "1023"}, true, "(worker_cpus)"},
        {"no certificate", {"jwks_file", "/nowhere.json"}, false, "tls_cert and tls_key"},
        {"a host there is not", {"quic_bind", "no.such.host.invalid:1"}, true, "look up"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("  %s\n", cases[i].name);
        rig_dir dir;
        rig_dir_make(&dir);
        flx_config_set *set = rig_config(&dir, &cases[i].preset, 1);
        flx_log *log = NULL;
        const flx_log_options log_options = {.component = "test", .level = FLX_LOG_OFF};
        OK(flx_log_new(&log_options, &log, err));
        const flx_node_options options = {.config = set, .log = log, .embedded = cases[i].embedded};
        flx_node *node = NULL;
        flx_error error = {0};
        assert_int_not_equal(flx_node_start(&options, &node, &error), FLX_OK);
        assert_non_null(strstr(error.message, cases[i].words));
        assert_null(node);
        (void)flx_log_free(log);
        (void)flx_config_set_free(set);
        rig_dir_remove(&dir);
    }
}

static void test_two_nodes_on_one_directory(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "1");
    const flx_node_options options = {.config = r.config, .log = r.log, .embedded = true};
    flx_node *second = NULL;
    flx_error error = {0};
    assert_int_equal(flx_node_start(&options, &second, &error), FLX_ERR_CONFLICT);
    assert_non_null(strstr(error.message, "in use by another node"));
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_come_from_their_keys),
        cmocka_unit_test(test_workers_follow_their_processors),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_identity_is_kept_and_private),
        cmocka_unit_test(test_identity_refuses_what_others_may_read),
        cmocka_unit_test(test_identity_refuses_what_is_damaged),
        cmocka_unit_test(test_a_change_of_two_files_is_one),
        cmocka_unit_test(test_exposition_is_well_formed),
        cmocka_unit_test(test_a_bad_certificate_shows),
        cmocka_unit_test(test_what_cannot_start_leaves_nothing),
        cmocka_unit_test(test_two_nodes_on_one_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
