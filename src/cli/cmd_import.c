/* cmd_import.c - sella import: a log and its titles into a data set folder. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "sella/data.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "DATASET", NULL, 0, 0, NULL, "",
     "Folder to write; it must be new or empty. Needed.", false},
    {"protocol", 0, SELLA_TYPE_WORD, "WORD", "(time)", 0, 0, "time|ml-1m|amazon-book|leave-one-out",
     "", "How the log is cut into train, valid and test. Not for split, which is cut already.",
     false},
    {"fractions", 0, SELLA_TYPE_TEXT, "A,B,C", "(0.8,0.1,0.1)", 0, 0, NULL, "",
     "Protocol time: the parts of train, valid and test.", false},
    {"like-at", 0, SELLA_TYPE_REAL, "RATING", "(4; amazon-book 5)", -1e9, 1e9, NULL, "",
     "A rating of at least this is a like (label 1).", false},
    {"noun", 0, SELLA_TYPE_WORD, "WORD", "(movie for movielens, book for amazon-book, else item)",
     0, 0, "movie|book|item", "", "What prompts call an item.", false},
    {"columns", 0, SELLA_TYPE_TEXT, "MAP", "(common names)", 0, 0, NULL, "",
     "csv, recbole: user=NAME,item=NAME,rating=NAME,time=NAME,title=NAME with the names in the "
     "header; label=NAME (0 or 1) instead of rating.",
     false},
    {"items", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "",
     "csv: a second table with the item and title columns: the catalogue.", false},
    {"skip-bad", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "Leave malformed rows out and count them, instead of refusing the file.", false},
};

/* "0.8,0.1,0.1" */
static sella_status parse_fractions(const char *text, double *out, sella_err *err)
{
    for (int f = 0; f < 3; f++) {
        size_t part = strcspn(text, ",");
        if (sella_parse_real(text, part, 0, 1, "fraction", &out[f], NULL) != SELLA_OK ||
            (text[part] == ',') != (f < 2)) {
            return sella_err_set(err, SELLA_ARG,
                                 "--fractions expects three parts of 1 such as 0.8,0.1,0.1");
        }
        text += part + (f < 2);
    }
    if (out[0] == 0) {
        return sella_err_set(err, SELLA_ARG, "--fractions leaves nothing to train");
    }
    return SELLA_OK;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    sella_import_options options = {.format = args->positional[0],
                                    .inputs = args->positional + 1,
                                    .input_count = args->positional_count - 1,
                                    .output = sella_args_text(args, "output"),
                                    .protocol = sella_args_text(args, "protocol"),
                                    .noun = sella_args_text(args, "noun"),
                                    .columns = sella_args_text(args, "columns"),
                                    .items = sella_args_text(args, "items"),
                                    .skip_bad = sella_args_flag(args, "skip-bad")};
    if (!options.output) {
        return sella_err_set(err, SELLA_ARG, "an output folder is needed: -o DATASET");
    }
    if (sella_args_given(args, "like-at")) {
        options.like_at = sella_args_real(args, "like-at");
        options.like_at_given = 1;
    }
    if (sella_args_given(args, "fractions")) {
        SELLA_TRY(parse_fractions(sella_args_text(args, "fractions"), options.fractions, err));
    }
    SELLA_TRY(sella_import(&options, &cli->talk, &json, err));
    status = sella_show_dataset(options.output, cli->json ? json : NULL, err);
done:
    free(json);
    return status;
}

const sella_command sella_cmd_import = {
    .name = "import",
    .usage = "FORMAT INPUT... -o DATASET",
    .help = "Read a log and its titles into a data set folder.",
    .details =
        "FORMAT is one of\n"
        "  movielens  ml-1m (.dat), ml-100k (u.data), ml-latest (.csv): the folder or the zip\n"
        "  amazon     REVIEWS METADATA of the 2014, 2018 or 2023 release, .json or .jsonl, plain "
        "or .gz; streamed\n"
        "  recbole    NAME.inter [NAME.item] with typed headers\n"
        "  csv        any table with a header: users, items, ratings or labels, times, titles\n"
        "  split      a folder with train.tsv, valid.tsv, test.tsv and items.tsv that is cut "
        "already\n"
        "What each needs and the rules of the protocols: docs/import.md.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 64,
    .stoppable = true,
    .run = run,
};
