/* score_all.c - scoring of many queries in blocks (methods/score_all.h). */
#include "methods/score_all.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "methods/place.h"
#include "methods/tape.h"

enum { BLOCK_ROWS = 256, BLOCK_MOST = 2048 };

/* End of the block that begins at `first`: whole groups, unless one group alone is larger than a
 * block may be. */
static int64_t block_end(const sella_place *order_n, int64_t N, int64_t first)
{
    int64_t end = first;
    while (end < N && end - first < BLOCK_MOST &&
           (end - first < BLOCK_ROWS || order_n[end].group == order_n[end - 1].group)) {
        end++;
    }
    return end;
}

/* Hash of what the logits follow from: the run's settings and the queries in their order. */
static uint64_t key_of(const sella_scorer *scorer, const sella_query *query_n,
                       const sella_place *order_n, int64_t N)
{
    uint64_t key = sella_hash_bytes(scorer->run->dataset_checksum, 16, scorer->run->seed);
    for (int64_t n = 0; n < N; n++) {
        const sella_query *q = &query_n[order_n[n].index];
        int32_t fixed[4] = {q->user, q->item, q->group, q->history_count};
        key = sella_hash_bytes(fixed, sizeof fixed, key);
        key = q->history_count > 0
                  ? sella_hash_bytes(q->history_n, (size_t)q->history_count * sizeof *q->history_n,
                                     key)
                  : key;
        key = q->target_text ? sella_hash_bytes(q->target_text, strlen(q->target_text), key) : key;
    }
    return key;
}

sella_status sella_score_all(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                             double *logit_n, const char *what, const char *tape_path,
                             double seconds, const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tape *tape = NULL;
    sella_progress progress;
    int64_t done_n = 0;
    sella_place *order = sella_alloc((size_t)N, sizeof *order, "scoring", err);
    double *sorted_n = sella_alloc((size_t)N, sizeof *sorted_n, "scoring", err);
    sella_query *block = sella_alloc(BLOCK_MOST, sizeof *block, "scoring", err);
    if (!order || !sorted_n || !block) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t n = 0; n < N; n++) {
        order[n] = (sella_place){query_n[n].group, n};
    }
    sella_places_sort(order, N);
    if (tape_path) {
        SELLA_TRY(sella_tape_open(tape_path, sizeof *sorted_n, key_of(scorer, query_n, order, N),
                                  seconds, sorted_n, N, &done_n, &tape, err));
    }
    sella_talk quiet =
        talk ? (sella_talk){.line = talk->line, .stop = talk->stop, .user = talk->user}
             : (sella_talk){0};
    sella_progress_start(&progress, talk, what, "rows", (double)N, (double)done_n);
    for (int64_t first = 0, end; first < N; first = end) {
        end = block_end(order, N, first);
        if (end <= done_n) {
            continue;
        }
        if (sella_stop_wanted(talk)) {
            status = sella_err_set(err, SELLA_INTERRUPTED, "%s was stopped after %lld of %lld rows",
                                   what, (long long)first, (long long)N);
            goto done;
        }
        for (int64_t n = first; n < end; n++) {
            block[n - first] = query_n[order[n].index];
        }
        SELLA_TRY(scorer->ops->score(scorer, block, end - first, sorted_n + first, &quiet, err));
        SELLA_TRY(tape ? sella_tape_append(tape, sorted_n + first, end - first, err) : SELLA_OK);
        sella_progress_step(&progress, (double)end, NULL);
    }
    SELLA_TRY(tape ? sella_tape_flush(tape, err) : SELLA_OK);
    sella_progress_end(&progress);
    for (int64_t n = 0; n < N; n++) {
        logit_n[order[n].index] = sorted_n[n];
    }
done:
    if (status == SELLA_INTERRUPTED && tape) { // whoever stopped: what is finished stays
        sella_tape_flush(tape, NULL);
    }
    sella_tape_close(tape);
    free(order);
    free(sorted_n);
    free(block);
    return status;
}
