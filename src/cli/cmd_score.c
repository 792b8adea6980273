/* cmd_score.c - sella score: a CSV file of pairs with a score behind each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "sella/engine.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "FILE", "(standard output)", 0, 0, NULL, "",
     "File to write, whole or not at all.", false},
    SELLA_MODEL_OPTION,
    SELLA_WEIGHTS_OPTION,
};

static int to_stdout(void *user, const char *data, size_t bytes)
{
    int *reason = user;
    const bool failed = fwrite(data, 1, bytes, stdout) != bytes;
    *reason = failed ? errno : 0;
    return failed;
}

static sella_status score(sella_engine *engine, const char *pairs, const char *output,
                          sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text input = {0};
    sella_map map = {0};
    const bool from_stdin = strcmp(pairs, "-") == 0;
    if (from_stdin) {
        SELLA_TRY(sella_read_stdin(&input, err));
    } else {
        SELLA_TRY(sella_map_open(pairs, &map, err));
    }
    const char *name = from_stdin ? "standard input" : pairs;
    const char *data = from_stdin ? input.data : (const char *)map.data;
    const size_t bytes = from_stdin ? input.size : map.size;
    if (output == NULL || strcmp(output, "-") == 0) {
        int reason = 0;
        status = sella_engine_score_csv(engine, name, data, bytes, to_stdout, &reason, err);
        if (reason != 0) {
            status = sella_err_errno(err, "standard output", "written", reason);
        }
    } else {
        status = sella_engine_score_into(engine, name, data, bytes, output, err);
    }
done:
    sella_map_close(&map);
    sella_text_release(&input);
    return status;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_engine *engine = NULL;
    const sella_engine_options open = {.model = sella_args_text(args, "model"),
                                       .threads = cli->threads,
                                       .talk = &cli->talk,
                                       .weights = sella_args_text(args, "weights")};
    if (cli->json) {
        return sella_err_set(err, SELLA_ARG,
                             "the answer is a CSV file; there is no --json form of it");
    }
    sella_status status = sella_engine_open(args->positional[0], &open, &engine, err);
    if (status == SELLA_OK) {
        status = score(engine, args->positional[1], sella_args_text(args, "output"), err);
    }
    sella_engine_close(engine);
    return status;
}

const sella_command sella_cmd_score = {
    .computes = true,
    .name = "score",
    .usage = "RUN PAIRS.csv",
    .help = "Score pairs of users and items from a CSV file, in bulk and in order.",
    .details = "PAIRS.csv (- is standard input) has a header with the columns user and item, and "
               "may have history\n"
               "(titles or item ids between ';'; empty: what the run recorded for that user) and "
               "title (names an\n"
               "item that the catalogue lacks). The same rows come out, in order, with a column "
               "score behind all\n"
               "others: the probability that the user likes the item. A user never seen is scored "
               "as such. Every\n"
               "row is checked before the first is scored.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 2,
    .stoppable = true,
    .run = run,
};
