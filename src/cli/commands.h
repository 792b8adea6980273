/* commands.h - the commands of sella, one file cmd_<name>.c each.
 *
 * Does:     To add a command: write cli/cmd_<name>.c with `const sella_command sella_cmd_<name>`,
 *           declare it here, and add its row to the table in main.c. Then tests/cli/<name>_help.sh,
 *           docs/<name>.md.
 */
#ifndef SELLA_CLI_COMMANDS_H
#define SELLA_CLI_COMMANDS_H

#include "cli/options.h"

/* Rows of the option tables of commands that open a run; those that ask for a user; and of every
 * command that runs a language model. */
#define SELLA_MODEL_OPTION                                                                         \
    {                                                                                              \
        "model", 0, SELLA_TYPE_TEXT, "MODEL", "(the one it was trained on)", 0, 0, NULL, "",       \
            "Where the language model is now: a Hugging Face folder or a GGUF file with the "      \
            "recorded fingerprint.",                                                               \
            false                                                                                  \
    }
#define SELLA_USER_OPTION                                                                          \
    {                                                                                              \
        "user", 0, SELLA_TYPE_TEXT, "U", NULL, 0, 0, NULL, "",                                     \
            "User id. One that training never saw is described by --history, or by nothing.",      \
            false                                                                                  \
    }
#define SELLA_HISTORY_OPTIONS                                                                      \
    {"history", 0, SELLA_TYPE_TEXT, "LIST", "(what the run recorded for the user)", 0, 0, NULL,    \
     "", "What the user liked, oldest first: item ids or titles between ';'.", false},             \
        {"free-titles", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",                            \
         "Take titles that the catalogue lacks as text instead of refusing them.", false}
#define SELLA_WEIGHTS_OPTION                                                                       \
    {                                                                                              \
        "weights", 0, SELLA_TYPE_WORD, "HOW", "auto", 0, 0, "auto|expanded|stored", "",            \
            "How the language model's matrices are kept: expanded to f32, or as stored in the "    \
            "mapped file and dequantized at every use, "                                           \
            "which takes less memory and some time. auto: expanded when that fits comfortably.",   \
            false                                                                                  \
    }

extern const sella_command sella_cmd_import;
extern const sella_command sella_cmd_stats;
extern const sella_command sella_cmd_train;
extern const sella_command sella_cmd_sweep;
extern const sella_command sella_cmd_eval;
extern const sella_command sella_cmd_score;
extern const sella_command sella_cmd_metrics;
extern const sella_command sella_cmd_compare;
extern const sella_command sella_cmd_recommend;
extern const sella_command sella_cmd_explain;
extern const sella_command sella_cmd_serve;
extern const sella_command sella_cmd_export_feedback;
extern const sella_command sella_cmd_inspect;
extern const sella_command sella_cmd_experiment;
extern const sella_command sella_cmd_report;
extern const sella_command sella_cmd_bench;
extern const sella_command sella_cmd_doctor;

#endif
