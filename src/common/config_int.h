/* SPDX-License-Identifier: Apache-2.0 */
/* common/config_int.h - what the files of the configuration share. */
#ifndef FLX_COMMON_CONFIG_INT_H
#define FLX_COMMON_CONFIG_INT_H

#include "common/config.h"

struct flx_config_set {
    flx_config values;
    flx_config_action action;
    struct {
        flx_config_origin origin;
        char text[120];
    } from[FLX_CONFIG_KEY_COUNT];
};

/* Sets one field from text. The message says what is accepted, not where the text came from. */
flx_status flx_config_value_set(flx_config *config, const flx_config_key *key, const char *text,
                                flx_error *reterr);

/* The checks of values against each other: calls `problem` for each that fails. */
void flx_config_cross_check(const flx_config *config, void (*problem)(void *arg, const char *text),
                            void *arg);

static inline void *flx_config_field(flx_config *config, const flx_config_key *key)
{
    return (char *)config + key->offset;
}

static inline const void *flx_config_field_const(const flx_config *config,
                                                 const flx_config_key *key)
{
    return (const char *)config + key->offset;
}

#endif /* FLX_COMMON_CONFIG_INT_H */
