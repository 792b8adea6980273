/* bpe.h - byte-pair merging of one pre-token.
 *
 * Does:     Bytes become their tokens; then the pair with the lowest rank, leftmost first, merges
 *           until none is left. A heap of candidates over a linked list: n log n, so that a word of
 *           10 MB is no trouble.
 * Memory:   the caller holds a work area; it grows and is reused from word to word.
 * Threads:  one work area per call; vocabulary and merges are only read.
 * Paper:    Sennrich et al. 2016; over bytes: Radford et al. 2019 (GPT-2).
 */
#ifndef SELLA_TOKENIZER_BPE_H
#define SELLA_TOKENIZER_BPE_H

#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

typedef struct sella_bpe {
    sella_vocab vocab;
    sella_merges merges;
    int32_t byte_id[256];  /* token of each byte, -1 when the vocabulary has none */
    /* token for such a byte, -1: the byte is left out, as the tokenizers package does */
    int32_t unknown;
    bool fuse_unknown;     /* a run of such bytes becomes one token */
    bool ignore_merges;    /* a whole pre-token that is in the vocabulary is that token */
} sella_bpe;

typedef struct sella_bpe_symbol {
    int32_t id; /* -1: merged into its left neighbour */
    int32_t prev, next;
} sella_bpe_symbol;

typedef struct sella_bpe_candidate {
    uint32_t rank;
    int32_t place;
    int32_t id; /* of the merged pair */
} sella_bpe_candidate;

typedef struct sella_bpe_work {
    sella_bpe_symbol *symbol;
    size_t symbol_room;
    sella_bpe_candidate *heap;
    size_t heap_count, heap_room;
} sella_bpe_work;

void sella_bpe_release(sella_bpe *bpe);
void sella_bpe_work_release(sella_bpe_work *work);
/* Fill byte_id from the indexed vocabulary. */
void sella_bpe_bytes(sella_bpe *bpe);
/* Append the ids of one pre-token. bytes <= INT32_MAX. */
sella_status sella_bpe_encode(const sella_bpe *bpe, sella_bpe_work *work, const char *text,
                              size_t bytes, sella_ids *ids, sella_err *err);

#endif
