/* cmd_eval.c - sella eval: figures of a run on a split. */
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/show.h"
#include "sella/engine.h"

static const sella_option option[] = {
    {"data", 0, SELLA_TYPE_TEXT, "DATASET", "(the one it was trained on)", 0, 0, NULL, "",
     "Evaluate on another data set; users and items are matched by their ids.", false},
    {"split", 0, SELLA_TYPE_WORD, "PART", "test", 0, 0, "train|valid|test", "", "Part to evaluate on.", false},
    {"by", 0, SELLA_TYPE_WORD, "WHAT", NULL, 0, 0, "warm", "", "Show figures of warm and cold rows too.", false},
    {"model", 0, SELLA_TYPE_TEXT, "MODEL", "(the one it was trained on)", 0, 0, NULL, "",
     "Where the language model is now: a Hugging Face folder or a GGUF file with the recorded fingerprint.", false},
    {"rows", 0, SELLA_TYPE_INT, "N", "(all)", 1, 1e12, NULL, "rows", "Evaluate one seeded sample of so many rows; a larger sample holds a smaller one.", false},
    {"seed", 0, SELLA_TYPE_INT, "N", "0", 0, 4294967295.0, NULL, "", "Seed of that sample.", false},
    {"predictions", 0, SELLA_TYPE_TEXT, "FILE", "(RUN/predictions-PART.csv, of a sample RUN/predictions-PART-rows-N-seed-S.csv)", 0, 0, NULL, "", "Where each row's score is written.", false},
    SELLA_WEIGHTS_OPTION,
};

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    char *json = NULL;
    json_t *figures = NULL;
    const sella_engine_options open = {.model = sella_args_text(args, "model"),
                                       .threads = cli->threads,
                                       .talk = &cli->talk,
                                       .weights = sella_args_text(args, "weights")};
    const sella_eval_options options = {.dataset = sella_args_text(args, "data"),
                                        .split = sella_args_text(args, "split"),
                                        .rows = sella_args_given(args, "rows") ? sella_args_int(args, "rows") : 0,
                                        .sample_seed = (uint64_t)sella_args_int(args, "seed"),
                                        .predictions = sella_args_text(args, "predictions")};
    SELLA_TRY(sella_engine_check(args->positional[0], options.dataset, options.split, NULL, err));
    SELLA_TRY(sella_engine_open(args->positional[0], &open, &engine, err));
    SELLA_TRY(sella_engine_eval(engine, &options, &json, err));
    if (cli->json) {
        puts(json);
    } else {
        SELLA_TRY(sella_show_parse(json, &figures, err));
        sella_show_figures(figures, sella_args_text(args, "by") != NULL);
    }
done:
    json_decref(figures);
    free(json);
    sella_engine_close(engine);
    return status;
}

const sella_command sella_cmd_eval = {
    .computes = true,
    .name = "eval",
    .usage = "RUN",
    .help = "Evaluate a trained run: AUC, UAUC and logloss on a part of a data set.",
    .details = "Every row is scored, also of users and items that training never saw. Each row's score goes to a\n"
               "predictions file, which 'sella metrics' and 'sella compare' read.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .stoppable = true,
    .run = run,
};
