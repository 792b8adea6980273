/* cmd_export_feedback.c - sella export-feedback: what a server's users said, as a data set to train
 * on. */
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/show.h"
#include "sella/data.h"
#include "sella/serve.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "DATASET", NULL, 0, 0, NULL, "",
     "Folder to write: new or empty.", false},
    {"data", 0, SELLA_TYPE_TEXT, "DATASET", "(the feedback alone)", 0, 0, NULL, "",
     "Data set whose catalogue and rows of all splits come first.", false},
    {"protocol", 0, SELLA_TYPE_WORD, "P", "time", 0, 0, "time|leave-one-out", "",
     "How all rows are cut into train, valid and test anew.", false},
    {"noun", 0, SELLA_TYPE_WORD, "NOUN", "(that of --data, else item)", 0, 0, "movie|book|item", "",
     "What an item is called in prompts.", false},
};

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    const sella_export_options options = {.store = args->positional[0],
                                          .dataset = sella_args_text(args, "data"),
                                          .output = sella_args_text(args, "output"),
                                          .protocol = sella_args_text(args, "protocol"),
                                          .noun = sella_args_text(args, "noun")};
    if (options.output == NULL) {
        return sella_err_set(err, SELLA_ARG, "an output folder is needed: -o DATASET");
    }
    SELLA_TRY(sella_export_feedback(&options, &cli->talk, &json, err));
    status = sella_show_dataset(options.output, cli->json ? json : NULL, err);
done:
    free(json);
    return status;
}

const sella_command sella_cmd_export_feedback = {
    .name = "export-feedback",
    .usage = "STORE -o DATASET",
    .help = "Turn the feedback that a server took into a data set to train on.",
    .details = "STORE is a server's feedback.sqlite; the server may go on. The last word of every "
               "user on every item\n"
               "becomes a row. With --data the rows of that data set come first, and all are cut "
               "into splits anew.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .stoppable = true,
    .run = run,
};
