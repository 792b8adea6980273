/* tokenizer_model.h - the parts of an opened tokenizer, filled by the two readers.
 *
 * Does:     tokenizer_json.c and tokenizer_gguf.c fill a sella_tokenizer; tokenizer.c finishes it
 *           and runs it.
 * Threads:  read-only once finished.
 * Not here: what others use (tokenizer/tokenizer.h).
 */
#ifndef SELLA_TOKENIZER_TOKENIZER_MODEL_H
#define SELLA_TOKENIZER_TOKENIZER_MODEL_H

#include "tokenizer/added.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"

struct sella_tokenizer {
    sella_bpe bpe;
    bool nfc;
    sella_splitter *splitter;
    sella_added raw;        /* looked for in the text as it is */
    sella_added normalized; /* looked for after normalization */
    /* pad or end token that stands in when there is nothing reserved, -1 = none named */
    int32_t fallback;
    /* [vocab] 1: used by a chat template or named in the file (begin, end, pad ...): never
     * reserved */
    uint8_t *kept;
};

/* A token's text with the id that merges refer to, for the readers: open-addressing table over
 * texts as the file writes them. */
typedef struct sella_spelling {
    sella_span *text; /* [mask + 1], data NULL = free */
    int32_t *id;      /* [mask + 1] */
    uint64_t mask;
} sella_spelling;

sella_status sella_spelling_init(sella_spelling *spelling, size_t count, sella_err *err);
void sella_spelling_release(sella_spelling *spelling);
/* False when the text is there already. */
bool sella_spelling_put(sella_spelling *spelling, sella_span text, int32_t id);
/* -1 when absent */
int32_t sella_spelling_find(const sella_spelling *spelling, const char *text, size_t bytes);

/* Put one token of the vocabulary: byte-level text is undone, other text becomes LITERAL; a
 * duplicate id is SELLA_FORMAT. */
sella_status sella_tokenizer_put(sella_tokenizer *tokenizer, int32_t id, sella_span text,
                                 const char *path, sella_err *err);
/* Put the merge left + right of this rank; all three texts must be in the vocabulary. */
sella_status sella_tokenizer_merge(sella_tokenizer *tokenizer, const sella_spelling *spelling,
                                   sella_span left, sella_span right, uint32_t rank,
                                   const char *path, sella_err *err);
/* Index everything. */
sella_status sella_tokenizer_finish(sella_tokenizer *tokenizer, const char *path, sella_err *err);

#endif
