/* cmd_report.c - sella report: one HTML page about runs. */
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/show.h"
#include "sella/report.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "DIR", NULL, 0, 0, NULL, "",
     "Folder to write: index.html and figures/. An older report in it is replaced.", false},
};

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    json_t *object = NULL;
    const char *output = sella_args_text(args, "output");
    if (!output || output[0] == '\0') {
        return sella_err_set(err, SELLA_ARG, "where to? expected: -o DIR");
    }
    SELLA_TRY(
        sella_report(args->positional, args->positional_count, output, &cli->talk, &json, err));
    if (cli->json) {
        puts(json);
        goto done;
    }
    SELLA_TRY(sella_show_parse(json, &object, err));
    sella_show_text(json_string_value(json_object_get(object, "page")));
    printf(": %lld runs of %lld configurations, %zu figures\n",
           (long long)json_integer_value(json_object_get(object, "runs")),
           (long long)json_integer_value(json_object_get(object, "methods")),
           json_array_size(json_object_get(object, "figures")));
done:
    json_decref(object);
    free(json);
    return status;
}

const sella_command sella_cmd_report = {
    .name = "report",
    .usage = "RUN... | DIR... -o DIR",
    .help = "Write one HTML page about runs: figures, learning curves, configuration.",
    .details = "Takes runs and folders that hold runs. Runs that differ in their seed alone are "
               "one line, with mean and\n"
               "standard deviation. The page is one file that works offline; pictures need "
               "gnuplot, without it their\n"
               "data and scripts are left in DIR/figures. On the published splits of MovieLens-1M "
               "and Amazon-Book the\n"
               "papers' figures stand beside, with what to know about them.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1000,
    .run = run,
};
