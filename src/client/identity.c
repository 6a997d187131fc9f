/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token of the next authentication: fixed text, a file that is read each time (mounted secrets
 * and renewers replace it), or the caller's function.
 */
#include "client/client_int.h"
#include "common/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static size_t trimmed(const char *text, size_t len)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
        len--;
    return len;
}

static flx_status read_file(const char *path, char *buffer, size_t cap, size_t *ret_len,
                            flx_error *reterr)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return flx_fail_errno(reterr, errno, "token file '%s'", path);
    const size_t len = fread(buffer, 1, cap, file);
    const bool failed = ferror(file) != 0;
    const bool more = !failed && len == cap && fgetc(file) != EOF;
    (void)fclose(file);
    if (failed)
        return flx_fail(reterr, FLX_ERR_IO, "token file '%s': cannot be read", path);
    if (more)
        return flx_fail(reterr, FLX_ERR_TOO_LARGE, "token file '%s': more than %zu bytes", path,
                        cap);
    *ret_len = trimmed(buffer, len);
    return FLX_OK;
}

flx_status flx_client_token(flx_client *client, char *buffer, size_t cap, size_t *ret_len,
                            flx_error *reterr)
{
    const flx_client_options *options = &client->options;
    if (options->token != NULL) {
        const size_t len = strlen(options->token); /* bounded when the client was made */
        memcpy(buffer, options->token, len);
        *ret_len = len;
        return FLX_OK;
    }
    if (options->token_file != NULL)
        return read_file(options->token_file, buffer, cap, ret_len, reterr);
    *ret_len = 0;
    if (options->token_fn == NULL)
        return FLX_OK;
    const size_t len = options->token_fn(options->token_arg, buffer, cap);
    if (len == 0 || len > cap)
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED, "the token function has no token");
    *ret_len = len;
    return FLX_OK;
}
