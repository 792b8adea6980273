/* service.h - what a server asks of an opened run: the best items of the whole catalogue within a
 * time limit, histories, title search.
 *
 * Does:     sella_engine_open -> rank / history / items ... for every request ->
 *           sella_engine_close. Ranking has two steps in the open: every candidate gets a retrieval
 *           score from vectors alone, the best of them the run's own score (docs/architecture.md,
 *           "Serving").
 * Memory:   strings in results are borrowed from the engine; JSON texts are owned by the caller:
 *           free().
 * Threads:  sella_engine_rank as the calls of sella/engine.h: one thread at a time. The others here
 *           may be called from any thread meanwhile.
 * Not here: HTTP and feedback (src/serve); scores of named items (sella/engine.h).
 */
#ifndef SELLA_SERVICE_H
#define SELLA_SERVICE_H

#include "sella/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One place of an answer. */
typedef struct sella_ranked {
    const char *item;  /* borrowed from the engine */
    const char *title; /* borrowed from the engine */
    double score;      /* probability: the run's own when rescored, else of the retrieval */
    double retrieved;  /* probability by the first step */
    /* 1: score is the run's own, as sella_engine_score gives it. Runs without a language model:
     * always */
    int rescored;
} sella_ranked;

/* candidates that get the run's own score unless a request says otherwise */
enum { SELLA_RETRIEVE_K = 40 };

/* Zero-initialise; 0 and NULL mean the default. */
typedef struct sella_rank_options {
    int k;                          /* places wanted, >= 1 */
    const char *const *candidate_n; /* [n] item ids, or NULL: the whole catalogue */
    int n;
    const char *const *exclude_n;   /* [m] item ids that must not be in the answer, or NULL */
    int m;
    int include_seen;               /* 1: items of the history may be in the answer */
    /* candidates that get the run's own score; 0: all of candidate_n when given, else the larger of
     * k and SELLA_RETRIEVE_K */
    int retrieve_k;
    /* milliseconds from the call; 0: no limit. When they are over, what was not rescored keeps its
     * retrieval score. A batch under way is finished, so that an answer can be late by its time */
    double budget_ms;
    /* Called after every batch with what it scored, in no order (batch_n [count]); non-zero stops
     * the rescoring there. NULL: nobody waits. Runs without a language model call it never. */
    int (*arrived)(void *user, const sella_ranked *batch_n, int count);
    /* Called once, behind the first step, with the best k by their retrieval score (first_k
     * [count], count may be 0); non-zero: nothing is rescored. NULL: nobody waits. */
    int (*retrieved)(void *user, const sella_ranked *first_k, int count);
    void *user;
} sella_rank_options;

/* The best options->k candidates. First step: every candidate by its retrieval score: the
 * collaborative logit of runs that have vectors (for runs without a language model that is their
 * score), and for runs with a language model alone (tallrec, zeroshot ...) the share of the run's
 * users whose recorded history holds the item. Second step: the best of them by the run's own
 * score.
 * Order: rescored candidates by score, then the others by retrieval score; ties by catalogue order.
 *
 *   request in   who is asked about; an unseen user and an empty history are normal
 *   out     out  [k]
 *   count   out  how many were written
 *
 * Returns: SELLA_ARG for a k, retrieve_k or budget out of range; SELLA_MISSING names an id or title
 *          that the catalogue lacks. */
SELLA_API sella_status sella_engine_rank(sella_engine *engine, const sella_request *request,
                                         const sella_rank_options *options, sella_ranked *out,
                                         int *count, sella_err *err);

/* What the language model was asked so far and what its prefix cache spared. All 0 for runs without
 * one. */
typedef struct sella_engine_counts {
    uint64_t rows_scored;     /* candidates */
    uint64_t tokens_computed;
    uint64_t tokens_reused;   /* given to a pass instead of computed */
    double seconds;           /* in passes */
    uint64_t cache_hits;      /* requests whose whole beginning was there */
    uint64_t cache_parts;     /* ... a part of it */
    uint64_t cache_misses;
    uint64_t cache_bytes;     /* now */
    uint64_t cache_limit;
    uint64_t cache_entries;   /* now */
    uint64_t cache_evicted;
} sella_engine_counts;
SELLA_API void sella_engine_stats(const sella_engine *engine, sella_engine_counts *out);

/* Put the beginnings of prompts into the prefix cache (sella_engine_options.cache_bytes), so that
 * the first requests find them. The file is CSV with a header: columns user and history (titles or
 * item ids between ';'), of which one may be missing; an empty history is the recorded one. *warmed
 * (may be NULL) = rows; later rows push earlier ones out when the cache is full. Nothing to do
 * without a language model. Returns: SELLA_MISSING or SELLA_FORMAT name the line. One thread at a
 * time, as sella_engine_rank. */
SELLA_API sella_status sella_engine_warm(sella_engine *engine, const char *users_csv,
                                         int64_t *warmed, sella_err *err);

/* 1 when the run recorded this user (train users), else 0. */
SELLA_API int sella_engine_has_user(const sella_engine *engine, const char *user);
/* What the run recorded of a user's likes, oldest first: [{"item","title","time"},...] on one
 * line; time in seconds (UTC) or null when the data had none. [] for a user that the run does
 * not know. */
SELLA_API sella_status sella_engine_history(const sella_engine *engine, const char *user,
                                            char **json, sella_err *err);

/* Items whose title has every word of the query (case and accents do not matter):
 * [{"item","title"},...] on one line, at most limit. Best first: the whole title, its beginning,
 * words from their beginnings, parts of words; among these the items liked most often.
 * Returns: SELLA_ARG for a limit below 1, a query of more than 1,000 characters, without words or
 *          not UTF-8. */
SELLA_API sella_status sella_engine_items(sella_engine *engine, const char *query, int limit,
                                          char **json, sella_err *err);
/* Title of an item, borrowed from the engine; NULL: not in the catalogue. */
SELLA_API const char *sella_engine_item_title(const sella_engine *engine, const char *item);

#ifdef __cplusplus
}
#endif
#endif
