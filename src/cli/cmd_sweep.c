/* cmd_sweep.c - sella sweep: trainings over a grid of settings, one after another, chosen on
 * valid. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "cli/training.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "DIR", NULL, 0, 0, NULL, "",
     "Folder of the runs: new, or one that holds this sweep, which then goes on. Needed but for "
     "--dry-run.",
     false},
    {"grid", 0, SELLA_TYPE_TEXT, "KEY=A,B,C", NULL, 0, 0, NULL, "",
     "Values of one setting; several --grid make all combinations. Between ; where one stands in "
     "the list.",
     true},
    SELLA_TRAINING_OPTIONS,
};

static void more_help(FILE *out)
{
    fprintf(out, "Methods and settings: sella train --help\n");
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_training_args training;
    char *json = NULL;
    json_t *object = NULL;
    const int count = sella_args_count(args, "grid");
    const char **grid = sella_alloc((size_t)count, sizeof *grid, "a grid", err);
    if (grid == NULL) {
        return SELLA_MEMORY;
    }
    sella_args_list(args, "grid", grid, count);
    SELLA_TRY(sella_training_take(args, cli, &training, err));
    SELLA_TRY(sella_sweep(&training.options, grid, count, training.seed_n, training.seeds,
                          &cli->talk, &json, err));
    if (cli->json) {
        puts(json);
    } else {
        SELLA_TRY(sella_show_parse(json, &object, err));
        sella_show_sweep(object, training.options.dry_run);
    }
done:
    sella_training_release(&training);
    json_decref(object);
    free(json);
    free(grid);
    return status;
}

const sella_command sella_cmd_sweep = {
    .computes = true,
    .name = "sweep",
    .usage = "METHOD DATASET -o DIR --grid KEY=A,B,C",
    .help = "Train over a grid of settings and choose on the valid part.",
    .details = "Every combination is a run in DIR/KEY=VALUE,..., trained one after another; the "
               "table of all goes to\n"
               "DIR/sweep.csv and DIR/sweep.json. The same command again goes on: finished runs "
               "are reused, an\n"
               "interrupted one is resumed. The best has the highest AUC on valid (with --seeds "
               "the mean).\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 2,
    .stoppable = true,
    .more_help = more_help,
    .run = run,
};
