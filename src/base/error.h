/* error.h - filling a sella_err, and the one macro that leaves a function on failure.
 *
 * Does:     sella_err_set() writes the sentence and returns the code, so that `return
 *           sella_err_set(err, SELLA_IO, "...")` reads well. SELLA_TRY(call) needs a local
 *           `sella_status status = SELLA_OK;` and a label `done:` that releases and returns status.
 * Threads:  pure.
 * Not here: the codes (sella/status.h).
 */
#ifndef SELLA_BASE_ERROR_H
#define SELLA_BASE_ERROR_H

#include <stddef.h>

#include "sella/status.h"

/* Set code and sentence. err may be NULL. Control characters and invalid UTF-8 in the result are
 * replaced by '?', so that hostile file contents cannot reach a terminal. Returns: code. */
sella_status sella_err_set(sella_err *err, sella_status code, const char *fmt, ...)
    SELLA_PRINTF(3, 4);

/* Put "prefix: " before the sentence that is there. Returns err's code (or `code` when err is
 * NULL). */
sella_status sella_err_prefix(sella_err *err, sella_status code, const char *fmt, ...)
    SELLA_PRINTF(3, 4);

/* The sentence for "could not get `bytes` bytes for `what`". Returns SELLA_MEMORY. */
sella_status sella_err_memory(sella_err *err, const char *what, size_t bytes);

/* "PATH: could not be VERB: reason of errno_value". Returns SELLA_MISSING for ENOENT, SELLA_IO
 * otherwise. */
sella_status sella_err_errno(sella_err *err, const char *path, const char *verb, int errno_value);

#define SELLA_TRY(call)           \
    do {                          \
        status = (call);          \
        if (status != SELLA_OK) { \
            goto done;            \
        }                         \
    } while (0)

#endif
