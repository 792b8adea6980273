/* error.c - status names and error sentences (base/error.h, sella/status.h). */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

const char *sella_status_name(sella_status status)
{
    switch (status) {
#define X(name, value, text) \
    case SELLA_##name:       \
        return #name;
        SELLA_STATUS_LIST(X)
#undef X
    }
    return "unknown";
}

const char *sella_status_text(sella_status status)
{
    switch (status) {
#define X(name, value, text) \
    case SELLA_##name:       \
        return text;
        SELLA_STATUS_LIST(X)
#undef X
    }
    return "unknown";
}

/* Replace what could steer a terminal: C0 and C1 controls, DEL, and bytes that are not UTF-8. C1
 * controls are two bytes (C2 80..9F). */
static void clean(char *text)
{
    size_t bytes = strlen(text), i = 0;
    while (i < bytes) {
        size_t bad = i + sella_utf8_valid(text + i, bytes - i);
        for (; i < bad; i++) {
            unsigned char c = (unsigned char)text[i];
            if (c < 0x20 || c == 0x7f) {
                text[i] = '?';
            } else if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0) {
                text[i] = '?';
                text[++i] = '?';
            }
        }
        if (i < bytes) {
            text[i++] = '?';
        }
    }
}

/* Cut at the end of a character when the sentence did not fit, and show that it was cut. */
static void cut(char *text, size_t room)
{
    size_t end = room - 4;
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80) {
        end--;
    }
    memcpy(text + end, "...", 4);
}

sella_status sella_err_set(sella_err *err, sella_status code, const char *fmt, ...)
{
    if (!err) {
        return code;
    }
    char text[sizeof err->text]; // an argument may point into err->text
    va_list args;
    va_start(args, fmt);
    int need = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (need < 0) {
        text[0] = '\0';
    } else if ((size_t)need >= sizeof text) {
        cut(text, sizeof text);
    }
    clean(text);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

sella_status sella_err_prefix(sella_err *err, sella_status code, const char *fmt, ...)
{
    if (!err) {
        return code;
    }
    char prefix[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    int need = vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    if (need < 0) {
        prefix[0] = '\0';
    }
    return sella_err_set(err, err->code != SELLA_OK ? err->code : code, "%s: %s", prefix,
                         err->text);
}

sella_status sella_err_memory(sella_err *err, const char *what, size_t bytes)
{
    if (bytes == SIZE_MAX) {
        return sella_err_set(err, SELLA_MEMORY, "the size of %s is too large to count", what);
    }
    if (bytes < (size_t)1 << 20) {
        return sella_err_set(err, SELLA_MEMORY, "could not get %zu bytes of memory for %s", bytes,
                             what);
    }
    return sella_err_set(err, SELLA_MEMORY, "could not get %.1f MiB of memory for %s",
                         (double)bytes / 1048576.0, what);
}

sella_status sella_err_errno(sella_err *err, const char *path, const char *verb, int errno_value)
{
    const char *reason = strerrordesc_np(errno_value);
    return sella_err_set(err, errno_value == ENOENT ? SELLA_MISSING : SELLA_IO,
                         "%s: could not be %s: %s", path[0] ? path : "an empty path", verb,
                         reason ? reason : "unknown reason");
}
