/* lm_prefix.h - scoring of one user's candidates behind the part of their prompts that is known
 * already.
 *
 * Does:     begin(rows of one user and history) finds how much of their common beginning the cache
 *           has -> step, step ... score the rows in order, some at a time and as many as fit until
 *           a deadline -> end. The first step computes what is missing of the beginning together
 *           with its candidates, and keeps it. What is common is known from the template: all
 *           before the first token that depends on the candidate.
 * Memory:   a sella_lm_prefix owns the cache; a job borrows everything but its own lists.
 * Threads:  one thread at a time; the counters may be read by others.
 */
#ifndef SELLA_METHODS_LM_PREFIX_H
#define SELLA_METHODS_LM_PREFIX_H

#include <stdatomic.h>

#include "backbone/prefix_cache.h"
#include "methods/lm.h"
#include "methods/soft.h"

typedef struct sella_lm_prefix {
    sella_prefix_cache *cache; /* NULL: nothing is kept */
    double pace;               /* seconds a computed token, of late; 0: nothing measured yet */
    double least;              /* seconds of the shortest pass so far */
    _Atomic uint64_t rows, computed, reused, microseconds; /* rows scored, tokens, time in passes */
    /* beginnings found, found in part, not found */
    _Atomic uint64_t whole, part, none;
    _Atomic uint64_t bytes, nodes, evicted;                /* of the cache */
} sella_lm_prefix;

typedef struct sella_lm_prefix_job {
    sella_lm_prefix *prefix;
    const sella_lm *lm;
    sella_pass *pass;
    int budget;             /* tokens of a pass, given ones included */
    const sella_rows *rows; /* of one user and history: equal up to their common beginning */
    const sella_soft *soft; /* NULL without slots */
    float *answer;          /* [budget, C] */
    float *soft_rows;       /* [budget, C] or NULL */
    /* filled by begin */
    int shared; /* tokens of the common beginning */
    int past;   /* of these, how many are given to the next pass */
    bool keeps; /* the next pass keeps the rest */
} sella_lm_prefix_job;

/* shared: tokens of the common beginning, 1 to the shortest row's. */
sella_status sella_lm_prefix_begin(sella_lm_prefix_job *job, int shared, sella_err *err);
/* Score rows first, first + 1, ... at most `most` of them and as many as a pass holds and time
 * allows.
 *   end    in           on the clock of sella_now; INFINITY: no limit
 *   z_n    out [rows]   direction . hidden, at each row's number
 *   count  out          rows scored; 0: no time for one */
sella_status sella_lm_prefix_step(sella_lm_prefix_job *job, int64_t first, int64_t most, double end,
                                  double *z_n, int64_t *count, sella_err *err);
void sella_lm_prefix_end(sella_lm_prefix_job *job);

/* Tokens of the common beginning of all rows (one user's); item: the target of the first; refs:
 * what the vectors of their slots follow from. */
int sella_lm_prefix_shared(const sella_lm *lm, const sella_rows *rows, int32_t item,
                           sella_refs_kind refs);

/* A pass without a prefix was made. */
void sella_lm_prefix_count(sella_lm_prefix *prefix, int rows, int tokens, double seconds);

#endif
