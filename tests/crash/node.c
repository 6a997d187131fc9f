/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - see node.h. The node's own log says when it serves and what its recovery did. */
#include "node.h"

#include "common/alloc.h"
#include "common/clock.h"
#include "common/error.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_WAIT_MS 60000
#define STOP_WAIT_MS  60000
#define LOG_BYTES_MAX (64L << 20) /* then it begins anew */
#define SEGMENT_BYTES                                                                              \
    "1MiB" /* the smallest there is: rolls, retention and compaction are frequent */

static void sleep_us(long us)
{
    const struct timespec span = {us / 1000000, us % 1000000 * 1000};
    (void)nanosleep(&span, NULL);
}

/* A port nobody has now, which the node keeps over its lives. */
static int free_port(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    int port = 0;
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
        port = ntohs(address.sin_port);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return port;
}

__attribute__((format(printf, 2, 3))) static bool path(char ret_path[NODE_PATH_MAX],
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(ret_path, NODE_PATH_MAX, format, args);
    va_end(args);
    return len > 0 && len < NODE_PATH_MAX;
}

flx_status node_init(node *n, const char *bin, const char *under, flx_error *reterr)
{
    memset(n, 0, sizeof *n);
    if (!path(n->felix, "%s/felix", bin) || access(n->felix, X_OK) != 0) {
        return flx_fail(reterr, FLX_ERR_NOT_FOUND, "%s/felix is not a program", bin);
    }
    if (!path(n->folder, "%s/felix-crash-XXXXXX", under) || mkdtemp(n->folder) == NULL) {
        return flx_fail_errno(reterr, errno, "make a folder in %s", under);
    }
    if (!path(n->data, "%s/data", n->folder) || !path(n->log, "%s/node.log", n->folder) ||
        !path(n->ca_file, "%s/tls/ca.pem", n->data) ||
        !path(n->token_file, "%s/tokens/dev.token", n->data) ||
        !path(n->admin_token_file, "%s/tokens/admin.token", n->data)) {
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "%s is too long a path", under);
    }
    (void)snprintf(n->address, sizeof n->address, "127.0.0.1:%d", free_port(SOCK_DGRAM));
    (void)snprintf(n->metrics, sizeof n->metrics, "127.0.0.1:%d", free_port(SOCK_STREAM));
    (void)snprintf(n->controlplane, sizeof n->controlplane, "https://127.0.0.1:%d",
                   free_port(SOCK_STREAM));
    return FLX_OK;
}

static uint64_t lines_with(const char *text, const char *word)
{
    uint64_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

/* Reads what the log has new; whether it says that the node serves. Only whole lines are taken. */
static bool look_at_log(node *n)
{
    bool serves = false;
    FILE *file = fopen(n->log, "re");
    if (file == NULL) {
        return false;
    }
    char *text = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        const long end = ftell(file);
        const size_t cap = end > n->log_at ? (size_t)(end - n->log_at) : 0;
        text = cap > 0 ? flx_alloc(cap + 1) : NULL;
        if (text != NULL && fseek(file, n->log_at, SEEK_SET) == 0) {
            text[fread(text, 1, cap, file)] = '\0';
            char *last = strrchr(text, '\n');
            if (last != NULL) {
                last[1] = '\0';
                n->log_at += last + 1 - text;
                n->tails_cut += lines_with(text, "\"log.tail_cut\"");
                n->damaged += lines_with(text, "\"log.damaged\"");
                serves = strstr(text, "\"node.started\"") != NULL;
            }
        }
    }
    flx_free(text);
    (void)fclose(file);
    return serves;
}

static int remove_one(const char *name, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(name);
}

void node_done(node *n, bool forget)
{
    node_kill(n);
    if (forget && n->folder[0] != '\0') {
        (void)nftw(n->folder, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    }
}

/* Starts `argv` with its output in a file; the environment has no FELIX_ word of ours. */
static flx_status spawn(char *const *argv, const char *output, bool append, pid_t *ret_pid,
                        flx_error *reterr)
{
    static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "NO_COLOR=1",
                                        "XDG_CONFIG_HOME=/nonexistent", NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return flx_fail(reterr, FLX_ERR_NOMEM, "start %s: out of memory", argv[0]);
    }
    const int flags = O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC);
    int failed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    failed |= posix_spawn_file_actions_addopen(&actions, 1, output, flags, 0600);
    failed |= posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (failed == 0) {
        failed = posix_spawn(ret_pid, argv[0], &actions, NULL, argv, environment);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return failed == 0 ? FLX_OK
                       : flx_fail(reterr, FLX_ERR_IO, "start %s: %s", argv[0], strerror(failed));
}

flx_status node_start(node *n, flx_error *reterr)
{
    char *argv[] = {n->felix,
                    (char[]){"up"},
                    (char[]){"--data"},
                    n->data,
                    (char[]){"--no-context"},
                    (char[]){"--quic-bind"},
                    n->address,
                    (char[]){"--metrics-bind"},
                    n->metrics,
                    (char[]){"--controlplane-bind"},
                    n->controlplane + strlen("https://"),
                    (char[]){"--log-segment-bytes"},
                    (char[]){SEGMENT_BYTES},
                    (char[]){"--log-format"},
                    (char[]){"json"},
                    NULL};
    if (n->log_at > LOG_BYTES_MAX && truncate(n->log, 0) == 0) {
        n->log_at = 0;
    }
    n->starts++;
    return spawn(argv, n->log, true, &n->pid, reterr);
}

/* Whether it has ended by itself. */
static bool has_ended(node *n, int *ret_code)
{
    int status = 0;
    if (n->pid == 0 || waitpid(n->pid, &status, WNOHANG) != n->pid) {
        return n->pid == 0;
    }
    n->pid = 0;
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

flx_status node_wait_ready(node *n, flx_error *reterr)
{
    const uint64_t start_ns = flx_clock_monotonic_ns();
    int code = 0;
    while (!look_at_log(n)) {
        if (has_ended(n, &code)) {
            return flx_fail(reterr, FLX_ERR_CLOSED, "the node ended by itself with %d: see %s",
                            code, n->log);
        }
        if (flx_clock_monotonic_ns() - start_ns > READY_WAIT_MS * FLX_NS_PER_MS) {
            return flx_fail(reterr, FLX_ERR_TIMEOUT, "the node does not come up: see %s", n->log);
        }
        sleep_us(1000);
    }
    const uint64_t took_ns = flx_clock_monotonic_ns() - start_ns;
    n->ready++;
    n->start_ns_sum += took_ns;
    n->start_ns_max = took_ns > n->start_ns_max ? took_ns : n->start_ns_max;
    return FLX_OK;
}

void node_kill(node *n)
{
    if (n->pid != 0) {
        (void)kill(n->pid, SIGKILL);
        (void)waitpid(n->pid, NULL, 0);
        n->pid = 0;
        (void)look_at_log(n); /* the next life begins behind it */
    }
}

int node_stop(node *n)
{
    int code = 0;
    if (n->pid == 0) {
        return 0;
    }
    (void)kill(n->pid, SIGTERM);
    for (int ms = 0; ms < STOP_WAIT_MS; ms++) {
        if (has_ended(n, &code)) {
            return code;
        }
        sleep_us(1000);
    }
    node_kill(n);
    return -1;
}

int node_verify(const node *n)
{
    char output[NODE_PATH_MAX];
    char felix[NODE_PATH_MAX];
    char data[NODE_PATH_MAX];
    pid_t pid = 0;
    int status = 0;
    memcpy(felix, n->felix, sizeof felix);
    memcpy(data, n->data, sizeof data);
    char *argv[] = {felix, (char[]){"log"}, (char[]){"verify"}, data, NULL};
    if (!path(output, "%s/verify.out", n->folder) ||
        spawn(argv, output, false, &pid, NULL) != FLX_OK || waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Calls `visit` with each name in a folder but those with a dot in front. */
static void each_name(const char *folder, void (*visit)(void *arg, const char *name), void *arg)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            visit(arg, entry->d_name);
        }
    }
    (void)closedir(dir);
}

typedef struct newest {
    const char *log; /* whose directory is looked for: NAME-ID-SHARD-... */
    uint32_t shard;
    char name[256];
} newest;

static void take_log(void *arg, const char *name)
{
    newest *found = arg;
    char shard[16];
    const size_t len = strlen(found->log);
    (void)snprintf(shard, sizeof shard, "-%u-", found->shard);
    if (strncmp(name, found->log, len) == 0 && name[len] == '-') {
        const char *id_end = strchr(name + len + 1, '-');
        if (id_end != NULL && strncmp(id_end, shard, strlen(shard)) == 0) {
            (void)snprintf(found->name, sizeof found->name, "%s", name);
        }
    }
}

/* Names of segments begin with their first offset at a fixed width, so they sort. */
static void take_last_segment(void *arg, const char *name)
{
    newest *found = arg;
    if (strstr(name, ".seg") != NULL && strcmp(name, found->name) > 0) {
        (void)snprintf(found->name, sizeof found->name, "%s", name);
    }
}

bool node_newest_segment(const node *n, const char *name, uint32_t shard,
                         char ret_path[NODE_PATH_MAX], int64_t *ret_bytes)
{
    char folder[NODE_PATH_MAX];
    newest log = {.log = name, .shard = shard};
    newest segment = {0};
    struct stat status;
    if (!path(folder, "%s/log/logs", n->data)) {
        return false;
    }
    each_name(folder, take_log, &log);
    if (log.name[0] == '\0' || !path(folder, "%s/log/logs/%s", n->data, log.name)) {
        return false;
    }
    each_name(folder, take_last_segment, &segment);
    if (segment.name[0] == '\0' || !path(ret_path, "%s/%s", folder, segment.name) ||
        stat(ret_path, &status) != 0) {
        return false;
    }
    *ret_bytes = status.st_size;
    return true;
}

static void count_name(void *arg, const char *name)
{
    (void)name;
    (*(int *)arg)++;
}

int node_logs(const node *n)
{
    char folder[NODE_PATH_MAX];
    int count = 0;
    if (path(folder, "%s/log/logs", n->data)) {
        each_name(folder, count_name, &count);
    }
    return count;
}
