/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - `felix up` as a child that is killed and started again, on the same ports and data.
 *
 * One thread: the one that starts and kills.
 */
#ifndef FLX_CRASH_NODE_H
#define FLX_CRASH_NODE_H

#include <felix/status.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NODE_PATH_MAX 512

typedef struct node {
    char felix[NODE_PATH_MAX]; /* the program */
    char folder[NODE_PATH_MAX];
    char data[NODE_PATH_MAX];
    char log[NODE_PATH_MAX];
    char ca_file[NODE_PATH_MAX];
    char token_file[NODE_PATH_MAX];
    char admin_token_file[NODE_PATH_MAX];
    char address[64];      /* of clients */
    char controlplane[64]; /* https://host:port */
    char metrics[64];
    pid_t pid;   /* 0: not running */
    long log_at; /* what of the log was looked at */
    uint64_t starts;
    uint64_t start_ns_max; /* the slowest start, up to "the node serves" */
    uint64_t start_ns_sum;
    uint64_t ready;     /* starts that were waited for */
    uint64_t tails_cut; /* lines of the log that say so */
    uint64_t damaged;
} node;

/* Ports, folders; starts nothing. `bin` has felix in it; the folder is made below `under`. */
flx_status node_init(node *n, const char *bin, const char *under, flx_error *reterr);
/* Removes the folder when `forget`. */
void node_done(node *n, bool forget);

flx_status node_start(node *n, flx_error *reterr);
/* Waits until it serves. FLX_ERR_CLOSED: it ended; FLX_ERR_TIMEOUT. */
flx_status node_wait_ready(node *n, flx_error *reterr);
/* SIGKILL, and waits for the end. */
void node_kill(node *n);
/* SIGTERM; the exit code. */
int node_stop(node *n);
/* `felix log verify`, offline. The exit code; its words are in the folder, "verify.out". */
int node_verify(const node *n);
/* The newest segment of a log: its path and size. False: there is none. */
bool node_newest_segment(const node *n, const char *name, uint32_t shard,
                         char ret_path[NODE_PATH_MAX], int64_t *ret_bytes);
/* Log directories there are. */
int node_logs(const node *n);

#endif /* FLX_CRASH_NODE_H */
