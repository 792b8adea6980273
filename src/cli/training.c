/* training.c - reading of the options that training commands share (cli/training.h). */
#include "cli/training.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"

enum { SEEDS_MAX = 1000 };

sella_status sella_seeds_take(const char *text, uint64_t **seed_n, int *count, sella_err *err)
{
    *count = 0;
    *seed_n = sella_alloc(SEEDS_MAX, sizeof **seed_n, "seeds", err);
    if (*seed_n == NULL) {
        return SELLA_MEMORY;
    }
    for (const char *at = text;; at++) {
        const size_t bytes = strcspn(at, ",");
        int64_t seed = 0;
        if (sella_parse_int(at, bytes, 0, 4294967295, "seed", &seed, NULL) != SELLA_OK) {
            return sella_err_set(
                err, SELLA_ARG,
                "--seeds '%.100s': expected whole numbers between commas, such as 0,1,2", text);
        }
        if (*count == SEEDS_MAX) {
            return sella_err_set(err, SELLA_ARG, "--seeds: more than %d seeds", SEEDS_MAX);
        }
        (*seed_n)[(*count)++] = (uint64_t)seed;
        at += bytes;
        if (*at == '\0') {
            return SELLA_OK;
        }
    }
}

sella_status sella_training_take(const sella_args *args, const sella_cli *cli,
                                 sella_training_args *out, sella_err *err)
{
    *out = (sella_training_args){0};
    const int set_count = sella_args_count(args, "set");
    const bool dry_run = sella_args_flag(args, "dry-run");
    const char *output = sella_args_text(args, "output"), *seeds = sella_args_text(args, "seeds");
    if ((output == NULL || output[0] == '\0') && !dry_run) {
        return sella_err_set(err, SELLA_ARG, "where to? expected: -o %s",
                             strcmp(args->command->name, "train") == 0 ? "RUN" : "DIR");
    }
    if (seeds != NULL && sella_args_given(args, "seed")) {
        return sella_err_set(err, SELLA_ARG, "--seed and --seeds exclude each other");
    }
    out->set = sella_alloc((size_t)set_count, sizeof *out->set, "settings", err);
    if (out->set == NULL) {
        return SELLA_MEMORY;
    }
    sella_args_list(args, "set", out->set, set_count);
    out->options = (sella_train_options){
        .method = args->positional[0],
        .dataset = args->positional[1],
        .run = output,
        .model = sella_args_text(args, "model"),
        .weights = sella_args_text(args, "weights"),
        .preset = sella_args_given(args, "preset") ? sella_args_text(args, "preset") : NULL,
        .config = sella_args_text(args, "config"),
        .set = out->set,
        .set_count = set_count,
        .from = sella_args_text(args, "from"),
        .seed = (uint64_t)sella_args_int(args, "seed"),
        .seed_given = sella_args_given(args, "seed"),
        .threads = cli->threads,
        .dry_run = dry_run};
    return seeds != NULL ? sella_seeds_take(seeds, &out->seed_n, &out->seeds, err) : SELLA_OK;
}

void sella_training_release(sella_training_args *training)
{
    free(training->set);
    free(training->seed_n);
}
