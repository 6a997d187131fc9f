/* SPDX-License-Identifier: Apache-2.0 */
/* process.c - reading /proc. Everything here is advice: when it cannot be read, callers go on. */
#include "process.h"

#include "common/config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TCP_LISTENS 10 /* TCP_LISTEN of the kernel */

/* Where field number `index` (from 0) of a line of blanks and words begins; "" past the end. */
static const char *nth_field(const char *line, unsigned index)
{
    line += strspn(line, " ");
    for (; index > 0; index--) {
        line += strcspn(line, " \n");
        line += strspn(line, " ");
    }
    return line;
}

/* Inodes of the sockets bound to the port, from one of /proc/net's tables:
 *     sl  local_address  rem_address  st  queues  timer  retransmits  uid  timeout  inode */
static size_t sockets_of(const char *table, bool tcp, uint16_t port, unsigned long inodes[32])
{
    char line[512];
    size_t count = 0;
    FILE *file = fopen(table, "re");
    if (file == NULL) {
        return 0;
    }
    while (count < 32 && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(nth_field(line, 1), ':'); /* address and port, in hex */
        const bool listens = !tcp || strtoul(nth_field(line, 3), NULL, 16) == TCP_LISTENS;
        const unsigned long inode = strtoul(nth_field(line, 9), NULL, 10);
        if (colon != NULL && strtoul(colon + 1, NULL, 16) == port && listens && inode != 0) {
            inodes[count++] = inode;
        }
    }
    (void)fclose(file);
    return count;
}

static bool link_is_one_of(const char *link, const unsigned long *inodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char wanted[48];
        (void)snprintf(wanted, sizeof wanted, "socket:[%lu]", inodes[i]);
        if (strcmp(link, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static bool holds_socket(const char *pid, const unsigned long *inodes, size_t count)
{
    char path[64];
    bool found = false;
    (void)snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return false;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL && !found; entry = readdir(dir)) {
        char link[96];
        const ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof link - 1);
        if (len > 0) {
            link[len] = '\0';
            found = link_is_one_of(link, inodes, count);
        }
    }
    (void)closedir(dir);
    return found;
}

static void read_command(const char *pid, char *command, size_t cap)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    (void)snprintf(command, cap, "?");
    if (file != NULL) {
        if (fgets(command, (int)cap, file) != NULL) {
            command[strcspn(command, "\n")] = '\0';
        }
        (void)fclose(file);
    }
}

bool cli_port_owner_find(bool udp, uint16_t port, cli_port_owner *ret_owner)
{
    unsigned long inodes[64];
    size_t count = sockets_of(udp ? "/proc/net/udp" : "/proc/net/tcp", !udp, port, inodes);
    count += sockets_of(udp ? "/proc/net/udp6" : "/proc/net/tcp6", !udp, port, inodes + count);
    DIR *dir = count > 0 ? opendir("/proc") : NULL;
    bool found = false;
    if (dir == NULL) {
        return false;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL && !found; entry = readdir(dir)) {
        uint64_t pid = 0;
        if (flx_parse_u64(entry->d_name, &pid, NULL) == FLX_OK && pid <= INT32_MAX &&
            holds_socket(entry->d_name, inodes, count)) {
            ret_owner->pid = (pid_t)pid;
            read_command(entry->d_name, ret_owner->command, sizeof ret_owner->command);
            found = true;
        }
    }
    (void)closedir(dir);
    return found;
}

bool cli_process_cpu_us(pid_t pid, uint64_t *ret_us)
{
    char path[64];
    char line[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const bool read = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    /* The name in brackets may hold anything; the last bracket ends it. User and system time are
     * fields 14 and 15 of proc(5), the first after the bracket is 3. */
    const char *rest = read ? strrchr(line, ')') : NULL;
    if (rest == NULL) {
        return false;
    }
    const unsigned long user = strtoul(nth_field(rest + 1, 11), NULL, 10);
    const unsigned long system = strtoul(nth_field(rest + 1, 12), NULL, 10);
    *ret_us = (uint64_t)(user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return true;
}
