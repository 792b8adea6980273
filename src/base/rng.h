/* rng.h - counter-based random numbers: a draw is a pure function of (seed, stream, a, b, index).
 *
 * Does:     Philox4x32-10 from Random123 (Salmon et al. 2011). Nothing has a state, so resuming a
 *           run or changing the thread that draws changes nothing. Streams keep uses apart; a and b
 *           are e.g. epoch and step.
 * Threads:  pure.
 */
#ifndef SELLA_BASE_RNG_H
#define SELLA_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a draw is for. Append only: the value is part of every trained run's bytes. */
typedef enum sella_stream {
    SELLA_STREAM_INIT = 1,      /* a = tensor's place in its table */
    SELLA_STREAM_SHUFFLE = 2,   /* a = epoch, b = which order of several */
    SELLA_STREAM_SAMPLE = 3,    /* train.rows, eval.rows; a = split */
    SELLA_STREAM_DROPOUT = 4,   /* a = step, b = layer * 8 + matrix */
    SELLA_STREAM_BOOTSTRAP = 5, /* a = draw */
    SELLA_STREAM_NEGATIVE = 6,  /* a = epoch */
    SELLA_STREAM_TEST = 7,      /* tests and benchmarks */
    SELLA_STREAM_ANNEAL = 8,    /* a = step, b = side (user, item) */
    /* sampled candidates of eval --ranking; a = user, b = row, 0 for a case of a user */
    SELLA_STREAM_RANKING = 40
} sella_stream;

typedef struct sella_rng {
    uint64_t seed;
    uint32_t stream; /* a sella_stream */
    uint32_t a;
    uint32_t b;
} sella_rng;

/* Four independent 32-bit words for one index. */
void sella_rng_block(const sella_rng *rng, uint64_t index, uint32_t out[4]);
/* Uniform in [0, 1) with 24 bits. */
float sella_rng_uniform(const sella_rng *rng, uint64_t index);
/* Uniform integer in [0, n), n > 0, unbiased to 2^-32 relative for n < 2^32 (64-bit
 * multiply-shift). */
uint64_t sella_rng_below(const sella_rng *rng, uint64_t index, uint64_t n);
/* Standard normal (Box-Muller in double). */
double sella_rng_normal(const sella_rng *rng, uint64_t index);
/* Fisher-Yates on items [n]: a pure function of rng and n. */
void sella_rng_shuffle(const sella_rng *rng, int64_t *items_n, size_t n);

#endif
