/* tokenizer.h - byte-level BPE: text to token ids and back.
 *
 * Does:     Opens a tokenizer.json (Hugging Face) or a GGUF's metadata; splits special tokens out,
 *           applies NFC where the model asks for it, pre-tokenizes (PCRE2), merges. Ids equal those
 *           of the `tokenizers` package.
 * Memory:   opaque handle; outputs are caller-owned arrays.
 * Threads:  encode is safe from many threads on one handle.
 */
#ifndef SELLA_TOKENIZER_TOKENIZER_H
#define SELLA_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "formats/gguf.h"

typedef struct sella_tokenizer sella_tokenizer;

sella_status sella_tokenizer_open_json(const char *path, sella_tokenizer **out, sella_err *err);
sella_status sella_tokenizer_open_gguf(const sella_gguf *file, sella_tokenizer **out,
                                       sella_err *err);
void sella_tokenizer_close(sella_tokenizer *tokenizer);

int sella_tokenizer_vocab(const sella_tokenizer *tokenizer); /* largest id + 1 */

typedef struct sella_ids {
    int32_t *id; /* [count], owned; free with sella_ids_release */
    int count;
    int capacity;
} sella_ids;
void sella_ids_release(sella_ids *ids);
sella_status sella_ids_push(sella_ids *ids, int32_t id, sella_err *err);

/* Append the ids of text; nothing is added in front or behind. A byte for which the vocabulary has
 * no token and no unknown token is left out, as the tokenizers package does (SmolLM2 lacks 21
 * control and never-used bytes). At most 64 MiB. special = true: special tokens written out in the
 * text ("<|im_start|>") become their ids (templates); false: they are ordinary text (titles, user
 * input). Invalid UTF-8 is SELLA_FORMAT. */
sella_status sella_tokenizer_encode(const sella_tokenizer *tokenizer, const char *text,
                                    size_t bytes, bool special, sella_ids *ids, sella_err *err);
/* Append the text of ids (raw bytes; invalid UTF-8 is possible for a piece of a character). */
sella_status sella_tokenizer_decode(const sella_tokenizer *tokenizer, const int32_t *id_n, int n,
                                    sella_text *text, sella_err *err);
/* Id of one special or ordinary token as written (" Yes" with its blank, not the byte-level
 * spelling), or -1. */
int32_t sella_tokenizer_find(const sella_tokenizer *tokenizer, const char *token);
/* Ids that no text ever produces (as long as encode's special = false), for soft-token slots. In
 * this order, by id within each:
 *   1. tokens whose text holds "reserved" or "unused", or that a GGUF marks unused;
 *   2. other special tokens;
 * never those that chat templates use (well-known names such as <|im_start|>, the file's own chat
 * template, its begin/end/pad/unknown ids). Only when nothing is left: the file's pad or end token,
 * else a well-known one, else the last token. Returns how many of the `want` could be distinct (at
 * least 1); fills id_n [want]. */
int sella_tokenizer_reserved(const sella_tokenizer *tokenizer, int32_t *id_n, int want);

#endif
