/* hidden_cache.h - what enters a layer for the tokens of many trees, in a file that is read again
 * in the next epoch.
 *
 * Does:     When nothing below layer K trains, the residual stream that enters it is the same in
 *           every epoch. open(path) -> for every tree: read, or compute (sella_pass_hidden) and
 *           write -> close. A record is one tree, because that is what stays: packed batches are
 *           made of other trees in every epoch, and products of other numbers of rows may sum in
 *           another order. A tree that is always computed alone has the same bits in every batch,
 *           with and without the file.
 * Layout:   docs/formats.md. The whole file is reserved when it is made. Every record has a
 *           checksum over what it is (backbone, layer, the tree's tokens and segments) and its
 *           numbers; it is compared at every read, so that a record that is missing, half-written,
 *           damaged or of other tokens is no record: the tree is computed again.
 * Memory:   16 bytes a tree. Records are read into the caller's memory: a file that is cut off
 *           while it is in use gives no record, where a mapping of it would kill the process.
 * Threads:  one thread at a time.
 * Not here: keys and values of prefixes, for serving (backbone/prefix_cache.h).
 */
#ifndef SELLA_BACKBONE_HIDDEN_CACHE_H
#define SELLA_BACKBONE_HIDDEN_CACHE_H

#include "backbone/backbone.h"
#include "data/tree.h"

typedef struct sella_hidden_cache sella_hidden_cache;

/* What a file holds. All borrowed; tokens_t must stay until close. */
typedef struct sella_hidden_of {
    const sella_backbone *backbone;
    int layer;               /* K, >= 1: what enters it is kept */
    int64_t trees;
    const int32_t *tokens_t; /* [trees] >= 1 */
} sella_hidden_of;

typedef struct sella_hidden_stats {
    uint64_t bytes;      /* of the file */
    int64_t known;       /* trees that had a checksum when it was opened */
    int64_t read;        /* records given since then */
    int64_t written;
    /* sentence of the write that failed: nothing is written after it; NULL: none did */
    const char *failure;
} sella_hidden_stats;

/* Bytes of the file: C the width, tokens those of all trees. */
uint64_t sella_hidden_bytes(int C, int64_t trees, int64_t tokens);

/* Open the file at PATH when it is whole and holds exactly this, else make it anew, without
 * records. SELLA_IO when it cannot be made, or when less than a tenth of the free disk space (or of
 * the file size limit) would be left beside it: the sentence has both figures, and no file stays
 * behind. */
sella_status sella_hidden_cache_open(const char *path, const sella_hidden_of *of,
                                     sella_hidden_cache **out, sella_err *err);
/* NULL is fine; the file stays. */
void sella_hidden_cache_close(sella_hidden_cache *cache);

/* Fill x out [tree->T, C] with the record of tree t, built alone; false: there is none, x is
 * undefined. */
bool sella_hidden_cache_read(sella_hidden_cache *cache, int64_t t, const sella_tree_batch *tree,
                             float *x);
/* Make x in [tree->T, C] the record of tree t. A failure is told by _state. */
void sella_hidden_cache_write(sella_hidden_cache *cache, int64_t t, const sella_tree_batch *tree,
                              const float *x);
sella_hidden_stats sella_hidden_cache_state(const sella_hidden_cache *cache);

#endif
