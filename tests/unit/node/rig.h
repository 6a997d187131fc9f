/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - a directory of the test's own, and a node in it that listens where the system says. */
#ifndef FLX_NODE_TEST_RIG_H
#define FLX_NODE_TEST_RIG_H

#include "common/config.h"
#include "common/log.h"
#include "node/node_int.h"
#include "unit.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fails the test with the words of the error. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        flx_error ok_error_ = {0};                                                                 \
        flx_error *const err = &ok_error_;                                                         \
        const flx_status ok_status_ = (call);                                                      \
        if (ok_status_ != FLX_OK)                                                                  \
            fail_msg("%s: %s: %s", #call, flx_status_name(ok_status_), ok_error_.message);         \
    } while (0)

typedef struct rig_dir {
    char path[64];
} rig_dir;

static inline void rig_dir_make(rig_dir *dir)
{
    (void)strcpy(dir->path, "/tmp/felix-node-XXXXXX");
    assert_non_null(mkdtemp(dir->path));
}

static inline const char *rig_path(const rig_dir *dir, const char *below, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", dir->path, below);
    return path;
}

static inline int rig_remove_one(const char *path, const struct stat *status, int type,
                                 struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void rig_dir_remove(const rig_dir *dir)
{
    assert_int_equal(nftw(dir->path, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The configuration of an embedded node on ports of the system's choice. */
static inline flx_config_set *rig_config(const rig_dir *dir, const flx_config_preset *more,
                                         size_t more_count)
{
    flx_config_preset presets[16] = {
        {"quic_bind", "127.0.0.1:0"},
        {"metrics_bind", "127.0.0.1:0"},
        {"controlplane_bind", "127.0.0.1:0"},
        {"data_dir", dir->path},
    };
    size_t count = 4;
    for (size_t i = 0; i < more_count; i++)
        presets[count++] = more[i];
    const flx_config_inputs inputs = {.presets = presets, .preset_count = count};
    flx_config_set *set = NULL;
    OK(flx_config_load(&inputs, &set, err));
    return set;
}

typedef struct rig {
    rig_dir dir;
    flx_config_set *config;
    flx_log *log;
    flx_node *node;
    flx_node_facts facts;
} rig;

static inline void rig_start_with(rig *r, const flx_config_preset *presets, size_t count)
{
    rig_dir_make(&r->dir);
    r->config = rig_config(&r->dir, presets, count);
    const flx_log_options log = {.component = "test", .level = FLX_LOG_ERROR};
    OK(flx_log_new(&log, &r->log, err));
    const flx_node_options options = {.config = r->config, .log = r->log, .embedded = true};
    OK(flx_node_start(&options, &r->node, err));
    flx_node_facts_get(r->node, &r->facts);
}

static inline void rig_start(rig *r, const char *workers)
{
    const flx_config_preset presets[] = {{"workers", workers}, {"shutdown_predrain_ms", "0"}};
    rig_start_with(r, presets, 2);
}

static inline void rig_stop(rig *r)
{
    r->node = flx_node_free(r->node);
    r->log = flx_log_free(r->log);
    r->config = flx_config_set_free(r->config);
    rig_dir_remove(&r->dir);
}

#endif /* FLX_NODE_TEST_RIG_H */
