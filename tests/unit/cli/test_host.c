/* SPDX-License-Identifier: Apache-2.0 */
/* What felix doctor says about a machine: folders that look like one, and the lines they lead to. */
#include "folder.h"
#include "host.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FINDINGS_MAX 8

typedef struct machine {
    const char *name;
    unsigned processors;
    const char *files[8][2]; /* path below the root, content */
    struct {
        const char *check;
        cli_host_verdict verdict;
        const char *detail; /* a part of it */
        const char *next;   /* a part of it; NULL: none */
    } says[4];
} machine;

typedef struct seen {
    cli_host_finding findings[FINDINGS_MAX];
    size_t count;
} seen;

static void collect(void *arg, const cli_host_finding *finding)
{
    seen *s = arg;
    assert_true(s->count < FINDINGS_MAX);
    s->findings[s->count++] = *finding;
}

static void put(const char *root, const char *path, const char *content)
{
    char name[512];
    (void)snprintf(name, sizeof name, "%s%s", root, path);
    for (char *at = name + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(name, 0700);
        *at = '/';
    }
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    (void)fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static const cli_host_finding *finding_of(const seen *s, const char *check)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->findings[i].check, check) == 0) {
            return &s->findings[i];
        }
    }
    fail_msg("nothing was said about %s", check);
    return NULL;
}

#define GOVERNOR(cpu) "/sys/devices/system/cpu/cpu" cpu "/cpufreq/scaling_governor"
#define STATE(n, of)  "/sys/devices/system/cpu/cpu0/cpuidle/state" n "/" of
#define DRIVER        "/sys/devices/system/cpu/cpuidle/current_driver"

static const machine machines[] = {
    {"a tuned server",
     16,
     {{"/proc/sys/net/core/rmem_max", "16777216\n"},
      {"/proc/sys/net/core/wmem_max", "8388608\n"},
      {GOVERNOR("0"), "performance\n"},
      {GOVERNOR("1"), "performance\n"},
      {STATE("0", "latency"), "2\n"}},
     {{"rmem_max", CLI_HOST_FINE, "16384 KiB", NULL},
      {"wmem_max", CLI_HOST_FINE, "8192 KiB", NULL},
      {"governor", CLI_HOST_FINE, "all 2", NULL},
      {"idle", CLI_HOST_FINE, "2 us", NULL}}},
    {"a server as it was delivered",
     16,
     {{"/proc/sys/net/core/rmem_max", "212992\n"},
      {GOVERNOR("0"), "performance\n"},
      {GOVERNOR("7"), "powersave\n"},
      {STATE("0", "latency"), "0\n"},
      {STATE("2", "latency"), "133\n"},
      {STATE("2", "name"), "C6\n"}},
     {{"rmem_max", CLI_HOST_SLOW, "208 KiB", "sysctl -w net.core.rmem_max=8388608"},
      {"wmem_max", CLI_HOST_UNKNOWN, "cannot be read", NULL},
      {"governor", CLI_HOST_SLOW, "1 of 2", "cpupower frequency-set"},
      {"idle", CLI_HOST_SLOW, "C6, which takes 133 us", "low-latency"}}},
    {"deep states switched off",
     2,
     {{STATE("0", "latency"), "1\n"},
      {STATE("1", "latency"), "200\n"},
      {STATE("1", "disable"), "1\n"}},
     {{"idle", CLI_HOST_FINE, "within 1 us", NULL}, {"processors", CLI_HOST_FINE, "2", NULL}}},
    {"a virtual machine",
     1,
     {{"/proc/cpuinfo", "processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"},
      {DRIVER, "none\n"}},
     {{"idle", CLI_HOST_SLOW, "halts at once", "haltpoll"},
      {"governor", CLI_HOST_UNKNOWN, "does not set", NULL},
      {"processors", CLI_HOST_SLOW, "1: ", "two or more"}}},
    {"a virtual machine that polls",
     2,
     {{"/proc/cpuinfo", "flags : hypervisor\nflags : fpu hypervisor\n"}, {DRIVER, "haltpoll\n"}},
     {{"idle", CLI_HOST_FINE, "polls before it halts", NULL}}},
    {"a container with a quota",
     8,
     {{"/sys/fs/cgroup/cpu.max", "150000 100000\n"}},
     {{"processors", CLI_HOST_SLOW, "8, of which the control group may use 1.50", "--workers"}}},
    {"a container without one",
     8,
     {{"/sys/fs/cgroup/cpu.max", "max 100000\n"}},
     {{"processors", CLI_HOST_FINE, "8", NULL}}},
    {"a quota of nonsense",
     8,
     {{"/sys/fs/cgroup/cpu.max", "1 0\n"}},
     {{"processors", CLI_HOST_FINE, "8", NULL}}},
};

static void each_machine_is_described(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        const machine *m = &machines[i];
        char root[96];
        seen s = {.count = 0};
        print_message("  %s\n", m->name);
        (void)snprintf(root, sizeof root, "%s", path_of((char[]){(char)('a' + i), '\0'}));
        assert_int_equal(mkdir(root, 0700), 0);
        for (size_t f = 0; f < 8 && m->files[f][0] != NULL; f++) {
            put(root, m->files[f][0], m->files[f][1]);
        }
        cli_host_examine(root, m->processors, collect, &s);
        assert_int_equal(s.count, 5); /* one line each, whatever is there to be read */
        for (size_t line = 0; line < 4 && m->says[line].check != NULL; line++) {
            const cli_host_finding *finding = finding_of(&s, m->says[line].check);
            assert_int_equal(finding->verdict, m->says[line].verdict);
            assert_non_null(strstr(finding->detail, m->says[line].detail));
            if (m->says[line].next != NULL) {
                assert_non_null(strstr(finding->next, m->says[line].next));
            } else {
                assert_string_equal(finding->next, "");
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_machine_is_described)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
