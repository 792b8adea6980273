/* prefix_cache.h - keys and values of token prefixes that stay between passes: a radix tree over
 * tokens, bounded in bytes.
 *
 * Does:     find(keys) tells how many leading tokens are there and gives their runs for
 *           sella_pass_forward_behind; extend makes room for the tokens behind them and gives the
 *           runs that the pass writes; commit puts these into the tree (or drop forgets them). A
 *           token is a 64-bit key of its content: the id of a text token, a hash of the vector of a
 *           soft one. So a prefix is found by what it says, whoever asked; a title behind a history
 *           costs that title. Nodes are cut where the caller says (`cut`), so that what varies (a
 *           soft token) does not split what stays. When bytes run out, what was used least recently
 *           goes, leaves first.
 * Layout:   a node's block is [layers, tokens, 2 G D] f32, as sella_kv_run.
 * Memory:   never more than `bytes` of blocks, but for the copy of one node while it is split. Runs
 *           are borrowed until the next find.
 * Threads:  one thread at a time.
 * Not here: which adapter and model the keys belong to: a cache serves one (backbone, adapter),
 *           whose owner makes and frees it.
 */
#ifndef SELLA_BACKBONE_PREFIX_CACHE_H
#define SELLA_BACKBONE_PREFIX_CACHE_H

#include "backbone/pass.h"

typedef struct sella_prefix_cache sella_prefix_cache;

typedef struct sella_prefix_cache_stats {
    uint64_t bytes;   /* of blocks now */
    uint64_t limit;
    uint64_t nodes;
    uint64_t evicted; /* nodes that went to make room */
} sella_prefix_cache_stats;

sella_status sella_prefix_cache_new(const sella_backbone_config *shape, size_t bytes,
                                    sella_prefix_cache **out, sella_err *err);
void sella_prefix_cache_free(sella_prefix_cache *cache);

/* Leading tokens of key_n [n] that are there; they count as used now and stay until the next
 * find. */
int sella_prefix_cache_find(sella_prefix_cache *cache, const uint64_t *key_n, int n);
/* Room for the tokens behind what find returned, up to n (the same keys); cut_n [n]: 1 where a node
 * must begin. Once for a find. Returns SELLA_OK and *room = false when they do not fit beside the
 * found ones: nothing is kept then. */
sella_status sella_prefix_cache_extend(sella_prefix_cache *cache, const uint64_t *key_n,
                                       const uint8_t *cut_n, int n, bool *room, sella_err *err);
/* The found runs as `given`, what extend made as `kept`. Borrowed until commit, drop or find. */
sella_pass_link sella_prefix_cache_link(const sella_prefix_cache *cache);
/* The kept runs are written: they belong to the found ones from now on. */
void sella_prefix_cache_commit(sella_prefix_cache *cache);
/* The pass failed. */
void sella_prefix_cache_drop(sella_prefix_cache *cache);

sella_prefix_cache_stats sella_prefix_cache_state(const sella_prefix_cache *cache);

#endif
