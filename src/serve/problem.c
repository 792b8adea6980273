/* problem.c - RFC 9457 documents (serve/problem.h). */
#include "serve/problem.h"

#include <stdarg.h>
#include <stdio.h>

#include "serve/loaded.h"
#include "serve/stream.h"

const char *sella_http_phrase(int code)
{
    static const struct {
        int code;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].code == code) {
            return phrases[i].phrase;
        }
    }
    return "Error";
}

static void fill(sella_exchange *x, int code, const char *detail)
{
    json_t *problem = json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title",
                                sella_http_phrase(code), "status", code, "detail", detail);
    if (x->stream != NULL) { // the head has gone out: a last line
        json_object_set_new(problem, "event", json_string("problem"));
        sella_stream_line(x, problem);
        return;
    }
    sella_reply_json(x, code, problem);
    x->type = "application/problem+json";
}

void sella_problem(sella_exchange *x, int code, const char *fmt, ...)
{
    sella_err clean = {0}; // its setter makes any bytes UTF-8 without control characters
    char text[sizeof clean.text];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(text, sizeof text, fmt, args) < 0) {
        text[0] = '\0';
    }
    va_end(args);
    sella_err_set(&clean, SELLA_ARG, "%s", text);
    fill(x, code, clean.text);
}

/* text with `name` where `path` stands; out [room]. */
static void hide_path(const char *text, const char *path, const char *name, char *out, size_t room)
{
    const size_t bytes = path != NULL ? strlen(path) : 0;
    size_t used = 0;
    while (*text != '\0' && used + 16 < room) {
        if (bytes > 0 && strncmp(text, path, bytes) == 0) {
            memcpy(out + used, name, strlen(name));
            used += strlen(name);
            text += bytes;
        } else {
            out[used++] = *text++;
        }
    }
    out[used] = '\0';
}

void sella_problem_status(sella_exchange *x, sella_status status, const sella_err *err)
{
    char hidden[sizeof err->text], text[sizeof err->text];
    int code = 500;
    switch (status) {
    case SELLA_ARG:
    case SELLA_FORMAT: code = 400; break;
    case SELLA_MISSING: code = 422; break;
    case SELLA_UNSUPPORTED: code = 501; break;
    case SELLA_MEMORY:
    case SELLA_INTERRUPTED: code = 503; break;
    default: break;
    }
    if (code == 503 && x->stream == NULL) {
        x->retry_after = 1;
    }
    const sella_loaded *loaded = x->loaded; // only its engine names paths
    hide_path(err->text, loaded != NULL ? loaded->path : NULL, "the run", hidden, sizeof hidden);
    hide_path(hidden, loaded != NULL ? loaded->model : NULL, "the model", text, sizeof text);
    sella_problem(x, code, "%s", text[0] != '\0' ? text : sella_status_text(status));
}
