/* vocab.h - tokens by id and by text, and the table of merges.
 *
 * Does:     _init(size) -> _set for each token -> _index -> lookups. Merges: _init(count) -> _put
 *           for each -> _get.
 * Layout:   a token's text is raw bytes (the byte-level alphabet is undone when a vocabulary is
 *           read).
 * Memory:   texts are copied into one pool.
 * Threads:  read-only after _index.
 */
#ifndef SELLA_TOKENIZER_VOCAB_H
#define SELLA_TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "formats/gguf.h"

enum {
    SELLA_TOKEN_ID_MAX = (1 << 22) - 1,
    SELLA_TOKEN_BYTES_MAX = 65535
};

typedef enum sella_token_kind {
    SELLA_TOKEN_NONE = 0,    /* a hole: no token has this id */
    SELLA_TOKEN_PLAIN = 1,   /* text produces it */
    /* in the vocabulary, but not written in the byte-level alphabet: no text produces it */
    SELLA_TOKEN_LITERAL = 2,
    SELLA_TOKEN_ADDED = 3,   /* split out of text as a whole, always */
    SELLA_TOKEN_SPECIAL = 4, /* split out only where the caller allows special tokens */
    SELLA_TOKEN_UNUSED = 5   /* the file says that nothing uses it */
} sella_token_kind;

typedef struct sella_token {
    uint64_t offset; /* into the pool */
    uint32_t bytes;
    sella_token_kind kind;
    bool plain; /* text and merges produce it (an added token may be plain as well) */
} sella_token;

typedef struct sella_vocab {
    sella_token *token; /* [count] by id */
    int32_t count;      /* largest id + 1 */
    sella_text pool;
    int32_t *slot;      /* [mask + 1] ids of plain tokens by hash of their text, -1 = free */
    uint32_t mask;
} sella_vocab;

/* Room for ids 0 to count - 1. */
sella_status sella_vocab_init(sella_vocab *vocab, int32_t count, sella_err *err);
void sella_vocab_release(sella_vocab *vocab);
/* Set the text and kind of an id. A second time for one id makes an added token of it: the new text
 * replaces the old one, and it stays plain if it was and the texts are equal. 0 <= id < count,
 * asserted. */
sella_status sella_vocab_set(sella_vocab *vocab, int32_t id, const char *text, size_t bytes,
                             sella_token_kind kind, sella_err *err);
sella_span sella_vocab_text(const sella_vocab *vocab, int32_t id);
/* Hash the plain tokens. SELLA_FORMAT when two have the same text. */
sella_status sella_vocab_index(sella_vocab *vocab, const char *path, sella_err *err);
/* Id of a plain token, or -1. */
int32_t sella_vocab_find(const sella_vocab *vocab, const char *text, size_t bytes);

/* Undo the byte-level alphabet (GPT-2's: printable Latin-1 stands for itself, other bytes for
 * U+0100 and up): true and raw [<= bytes] filled when every character belongs to it. */
bool sella_bytelevel_decode(const char *text, size_t bytes, char *raw, size_t *raw_bytes);

/* Rank and result of a merged pair. */
typedef struct sella_merge {
    uint64_t pair; /* left << 32 | right, UINT64_MAX = free */
    uint32_t rank;
    int32_t id;
} sella_merge;

typedef struct sella_merges {
    sella_merge *slot; /* [mask + 1] open addressing */
    uint64_t mask;
} sella_merges;

sella_status sella_merges_init(sella_merges *merges, size_t count, sella_err *err);
void sella_merges_release(sella_merges *merges);
/* Of a pair put twice the later one counts, as in the tokenizers package. */
void sella_merges_put(sella_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id);
/* NULL when the pair does not merge. */
const sella_merge *sella_merges_get(const sella_merges *merges, int32_t left, int32_t right);

#endif
