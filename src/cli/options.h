/* options.h - the options of a command: one array that is parsed by, checked by, and printed as
 * help.
 *
 * Does:     A command declares an array of sella_option and a sella_command; main() calls
 *           sella_args_parse, then the command's run function asks for values by name. `--name
 *           value`, `--name=value`, `-n value`; `--` ends options; options and positional arguments
 *           mix freely; `--help` and `-h` anywhere print the help made from the array. The last of
 *           several given values counts, except for repeated options, which keep all. Every command
 *           also knows sella_common_options: --json --quiet --verbose --threads --help.
 * Why ours: glibc's argp was the first choice, but it cannot satisfy the contract: its messages
 *           come from getopt (no nearest known name), it accepts abbreviated long names (a script
 *           would break when an option is added), it prints neither ranges nor defaults from the
 *           array, and exit status and version text are process globals. This file is shorter than
 *           what it would take to bend it.
 * Memory:   values are borrowed from argv and the option arrays; sella_args_release frees the rest.
 * Threads:  one object per thread.
 */
#ifndef SELLA_CLI_OPTIONS_H
#define SELLA_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/settings.h"
#include "sella/talk.h"

typedef struct sella_option {
    const char *name;         /* long name without dashes: "set" */
    char letter;              /* short name or 0; few options have one */
    sella_type type;          /* SELLA_TYPE_BOOL: a switch without a value */
    const char *metavar;      /* "N", "DIR"; NULL for a switch */
    const char *default_text; /* as typed; "(all rows)" only describes; NULL: none */
    double min, max;          /* INT and REAL: inclusive */
    const char *words;        /* WORD: "a|b" */
    const char *unit;         /* "rows" or "" */
    const char *help;         /* one sentence */
    bool repeated;            /* may be given several times, all are kept */
} sella_option;

typedef struct sella_args sella_args;

/* What a run function is told by the common options. */
typedef struct sella_cli {
    bool json;
    bool quiet;
    bool verbose;
    int threads;      /* 0: physical cores */
    sella_talk talk;  /* draws progress on stderr; pass &cli->talk to the library */
} sella_cli;

typedef struct sella_command {
    const char *name;
    const char *usage;           /* after the name: "DATASET -o RUN" */
    const char *help;            /* one line, for the list of commands */
    const char *details;         /* further paragraphs of the help, or NULL; lines end with '\n' */
    const sella_option *option;  /* [option_count] */
    int option_count;
    int positional_min;          /* how many positional arguments it takes */
    int positional_max;
    /* works with several threads: main() bounds how long waiting threads spin */
    bool computes;
    /* its work asks sella_stop_wanted: Ctrl-C leaves a checkpoint instead of killing */
    bool stoppable;
    void (*more_help)(FILE *out); /* further help that comes from other tables, or NULL */
    /* Data on stdout, talk through cli->talk. SELLA_ARG becomes wrong usage (exit 2), any other
     * failure exit 1. */
    sella_status (*run)(const sella_args *args, const sella_cli *cli, sella_err *err);
} sella_command;

struct sella_args {
    const char **positional; /* [positional_count] */
    int positional_count;
    bool want_help;
    const sella_command *command;
    const sella_option **given; /* [given_count], beside its value; NULL value for a switch */
    const char **value;
    int given_count;
};

/* Parse argv [argc] (without program and command name). SELLA_ARG with a sentence that names the
 * nearest known option on wrong usage. With --help nothing else is checked and want_help is set.
 * Release in every case. */
sella_status sella_args_parse(const sella_command *command, int argc, char **argv, sella_args *out,
                              sella_err *err);
void sella_args_release(sella_args *args);

/* Values by option name; assert that the name is in the array with that type. */
bool sella_args_given(const sella_args *args, const char *name);
bool sella_args_flag(const sella_args *args, const char *name);
/* The value or the default; the option must be given or have a typed default. */
int64_t sella_args_int(const sella_args *args, const char *name);
double sella_args_real(const sella_args *args, const char *name);
/* TEXT and WORD: the value, the typed default, or NULL. */
const char *sella_args_text(const sella_args *args, const char *name);
/* Values of a repeated option in order: out [room >= sella_args_count]; returns how many. */
int sella_args_count(const sella_args *args, const char *name);
int sella_args_list(const sella_args *args, const char *name, const char **out, int room);

/* The help of a command, made from its array and the common options. */
void sella_command_help(const sella_command *command, FILE *out);
/* One "  left    text" entry of a help page, wrapped at 100 columns. */
void sella_help_entry(FILE *out, const char *left, const char *text);

#endif
