/* cmd_bench.c - sella bench: how fast this machine runs the engine, beside the sgemm roof of the
 * same run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/commands.h"
#include "sella/bench.h"
#include "sella/serve.h"

static const sella_option option[] = {
    {"model", 0, SELLA_TYPE_TEXT, "MODEL", "(gemm: the shapes of a 135M Llama)", 0, 0, NULL, "",
     "Hugging Face folder or GGUF file; score, train, prefix and cache need it, gemm and collab "
     "take its shapes.",
     false},
    {"tokens", 0, SELLA_TYPE_INT, "N", "1024", 16, 1048576, NULL, "tokens",
     "Packed tokens of one pass or step.", false},
    {"runs", 0, SELLA_TYPE_INT, "N", "5", 1, 10000, NULL, "",
     "Measurements of each kind; best and median are told.", false},
    {"lora-rank", 0, SELLA_TYPE_INT, "R", "8", 1, 4096, NULL, "",
     "train, prefix, cache: rank of the adapters.", false},
    {"lora-targets", 0, SELLA_TYPE_TEXT, "LIST", "q_proj,v_proj", 0, 0, NULL, "",
     "train, prefix, cache: matrices with an adapter, or all.", false},
    SELLA_WEIGHTS_OPTION,
    {"row-tokens", 0, SELLA_TYPE_INT, "N", "(105 to 169; cache: 256)", 1, 1048576, NULL, "tokens",
     "score, train: tokens of every row; cache: of every tree.", false},
    {"first-layer", 0, SELLA_TYPE_INT, "K", "(two thirds of the layers)", 1, 100000, NULL, "",
     "cache: the lowest layer with an adapter.", false},
    {"profile", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "score, train: tell where the time goes, too.", false},
    {"data", 0, SELLA_TYPE_TEXT, "DATASET", "(made-up users)", 0, 0, NULL, "",
     "prefix: measure rows of this data set's train split, as `train tallrec` renders them.",
     false},
    {"url", 0, SELLA_TYPE_TEXT, "URL", "http://127.0.0.1:8080", 0, 0, NULL, "",
     "serve: the running server, plain HTTP.", false},
    {"path", 0, SELLA_TYPE_TEXT, "PATH", "/health", 0, 0, NULL, "", "serve: what to ask.", false},
    {"body", 0, SELLA_TYPE_TEXT, "JSON", "(a GET)", 0, 0, NULL, "", "serve: what to POST.", false},
    {"candidates", 0, SELLA_TYPE_INT, "N", "(PATH and JSON)", 1, 200, NULL, "items",
     "serve: score fresh sets of N items for --user, whose prefix is warm.", false},
    {"user", 0, SELLA_TYPE_TEXT, "USER", NULL, 0, 0, NULL, "",
     "serve: with --candidates, a user with a history.", false},
    {"api-key-file", 0, SELLA_TYPE_TEXT, "FILE", NULL, 0, 0, NULL, "", "serve: the server's key.",
     false},
    {"connections", 0, SELLA_TYPE_INT, "N", "1", 1, 10000, NULL, "",
     "serve: connections kept open.", false},
    {"seconds", 0, SELLA_TYPE_REAL, "S", "10", 0.01, 86400, NULL, "seconds",
     "serve: time of the load.", false},
    {"rate", 0, SELLA_TYPE_REAL, "R", "(closed loop)", 0.001, 10000000, NULL, "requests/s",
     "serve: requests due at this rate, whether the server keeps up or not; latency counts from "
     "when they were due.",
     false},
    {"ratings", 0, SELLA_TYPE_INT, "N", "1000000", 2, 100000000, NULL, "rows",
     "collab: ratings drawn.", false},
    {"points", 0, SELLA_TYPE_INT, "N", "6500", 100, 1e7, NULL, "points", "tsne: points drawn.",
     false},
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
    json_object_set_new(object, "cpu_seconds", sella_json_real(m->cpu_seconds));
    json_object_set_new(object, "foreign_load", sella_json_real(m->foreign_load));
    if (!isnan(m->answer)) {
        json_object_set_new(object, "answer", sella_json_real(m->answer));
    }
    if (!isnan(m->speed_up)) {
        if (!isnan(m->work_ratio)) {
            json_object_set_new(object, "work_ratio", sella_json_real(m->work_ratio));
            json_object_set_new(object, "disk_mb", sella_json_real(m->disk_mb));
        } else {
            json_object_set_new(object, "token_ratio", sella_json_real(m->token_ratio));
        }
        json_object_set_new(object, "speed_up", sella_json_real(m->speed_up));
        json_object_set_new(object, "share", sella_json_real(m->share));
        json_object_set_new(object, "difference", sella_json_real(m->difference));
    }
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
        printf("%-6s  %9s  %9s  %10s  %-9s  %5s  %7s  %s\n", "bench", "seconds", "cpu", "rate",
               "unit", "share", "MB peak", "work");
    }
    char cpu[32] = "-", share[32] = "-";
    if (!isnan(m->cpu_seconds)) {
        snprintf(cpu, sizeof cpu, "%.4f", m->cpu_seconds);
    }
    if (!isnan(m->bound_share)) {
        snprintf(share, sizeof share, "%.0f%%", 100.0 * m->bound_share);
    }
    printf("%-6s  %9.4f  %9s  %10.1f  %-9s  %5s  %7.0f  %s", m->name, m->seconds, cpu, m->rate,
           m->unit, share, m->rss_mb, m->work);
    if (!isnan(m->token_ratio)) {
        printf("; %.2f times fewer tokens, %.2f times faster: %.0f%%; results differ by %.1e",
               m->token_ratio, m->speed_up, 100.0 * m->share, m->difference);
    }
    if (!isnan(m->work_ratio)) {
        printf("; %.2f times less work, %.2f times faster: %.0f%%; gradients differ by %.1e; %.2f "
               "MB on disk",
               m->work_ratio, m->speed_up, 100.0 * m->share, m->difference, m->disk_mb);
    }
    putchar('\n');
}

static void print_serve_json(const sella_serve_figures *f, const char *work)
{
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:o, s:s, s:n, s:n, s:i, s:I, s:I}", "name", "serve", "work",
                  work, "seconds", sella_json_real(f->seconds), "rate", sella_json_real(f->rate),
                  "unit", "requests/s", "bound_share", "rss_mb", "threads", 1, "requests",
                  (json_int_t)f->requests, "errors", (json_int_t)f->errors);
    json_object_set_new(object, "p50_ms", sella_json_real(f->p50_ms));
    json_object_set_new(object, "p90_ms", sella_json_real(f->p90_ms));
    json_object_set_new(object, "p99_ms", sella_json_real(f->p99_ms));
    json_object_set_new(object, "p999_ms", sella_json_real(f->p999_ms));
    json_object_set_new(object, "max_ms", sella_json_real(f->max_ms));
    json_object_set_new(object, "service_p50_ms", sella_json_real(f->service_p50_ms));
    json_object_set_new(object, "service_p99_ms", sella_json_real(f->service_p99_ms));
    if (f->titles > 0) {
        json_object_set_new(object, "titles", json_integer(f->titles));
        json_object_set_new(object, "warm_ms", sella_json_real(f->warm_ms));
    }
    char *line = sella_json_line(object);
    puts(line != NULL ? line : "");
    free(line);
    json_decref(object);
}

/* What was asked, in words. */
static void describe(const sella_serve_bench_options *o, const sella_serve_figures *f, char *out,
                     size_t room)
{
    int n = o->candidates > 0
                ? snprintf(out, room, "%d candidates, prefix of %d titles warm, ", o->candidates,
                           f->titles)
                : snprintf(out, room, "%s %.100s, ", o->body != NULL ? "POST" : "GET", o->path);
    n += snprintf(out + n, room - (size_t)n, "%d connection%s, ", o->connections,
                  o->connections == 1 ? "" : "s");
    if (o->rate > 0) {
        snprintf(out + n, room - (size_t)n, "open loop at %g a second", o->rate);
    } else {
        snprintf(out + n, room - (size_t)n, "closed loop");
    }
}

/* A load on a running server. */
static sella_status run_serve(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_serve_figures f;
    char work[256];
    const sella_serve_bench_options options = {
        .url = sella_args_text(args, "url"),
        .path = sella_args_text(args, "path"),
        .body = sella_args_text(args, "body"),
        .api_key_file = sella_args_text(args, "api-key-file"),
        .connections = (int)sella_args_int(args, "connections"),
        .seconds = sella_args_real(args, "seconds"),
        .rate = sella_args_given(args, "rate") ? sella_args_real(args, "rate") : 0,
        .talk = &cli->talk,
        .candidates =
            sella_args_given(args, "candidates") ? (int)sella_args_int(args, "candidates") : 0,
        .user = sella_args_text(args, "user")};
    if (options.candidates > 0 &&
        (sella_args_given(args, "path") || sella_args_given(args, "body"))) {
        return sella_err_set(err, SELLA_ARG, "--candidates asks /v1/score: --%s has no place",
                             sella_args_given(args, "path") ? "path" : "body");
    }
    if ((options.candidates > 0) != (options.user != NULL)) {
        return sella_err_set(err, SELLA_ARG, "--candidates and --user go together");
    }
    sella_status status = sella_serve_bench(&options, &f, err);
    if (status != SELLA_OK) {
        return status;
    }
    describe(&options, &f, work, sizeof work);
    if (cli->json) {
        print_serve_json(&f, work);
        return SELLA_OK;
    }
    printf("%s\n%lld answers in %.2f s, %.1f a second; %lld errors\n", work, (long long)f.requests,
           f.seconds, f.rate, (long long)f.errors);
    printf("latency ms   p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f\n", f.p50_ms, f.p90_ms,
           f.p99_ms, f.p999_ms, f.max_ms);
    if (options.rate > 0) {
        printf("from sending p50 %.3f  p99 %.3f\n", f.service_p50_ms, f.service_p99_ms);
    }
    if (options.candidates > 0) {
        printf("first answer %.3f (it warms the prefix)\n", f.warm_ms);
    }
    return SELLA_OK;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    const sella_bench_options options = {
        .what = args->positional[0],
        .model = sella_args_text(args, "model"),
        .weights = sella_args_text(args, "weights"),
        .tokens = (int)sella_args_int(args, "tokens"),
        .runs = (int)sella_args_int(args, "runs"),
        .lora_rank = (int)sella_args_int(args, "lora-rank"),
        .lora_targets = sella_args_text(args, "lora-targets"),
        .row_tokens =
            sella_args_given(args, "row-tokens") ? (int)sella_args_int(args, "row-tokens") : 0,
        .profile = sella_args_flag(args, "profile"),
        .data = sella_args_given(args, "data") ? sella_args_text(args, "data") : NULL,
        .ratings = (int)sella_args_int(args, "ratings"),
        .points = (int)sella_args_int(args, "points"),
        .first_layer =
            sella_args_given(args, "first-layer") ? (int)sella_args_int(args, "first-layer") : 0,
        .threads = cli->threads,
        .talk = &cli->talk};
    if (strcmp(options.what, "serve") == 0) {
        return run_serve(args, cli, err);
    }
    print p = {.json = cli->json};
    return sella_bench(&options, each, &p, err);
}

const sella_command sella_cmd_bench = {
    .computes = true,
    .name = "bench",
    .usage = "gemm|score|train|prefix|cache|collab|tsne|serve",
    .help = "Measure the engine's speed as a share of the matrix products' roof.",
    .details =
        "gemm    the four matrix products of a decoder layer: the roof of this machine, now\n"
        "score   real tokens a second through the forward pass; share = 2 P tokens/s / roof\n"
        "train   LoRA steps (forward, backward, optimizer); share = 4 P tokens/s / roof\n"
        "prefix  rows that share a prefix, in trees against one by one, scored and trained: how "
        "many tokens\n"
        "        are saved, how much of that turns into time, by how much the results differ\n"
        "cache   LoRA steps with frozen lower layers: their hidden states written to disk (epoch "
        "1),\n"
        "        computed again, and read; share = FLOP of the layers that run / seconds / roof\n"
        "collab  epochs of matrix factorisation (method mf, 64 wide) on made-up ratings\n"
        "tsne    t-SNE of made-up points, 64 wide, 1,000 steps; has no share\n"
        "serve   answers of a running server to one request, or to sets of candidates, in a closed "
        "or an open\n"
        "        loop\n"
        "P is the number of frozen weights outside the embeddings. The roof is measured in turns "
        "with the\n"
        "work. Run it on an idle machine.\n",
    .option = option,
    .option_count = sizeof option / sizeof *option,
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
