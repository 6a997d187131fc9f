/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/json.h - jansson for documents of strangers: sized, shallow, no member twice.
 *
 * For JOSE headers, claims and JWK sets; wire messages have their own parser. Any thread.
 */
#ifndef FLX_CRYPTO_JSON_H
#define FLX_CRYPTO_JSON_H

#include <felix/slice.h>
#include <felix/status.h>

#include <jansson.h>
#include <stdbool.h>

#define FLX_CRYPTO_JSON_DEPTH_MAX 8U

/*
 * One JSON object and nothing after it; json_decref(*ret_object). `what` names it in messages,
 * which never quote the text.
 *
 * FLX_ERR_TOO_LARGE  more than len_max bytes
 * FLX_ERR_INVALID    not JSON, not an object, a member twice, nested past FLX_CRYPTO_JSON_DEPTH_MAX
 * FLX_ERR_NOMEM
 */
flx_status flx_crypto_json_decode(flx_slice text, size_t len_max, const char *what,
                                  json_t **ret_object, flx_error *reterr);

/* The string of a member; false when it is missing or no string. Valid as long as the object. */
bool flx_crypto_json_string(const json_t *object, const char *member, flx_slice *ret_text);

/* The object as compact text in flx_alloc memory, terminated. FLX_ERR_NOMEM. */
flx_status flx_crypto_json_encode(const json_t *object, char **ret_text, size_t *ret_len,
                                  flx_error *reterr);

#endif /* FLX_CRYPTO_JSON_H */
