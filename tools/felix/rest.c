/* SPDX-License-Identifier: Apache-2.0 */
/* rest.c - the REST API over http/client.h, and its refusals in the words of this command. */
#include "rest.h"

#include "common/alloc.h"
#include "common/error.h"
#include "common/json.h"
#include "common/slice.h"
#include "crypto/secret.h"
#include "http/client.h"
#include "http/message.h"

#include <stdarg.h>
#include <string.h>

#define TOKEN_MAX  ((size_t)16 * 1024)
#define ANSWER_MAX ((size_t)8 * 1024 * 1024)

/*
 * The token for the API: of the environment, of admin_token_file, else the one for data. A token
 * file is a secret: one that others may read is refused by flx_secret_load.
 */
static flx_status load_token(const cli_settings *settings, flx_secret *ret_token, flx_error *reterr)
{
    const char *text = settings->admin_token;
    const char *file = settings->values.admin_token_file;
    if (text == NULL && file[0] == '\0') {
        text = settings->token;
        file = settings->values.token_file;
    }
    if (text != NULL) {
        return flx_secret_init_copy(ret_token, flx_slice_of(text), reterr);
    }
    if (file[0] == '\0') {
        return flx_fail(reterr, FLX_ERR_UNAUTHENTICATED,
                        "no token for the API is known; set FELIX_ADMIN_TOKEN, or name a file with "
                        "--admin-token-file");
    }
    const flx_status status = flx_secret_load(file, TOKEN_MAX, ret_token, reterr);
    if (status == FLX_OK) {
        while (ret_token->len > 0 &&
               strchr(" \r\n\t", ret_token->bytes[ret_token->len - 1]) != NULL) {
            ret_token->bytes[--ret_token->len] = 0;
        }
    }
    return status;
}

static flx_status exchange(cli_run *run, const cli_settings *settings, const char *method,
                           const char *path, const char *body, flx_http_answer *ret_answer,
                           flx_error *reterr)
{
    char url[CLI_VALUE_MAX + 1024];
    flx_secret token = {0};
    flx_http_client *client = NULL;
    uint32_t timeout_ms = 0;
    if (!cli_flag_timeout_ms(run, &timeout_ms)) {
        return flx_fail(reterr, FLX_ERR_INVALID, "--timeout is wrong");
    }
    const flx_http_client_options options = {
        .ca_file = settings->values.ca_file[0] != '\0' ? settings->values.ca_file : NULL,
        .connect_timeout_ms = timeout_ms,
        .timeout_ms = timeout_ms,
        .body_max = ANSWER_MAX,
        .loopback_http = true};
    flx_status status = load_token(settings, &token, reterr);
    if (status == FLX_OK) {
        status = flx_http_client_new(&options, &client, reterr);
    }
    if (status == FLX_OK) {
        const char *base = settings->values.controlplane;
        const size_t base_len = strlen(base);
        const bool slash = base_len > 0 && base[base_len - 1] == '/';
        (void)snprintf(url, sizeof url, "%.*s%s", (int)(base_len - (slash ? 1 : 0)), base, path);
        const flx_http_call call = {
            .method = method,
            .url = url,
            .bearer = (const char *)token.bytes,
            .body = {(const uint8_t *)body, body != NULL ? strlen(body) : 0}};
        status = flx_http_client_call(client, &call, ret_answer, reterr);
    }
    (void)flx_http_client_free(client);
    flx_secret_done(&token);
    return status;
}

static void no_answer(const cli_settings *settings, const flx_error *error,
                      cli_rest_answer *ret_answer)
{
    ret_answer->code = cli_exit_of(error->status);
    (void)snprintf(ret_answer->message, sizeof ret_answer->message,
                   error->status == FLX_ERR_UNAVAILABLE || error->status == FLX_ERR_TIMEOUT
                       ? "no answer from the control plane at %.100s: %.180s"
                       : "%.0s%.280s",
                   settings->values.controlplane, error->message);
}

void cli_rest_call(cli_run *run, const char *method, const char *path, const json_t *body,
                   cli_rest_answer *ret_answer)
{
    flx_http_answer answer = {0};
    flx_error error = {0};
    char *text = NULL;
    memset(ret_answer, 0, sizeof *ret_answer);
    const cli_settings *settings = cli_run_settings(run, &ret_answer->code);
    if (settings == NULL) {
        return; /* it was said */
    }
    flx_status status = body != NULL ? flx_json_write(body, &text, &error) : FLX_OK;
    if (status == FLX_OK) {
        status = exchange(run, settings, method, path, text, &answer, &error);
    }
    flx_free(text);
    if (status != FLX_OK) {
        no_answer(settings, &error, ret_answer);
        return;
    }
    ret_answer->http_status = answer.status;
    status = flx_http_answer_status(&answer, &error);
    if (status != FLX_OK) {
        ret_answer->code = cli_exit_of(status);
        (void)snprintf(ret_answer->message, sizeof ret_answer->message, "%s", error.message);
    } else if (answer.len > 0 &&
               flx_json_parse((flx_slice){(const uint8_t *)answer.body, answer.len}, ANSWER_MAX,
                              FLX_HTTP_DEPTH_MAX, "body", &ret_answer->body, &error) != FLX_OK) {
        ret_answer->code = CLI_EXIT_FAILURE;
        (void)snprintf(ret_answer->message, sizeof ret_answer->message,
                       "the control plane's answer is not JSON: %.200s", error.message);
    }
    flx_http_answer_done(&answer);
}

/* What to do about a refusal of the API. */
static const char *next_step(const cli_rest_answer *answer)
{
    switch (answer->code) {
    case CLI_EXIT_UNAVAILABLE:
    case CLI_EXIT_TIMEOUT:
        return "'felix doctor' looks for the cause, --controlplane names another place";
    case CLI_EXIT_UNAUTHENTICATED:
        return "'felix context show --origin' says which token was used";
    case CLI_EXIT_DENIED:
        return "the token does not allow it: --admin-token-file names another one";
    case CLI_EXIT_CONFLICT:
        return "look at what is there, or use another name";
    default:
        return NULL;
    }
}

cli_exit cli_rest_failed(const cli_run *run, const cli_rest_answer *answer, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (answer->message[0] == '\0') {
        return answer->code; /* it was said already: the settings are wrong */
    }
    return cli_error(run, answer->code, next_step(answer), "%s: %s", what, answer->message);
}
