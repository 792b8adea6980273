/* cmd_explain.c - sella explain: what moved the score of one item for one user. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/explain_show.h"
#include "cli/list.h"
#include "cli/show.h"
#include "sella/engine.h"

static const sella_option option[] = {
    SELLA_USER_OPTION,
    {"item", 0, SELLA_TYPE_TEXT, "I", NULL, 0, 0, NULL, "", "Item id, of the run's catalogue.",
     false},
    SELLA_HISTORY_OPTIONS,
    {"without", 0, SELLA_TYPE_TEXT, "TITLE", "(every title that the score reads)", 0, 0, NULL, "",
     "Take out this title of the history (or item id); may be given several times, each is taken "
     "out alone.",
     true},
    {"layers", 0, SELLA_TYPE_TEXT, "LIST", "(the second and the last)", 0, 0, NULL, "",
     "Layers of the language model whose attention is shown, from 1, between commas: 2,30", false},
    {"heads", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "With --json: the answer's attention by head too.", false},
    {"html", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "",
     "Also write a page with the attention maps, for a browser.", false},
    SELLA_MODEL_OPTION,
    SELLA_WEIGHTS_OPTION,
};

/* --layers: numbers between commas. */
static sella_status read_layers(const char *text, int **layer_k, int *layers, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_list list = {0};
    SELLA_TRY(sella_list_cut(text, strlen(text), ',', &list, err));
    if (list.count == 0) {
        SELLA_TRY(sella_err_set(
            err, SELLA_ARG, "--layers is empty; expected numbers between commas, such as 2,30"));
    }
    *layer_k = sella_alloc((size_t)list.count, sizeof **layer_k, "layers", err);
    if (*layer_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int i = 0; i < list.count; i++) {
        int64_t layer = 0;
        if (sella_parse_int(list.text_n[i], strlen(list.text_n[i]), 1, 1000000, "layer", &layer,
                            NULL) != SELLA_OK) {
            SELLA_TRY(sella_err_set(err, SELLA_ARG,
                                    "--layers '%.60s': '%.20s' is not the number of a layer; "
                                    "expected numbers between commas, such as 2,30",
                                    text, list.text_n[i]));
        }
        (*layer_k)[i] = (int)layer;
    }
    *layers = list.count;
done:
    sella_list_release(&list);
    return status;
}

/* What is asked, from the options; *ask and *request borrow from the other arguments, which the
 * caller frees. */
static sella_status read_options(const sella_args *args, sella_request *request,
                                 sella_list *history, sella_explain_options *ask,
                                 const char ***without, int **layer_k, sella_err *err)
{
    const char *liked = sella_args_text(args, "history"), *layers = sella_args_text(args, "layers");
    sella_status status = SELLA_OK;
    if (request->user == NULL && liked == NULL) {
        return sella_err_set(err, SELLA_ARG, "for whom? expected --user, --history, or both");
    }
    if (liked != NULL) {
        SELLA_TRY(sella_list_cut(liked, strlen(liked), ';', history, err));
        request->history = history->text_n;
        request->history_count = history->count;
    }
    ask->without_count = sella_args_count(args, "without");
    if (ask->without_count > 0) {
        *without =
            sella_alloc((size_t)ask->without_count, sizeof **without, "titles to take out", err);
        if (*without == NULL) {
            SELLA_TRY(SELLA_MEMORY);
        }
        sella_args_list(args, "without", *without, ask->without_count);
        ask->without = *without;
    }
    if (layers != NULL) {
        SELLA_TRY(read_layers(layers, layer_k, &ask->layers, err));
        ask->layer_k = *layer_k;
    }
done:
    return status;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    sella_list history = {0};
    const char **without = NULL;
    int *layer_k = NULL;
    char *json = NULL;
    json_t *object = NULL;
    const char *item = sella_args_text(args, "item"), *page = sella_args_text(args, "html");
    sella_request request = {.user = sella_args_text(args, "user"),
                             .history_count = -1,
                             .free_titles = sella_args_flag(args, "free-titles")};
    sella_explain_options ask = {.heads = sella_args_flag(args, "heads")};
    const sella_engine_options open = {.model = sella_args_text(args, "model"),
                                       .threads = cli->threads,
                                       .talk = &cli->talk,
                                       .weights = sella_args_text(args, "weights")};
    if (item == NULL) {
        return sella_err_set(err, SELLA_ARG, "which item? expected --item");
    }
    if (ask.heads && !cli->json) {
        return sella_err_set(err, SELLA_ARG, "--heads goes with --json");
    }
    SELLA_TRY(read_options(args, &request, &history, &ask, &without, &layer_k, err));
    if (page != NULL) {
        SELLA_TRY(sella_write_try(page, err));
    }
    SELLA_TRY(sella_engine_open(args->positional[0], &open, &engine, err));
    SELLA_TRY(sella_engine_explain(engine, &request, item, &ask, &json, err));
    SELLA_TRY(sella_show_parse(json, &object, err));
    if (page != NULL) {
        SELLA_TRY(sella_explain_html(object, page, err));
    }
    if (cli->json) {
        puts(json);
    } else {
        sella_explain_text(object);
    }
done:
    json_decref(object);
    free(json);
    free(without);
    free(layer_k);
    sella_list_release(&history);
    sella_engine_close(engine);
    return status;
}

const sella_command sella_cmd_explain = {
    .computes = true,
    .name = "explain",
    .usage = "RUN --user U --item I",
    .help = "Show what moved a score: its terms, attention, and the score with a title or token "
            "taken out.",
    .details =
        "The score is the one of 'sella score'. A bar to the right of the line speaks for the "
        "item, one to the\n"
        "left against it. 'adds' is the score minus the score without that title or soft token.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .stoppable = true,
    .run = run,
};
