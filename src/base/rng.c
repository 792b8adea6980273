/* rng.c - Philox4x32-10 (base/rng.h).
 *
 * Counter = {index low, index high, a, b}, key = {seed low, seed high xor a multiple of the
 * stream}: all five inputs are told apart for every seed below 2^32, and stream 0 is the plain
 * generator, which the published test vectors check.
 */
#include "base/rng.h"

#include <math.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

__extension__ typedef unsigned __int128 wide;

void sella_rng_block(const sella_rng *rng, uint64_t index, uint32_t out[4])
{
    philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), rng->a, rng->b}};
    philox4x32_key_t key = {
        {(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32) ^ (rng->stream * 0x9e3779b9u)}};
    philox4x32_ctr_t block = philox4x32(counter, key);
    for (int i = 0; i < 4; i++) {
        out[i] = block.v[i];
    }
}

float sella_rng_uniform(const sella_rng *rng, uint64_t index)
{
    uint32_t word[4];
    sella_rng_block(rng, index, word);
    return (float)(word[0] >> 8) * 0x1p-24f;
}

uint64_t sella_rng_below(const sella_rng *rng, uint64_t index, uint64_t n)
{
    uint32_t word[4];
    sella_rng_block(rng, index, word);
    uint64_t x = (uint64_t)word[1] << 32 | word[0];
    return (uint64_t)((wide)x * n >> 64);
}

double sella_rng_normal(const sella_rng *rng, uint64_t index)
{
    uint32_t word[4];
    sella_rng_block(rng, index, word);
    uint64_t x = (uint64_t)word[1] << 32 | word[0], y = (uint64_t)word[3] << 32 | word[2];
    double u = ((double)(x >> 11) + 1.0) * 0x1p-53; // (0, 1]: the logarithm is finite
    double v = (double)(y >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

void sella_rng_shuffle(const sella_rng *rng, int64_t *items_n, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)sella_rng_below(rng, i - 1, i);
        int64_t item = items_n[i - 1];
        items_n[i - 1] = items_n[j];
        items_n[j] = item;
    }
}
