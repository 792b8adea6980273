/* gguf_value.h - one metadata entry of a GGUF file, shared by the reader (gguf.c) and the getters
 * (gguf_value.c).
 *
 * Layout:   `data` points at the checked bytes of the value in the mapping: a scalar, a text with
 *           its length, or the first element of an array.
 * Memory:   everything is borrowed from the mapping.
 * Threads:  pure.
 * Not here: the getters that others use (formats/gguf.h).
 */
#ifndef SELLA_FORMATS_GGUF_VALUE_H
#define SELLA_FORMATS_GGUF_VALUE_H

#include "formats/gguf.h"

/* The numbers are the file's. */
typedef enum sella_gguf_type {
    SELLA_GGUF_U8 = 0,
    SELLA_GGUF_I8 = 1,
    SELLA_GGUF_U16 = 2,
    SELLA_GGUF_I16 = 3,
    SELLA_GGUF_U32 = 4,
    SELLA_GGUF_I32 = 5,
    SELLA_GGUF_F32 = 6,
    SELLA_GGUF_BOOL = 7,
    SELLA_GGUF_STRING = 8,
    SELLA_GGUF_ARRAY = 9,
    SELLA_GGUF_U64 = 10,
    SELLA_GGUF_I64 = 11,
    SELLA_GGUF_F64 = 12
} sella_gguf_type;
enum { SELLA_GGUF_TYPE_LAST = SELLA_GGUF_F64 };

typedef struct sella_gguf_cursor {
    const uint8_t *data;
    uint64_t size;
    uint64_t at; /* <= size */
    const char *path;
} sella_gguf_cursor;

typedef struct sella_gguf_value {
    sella_span key;
    sella_gguf_type type;
    sella_gguf_type element; /* of an array */
    uint64_t count;          /* of an array */
    const uint8_t *data;
} sella_gguf_value;

/* Bytes of a scalar on disk; 0 for texts and arrays. */
uint64_t sella_gguf_type_bytes(sella_gguf_type type);


const sella_gguf_value *sella_gguf_value_at(const sella_gguf *file, int index);
/* NULL when absent */
const sella_gguf_value *sella_gguf_value_find(const sella_gguf *file, const char *key);

#endif
