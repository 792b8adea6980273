/* cmd_metrics.c - sella metrics: figures of a prediction file with bootstrap intervals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/show.h"
#include "sella/eval.h"

static const sella_option option[] = {
    {"draws", 0, SELLA_TYPE_INT, "N", "1000", 0, 1e6, NULL, "",
     "Bootstrap draws of the users for the intervals; 0: no intervals.", false},
    {"seed", 0, SELLA_TYPE_INT, "N", "0", 0, 4294967295.0, NULL, "", "Seed of the draws.", false},
};

/* A figure, or "-" when it does not exist. */
static const char *figure(double value, char *text, size_t room)
{
    if (isnan(value)) {
        snprintf(text, room, "-");
    } else {
        snprintf(text, room, "%.4f", value);
    }
    return text;
}

static void print_row(const char *name, const sella_figures *f)
{
    char a[32], b[32], c[32], rows[32], users[32], skipped[32];
    printf("%-5s %11s  %7s  %7s  %7s  %7s  %8s\n", name,
           sella_count_text(f->rows, rows, sizeof rows), figure(f->auc, a, sizeof a),
           figure(f->uauc, b, sizeof b), sella_count_text(f->uauc_users, users, sizeof users),
           sella_count_text(f->uauc_skipped, skipped, sizeof skipped),
           figure(f->logloss, c, sizeof c));
}

static void print_interval(const char *name, const sella_interval *interval)
{
    if (isnan(interval->low)) {
        printf("%-5s -\n", name);
    } else {
        printf("%-5s %.4f to %.4f\n", name, interval->low, interval->high);
    }
}

static void print_metrics(const sella_metrics *m)
{
    printf("%-5s %11s  %7s  %7s  %7s  %7s  %8s\n", "rows", "count", "AUC", "UAUC", "users",
           "skipped", "logloss");
    print_row("all", &m->all);
    if (m->has_warm) {
        print_row("warm", &m->warm);
        print_row("cold", &m->cold);
    }
    if (m->draws > 0) {
        char draws[32];
        printf("\n95 %% intervals, %s draws of the users:\n",
               sella_count_text(m->draws, draws, sizeof draws));
        print_interval("AUC", &m->auc_ci);
        print_interval("UAUC", &m->uauc_ci);
    }
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_metrics metrics;
    sella_text input = {0};
    char *json = NULL;
    const char *path = args->positional[0];
    const int draws = (int)sella_args_int(args, "draws");
    const uint64_t seed = (uint64_t)sella_args_int(args, "seed");
    if (strcmp(path, "-") == 0) {
        SELLA_TRY(sella_read_stdin(&input, err));
        SELLA_TRY(sella_metrics_csv("standard input", input.data, input.size, draws, seed, &metrics,
                                    err));
    } else {
        SELLA_TRY(sella_metrics_file(path, draws, seed, &metrics, err));
    }
    if (cli->json) {
        SELLA_TRY(sella_metrics_json(&metrics, &json, err));
        puts(json);
    } else {
        print_metrics(&metrics);
    }
done:
    free(json);
    sella_text_release(&input);
    return status;
}

const sella_command sella_cmd_metrics = {
    .name = "metrics",
    .usage = "PREDICTIONS.csv",
    .help = "Compute AUC, UAUC and logloss of a prediction file, with intervals.",
    .details = "PREDICTIONS.csv (- is standard input) has a header with the columns user, item, "
               "label (0 or 1), score\n"
               "and optionally warm (0 or 1), in any order; other columns are ignored. Any program "
               "may have made it.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
