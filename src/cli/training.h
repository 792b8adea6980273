/* training.h - what the commands that train share: the rows of their option tables and the reading
 * of these.
 *
 * Does:     Put SELLA_TRAINING_OPTIONS into the command's option array; sella_training_take() fills
 *           the library's struct from what was given; release it. The command sets run, resume and
 *           what else is its own.
 * Memory:   texts are borrowed from the arguments; the lists are owned.
 * Threads:  one object per thread.
 */
#ifndef SELLA_CLI_TRAINING_H
#define SELLA_CLI_TRAINING_H

#include "cli/commands.h"
#include "sella/train.h"

#define SELLA_TRAINING_OPTIONS                                                                     \
    {"model",                                                                                      \
     0,                                                                                            \
     SELLA_TYPE_TEXT,                                                                              \
     "MODEL",                                                                                      \
     NULL,                                                                                         \
     0,                                                                                            \
     0,                                                                                            \
     NULL,                                                                                         \
     "",                                                                                           \
     "Language model: a Hugging Face folder or a GGUF file. Needed by methods that have one.",     \
     false},                                                                                       \
        {"preset",                                                                                 \
         0,                                                                                        \
         SELLA_TYPE_WORD,                                                                          \
         "NAME",                                                                                   \
         "default",                                                                                \
         0,                                                                                        \
         0,                                                                                        \
         "paper|default|fast",                                                                     \
         "",                                                                                       \
         "Settings to begin with: the authors' values, ours for a small model on a CPU, or a "     \
         "scorer without a language model.",                                                       \
         false},                                                                                   \
        {"config",                                                                                 \
         0,                                                                                        \
         SELLA_TYPE_TEXT,                                                                          \
         "FILE",                                                                                   \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "",                                                                                       \
         "YAML file of settings, nested or with dotted names.",                                    \
         false},                                                                                   \
        {"set",                                                                                    \
         0,                                                                                        \
         SELLA_TYPE_TEXT,                                                                          \
         "KEY=VALUE",                                                                              \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "",                                                                                       \
         "Change one setting; wins over preset and file.",                                         \
         true},                                                                                    \
        {"from",                                                                                   \
         0,                                                                                        \
         SELLA_TYPE_TEXT,                                                                          \
         "RUN",                                                                                    \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "",                                                                                       \
         "Reuse the finished stages of another run, a tallrec run for the methods behind stage "   \
         "1; they are copied. With --seeds a folder of seeds gives each its own.",                 \
         false},                                                                                   \
        {"seed",                                                                                   \
         0,                                                                                        \
         SELLA_TYPE_INT,                                                                           \
         "N",                                                                                      \
         "0",                                                                                      \
         0,                                                                                        \
         4294967295.0,                                                                             \
         NULL,                                                                                     \
         "",                                                                                       \
         "Seed of every random draw: same seed and threads, same bytes.",                          \
         false},                                                                                   \
        {"seeds",                                                                                  \
         0,                                                                                        \
         SELLA_TYPE_TEXT,                                                                          \
         "LIST",                                                                                   \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "",                                                                                       \
         "Train once with each of these seeds, 0,1,2 say, in folders seed-0, seed-1 ..., and "     \
         "show mean and standard deviation.",                                                      \
         false},                                                                                   \
        {"dry-run",                                                                                \
         0,                                                                                        \
         SELLA_TYPE_BOOL,                                                                          \
         NULL,                                                                                     \
         NULL,                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "",                                                                                       \
         "Show settings, rows, tokens, parameters, estimated time and peak memory, and stop.",     \
         false},                                                                                   \
        SELLA_WEIGHTS_OPTION

typedef struct sella_training_args {
    sella_train_options options; /* set is borrowed from `set` */
    const char **set;
    uint64_t *seed_n; /* [seeds] */
    int seeds;        /* 0: --seeds was not given */
} sella_training_args;

/* Positional arguments: METHOD DATASET; option output: the run (may be missing with --dry-run).
 *                       SELLA_ARG for wrong ones. Release in every case. */
sella_status sella_training_take(const sella_args *args, const sella_cli *cli,
                                 sella_training_args *out, sella_err *err);
void sella_training_release(sella_training_args *training);
/* "0,1,2": 1 to 1,000 whole numbers between commas.
 *
 *   seed_n  out  [count]   free(), in every case
 */
sella_status sella_seeds_take(const char *text, uint64_t **seed_n, int *count, sella_err *err);

#endif
