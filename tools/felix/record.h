/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - a received message as people and programs are shown it. */
#ifndef FELIX_CLI_RECORD_H
#define FELIX_CLI_RECORD_H

#include <felix/subscriber.h>

#include <jansson.h>
#include <stdbool.h>

/* Whether bytes are UTF-8 text (RFC 3629) without zeros. */
bool cli_is_text(flx_slice bytes);

/* Sets `name` to the text, or `name`_base64 when the bytes are none. False: out of memory. */
bool cli_json_set_bytes(json_t *object, const char *name, flx_slice bytes);

/* {"shard","offset","time","payload"|"payload_base64"}; what is not known is left out. */
json_t *cli_record_json(const flx_message *message);

/* {"notice":"gap","reason","shard","offset","gap_end","missed"} */
json_t *cli_gap_json(const flx_message *message);
const char *cli_gap_reason(flx_gap_reason reason);

#endif /* FELIX_CLI_RECORD_H */
