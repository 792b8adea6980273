/* lm_prefix.c - one user's candidates behind cached keys and values (methods/lm_prefix.h).
 *
 * Easy to get wrong: the soft tokens of one slot are found together or not at all, since the rest
 * of a row must not begin inside of them (data/tree.h counts the parts of a slot from its first
 * token): their key is a hash of the whole slot and the part's number.
 */
#include "methods/lm_prefix.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "kernels/gemm.h"

enum { FIRST_ROWS = 4 }; /* rows of a pass with a deadline while no pace is known */
#define SOFT_KEY (UINT64_C(1) << 63)

int sella_lm_prefix_shared(const sella_lm *lm, const sella_rows *rows, int32_t item,
                           sella_refs_kind refs)
{
    int shared = (int)rows->start[1] - sella_prompt_tail(lm->prompter, item);
    for (int t = 0; t < shared; t++) {
        if (rows->slot[t] == SELLA_SLOT_ITEM || rows->slot[t] == SELLA_SLOT_WARM ||
            (rows->slot[t] == SELLA_SLOT_USER && refs == SELLA_REFS_TARGET)) {
            shared = t;
        }
    }
    /* a candidate may also be described in text before its title */
    for (int64_t r = 1; r < rows->count; r++) {
        const int64_t at = rows->start[r], length = rows->start[r + 1] - at;
        shared = length - 1 < shared ? (int)length - 1 : shared;
        for (int t = 0; t < shared; t++) {
            if (rows->token[at + t] != rows->token[t] || rows->slot[at + t] != rows->slot[t]) {
                shared = t;
            }
        }
    }
    return shared;
}

/* What the beginning of row 0 says, token by token; a slot begins a node of its own. */
static void keys_of(const sella_lm_prefix_job *job, uint64_t *key_n, uint8_t *cut_n)
{
    const sella_rows *rows = job->rows;
    uint64_t hash = 0;
    for (int t = 0, part = 0; t < job->shared; t++) {
        const uint8_t slot = rows->slot[t];
        if (slot == SELLA_SLOT_NONE) {
            key_n[t] = (uint32_t)rows->token[t];
            continue;
        }
        if (t == 0 || rows->slot[t - 1] != slot) {
            const size_t floats = (size_t)job->soft->source->tokens * (size_t)job->soft->source->L;
            hash = sella_hash_bytes(job->soft->e[slot] + (size_t)rows->ref[slot] * floats,
                                    floats * sizeof(float), slot);
            cut_n[t] = 1;
            part = 0;
        }
        key_n[t] = SOFT_KEY | (hash + (uint64_t)part++);
    }
}

sella_status sella_lm_prefix_begin(sella_lm_prefix_job *job, int shared, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lm_prefix *prefix = job->prefix;
    uint64_t *key = sella_alloc((size_t)shared, sizeof *key, "a prefix", err);
    uint8_t *cut = sella_alloc((size_t)shared, 1, "a prefix", err);
    job->shared = shared;
    job->past = 0;
    job->keeps = false;
    if (!key || !cut) {
        status = SELLA_MEMORY;
        goto done;
    }
    keys_of(job, key, cut);
    job->past = sella_prefix_cache_find(prefix->cache, key, shared);
    SELLA_TRY(sella_prefix_cache_extend(prefix->cache, key, cut, shared, &job->keeps, err));
    atomic_fetch_add(job->past == shared ? &prefix->whole
                     : job->past > 0     ? &prefix->part
                                         : &prefix->none,
                     1);
done:
    free(key);
    free(cut);
    return status;
}

void sella_lm_prefix_end(sella_lm_prefix_job *job)
{
    sella_lm_prefix *prefix = job->prefix;
    sella_prefix_cache_drop(prefix->cache);
    const sella_prefix_cache_stats now = sella_prefix_cache_state(prefix->cache);
    atomic_store(&prefix->bytes, now.bytes);
    atomic_store(&prefix->nodes, now.nodes);
    atomic_store(&prefix->evicted, now.evicted);
}

void sella_lm_prefix_count(sella_lm_prefix *prefix, int rows, int tokens, double seconds)
{
    atomic_fetch_add(&prefix->rows, (uint64_t)rows);
    atomic_fetch_add(&prefix->computed, (uint64_t)tokens);
    atomic_fetch_add(&prefix->microseconds, (uint64_t)(seconds * 1e6));
    const double pace = seconds / tokens;
    prefix->pace = prefix->pace > 0 ? 0.7 * prefix->pace + 0.3 * pace : pace;
    prefix->least = prefix->least > 0 && prefix->least < seconds ? prefix->least : seconds;
}

/* How many rows from `first` on the next pass takes. */
static int64_t rows_that_fit(const sella_lm_prefix_job *job, int64_t first, int64_t most,
                             double end)
{
    const sella_lm_prefix *prefix = job->prefix;
    const sella_rows *rows = job->rows;
    int64_t tokens = job->shared - job->past, count = 0;
    const double left = isfinite(end) ? end - sella_now() : (double)INFINITY;
    most = isfinite(left) && prefix->pace <= 0 && most > FIRST_ROWS ? FIRST_ROWS : most;
    for (; first + count < rows->count && count < most; count++) {
        const int64_t r = first + count;
        tokens += rows->start[r + 1] - rows->start[r] - job->shared;
        const double need = prefix->pace * (double)tokens;
        if ((need > prefix->least ? need : prefix->least) > left) {
            break;
        }
        /* a first row that is too long is refused where batches are built */
        if (tokens > job->budget - job->past && count > 0) {
            break;
        }
    }
    return left > 0 ? count : 0;
}

sella_status sella_lm_prefix_step(sella_lm_prefix_job *job, int64_t first, int64_t most, double end,
                                  double *z_n, int64_t *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_rows *rows = job->rows;
    const int C = job->lm->C;
    const sella_tree_options options = {.budget = job->budget - job->past, .share = true};
    sella_tree_batch batch = {0};
    sella_rows rest;
    int64_t *index = NULL;
    sella_rows_init(&rest);
    *count = rows_that_fit(job, first, most, end);
    if (*count == 0) {
        return SELLA_OK;
    }
    index = sella_alloc((size_t)*count, sizeof *index, "a batch", err);
    if (!index) {
        return SELLA_MEMORY;
    }
    for (int64_t i = 0; i < *count; i++) {
        const int64_t r = first + i, at = rows->start[r] + job->past;
        index[i] = i;
        SELLA_TRY(sella_rows_add(&rest, rows->token + at, rows->slot + at,
                                 (int)(rows->start[r + 1] - at), rows->ref + r * SELLA_SLOTS, 0,
                                 rows->row[r], 0, 1, err));
    }
    SELLA_TRY(sella_tree_build(&rest, index, *count, &options, &batch, err));
    for (int t = 0; t < batch.T; t++) {
        batch.position_t[t] += job->past;
    }
    if (batch.M > 0) {
        sella_soft_gather(job->soft, &batch, job->soft_rows);
    }
    const double start = sella_now();
    const sella_pass_link link = sella_prefix_cache_link(job->prefix->cache);
    SELLA_TRY(sella_pass_forward_behind(job->pass, &batch, &link,
                                        batch.M > 0 ? job->soft_rows : NULL, job->answer, err));
    for (int n = 0; n < batch.N; n++) {
        z_n[batch.row_n[n]] =
            (double)sella_dot(job->answer + (size_t)n * (size_t)C, job->lm->direction, C);
    }
    sella_lm_prefix_count(job->prefix, batch.N, batch.T, sella_now() - start);
    atomic_fetch_add(&job->prefix->reused, (uint64_t)job->past);
    if (job->keeps) {
        sella_prefix_cache_commit(job->prefix->cache);
        job->past = job->shared;
        job->keeps = false;
    }
done:
    free(index);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rest);
    return status;
}
