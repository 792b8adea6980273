/* cmd_train.c - sella train: a method on a data set into a run folder. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "sella/train.h"

static const sella_option option[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "RUN", NULL, 0, 0, NULL, "", "Folder to write: new, empty, or with --resume a run to go on with. Needed but for --dry-run.", false},
    {"model", 0, SELLA_TYPE_TEXT, "MODEL", NULL, 0, 0, NULL, "",
     "Language model: a Hugging Face folder or a GGUF file. Needed by methods that have one.", false},
    {"preset", 0, SELLA_TYPE_WORD, "NAME", "default", 0, 0, "paper|default|fast", "",
     "Settings to begin with: the authors' values, ours for a small model on a CPU, or a scorer without a language model.", false},
    {"config", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "", "YAML file of settings, nested or with dotted names.", false},
    {"set", 0, SELLA_TYPE_TEXT, "KEY=VALUE", NULL, 0, 0, NULL, "", "Change one setting; wins over preset and file.", true},
    {"from", 0, SELLA_TYPE_TEXT, "RUN", NULL, 0, 0, NULL, "", "Reuse the finished stages of another run, a tallrec run for sella; they are copied.", false},
    {"seed", 0, SELLA_TYPE_INT, "N", "0", 0, 4294967295.0, NULL, "", "Seed of every random draw: same seed and threads, same bytes.", false},
    {"resume", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "Go on where an interrupted run stopped, with its recorded settings; start when there is none.", false},
    {"dry-run", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "Show settings, rows, tokens, parameters, estimated time and peak memory, and stop.", false},
    SELLA_WEIGHTS_OPTION,
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
    fprintf(out, "\nSettings (--set KEY=VALUE; a method's presets change some of these defaults):\n");
    for (int i = 0; sella_setting_at(i, &setting); i++) {
        char text[1024];
        entry_text(&setting, text, sizeof text);
        sella_help_entry(out, setting.name, text);
    }
}

static void print_count(const char *name, const json_t *value)
{
    char text[32];
    printf("%-22s %s\n", name, json_is_integer(value) ? sella_show_count(json_integer_value(value), text, sizeof text) : "-");
}

static void show_estimate(const json_t *object)
{
    const json_t *parameters = json_object_get(object, "parameters");
    const json_t *seconds = json_object_get(object, "seconds");
    const json_t *memory = json_object_get(object, "peak_mb");
    printf("%-22s %s\n", "method", json_string_value(json_object_get(object, "method")));
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
    printf("\nsettings\n");
    sella_show_scalars(json_object_get(object, "settings"), 2);
}

static sella_status print_result(const char *json, bool as_json, bool dry_run, sella_err *err)
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
    if (dry_run) {
        show_estimate(object);
    } else {
        sella_show_figures(object, true);
    }
    json_decref(object);
    return SELLA_OK;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    const char **set = NULL;
    const int set_count = sella_args_count(args, "set");
    const bool dry_run = sella_args_flag(args, "dry-run");
    const char *output = sella_args_text(args, "output");
    if ((output == NULL || output[0] == '\0') && !dry_run) {
        return sella_err_set(err, SELLA_ARG, "where to? expected: -o RUN");
    }
    set = sella_alloc((size_t)set_count, sizeof *set, "settings", err);
    if (set == NULL) {
        return SELLA_MEMORY;
    }
    sella_args_list(args, "set", set, set_count);
    const sella_train_options options = {.method = args->positional[0],
                                         .dataset = args->positional[1],
                                         .run = output,
                                         .model = sella_args_text(args, "model"),
                                         .weights = sella_args_text(args, "weights"),
                                         .preset = sella_args_given(args, "preset") ? sella_args_text(args, "preset") : NULL,
                                         .config = sella_args_text(args, "config"),
                                         .set = set,
                                         .set_count = set_count,
                                         .from = sella_args_text(args, "from"),
                                         .seed = (uint64_t)sella_args_int(args, "seed"),
                                         .seed_given = sella_args_given(args, "seed"),
                                         .threads = cli->threads,
                                         .resume = sella_args_flag(args, "resume"),
                                         .dry_run = dry_run};
    SELLA_TRY(sella_train(&options, &cli->talk, &json, err));
    SELLA_TRY(print_result(json, cli->json, dry_run, err));
done:
    free(json);
    free(set);
    return status;
}

const sella_command sella_cmd_train = {
    .computes = true,
    .name = "train",
    .usage = "METHOD DATASET -o RUN",
    .help = "Train a method on a data set.",
    .details = "DATASET is a folder made by 'sella import'. Settings come from the table below, then the preset, the\n"
               "config file, and --set, each winning over those before; the result is kept in RUN/run.json. Ctrl-C\n"
               "leaves a checkpoint; --resume goes on from it, with the same result as without the break.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 2,
    .stoppable = true,
    .more_help = more_help,
    .run = run,
};
