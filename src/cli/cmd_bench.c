/* cmd_bench.c - sella bench: how fast this machine runs the engine, beside the sgemm roof of the same run. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "sella/bench.h"

static const sella_option option[] = {
    {"model", 0, SELLA_TYPE_TEXT, "MODEL", "(gemm: the shapes of a 135M Llama)", 0, 0, NULL, "",
     "Hugging Face folder or GGUF file; score and train need it, gemm takes its shapes.", false},
    {"tokens", 0, SELLA_TYPE_INT, "N", "1024", 16, 1048576, NULL, "tokens", "Packed tokens of one pass or step.", false},
    {"runs", 0, SELLA_TYPE_INT, "N", "5", 1, 10000, NULL, "", "Measurements of each kind; best and median are told.", false},
    {"lora-rank", 0, SELLA_TYPE_INT, "R", "8", 1, 4096, NULL, "", "train: rank of the adapters.", false},
    {"lora-targets", 0, SELLA_TYPE_TEXT, "LIST", "q_proj,v_proj", 0, 0, NULL, "", "train: matrices with an adapter, or all.", false},
    SELLA_WEIGHTS_OPTION,
};

typedef struct print {
    bool json;
    int lines;
} print;

static void print_json(const sella_measurement *m)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(m->name));
    json_object_set_new(object, "work", json_string(m->work));
    json_object_set_new(object, "seconds", sella_json_real(m->seconds));
    json_object_set_new(object, "rate", sella_json_real(m->rate));
    json_object_set_new(object, "unit", json_string(m->unit));
    json_object_set_new(object, "bound_share", sella_json_real(m->bound_share));
    json_object_set_new(object, "rss_mb", sella_json_real(m->rss_mb));
    json_object_set_new(object, "threads", json_integer(m->threads));
    char *line = sella_json_line(object);
    puts(line != NULL ? line : "");
    free(line);
    json_decref(object);
}

static void each(void *user, const sella_measurement *m)
{
    print *p = user;
    if (p->json) {
        print_json(m);
        return;
    }
    if (p->lines++ == 0) {
        printf("%-5s  %9s  %9s  %-8s  %5s  %7s  %s\n", "bench", "seconds", "rate", "unit", "share", "MB peak", "work");
    }
    printf("%-5s  %9.4f  %9.1f  %-8s  %4.0f%%  %7.0f  %s\n", m->name, m->seconds, m->rate, m->unit, 100.0 * m->bound_share, m->rss_mb, m->work);
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    const sella_bench_options options = {.what = args->positional[0],
                                         .model = sella_args_text(args, "model"),
                                         .weights = sella_args_text(args, "weights"),
                                         .tokens = (int)sella_args_int(args, "tokens"),
                                         .runs = (int)sella_args_int(args, "runs"),
                                         .lora_rank = (int)sella_args_int(args, "lora-rank"),
                                         .lora_targets = sella_args_text(args, "lora-targets"),
                                         .threads = cli->threads,
                                         .talk = &cli->talk};
    print p = {.json = cli->json};
    return sella_bench(&options, each, &p, err);
}

const sella_command sella_cmd_bench = {
    .computes = true,
    .name = "bench",
    .usage = "gemm|score|train",
    .help = "Measure the engine's speed as a share of the matrix products' roof.",
    .details = "gemm   the four matrix products of a decoder layer: the roof of this machine, now\n"
               "score  real tokens a second through the forward pass; share = 2 P tokens/s / roof\n"
               "train  LoRA steps (forward, backward, optimizer); share = 4 P tokens/s / roof\n"
               "P is the number of frozen weights outside the embeddings. The roof is measured in turns with the\n"
               "work. Run it on an idle machine.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
