/* SPDX-License-Identifier: Apache-2.0 */
/* host.c - reading /proc and /sys of the machine a node runs on; see the header. */
#include "host.h"

#include "common/error.h"

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WANTED_BUFFER   (UINT64_C(8) << 20) /* udp_recv_buffer, udp_send_buffer */
#define CPUS_MAX        1024U
#define IDLE_STATES_MAX 16U
#define IDLE_SLOW_US    50U /* about a whole trip of a message */

typedef struct host {
    const char *root;
    void (*found)(void *arg, const cli_host_finding *finding);
    void *arg;
} host;

/* The first line of a file below the root, without its end. */
static bool read_line(const host *h, const char *path, char *line, size_t cap)
{
    char name[PATH_MAX];
    (void)snprintf(name, sizeof name, "%s%s", h->root, path);
    FILE *file = fopen(name, "re");
    if (file == NULL) {
        return false;
    }
    const bool there = fgets(line, (int)cap, file) != NULL;
    (void)fclose(file);
    if (there) {
        line[strcspn(line, "\n")] = '\0';
    }
    return there;
}

static bool read_number(const host *h, const char *path, uint64_t *ret_value)
{
    char line[64];
    char *end = NULL;
    if (!read_line(h, path, line, sizeof line)) {
        return false;
    }
    const unsigned long long value = strtoull(line, &end, 10);
    *ret_value = value;
    return end != line;
}

static void say(const host *h, const char *check, cli_host_verdict verdict, const char *next,
                const char *format, ...) FLX_PRINTF(5, 6);

static void say(const host *h, const char *check, cli_host_verdict verdict, const char *next,
                const char *format, ...)
{
    cli_host_finding finding = {.check = check, .verdict = verdict};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(finding.detail, sizeof finding.detail, format, args);
    va_end(args);
    if (verdict == CLI_HOST_SLOW) {
        (void)snprintf(finding.next, sizeof finding.next, "%s", next);
    }
    h->found(h->arg, &finding);
}

/* ---- socket buffers ---- */

static void examine_buffer(const host *h, const char *check)
{
    char path[64];
    char next[96];
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof path, "/proc/sys/net/core/%s", check);
    if (!read_number(h, path, &bytes)) {
        say(h, check, CLI_HOST_UNKNOWN, "", "%s cannot be read", path);
        return;
    }
    (void)snprintf(next, sizeof next, "sysctl -w net.core.%s=%llu", check,
                   (unsigned long long)WANTED_BUFFER);
    say(h, check, bytes >= WANTED_BUFFER ? CLI_HOST_FINE : CLI_HOST_SLOW, next,
        "UDP sockets may have %llu KiB, %llu KiB are asked for", (unsigned long long)bytes / 1024,
        (unsigned long long)WANTED_BUFFER / 1024);
}

/* ---- frequency ---- */

static void examine_governor(const host *h)
{
    char first[32] = "";
    unsigned slow = 0;
    unsigned seen = 0;
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        char path[96];
        char governor[32];
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor",
                       cpu);
        if (!read_line(h, path, governor, sizeof governor)) {
            continue;
        }
        seen++;
        if (strcmp(governor, "performance") != 0) {
            slow++;
            (void)snprintf(first, sizeof first, "%s", governor);
        }
    }
    if (seen == 0) {
        say(h, "governor", CLI_HOST_UNKNOWN, "",
            "this system does not set the frequency of its processors");
    } else if (slow > 0) {
        say(h, "governor", CLI_HOST_SLOW, "cpupower frequency-set -g performance",
            "%u of %u processors follow '%s': a node that waits runs slowly when work comes", slow,
            seen, first);
    } else {
        say(h, "governor", CLI_HOST_FINE, "", "performance on all %u processors", seen);
    }
}

/* ---- sleeping ---- */

static bool is_virtual(const host *h)
{
    char name[PATH_MAX];
    char line[4096];
    bool found = false;
    (void)snprintf(name, sizeof name, "%s/proc/cpuinfo", h->root);
    FILE *file = fopen(name, "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor") != NULL;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

/* How long the deepest state in use takes to leave, of the first processor. False: not known. */
static bool deepest_sleep_us(const host *h, uint64_t *ret_us, char state[32])
{
    bool known = false;
    *ret_us = 0;
    for (unsigned i = 0; i < IDLE_STATES_MAX; i++) {
        char path[96];
        uint64_t us = 0;
        uint64_t disabled = 0;
        const char *base = "/sys/devices/system/cpu/cpu0/cpuidle/state";
        (void)snprintf(path, sizeof path, "%s%u/disable", base, i);
        const bool off = read_number(h, path, &disabled) && disabled != 0;
        (void)snprintf(path, sizeof path, "%s%u/latency", base, i);
        if (off || !read_number(h, path, &us)) {
            continue;
        }
        known = true;
        if (us >= *ret_us) {
            *ret_us = us;
            (void)snprintf(path, sizeof path, "%s%u/name", base, i);
            if (!read_line(h, path, state, 32)) {
                (void)snprintf(state, 32, "state%u", i);
            }
        }
    }
    return known;
}

static void examine_idle(const host *h)
{
    char driver[32] = "none";
    char state[32] = "";
    uint64_t us = 0;
    (void)read_line(h, "/sys/devices/system/cpu/cpuidle/current_driver", driver, sizeof driver);
    const bool polls = strcmp(driver, "haltpoll") == 0;
    if (is_virtual(h) && !polls) {
        say(h, "idle", CLI_HOST_SLOW,
            "modprobe cpuidle_haltpoll, or run the node with --profile low-latency",
            "a virtual machine that halts at once (driver '%s'): every wake-up goes through the "
            "host",
            driver);
    } else if (polls) {
        say(h, "idle", CLI_HOST_FINE, "", "a virtual machine that polls before it halts");
    } else if (!deepest_sleep_us(h, &us, state)) {
        say(h, "idle", CLI_HOST_UNKNOWN, "", "this system does not say how its processors sleep");
    } else if (us >= IDLE_SLOW_US) {
        say(h, "idle", CLI_HOST_SLOW,
            "cpupower idle-set -D 20, or run the node with --profile low-latency",
            "processors sleep as deeply as %s, which takes %llu us to leave", state,
            (unsigned long long)us);
    } else {
        say(h, "idle", CLI_HOST_FINE, "", "processors wake within %llu us", (unsigned long long)us);
    }
}

/* ---- processors ---- */

/* Hundredths of a processor that the control group of this process may use; UINT64_MAX: no bound. */
static uint64_t quota_hundredths(const host *h)
{
    char line[64];
    char *end = NULL;
    if (!read_line(h, "/sys/fs/cgroup/cpu.max", line, sizeof line)) {
        return UINT64_MAX;
    }
    const unsigned long long quota = strtoull(line, &end, 10);
    if (end == line) {
        return UINT64_MAX; /* "max" */
    }
    const unsigned long long period = strtoull(end, NULL, 10);
    return period > 0 ? (uint64_t)quota * 100 / period : UINT64_MAX;
}

static void examine_processors(const host *h, unsigned processors)
{
    const uint64_t quota = quota_hundredths(h);
    if (quota < (uint64_t)processors * 100) {
        say(h, "processors", CLI_HOST_SLOW,
            "raise the quota to whole processors, or set --workers to no more than it",
            "%u, of which the control group may use %llu.%02llu: workers are stopped in between",
            processors, (unsigned long long)quota / 100, (unsigned long long)quota % 100);
    } else if (processors < 2) {
        say(h, "processors", CLI_HOST_SLOW, "give the machine two or more",
            "%u: the node waits whenever anything else runs", processors);
    } else {
        say(h, "processors", CLI_HOST_FINE, "", "%u", processors);
    }
}

void cli_host_examine(const char *root, unsigned processors,
                      void (*found)(void *arg, const cli_host_finding *finding), void *arg)
{
    const host h = {.root = root, .found = found, .arg = arg};
    examine_buffer(&h, "rmem_max");
    examine_buffer(&h, "wmem_max");
    examine_governor(&h);
    examine_idle(&h);
    examine_processors(&h, processors);
}
