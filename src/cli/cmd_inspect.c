/* cmd_inspect.c - sella inspect: what is in a file, run, data set or model; a row's prompt; a text
 * through a model. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/show.h"
#include "sella/engine.h"
#include "sella/model.h"

static const sella_option option[] = {
    {"split", 0, SELLA_TYPE_WORD, "PART", "test", 0, 0, "train|valid|test", "",
     "prompt: part that holds the row.", false},
    {"row", 0, SELLA_TYPE_INT, "K", "0", 0, 1e15, NULL, "", "prompt: row of that part, from 0.",
     false},
    {"data", 0, SELLA_TYPE_TEXT, "DATASET", "(the one it was trained on)", 0, 0, NULL, "",
     "prompt: data set that holds the row.", false},
    {"model", 0, SELLA_TYPE_TEXT, "MODEL", "(the one it was trained on)", 0, 0, NULL, "",
     "prompt: where the language model is now, with the recorded fingerprint.", false},
    {"text", 0, SELLA_TYPE_TEXT, "TEXT", NULL, 0, 0, NULL, "",
     "MODEL: run this text, and show its tokens, the ten likeliest next ones and the last hidden "
     "state. No special tokens are added.",
     false},
    {"logits-of", 0, SELLA_TYPE_TEXT, "LIST", NULL, 0, 0, NULL, "",
     "MODEL --text: the logits of these texts' first tokens too, between commas.", false},
    SELLA_WEIGHTS_OPTION,
};

static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

static void shape_text(const json_t *shape, char *out, size_t room)
{
    size_t i, used = 0;
    json_t *n;
    out[0] = '\0';
    json_array_foreach(shape, i, n) {
        const int wrote = snprintf(out + used, room - used, "%s%lld", i > 0 ? " x " : "",
                                   (long long)json_integer_value(n));
        used += wrote > 0 && (size_t)wrote < room - used ? (size_t)wrote : 0;
    }
}

static void show_tensors(const json_t *list)
{
    size_t i;
    json_t *tensor;
    if (json_array_size(list) > 0) {
        printf("\n%-6s  %-18s  tensor\n", "type", "shape");
    }
    json_array_foreach(list, i, tensor) {
        char shape[96];
        shape_text(json_object_get(tensor, "shape"), shape, sizeof shape);
        printf("%-6s  %-18s  ", word(tensor, "type"), shape);
        sella_show_text(word(tensor, "name"));
        putchar('\n');
    }
}

/* A named object of scalars under its own line; nothing when it is absent or empty. */
static void show_part(const json_t *object, const char *key, const char *title)
{
    const json_t *part = json_object_get(object, key);
    if (json_is_object(part) && json_object_size(part) > 0) {
        printf("\n%s\n", title);
        sella_show_scalars(part, 2);
    }
}

static void show_npy(const json_t *object)
{
    char shape[96];
    size_t i;
    json_t *value;
    shape_text(json_object_get(object, "shape"), shape, sizeof shape);
    printf("shape   %s\nfirst  ", shape);
    json_array_foreach(json_object_get(object, "first"), i, value) {
        if (json_is_integer(value)) {
            printf(" %lld", (long long)json_integer_value(value));
        } else {
            printf(" %.9g", json_number_value(value));
        }
    }
    putchar('\n');
}

/* Table 1 of the paper: components by stages. */
static void show_components(const json_t *object)
{
    const json_t *stages = json_object_get(object, "stages");
    const json_t *components = json_object_get(object, "components");
    size_t i, j;
    json_t *component, *stage;
    if (json_array_size(components) == 0) {
        return;
    }
    printf("\n%-20s  %14s", "component", "parameters");
    json_array_foreach(stages, j, stage) {
        printf(j + 1 < json_array_size(stages) ? "  %-8s" : "  %s", word(stage, "stage"));
    }
    putchar('\n');
    json_array_foreach(components, i, component) {
        const json_t *n = json_object_get(component, "parameters");
        char text[32];
        printf("%-20s  %14s", word(component, "title"),
               json_is_integer(n) ? sella_count_text(json_integer_value(n), text, sizeof text)
                                  : "-");
        json_array_foreach(stages, j, stage) {
            printf(j + 1 < json_array_size(stages) ? "  %-8s" : "  %s",
                   word(json_object_get(component, "stages"), word(stage, "stage")));
        }
        putchar('\n');
    }
}

static void show_run(const json_t *object)
{
    show_part(object, "dataset", "data set");
    show_part(object, "model", "model");
    show_components(object);
    const json_t *result = json_object_get(object, "result");
    if (json_is_object(result)) {
        printf("\nresult: ");
        sella_show_figures(result, true);
    }
    show_part(object, "settings", "settings");
}

static void show(const json_t *object)
{
    const char *kind = word(object, "kind");
    sella_show_scalars(object, 0);
    if (strcmp(kind, "npy") == 0) {
        show_npy(object);
    } else if (strcmp(kind, "run") == 0) {
        show_run(object);
    } else {
        show_part(object, "rows", "rows");
        show_part(object, "dataset.json", "dataset.json");
        show_part(object, "model", "model");
        show_part(object, "config", "adapter_config.json");
        show_part(object, "metadata", "metadata");
        show_tensors(json_object_get(object, "tensors"));
    }
}

static void show_prompt(const json_t *object)
{
    size_t i;
    json_t *slot;
    const json_t *labels = json_object_get(object, "label_ids");
    printf("%s\n\n", word(object, "text"));
    printf("tokens  %zu, the answer is predicted at position %lld\n",
           json_array_size(json_object_get(object, "ids")),
           (long long)json_integer_value(json_object_get(object, "answer_position")));
    json_array_foreach(json_object_get(object, "soft"), i, slot) {
        printf("soft    %s at position %lld\n", word(slot, "slot"),
               (long long)json_integer_value(json_object_get(slot, "position")));
    }
    printf("answers yes = token %lld, no = token %lld\n",
           (long long)json_integer_value(json_object_get(labels, "yes")),
           (long long)json_integer_value(json_object_get(labels, "no")));
    printf("label   %lld\nscore   %.9g\n",
           (long long)json_integer_value(json_object_get(object, "label")),
           json_number_value(json_object_get(object, "score")));
}

static void show_model_text(const json_t *object)
{
    size_t i;
    json_t *entry;
    const char *text;
    printf("%7s  token\n", "id");
    json_array_foreach(json_object_get(object, "ids"), i, entry) {
        printf("%7lld  '", (long long)json_integer_value(entry));
        sella_show_text(json_string_value(json_array_get(json_object_get(object, "tokens"), i)));
        printf("'\n");
    }
    printf("\n%7s  %9s  next token\n", "id", "logit");
    json_array_foreach(json_object_get(object, "top"), i, entry) {
        printf("%7lld  %9.4f  '", (long long)json_integer_value(json_object_get(entry, "id")),
               json_number_value(json_object_get(entry, "logit")));
        sella_show_text(word(entry, "token"));
        printf("'\n");
    }
    json_object_foreach(json_object_get(object, "logits_of"), text, entry) {
        printf("%7s  %9.4f  '", "", json_number_value(entry));
        sella_show_text(text);
        printf("'\n");
    }
}

/* One of the three forms as JSON, and how it is shown to people. */
static sella_status ask(const sella_args *args, const sella_cli *cli, char **json,
                        void (**shown)(const json_t *object), sella_err *err)
{
    const char *text = sella_args_text(args, "text");
    const bool prompt = args->positional_count == 2;
    if (prompt && strcmp(args->positional[0], "prompt") != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "unexpected argument '%s'; expected one PATH, or: prompt RUN",
                             args->positional[1]);
    }
    if (!prompt && strcmp(args->positional[0], "prompt") == 0) {
        return sella_err_set(err, SELLA_ARG,
                             "prompt of which run? expected: sella inspect prompt RUN");
    }
    static const char *const for_prompt[] = {"split", "row", "data", "model"};
    for (size_t i = 0; !prompt && i < sizeof for_prompt / sizeof *for_prompt; i++) {
        if (sella_args_given(args, for_prompt[i])) {
            return sella_err_set(err, SELLA_ARG, "--%s belongs to: sella inspect prompt RUN",
                                 for_prompt[i]);
        }
    }
    if ((prompt && text != NULL) || (text == NULL && sella_args_given(args, "logits-of"))) {
        return sella_err_set(err, SELLA_ARG,
                             "--text and --logits-of belong together, to: sella inspect MODEL");
    }
    if (!prompt && text == NULL && sella_args_given(args, "weights")) {
        return sella_err_set(err, SELLA_ARG,
                             "--weights belongs to --text, and to: sella inspect prompt RUN");
    }
    if (text != NULL) {
        *shown = show_model_text;
        return sella_model_text(args->positional[0], text, sella_args_text(args, "logits-of"),
                                sella_args_text(args, "weights"), &cli->talk, json, err);
    }
    if (!prompt) {
        *shown = show;
        return sella_inspect(args->positional[0], json, err);
    }
    const sella_engine_options open = {.model = sella_args_text(args, "model"),
                                       .threads = cli->threads,
                                       .talk = &cli->talk,
                                       .weights = sella_args_text(args, "weights")};
    sella_engine *engine = NULL;
    const int64_t row = sella_args_int(args, "row");
    *shown = show_prompt;
    sella_status status = sella_engine_check(args->positional[1], sella_args_text(args, "data"),
                                             sella_args_text(args, "split"), &row, err);
    if (status != SELLA_OK) {
        return status;
    }
    status = sella_engine_open(args->positional[1], &open, &engine, err);
    if (status == SELLA_OK) {
        status = sella_engine_prompt(engine, sella_args_text(args, "data"),
                                     sella_args_text(args, "split"), row, json, err);
    }
    sella_engine_close(engine);
    return status;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *json = NULL;
    json_t *object = NULL;
    void (*shown)(const json_t *object) = NULL;
    SELLA_TRY(ask(args, cli, &json, &shown, err));
    if (cli->json) {
        puts(json);
    } else {
        SELLA_TRY(sella_show_parse(json, &object, err));
        shown(object);
    }
done:
    json_decref(object);
    free(json);
    return status;
}

const sella_command sella_cmd_inspect = {
    .computes = true,
    .name = "inspect",
    .usage = "PATH | MODEL --text TEXT | prompt RUN",
    .help = "Show what is in a file, run, data set or model, a row's prompt, or what a model makes "
            "of a text.",
    .details = "PATH may be a safetensors, GGUF or npy file, or the folder of a run, data set, "
               "adapter or Hugging\n"
               "Face model: what it is follows from its contents. A run is shown with every "
               "component, and whether\n"
               "a stage trained it or left it frozen.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 2,
    .run = run,
};
