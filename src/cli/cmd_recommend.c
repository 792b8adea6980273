/* cmd_recommend.c - sella recommend: the best items for a user, known or not. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/list.h"
#include "cli/show.h"
#include "sella/engine.h"

enum { LINE_LIMIT = 1 << 16 };

static const sella_option option[] = {
    SELLA_USER_OPTION,
    SELLA_HISTORY_OPTIONS,
    {"count", 'k', SELLA_TYPE_INT, "K", "10", 1, 1e6, NULL, "items", "How many to recommend.",
     false},
    {"candidates", 0, SELLA_TYPE_TEXT, "FILE", "(the whole catalogue)", 0, 0, NULL, "",
     "Choose among the item ids in FILE, one a line.", false},
    {"include-seen", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "Do not leave out what is in the history.", false},
    SELLA_MODEL_OPTION,
    SELLA_WEIGHTS_OPTION,
};

static sella_status read_candidates(const char *path, sella_list *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_map map = {0};
    SELLA_TRY(sella_map_open(path, &map, err));
    const char *data = map.size > 0 ? (const char *)map.data : "";
    size_t size = map.size;
    if (size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) { // a byte order mark
        data += 3;
        size -= 3;
    }
    sella_lines lines;
    const char *line;
    size_t bytes;
    sella_lines_init(&lines, path, data, size, LINE_LIMIT);
    do {
        SELLA_TRY(sella_lines_next(&lines, &line, &bytes, err));
        if (line != NULL &&
            (sella_utf8_valid(line, bytes) != bytes || memchr(line, '\0', bytes) != NULL)) {
            SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                    "%s:%lld: not UTF-8 text; expected an item id", path,
                                    (long long)lines.line));
        }
    } while (line != NULL);
    SELLA_TRY(sella_list_cut(data, size, '\n', out, err));
    if (out->count == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s: there are no item ids in it; expected one a line", path));
    }
done:
    sella_map_close(&map);
    return status;
}

static sella_status print_json(const char *user, const sella_recommendation *item_k, int count,
                               sella_err *err)
{
    json_t *object = json_object();
    json_t *items = json_array();
    for (int i = 0; i < count; i++) {
        json_t *entry = json_object();
        json_object_set_new(entry, "item", json_string(item_k[i].item));
        json_object_set_new(entry, "title", json_string(item_k[i].title));
        json_object_set_new(entry, "score", sella_json_real(item_k[i].score));
        json_array_append_new(items, entry);
    }
    json_object_set_new(object, "user", user != NULL ? json_string(user) : json_null());
    json_object_set_new(object, "items", items);
    char *line = sella_json_line(object);
    json_decref(object);
    if (line == NULL) {
        return sella_err_memory(err, "the recommendations", 0);
    }
    puts(line);
    free(line);
    return SELLA_OK;
}

static void print_table(const sella_recommendation *item_k, int count)
{
    int width = 4;
    for (int i = 0; i < count; i++) {
        const int n = (int)strlen(item_k[i].item);
        width = n > width ? n : width;
    }
    width = width > 24 ? 24 : width;
    printf("%4s  %6s  %-*s  title\n", "rank", "score", width, "item");
    for (int i = 0; i < count; i++) {
        printf("%4d  %6.4f  %-*s  ", i + 1, item_k[i].score, width, item_k[i].item);
        sella_show_text(item_k[i].title);
        putchar('\n');
    }
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_engine *engine = NULL;
    sella_list history = {0}, candidates = {0};
    sella_recommendation *item_k = NULL;
    int count = 0;
    const char *liked = sella_args_text(args, "history");
    const char *file = sella_args_text(args, "candidates");
    const int k = (int)sella_args_int(args, "count");
    sella_request request = {.user = sella_args_text(args, "user"),
                             .history_count = -1,
                             .free_titles = sella_args_flag(args, "free-titles")};
    if (request.user == NULL && liked == NULL) {
        return sella_err_set(err, SELLA_ARG, "for whom? expected --user, --history, or both");
    }
    const sella_engine_options open = {.model = sella_args_text(args, "model"),
                                       .threads = cli->threads,
                                       .talk = &cli->talk,
                                       .weights = sella_args_text(args, "weights")};
    if (liked != NULL) {
        SELLA_TRY(sella_list_cut(liked, strlen(liked), ';', &history, err));
        request.history = history.text_n;
        request.history_count = history.count;
    }
    if (file != NULL) {
        SELLA_TRY(read_candidates(file, &candidates, err));
    }
    item_k = sella_alloc((size_t)k, sizeof *item_k, "the recommendations", err);
    if (item_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(sella_engine_open(args->positional[0], &open, &engine, err));
    SELLA_TRY(sella_engine_recommend(engine, &request, file != NULL ? candidates.text_n : NULL,
                                     candidates.count, k, sella_args_flag(args, "include-seen"),
                                     item_k, &count, err));
    if (count == 0) {
        sella_say(&cli->talk, SELLA_LEVEL_WARN,
                  "nothing is left to recommend: every candidate is in the history (--include-seen "
                  "keeps them)");
    }
    if (cli->json) {
        SELLA_TRY(print_json(request.user, item_k, count, err));
    } else {
        print_table(item_k, count);
    }
done:
    free(item_k);
    sella_list_release(&history);
    sella_list_release(&candidates);
    sella_engine_close(engine);
    return status;
}

const sella_command sella_cmd_recommend = {
    .computes = true,
    .name = "recommend",
    .usage = "RUN --user U | --history LIST",
    .help = "Recommend items to a user of the run, or to anyone by what they liked.",
    .details = "Every candidate is scored: the answer is exact. Equal scores keep the catalogue's "
               "order. What is in\n"
               "the history is left out.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .stoppable = true,
    .run = run,
};
