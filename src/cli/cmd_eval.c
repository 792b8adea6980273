/* cmd_eval.c - sella eval: figures of a run on a split. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "sella/engine.h"

static const sella_option option[] = {
    {"data", 0, SELLA_TYPE_TEXT, "DATASET", "(the one it was trained on)", 0, 0, NULL, "",
     "Evaluate on another data set; users and items are matched by their ids.", false},
    {"split", 0, SELLA_TYPE_WORD, "PART", "test", 0, 0, "train|valid|test", "",
     "Part to evaluate on.", false},
    {"by", 0, SELLA_TYPE_WORD, "WHAT", NULL, 0, 0, "warm|cold|user-cold|item-cold|strict-warm", "",
     "Show figures of warm and cold rows too; and of rows whose user, or item, train never saw, or "
     "whose user and item both have more than 3 train rows.",
     true},
    {"ranking", 0, SELLA_TYPE_WORD, "HOW", NULL, 0, 0, "full|sampled", "",
     "Ranking figures too: users' liked items among the whole catalogue, or among drawn "
     "candidates.",
     false},
    {"at", 0, SELLA_TYPE_INT, "K", "10", 1, 1e6, NULL, "",
     "--ranking: NDCG@K, Recall@K, MRR@K, HitRate@K.", true},
    {"negatives", 0, SELLA_TYPE_INT, "N", "100", 1, 1e6, NULL, "",
     "--ranking sampled: candidates drawn for each liked item.", false},
    {"ranking-per", 0, SELLA_TYPE_WORD, "WHAT", "user", 0, 0, "user|row", "",
     "--ranking: rank once a user, with the history before the part begins, or for each liked row "
     "with its own history.",
     false},
    SELLA_MODEL_OPTION,
    {"rows", 0, SELLA_TYPE_INT, "N", "(all)", 1, 1e12, NULL, "rows",
     "Evaluate one seeded sample of so many rows; a larger sample holds a smaller one.", false},
    {"seed", 0, SELLA_TYPE_INT, "N", "0", 0, 4294967295.0, NULL, "",
     "Seed of that sample, and of the candidates of --ranking sampled.", false},
    {"predictions", 0, SELLA_TYPE_TEXT, "FILE",
     "(RUN/predictions-PART.csv, of a sample RUN/predictions-PART-rows-N-seed-S.csv)", 0, 0, NULL,
     "", "Where each row's score is written.", false},
    SELLA_WEIGHTS_OPTION,
};

enum { CUTOFFS_MAX = 16, SUBSETS_MAX = 16 };

/* The repeated and the dependent options of eval. */
typedef struct eval_lists {
    const char *by[SUBSETS_MAX], *at[CUTOFFS_MAX];
    int at_k[CUTOFFS_MAX];
    sella_ranking_options ranking;
} eval_lists;

static sella_status take_ranking(const sella_args *args, eval_lists *lists,
                                 sella_eval_options *options, sella_err *err)
{
    const char *how = sella_args_text(args, "ranking");
    static const char *const of_ranking[] = {"at", "negatives", "ranking-per"};
    for (size_t i = 0; i < sizeof of_ranking / sizeof *of_ranking; i++) {
        if (sella_args_given(args, of_ranking[i]) &&
            (how == NULL || (i == 1 && strcmp(how, "sampled") != 0))) {
            return sella_err_set(err, SELLA_ARG, "--%s belongs to --ranking%s", of_ranking[i],
                                 i == 1 ? " sampled" : "");
        }
    }
    if (how == NULL) {
        return SELLA_OK;
    }
    const int count = sella_args_list(args, "at", lists->at, CUTOFFS_MAX);
    if (count > CUTOFFS_MAX) {
        return sella_err_set(err, SELLA_ARG, "--at was given %d times; expected at most %d", count,
                             CUTOFFS_MAX);
    }
    lists->at_k[0] = (int)sella_args_int(args, "at"); // the default when none is given
    for (int i = 0; i < count; i++) {
        int64_t k = 0;
        sella_status status =
            sella_parse_int(lists->at[i], strlen(lists->at[i]), 1, 1000000, "--at", &k, err);
        if (status != SELLA_OK) {
            return status;
        }
        lists->at_k[i] = (int)k;
    }
    lists->ranking = (sella_ranking_options){
        .at_k = lists->at_k,
        .at_count = count > 0 ? count : 1,
        .negatives = strcmp(how, "sampled") == 0 ? (int)sella_args_int(args, "negatives") : 0,
        .per_row = strcmp(sella_args_text(args, "ranking-per"), "row") == 0,
        .seed = options->sample_seed};
    options->ranking = &lists->ranking;
    return SELLA_OK;
}

static sella_status eval_one(const char *path, const sella_engine_options *open,
                             const sella_eval_options *options, char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    SELLA_TRY(sella_engine_check(path, options->dataset, options->split, NULL, err));
    SELLA_TRY(sella_engine_open(path, open, &engine, err));
    SELLA_TRY(sella_engine_eval(engine, options, json, err));
done:
    sella_engine_close(engine);
    return status;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    json_t *figures = NULL;
    const char *path = args->positional[0];
    const bool seeds = sella_seeds_there(path) > 0;
    eval_lists lists = {0};
    const int by_count = sella_args_list(args, "by", lists.by, SUBSETS_MAX);
    const sella_engine_options open = {.model = sella_args_text(args, "model"),
                                       .threads = cli->threads,
                                       .talk = &cli->talk,
                                       .weights = sella_args_text(args, "weights")};
    sella_eval_options options = {
        .dataset = sella_args_text(args, "data"),
        .split = sella_args_text(args, "split"),
        .rows = sella_args_given(args, "rows") ? sella_args_int(args, "rows") : 0,
        .sample_seed = (uint64_t)sella_args_int(args, "seed"),
        .predictions = sella_args_text(args, "predictions"),
        .by = lists.by,
        .by_count = by_count < SUBSETS_MAX ? by_count : SUBSETS_MAX};
    SELLA_TRY(take_ranking(args, &lists, &options, err));
    SELLA_TRY(seeds ? sella_eval_seeds(path, &open, &options, &json, err)
                    : eval_one(path, &open, &options, &json, err));
    if (cli->json) {
        puts(json);
    } else {
        SELLA_TRY(sella_show_parse(json, &figures, err));
        if (seeds) {
            sella_show_seeds(figures, by_count > 0);
        } else {
            sella_show_figures(figures, by_count > 0);
        }
    }
done:
    json_decref(figures);
    free(json);
    return status;
}

const sella_command sella_cmd_eval = {
    .computes = true,
    .name = "eval",
    .usage = "RUN",
    .help =
        "Evaluate a trained run on a part of a data set: AUC, UAUC, logloss, and ranking figures.",
    .details =
        "Every row is scored, also of users and items that training never saw. Each row's score "
        "goes to a\n"
        "predictions file, which 'sella metrics' and 'sella compare' read. Of a folder made by "
        "'sella train\n"
        "--seeds' every run is evaluated, and mean and standard deviation (n - 1) are shown.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .stoppable = true,
    .run = run,
};
