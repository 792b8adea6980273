/* cmd_stats.c - sella stats: what is in a data set. */
#include <stdlib.h>

#include "cli/commands.h"
#include "sella/data.h"

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    char *text = NULL;
    sella_status status = cli->json ? sella_stats(args->positional[0], &text, err)
                                    : sella_stats_text(args->positional[0], &text, err);
    if (status == SELLA_OK) {
        printf("%s%s", text, cli->json ? "\n" : "");
    }
    free(text);
    return status;
}

const sella_command sella_cmd_stats = {
    .name = "stats",
    .usage = "DATASET",
    .help = "Show a data set's counts, dates, label means, warm and cold rows and checksum.",
    .details = "The folder is verified as it is read: sizes, indexes and the checksum.\n",
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
