/* added.h - tokens that are cut out of a text as a whole: added, special and user-defined ones.
 *
 * Does:     _add for each -> _index -> _next over a text. Of all tokens that start at the leftmost
 *           possible place the longest one counts, as in the tokenizers package.
 * Layout:   sorted by bytes, so that the tokens with a common beginning are neighbours; matching
 *           narrows that range byte by byte.
 * Memory:   texts are copied.
 * Threads:  read-only after _index.
 */
#ifndef SELLA_TOKENIZER_ADDED_H
#define SELLA_TOKENIZER_ADDED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { SELLA_ADDED_BYTES_MAX = 512 };

typedef struct sella_added_token {
    char *text; /* [bytes] owned */
    int bytes;
    int32_t id;
    bool special; /* ordinary text unless special tokens are allowed */
    bool lstrip;  /* takes the white space on its left with it */
    bool rstrip;  /* ... on its right */
} sella_added_token;

typedef struct sella_added {
    sella_added_token *token; /* [count] */
    int count;
    int room;
    int first[257]; /* tokens that begin with byte b are first[b] .. first[b + 1] - 1 */
} sella_added;

void sella_added_release(sella_added *added);
/* Copies `token` and its text. SELLA_FORMAT when the text is empty or too long; SELLA_UNSUPPORTED
 * when it begins with white space and has rstrip. */
sella_status sella_added_add(sella_added *added, const sella_added_token *token, const char *path,
                             sella_err *err);
/* SELLA_FORMAT when two tokens have the same text. */
sella_status sella_added_index(sella_added *added, const char *path, sella_err *err);
/* Id of a token as written, or -1. */
int32_t sella_added_find(const sella_added *added, const char *text, size_t bytes);

/* Where a text was cut last; starts as all zero. */
typedef struct sella_added_cut {
    /* search goes on here: behind the token, but inside of white space that it took */
    size_t at;
    size_t start; /* the token with its white space is [start, end) */
    size_t end;
    int32_t id;
} sella_added_cut;

/* Find the next token of text [bytes]. True: `cut` holds it. Text between the end before and the
 * new start, if any, is plain. special = false: special tokens are text. A token may be found
 * inside of white space that its left neighbour took: then start < the end before, and both count
 * (so it is in the package). */
bool sella_added_next(const sella_added *added, const char *text, size_t bytes, bool special,
                      sella_added_cut *cut);

#endif
