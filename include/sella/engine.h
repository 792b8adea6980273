/* engine.h - one trained run in use: evaluate, score, recommend, look inside.
 *
 * Does:     sella_engine_open(run) -> score / recommend / eval ... -> sella_engine_close. Users and
 *           items unseen in training are a normal input.
 * Memory:   handles own everything; strings returned are owned by the caller (free()) unless
 *           "borrowed" is said.
 * Threads:  one engine per thread of use; internally parallel.
 */
#ifndef SELLA_ENGINE_H
#define SELLA_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sella_engine sella_engine;

typedef struct sella_engine_options {
    /* backbone to use instead of the path recorded in the run; its fingerprint must agree. NULL:
     * recorded path */
    const char *model;
    int threads;       /* 0: physical cores */
    const sella_talk *talk; /* NULL: silent */
    /* of the backbone: "expanded" to f32, as "stored", or "auto" (NULL): by free memory */
    const char *weights;
    /* most bytes of keys and values of prompts' beginnings kept between calls; 0: 256 MiB;
     * negative: none */
    int64_t cache_bytes;
} sella_engine_options;

SELLA_API sella_status sella_engine_open(const char *run, const sella_engine_options *options,
                                         sella_engine **out, sella_err *err);
SELLA_API void sella_engine_close(sella_engine *engine);

/* Facts about the run, as one JSON line: {"method","noun","users","items","model","preset",...}.
 * free(). */
SELLA_API sella_status sella_engine_info(const sella_engine *engine, char **json, sella_err *err);

/* What to score. Users and items by external id. history: NULL = the history that the run recorded
 * for this user; otherwise titles or item ids, oldest first. */
typedef struct sella_request {
    const char *user;             /* NULL or unknown to the run: an unseen user */
    const char *const *history;   /* [history_count] */
    int history_count;            /* -1: the recorded history */
    /* 1: history entries that the catalogue lacks are taken as text instead of refused */
    int free_titles;
} sella_request;

/* Probability of "likes" for each item id; score_k out [k]. */
SELLA_API sella_status sella_engine_score(sella_engine *engine, const sella_request *request,
                                          const char *const *item_k, int k, double *score_k,
                                          sella_err *err);

typedef struct sella_recommendation {
    const char *item;  /* borrowed from the engine */
    const char *title; /* borrowed from the engine */
    double score;      /* probability */
} sella_recommendation;

/* The k best of `candidate_n` (NULL: the whole catalogue), best first, ties by catalogue order;
 * without what is in the history unless include_seen. out [k], *count how many were written. */
SELLA_API sella_status sella_engine_recommend(sella_engine *engine, const sella_request *request,
                                              const char *const *candidate_n, int n, int k,
                                              int include_seen, sella_recommendation *out,
                                              int *count, sella_err *err);

/* Rows of a CSV file (columns user, item, optional history: titles or item ids between ';';
 * optional title: names an item that the catalogue lacks; others are kept) -> the same rows in the
 * same order with a column `score` behind them, written atomically to `output`. Every row is
 * checked before the first is scored. */
SELLA_API sella_status sella_engine_score_file(sella_engine *engine, const char *pairs_csv,
                                               const char *output, sella_err *err);
/* The same for bytes that are in memory already; `name` stands in error sentences. */
SELLA_API sella_status sella_engine_score_into(sella_engine *engine, const char *name,
                                               const char *data, size_t bytes, const char *output,
                                               sella_err *err);
/* The same, handed on in pieces; write returns non-zero when it failed (SELLA_IO). */
SELLA_API sella_status sella_engine_score_csv(
    sella_engine *engine, const char *name, const char *data, size_t bytes,
    int (*write)(void *user, const char *data, size_t bytes), void *user, sella_err *err);

/* Ranking figures beside the others: how well a user's liked items stand before other candidates
 * (docs/eval.md). */
typedef struct sella_ranking_options {
    /* [at_count] cutoffs K of NDCG@K, Recall@K, MRR@K, HitRate@K, 1 or more each */
    const int *at_k;
    int at_count;     /* 1 to 16 */
    /* 0: the whole catalogue is ranked; otherwise so many drawn candidates for each liked item */
    int negatives;
    /* 0: a case is a user with all liked items of the rows; 1: each liked row is one */
    int per_row;
    uint64_t seed;    /* of the drawing */
} sella_ranking_options;

typedef struct sella_eval_options {
    const char *dataset; /* NULL: the data set recorded in the run (its checksum must agree) */
    const char *split;   /* NULL: "test" */
    int64_t rows;        /* 0: all; otherwise one seeded sample of so many rows */
    uint64_t sample_seed;
    /* file to write; NULL: RUN/predictions-SPLIT.csv, of a sample
     * RUN/predictions-SPLIT-rows-N-seed-S.csv */
    const char *predictions;
    /* [by_count] further subsets: "user-cold", "item-cold", "strict-warm"; "warm" and "cold" are
     * always there */
    const char *const *by;
    int by_count;
    const sella_ranking_options *ranking; /* NULL: none */
} sella_eval_options;
/* *json: the figures object of docs/eval.md on one line. Writes the predictions file. */
SELLA_API sella_status sella_engine_eval(sella_engine *engine, const sella_eval_options *options,
                                         char **json, sella_err *err);

/* How many runs seed-N are in a folder made by sella_train_seeds; 0 when it is none. */
SELLA_API int sella_seeds_there(const char *path);
/* Evaluate every run of such a folder, each with its own predictions file (options->predictions
 * must be NULL). *json: {"method","dataset","split",
 * "seeds":[...],"runs":[{"seed",...figures}],"mean":{...},"sd":{...}} on one line; mean and sd have
 * the figures objects' keys whose values are figures, null where a run has none; sd divides by n -
 * 1 and is null for one run. Returns: as sella_engine_open and sella_engine_eval; SELLA_MISSING. */
SELLA_API sella_status sella_eval_seeds(const char *path, const sella_engine_options *open,
                                        const sella_eval_options *options, char **json,
                                        sella_err *err);

/* Are the run, its data set and the split there, and the row (NULL: any)? dataset and split as
 * above. Reads no weights: what eval and prompt would refuse anyway is told before a model is
 * opened for them. Returns: SELLA_OK; what sella_engine_eval returns; SELLA_ARG for a row that is
 * not there. */
SELLA_API sella_status sella_engine_check(const char *run, const char *dataset, const char *split,
                                          const int64_t *row, sella_err *err);

/* One row's prompt: {"text","ids","soft","answer_position","label_ids","label","score"}. dataset
 * and split as above; row from 0. */
SELLA_API sella_status sella_engine_prompt(sella_engine *engine, const char *dataset,
                                           const char *split, int64_t row, char **json,
                                           sella_err *err);

typedef struct sella_explain_options {
    /* [layers] attention of these layers of the language model, from 1; NULL: the second and the
     * last */
    const int *layer_k;
    int layers;
    int heads;                   /* 1: the answer's attention by head too */
    /* [without_count] entries of the history (titles or item ids) to take out, one at a time; NULL:
     * every one that the score reads */
    const char *const *without;
    int without_count;
} sella_explain_options;

/* How the score of one item for one user comes about, as the JSON object of docs/explain.md: score,
 * terms of the logit, the prompt's parts and tokens with the attention of chosen layers (null
 * without a language model), and the score with each soft token and each title of the history taken
 * out. options may be NULL. SELLA_ARG: a text is not UTF-8, a layer is not there, more than 4,096
 * titles are to be taken out. SELLA_MISSING: item is not in the catalogue, or a title of `without`
 * is not in the part of the history that the score reads (the sentence names the nearest one in
 * it). */
SELLA_API sella_status sella_engine_explain(sella_engine *engine, const sella_request *request,
                                            const char *item, const sella_explain_options *options,
                                            char **json, sella_err *err);

/* What is in a file (safetensors, GGUF, npy), RUN (components trained or frozen by stage: Table 1),
 * data set or model folder, as JSON. */
SELLA_API sella_status sella_inspect(const char *path, char **json, sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
