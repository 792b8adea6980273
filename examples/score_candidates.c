/* score_candidates.c - score one user's candidates with a trained run, through libsella's public
 * headers alone.
 *
 *   score_candidates RUN USER ITEM...                     the history that the run recorded for
 *   USER score_candidates RUN --history "TITLE;TITLE" ITEM...  somebody the run has never seen
 *
 * Prints "item<TAB>score" in the order given. Build: cc score_candidates.c $(pkg-config --cflags
 * --libs sella)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sella/engine.h"

enum { HISTORY_MAX = 256 };

static void say(void *user, sella_level level, const char *text)
{
    (void)user;
    if (level >= SELLA_LEVEL_WARN) {
        fprintf(stderr, "%s\n", text);
    }
}

/* Cut "a;b;c" in place; returns the number of parts. */
static int split(char *text, const char **part)
{
    int n = 0;
    for (char *at = text; at != NULL && n < HISTORY_MAX; n++) {
        char *end = strchr(at, ';');
        if (end != NULL) {
            *end++ = '\0';
        }
        part[n] = at;
        at = end;
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        puts("usage: score_candidates RUN USER|--history TITLES ITEM... (nothing to do without a "
             "run)");
        return 77; /* the test runner's word for "skipped" */
    }
    const char *history[HISTORY_MAX];
    sella_request who = {.user = argv[2], .history_count = -1};
    int first = 3;
    if (strcmp(argv[2], "--history") == 0) {
        who = (sella_request){.history = history, .history_count = split(argv[3], history)};
        first = 4;
    }
    const int k = argc - first;
    sella_err err = {0};
    sella_engine *engine = NULL;
    const sella_talk talk = {.line = say};
    const sella_engine_options options = {.talk = &talk};
    double *score = malloc(sizeof *score * (size_t)(k > 0 ? k : 1));
    int failed = score == NULL || sella_engine_open(argv[1], &options, &engine, &err) != SELLA_OK ||
                 sella_engine_score(engine, &who, (const char *const *)(argv + first), k, score,
                                    &err) != SELLA_OK;
    if (failed) {
        fprintf(stderr, "score_candidates: %s\n", err.text);
    }
    for (int i = 0; !failed && i < k; i++) {
        printf("%s\t%.6f\n", argv[first + i], score[i]);
    }
    sella_engine_close(engine);
    free(score);
    return failed;
}
