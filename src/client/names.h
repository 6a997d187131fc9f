/* SPDX-License-Identifier: Apache-2.0 */
/* client/names.h - `name`, `namespace/name`, `tenant/namespace/name`, taken apart. Pure. */
#ifndef FLX_CLIENT_NAMES_H
#define FLX_CLIENT_NAMES_H

#include <felix/slice.h>
#include <felix/status.h>

#define FLX_NAME_PART_MAX                                                                          \
    255 /* bytes of one part; the broker's own rules are stricter and its business */

typedef struct flx_scoped_name {
    char tenant[FLX_NAME_PART_MAX + 1];
    char namespace_[FLX_NAME_PART_MAX + 1];
    char name[FLX_NAME_PART_MAX + 1];
} flx_scoped_name;

/* `what` ("stream", "cache") is for the message. FLX_ERR_INVALID. */
flx_status flx_scoped_name_parse(const char *text, const char *tenant, const char *namespace_,
                                 const char *what, flx_scoped_name *ret_name, flx_error *reterr);

#endif /* FLX_CLIENT_NAMES_H */
