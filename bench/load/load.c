/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - see the header. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int words_count;
static char **words;

void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

void load_init(int argc, char **argv)
{
    words_count = argc;
    words = argv;
}

static int find(const char *name)
{
    for (int i = 1; i < words_count; i++) {
        if (strcmp(words[i], name) == 0) {
            return i;
        }
    }
    return 0;
}

const char *load_text(const char *name, const char *otherwise)
{
    const int i = find(name);
    return i > 0 && i + 1 < words_count ? words[i + 1] : otherwise;
}

uint64_t load_number(const char *name, uint64_t otherwise)
{
    const char *text = load_text(name, NULL);
    if (text == NULL) {
        return otherwise;
    }
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        load_die("%s wants a number, not '%s'", name, text);
    }
    return value;
}

bool load_flag(const char *name)
{
    return find(name) > 0;
}

flx_client *load_connect(uint32_t connections, uint32_t cache_streams)
{
    flx_client_options options = FLX_CLIENT_OPTIONS_INIT;
    flx_client *client = NULL;
    flx_error error = {0};
    options.addresses = load_text("--address", "127.0.0.1:5000");
    options.tenant = load_text("--tenant", "t1");
    options.token_file = load_text("--token-file", NULL);
    options.ca_file = load_text("--ca-file", NULL);
    options.udp_payload_max = (uint32_t)load_number("--udp-payload-max", 0);
    options.busy_poll_us = (uint32_t)load_number("--busy-us", 0);
    options.connections = connections;
    options.cache_streams = cache_streams;
    options.cache_json = load_flag("--json");
    options.request_timeout_ms = LOAD_WAIT_MS;
    if (flx_client_connect(&options, LOAD_WAIT_MS, &client, &error) != FLX_OK) {
        load_die("connect: %s", error.message);
    }
    return client;
}

void load_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)putchar('\n');
    (void)fflush(stdout);
}

bool load_await_line(void)
{
    char line[64];
    return fgets(line, sizeof line, stdin) != NULL;
}

double load_cpu_s(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void load_histogram_text(const flx_histogram *histogram, char *text, size_t cap)
{
    const double us = 1000.0;
    (void)snprintf(
        text, cap,
        "\"count\":%llu,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
        "\"max_us\":%.2f",
        (unsigned long long)histogram->count, (double)flx_histogram_percentile(histogram, 50) / us,
        (double)flx_histogram_percentile(histogram, 99) / us,
        (double)flx_histogram_percentile(histogram, 99.9) / us, (double)histogram->max / us);
}

void load_sleep_us(uint64_t us)
{
    const struct timespec pause = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    (void)nanosleep(&pause, NULL);
}

_Atomic uint64_t *load_progress(uint64_t count)
{
    const char *path = load_text("--progress", NULL);
    if (path == NULL) {
        return NULL;
    }
    const size_t len = (size_t)count * sizeof(uint64_t);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)len) != 0) {
        load_die("open '%s': %s", path, strerror(errno));
    }
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        load_die("map '%s': %s", path, strerror(errno));
    }
    (void)close(fd);
    return memory;
}
