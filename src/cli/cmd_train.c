/* cmd_train.c - sella train: a method on a data set into a run folder. */
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/show.h"
#include "cli/training.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "RUN", NULL, 0, 0, NULL, "",
     "Folder to write: new, empty, or with --resume a run to go on with. Needed but for --dry-run.",
     false},
    SELLA_TRAINING_OPTIONS,
    {"init-from", 0, SELLA_TYPE_TEXT, "RUN", NULL, 0, 0, NULL, "",
     "Begin with the parameters of another run of the method, on data that may have grown; users "
     "and items are matched by id.",
     false},
    {"resume", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "Go on where an interrupted run stopped, with its recorded settings; start when there is "
     "none.",
     false},
};

static void entry_text(const sella_setting_info *s, char *text, size_t room)
{
    const char *range = s->range != NULL ? s->range : "";
    const char *unit = s->unit != NULL ? s->unit : "";
    size_t used = (size_t)snprintf(text, room, "%s (%s", s->help, range[0] ? range : s->type);
    if (unit[0] && used < room) {
        used += (size_t)snprintf(text + used, room - used, " %s", unit);
    }
    if (used < room) {
        snprintf(text + used, room - used, "; default %s)", s->default_text);
    }
}

/* Methods and settings, from the library's tables. */
static void more_help(FILE *out)
{
    const char *const *method = sella_method_names();
    sella_setting_info setting;
    fprintf(out, "Methods:\n");
    for (; *method != NULL; method++) {
        sella_help_entry(out, *method, sella_method_help(*method));
    }
    fprintf(out,
            "\nSettings (--set KEY=VALUE; a method's presets change some of these defaults):\n");
    for (int i = 0; sella_setting_at(i, &setting); i++) {
        char text[1024];
        entry_text(&setting, text, sizeof text);
        sella_help_entry(out, setting.name, text);
    }
}

static void print_count(const char *name, const json_t *value)
{
    char text[32];
    printf("%-22s %s\n", name,
           json_is_integer(value) ? sella_count_text(json_integer_value(value), text, sizeof text)
                                  : "-");
}

static void show_estimate(const json_t *object)
{
    const json_t *parameters = json_object_get(object, "parameters");
    const json_t *seconds = json_object_get(object, "seconds");
    const json_t *memory = json_object_get(object, "peak_mb"),
                 *cache = json_object_get(object, "cache_mb");
    printf("%-22s %s\n", "method", json_string_value(json_object_get(object, "method")));
    if (json_object_get(object, "seeds") != NULL) {
        printf("%-22s %zu (rows, tokens and steps are those of one, seconds of all)\n", "runs",
               json_array_size(json_object_get(object, "seeds")));
    }
    print_count("train rows", json_object_get(object, "rows"));
    print_count("tokens", json_object_get(object, "tokens"));
    print_count("steps", json_object_get(object, "steps"));
    print_count("trainable parameters", json_object_get(parameters, "trainable"));
    print_count("frozen parameters", json_object_get(parameters, "frozen"));
    if (json_is_number(seconds)) {
        printf("%-22s %.0f\n", "estimated seconds", json_number_value(seconds));
    }
    if (json_is_number(memory)) {
        printf("%-22s %.0f\n", "estimated peak MB", json_number_value(memory));
    }
    if (json_number_value(cache) > 0) {
        printf("%-22s %.1f\n", "hidden states, disk MB", json_number_value(cache));
    }
    printf("\nsettings\n");
    sella_show_scalars(json_object_get(object, "settings"), 2);
}

static sella_status print_result(const char *json, bool as_json,
                                 const sella_training_args *training, sella_err *err)
{
    json_t *object = NULL;
    if (as_json) {
        puts(json);
        return SELLA_OK;
    }
    sella_status status = sella_show_parse(json, &object, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (training->options.dry_run) {
        show_estimate(object);
    } else if (training->seeds > 0) {
        sella_show_seeds(object, false);
    } else {
        sella_show_figures(object, true);
    }
    json_decref(object);
    return SELLA_OK;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_training_args training;
    char *json = NULL;
    SELLA_TRY(sella_training_take(args, cli, &training, err));
    training.options.resume = sella_args_flag(args, "resume");
    training.options.init_from = sella_args_text(args, "init-from");
    SELLA_TRY(training.seeds > 0 ? sella_train_seeds(&training.options, training.seed_n,
                                                     training.seeds, &cli->talk, &json, err)
                                 : sella_train(&training.options, &cli->talk, &json, err));
    SELLA_TRY(print_result(json, cli->json, &training, err));
done:
    sella_training_release(&training);
    free(json);
    return status;
}

const sella_command sella_cmd_train = {
    .computes = true,
    .name = "train",
    .usage = "METHOD DATASET -o RUN",
    .help = "Train a method on a data set.",
    .details = "DATASET is a folder made by 'sella import'. Settings come from the table below, "
               "then the preset, the\n"
               "config file, and --set, each winning over those before; the result is kept in "
               "RUN/run.json. Ctrl-C\n"
               "leaves a checkpoint; --resume goes on from it, with the same result as without the "
               "break. With --seeds\n"
               "RUN holds a run for each seed, and summary.json; --resume keeps those that are "
               "complete.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 2,
    .stoppable = true,
    .more_help = more_help,
    .run = run,
};
