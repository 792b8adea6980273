/* cmd_experiment.c - sella experiment: the paper's tables and figures on a data set. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "cli/training.h"
#include "sella/experiment.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "DIR", NULL, 0, 0, NULL, "",
     "Folder of runs and report. Complete runs in it with the same settings are reused.", false},
    {"split", 0, SELLA_TYPE_WORD, "PART", "test", 0, 0, "test|valid", "",
     "Part that figures are of.", false},
    {"model", 0, SELLA_TYPE_TEXT, "MODEL", "(rows that need one are left out)", 0, 0, NULL, "",
     "Language model of every row that needs one: a Hugging Face folder or a GGUF file.", false},
    {"preset", 0, SELLA_TYPE_WORD, "NAME", "default", 0, 0, "paper|default", "",
     "Settings that every row begins with.", false},
    {"set", 0, SELLA_TYPE_TEXT, "KEY=VALUE", NULL, 0, 0, NULL, "",
     "Change one setting of every row: train.rows=4096 makes language-model rows affordable.",
     true},
    {"seeds", 0, SELLA_TYPE_TEXT, "LIST", "0", 0, 0, NULL, "",
     "Seeds between commas: every row is trained with each.", false},
    {"dry-run", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "Show what would be trained, with estimated time, and stop.", false},
    {"user", 0, SELLA_TYPE_TEXT, "U", "(one who is known)", 0, 0, NULL, "",
     "fig8: user whose prompt is shown.", false},
    {"item", 0, SELLA_TYPE_TEXT, "I", "(one that the user likes)", 0, 0, NULL, "",
     "fig8: item in it.", false},
    SELLA_WEIGHTS_OPTION,
};

static void show_plan(const json_t *object)
{
    size_t i;
    const json_t *run;
    printf("%-14s %6s  %-9s %9s %8s\n", "row", "seed", "state", "seconds", "peak MB");
    json_array_foreach(json_object_get(object, "runs"), i, run)
    {
        printf("%-14s %6lld  %-9s", json_string_value(json_object_get(run, "row")),
               (long long)json_integer_value(json_object_get(run, "seed")),
               json_string_value(json_object_get(run, "state")));
        const json_t *seconds = json_object_get(run, "seconds"),
                     *memory = json_object_get(run, "peak_mb");
        if (json_is_number(seconds) && json_is_number(memory)) {
            printf(" %9.0f %8.0f", json_number_value(seconds), json_number_value(memory));
        }
        putchar('\n');
    }
    json_array_foreach(json_object_get(object, "left_out"), i, run)
    {
        printf("%-14s %6s  %s\n", json_string_value(json_object_get(run, "row")), "-",
               json_string_value(json_object_get(run, "why")));
    }
    printf("estimated seconds in all: %.0f\n",
           json_number_value(json_object_get(object, "seconds")));
}

static void figure(const json_t *row, const char *key, const char *sd)
{
    const json_t *mean = json_object_get(row, key), *spread = json_object_get(row, sd);
    if (json_is_number(mean)) {
        printf("  %.4f", json_number_value(mean));
    } else {
        printf("  %6s", "-");
    }
    if (json_is_number(spread)) {
        printf(" (%.4f)", json_number_value(spread));
    } else {
        printf(" %8s", "");
    }
}

static void show_result(const json_t *object)
{
    size_t i;
    const json_t *row;
    printf("%-28s  %-15s  %-15s  %s\n", "", "AUC (sd)", "UAUC (sd)", "seeds");
    json_array_foreach(json_object_get(object, "rows"), i, row)
    {
        const char *state = json_string_value(json_object_get(row, "state"));
        printf("%-28s", json_string_value(json_object_get(row, "label")));
        figure(row, "auc", "auc_sd");
        figure(row, "uauc", "uauc_sd");
        printf("  %lld%s%s\n", (long long)json_integer_value(json_object_get(row, "seeds")),
               strcmp(state, "complete") == 0 ? "" : "  ",
               strcmp(state, "complete") == 0 ? "" : state);
    }
    printf("%lld runs trained, %lld reused: ",
           (long long)json_integer_value(json_object_get(object, "trained")),
           (long long)json_integer_value(json_object_get(object, "reused")));
    sella_show_text(json_string_value(json_object_get(object, "page")));
    putchar('\n');
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    json_t *object = NULL;
    uint64_t *seed_n = NULL;
    int seeds = 0;
    const int set_count = sella_args_count(args, "set");
    const char *output = sella_args_text(args, "output");
    const char **set = sella_alloc((size_t)set_count, sizeof *set, "settings", err);
    if (!set) {
        return SELLA_MEMORY;
    }
    if (!output || output[0] == '\0') {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "where to? expected: -o DIR"));
    }
    SELLA_TRY(sella_seeds_take(sella_args_text(args, "seeds"), &seed_n, &seeds, err));
    sella_args_list(args, "set", set, set_count);
    const sella_experiment_options options = {.name = args->positional[0],
                                              .dataset = args->positional[1],
                                              .output = output,
                                              .split = sella_args_text(args, "split"),
                                              .model = sella_args_text(args, "model"),
                                              .preset = sella_args_text(args, "preset"),
                                              .set = set,
                                              .set_count = set_count,
                                              .seed = seed_n,
                                              .seed_count = seeds,
                                              .threads = cli->threads,
                                              .dry_run = sella_args_flag(args, "dry-run"),
                                              .weights = sella_args_text(args, "weights"),
                                              .user = sella_args_text(args, "user"),
                                              .item = sella_args_text(args, "item")};
    SELLA_TRY(sella_experiment(&options, &cli->talk, &json, err));
    if (cli->json) {
        puts(json);
        goto done;
    }
    SELLA_TRY(sella_show_parse(json, &object, err));
    if (options.dry_run) {
        show_plan(object);
    } else {
        show_result(object);
    }
done:
    json_decref(object);
    free(json);
    free(set);
    free(seed_n);
    return status;
}

const sella_command sella_cmd_experiment = {
    .computes = true,
    .name = "experiment",
    .usage = "NAME DATASET -o DIR",
    .help = "Run the paper's tables and figures on a data set, and report them.",
    .details = "NAME is table2, table3, table4, table5, table6, fig5, fig6, fig7, fig8 or all. "
               "Trains what\n"
               "is missing, reuses what is there, scores it and writes DIR/index.html. Ctrl-C "
               "leaves a checkpoint; the\n"
               "same command goes on.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 2,
    .stoppable = true,
    .run = run,
};
