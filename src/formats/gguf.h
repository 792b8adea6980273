/* gguf.h - reading of GGUF version 2 and 3 files, mapped.
 *
 * Does:     Metadata keys with typed getters, tensors with types and offsets, all validated against
 *           the file's size before use.
 * Memory:   strings and tensor data are borrowed, valid until sella_gguf_close.
 * Threads:  one handle may be read by many.
 */
#ifndef SELLA_FORMATS_GGUF_H
#define SELLA_FORMATS_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "formats/safetensors.h"

typedef struct sella_gguf sella_gguf;

/* A string that is not NUL-terminated in the file. */
typedef struct sella_span {
    const char *data;
    size_t bytes;
} sella_span;

sella_status sella_gguf_open(const char *path, sella_gguf **out, sella_err *err);
void sella_gguf_close(sella_gguf *file);
const char *sella_gguf_path(const sella_gguf *file);

int sella_gguf_count(const sella_gguf *file);
const sella_tensor *sella_gguf_at(const sella_gguf *file, int index);
const sella_tensor *sella_gguf_find(const sella_gguf *file, const char *name);

bool sella_gguf_has(const sella_gguf *file, const char *key);
/* SELLA_MISSING when absent, SELLA_FORMAT when of another type; any integer width converts to int64
 * when it fits. */
sella_status sella_gguf_int(const sella_gguf *file, const char *key, int64_t *out, sella_err *err);
/* f32, f64 or integer */
sella_status sella_gguf_real(const sella_gguf *file, const char *key, double *out, sella_err *err);
sella_status sella_gguf_string(const sella_gguf *file, const char *key, sella_span *out,
                               sella_err *err);
/* Arrays: *out [*count] is allocated (free()); spans borrow from the mapping. SELLA_FORMAT when an
 * element is of another type or does not fit. */
sella_status sella_gguf_strings(const sella_gguf *file, const char *key, sella_span **out,
                                int64_t *count, sella_err *err);
sella_status sella_gguf_ints(const sella_gguf *file, const char *key, int32_t **out, int64_t *count,
                             sella_err *err);
/* Keys in file order, for `inspect`: returns the name; the value is printed short into text [bytes]
 * ("[49152 strings]" for an array; bytes 0: not at all). */
int sella_gguf_key_count(const sella_gguf *file);
sella_span sella_gguf_key(const sella_gguf *file, int index, char *text, size_t bytes);

#endif
