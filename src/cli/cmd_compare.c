/* cmd_compare.c - sella compare: are one file's scores better than another's on the same rows? */
#include <math.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/show.h"
#include "sella/eval.h"

static const sella_option option[] = {
    {"draws", 0, SELLA_TYPE_INT, "N", "1000", 1, 1e6, NULL, "",
     "Bootstrap draws of the users for the intervals.", false},
    {"seed", 0, SELLA_TYPE_INT, "N", "0", 0, 4294967295.0, NULL, "", "Seed of the draws.", false},
};

static void print_row(const char *name, double a, double b, double difference,
                      const sella_interval *ci)
{
    if (isnan(difference)) {
        printf("%-5s %7s  %7s  %8s  %18s  does not exist\n", name, "-", "-", "-", "-");
        return;
    }
    printf("%-5s %7.4f  %7.4f  %+8.4f  %+7.4f to %+7.4f  %s\n", name, a, b, difference, ci->low,
           ci->high,
           ci->low > 0    ? "A is better"
           : ci->high < 0 ? "B is better"
                          : "no difference shown");
}

static void print_comparison(const char *path_a, const char *path_b, const sella_comparison *c)
{
    char rows[32], users[32], draws[32];
    printf("A: ");
    sella_show_text(path_a);
    printf("\nB: ");
    sella_show_text(path_b);
    printf("\n%s rows, %s users, %s draws of the users\n\n",
           sella_count_text(c->rows, rows, sizeof rows),
           sella_count_text(c->users, users, sizeof users),
           sella_count_text(c->draws, draws, sizeof draws));
    printf("%-5s %7s  %7s  %8s  %18s\n", "", "A", "B", "A - B", "95 % interval");
    print_row("AUC", c->auc_a, c->auc_b, c->auc_diff, &c->auc_ci);
    print_row("UAUC", c->uauc_a, c->uauc_b, c->uauc_diff, &c->uauc_ci);
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_comparison comparison;
    char *json = NULL;
    SELLA_TRY(sella_compare_files(args->positional[0], args->positional[1],
                                  (int)sella_args_int(args, "draws"),
                                  (uint64_t)sella_args_int(args, "seed"), &comparison, err));
    if (cli->json) {
        SELLA_TRY(sella_comparison_json(&comparison, &json, err));
        puts(json);
    } else {
        print_comparison(args->positional[0], args->positional[1], &comparison);
    }
done:
    free(json);
    return status;
}

const sella_command sella_cmd_compare = {
    .name = "compare",
    .usage = "A.csv B.csv",
    .help = "Compare two prediction files of the same rows: a paired bootstrap over users.",
    .details =
        "Both files are as for 'sella metrics' and hold the same rows: users, items and labels. "
        "Rows are paired\n"
        "by their place, or by user and item when the order differs and each pair occurs once.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 2,
    .positional_max = 2,
    .run = run,
};
