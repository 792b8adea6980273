/* main.c - the table of commands. Exit status: 0 ok, 1 the run failed, 2 wrong usage. Data on
 * stdout, talk on stderr. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "sella/system.h"

/* A new command is two lines: its declaration in commands.h and its row here, in the order of the
 * help. */
static const sella_command *const table[] = {
    &sella_cmd_import,
    &sella_cmd_stats,
    &sella_cmd_train,
    &sella_cmd_sweep,
    &sella_cmd_eval,
    &sella_cmd_score,
    &sella_cmd_metrics,
    &sella_cmd_compare,
    &sella_cmd_recommend,
    &sella_cmd_explain,
    &sella_cmd_experiment,
    &sella_cmd_report,
    &sella_cmd_serve,
    &sella_cmd_export_feedback,
    &sella_cmd_inspect,
    &sella_cmd_bench,
    &sella_cmd_doctor,
};
enum { COMMANDS = sizeof table / sizeof *table };

static const sella_command *command_by_name(const char *name)
{
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(table[i]->name, name) == 0) {
            return table[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMANDS + 1] = {"help"};
    sella_err err = {0};
    for (int i = 0; i < COMMANDS; i++) {
        names[i + 1] = table[i]->name;
    }
    int near = sella_text_nearest(name, names, COMMANDS + 1);
    sella_err_set(&err, SELLA_ARG,
                  near >= 0 ? "unknown command '%.40s'; did you mean '%s'?"
                            : "unknown command '%.40s'",
                  name, near >= 0 ? names[near] : "");
    fprintf(stderr, "sella: %s\nTry 'sella help'.\n", err.text);
    return 2;
}

static void print_help(FILE *out)
{
    fprintf(out, "Usage: sella COMMAND [arguments] [options]\n\nCommands:\n");
    for (int i = 0; i < COMMANDS; i++) {
        sella_help_entry(out, table[i]->name, table[i]->help);
    }
    sella_help_entry(out, "help [COMMAND]",
                     "Show this list, or a command's arguments and options.");
    fprintf(out, "\n'sella --version' shows the version and what it was built with.\n");
}

static bool wants_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* sella help [COMMAND] */
static int help(int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "sella help: unexpected argument '%s'\nTry 'sella help'.\n", argv[1]);
        return 2;
    }
    const sella_command *command = argc == 1 ? command_by_name(argv[0]) : NULL;
    if (command) {
        sella_command_help(command, stdout);
    } else if (argc == 0 || strcmp(argv[0], "help") == 0 || wants_help(argv[0])) {
        print_help(stdout);
    } else {
        return unknown_command(argv[0]);
    }
    return 0;
}

/* What the failed call said, in at most three lines. */
static int report(const sella_command *command, const sella_err *err)
{
    fprintf(stderr, "sella %s: %s\n", command->name,
            err->text[0] ? err->text : sella_status_text(err->code));
    if (err->code == SELLA_ARG) {
        fprintf(stderr, "Try 'sella %s --help'.\n", command->name);
        return 2;
    }
    return 1;
}

/* libgomp's waiting threads spin for milliseconds before they sleep, which starves whoever shares
 * the processors: with load 10 on 2 cores ten epochs of mf took 9.3 s, against 1.2 s with a short
 * spin. libgomp reads the limit before main, so the program starts itself anew with it; the user's
 * own choice wins. */
static void wait_briefly(char **argv)
{
    if (!getenv("GOMP_SPINCOUNT") && !getenv("OMP_WAIT_POLICY") &&
        setenv("GOMP_SPINCOUNT", "5000", 0) == 0) {
        execv("/proc/self/exe", argv); // where that fails the program just goes on
    }
}

static int run_command(const sella_command *command, int argc, char **argv)
{
    sella_args args;
    sella_err err = {0};
    int result = 0;
    sella_status status = sella_args_parse(command, argc, argv, &args, &err);
    if (status != SELLA_OK) {
        result = report(command, &err);
    } else if (args.want_help) {
        sella_command_help(command, stdout);
    } else {
        sella_terminal terminal;
        sella_cli cli = {.json = sella_args_flag(&args, "json"),
                         .quiet = sella_args_flag(&args, "quiet"),
                         .verbose = sella_args_flag(&args, "verbose")};
        cli.threads =
            sella_args_given(&args, "threads") ? (int)sella_args_int(&args, "threads") : 0;
        sella_terminal_init(&terminal, stderr, cli.quiet, cli.verbose);
        cli.talk = terminal.talk;
        if (command->stoppable) {
            sella_stop_on_signal();
        }
        sella_threads_use(cli.threads);
        status = command->run(&args, &cli, &err);
        sella_terminal_end(&terminal);
        err.code = status;
        result = status == SELLA_OK ? 0 : report(command, &err);
    }
    sella_args_release(&args);
    return result;
}

int main(int argc, char **argv)
{
    int result = 0;
    signal(SIGXFSZ, SIG_IGN); // a file size limit is then an error of write(2), told in a sentence
    if (argc < 2) {
        fputs("sella: no command is given; expected: sella COMMAND [arguments] [options]\nTry "
              "'sella help'.\n",
              stderr);
        return 2;
    }
    const sella_command *command = command_by_name(argv[1]);
    if (command) {
        if (command->computes) {
            wait_briefly(argv);
        }
        result = run_command(command, argc - 2, argv + 2);
    } else if (strcmp(argv[1], "--version") == 0) {
        printf("sella %s, commit %s\nbuilt with %s\n", SELLA_VERSION, SELLA_COMMIT, SELLA_FEATURES);
    } else if (strcmp(argv[1], "help") == 0 || wants_help(argv[1])) {
        result = help(argc - 2, argv + 2);
    } else if (argv[1][0] == '-') {
        sella_err err = {0};
        sella_err_set(&err, SELLA_ARG, "%.40s", argv[1]);
        fprintf(stderr, "sella: a command must come first, not %s\nTry 'sella help'.\n", err.text);
        result = 2;
    } else {
        result = unknown_command(argv[1]);
    }
    /* a full disk must not look like success */
    if ((fflush(stdout) != 0 || ferror(stdout)) && result == 0) {
        fprintf(stderr, "sella: standard output could not be written: %s\n", strerror(errno));
        result = 1;
    }
    return result;
}
