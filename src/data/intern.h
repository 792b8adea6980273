/* intern.h - external ids as strings, numbered by first appearance.
 *
 * Does:     add every id that is met; equal bytes give the same number. Numbers start at 0.
 * Memory:   caller-held struct; texts are valid until the next add or release.
 * Threads:  reading is pure.
 */
#ifndef SELLA_DATA_INTERN_H
#define SELLA_DATA_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Bytes an id may have. */
enum { SELLA_ID_MAX = 512 };

typedef struct sella_intern {
    char *bytes; /* [size] the ids, each NUL-terminated */
    size_t size, capacity;
    size_t *start; /* [count + 1] into bytes */
    int32_t count, starts;
    int32_t *table; /* [table_size] number + 1, 0: empty */
    size_t table_size;
} sella_intern;

void sella_intern_release(sella_intern *intern);
/* *index = the number of the id, which is added when it is new (*fresh, may be NULL). */
sella_status sella_intern_add(sella_intern *intern, const char *id, size_t bytes, int32_t *index,
                              bool *fresh, sella_err *err);
/* The number of an id, or -1. */
int32_t sella_intern_find(const sella_intern *intern, const char *id, size_t bytes);
const char *sella_intern_text(const sella_intern *intern, int32_t index);

/* Ids are valid UTF-8, 1 to SELLA_ID_MAX bytes, without control characters and without blanks
 * around. `what` is "user" or "item"; SELLA_FORMAT with a sentence that holds the id. */
sella_status sella_id_check(const char *id, size_t bytes, const char *what, sella_err *err);

#endif
