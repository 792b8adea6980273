/* deal.c - rows of a step (train/deal.h). */
#include "train/deal.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"

sella_status sella_deal_init(int64_t rows, int64_t batch, uint64_t seed, sella_deal *out,
                             sella_err *err)
{
    *out = (sella_deal){
        .seed = seed, .rows = rows, .batch = batch < rows ? batch : rows, .epoch = -1};
    out->order_n = sella_alloc((size_t)rows, sizeof *out->order_n, "the order of rows", err);
    return out->order_n ? SELLA_OK : SELLA_MEMORY;
}

void sella_deal_release(sella_deal *deal)
{
    free(deal->order_n);
    *deal = (sella_deal){0};
}

int64_t sella_deal_steps(const sella_deal *deal)
{
    return deal->batch > 0 ? (deal->rows + deal->batch - 1) / deal->batch : 0;
}

int64_t sella_deal_step(sella_deal *deal, int64_t epoch, int64_t index, const int64_t **row_n)
{
    const int64_t first = index * deal->batch, left = deal->rows - first;
    if (deal->epoch != epoch) {
        const sella_rng rng = {
            .seed = deal->seed, .stream = SELLA_STREAM_SHUFFLE, .a = (uint32_t)epoch};
        for (int64_t r = 0; r < deal->rows; r++) {
            deal->order_n[r] = r;
        }
        sella_rng_shuffle(&rng, deal->order_n, (size_t)deal->rows);
        deal->epoch = epoch;
    }
    *row_n = deal->order_n + first;
    return left < deal->batch ? left : deal->batch;
}
