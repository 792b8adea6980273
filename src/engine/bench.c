/* bench.c - sella_bench: options resolved, one bench called, a warning when the machine was not
 * idle (sella/bench.h).
 *
 * Easy to get wrong: the machine's clock moves, so roof and work are measured in turns, and the
 * share compares best with best.
 */
#include "sella/bench.h"

#include "base/log.h"
#include "engine/bench_part.h"
#include "kernels/gemm.h"

#define FOREIGN_LOAD_MAX 0.05

sella_status sella_bench_stop(const sella_bench_options *options, int run, sella_err *err)
{
    if (sella_stop_wanted(options->talk)) {
        return sella_err_set(err, SELLA_INTERRUPTED, "interrupted after %d of %d runs", run,
                             options->runs);
    }
    return SELLA_OK;
}

static sella_status bench_gemm(const sella_bench_options *options, const sella_bench_sink *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_roof roof = {0};
    sella_backbone_config shape = {
        .family = "llama", .layers = 30, .C = 576, .H = 9, .G = 3, .D = 64, .F = 1536, .V = 49152};
    sella_backbone_need need;
    if (options->model != NULL) {
        SELLA_TRY(sella_backbone_probe(options->model, &shape, &need, err));
    }
    SELLA_TRY(sella_roof_init(&roof, &shape, options->tokens, options->runs, err));
    for (int run = 0; run < options->runs; run++) {
        SELLA_TRY(sella_bench_stop(options, run, err));
        sella_roof_measure(&roof, 5);
    }
    sella_roof_tell(&roof, true, out);
done:
    sella_roof_release(&roof);
    return status;
}

typedef struct bench_kind {
    const char *name;
    bool model; /* needs one */
    sella_status (*run)(const sella_bench_options *options, const sella_bench_sink *out,
                        sella_err *err);
} bench_kind;

static const bench_kind kinds[] = {
    {"gemm", false, bench_gemm},
    {"score", true, sella_bench_model_run},
    {"train", true, sella_bench_model_run},
    {"prefix", true, sella_bench_prefix},
    {"cache", true, sella_bench_cache},
    {"collab", false, sella_bench_collab},
    {"tsne", false, sella_bench_tsne},
};

static sella_status resolve(const sella_bench_options *given, sella_bench_options *o,
                            const bench_kind **kind, sella_err *err)
{
    *o = *given;
    *kind = NULL;
    o->tokens = o->tokens == 0 ? 1024 : o->tokens;
    o->runs = o->runs == 0 ? 5 : o->runs;
    o->lora_rank = o->lora_rank == 0 ? 8 : o->lora_rank;
    o->lora_targets = o->lora_targets != NULL ? o->lora_targets : "q_proj,v_proj";
    o->ratings = o->ratings == 0 ? 1000000 : o->ratings;
    o->points = o->points == 0 ? 6500 : o->points;
    for (size_t k = 0; o->what != NULL && k < sizeof kinds / sizeof *kinds; k++) {
        *kind = strcmp(o->what, kinds[k].name) == 0 ? &kinds[k] : *kind;
    }
    if (*kind == NULL) {
        return sella_err_set(
            err, SELLA_ARG,
            "bench '%s' is unknown; expected gemm, score, train, prefix, cache, collab or tsne",
            o->what != NULL ? o->what : "");
    }
    if ((*kind)->model && o->model == NULL) {
        return sella_err_set(err, SELLA_ARG, "bench %s needs a model", o->what);
    }
    if (o->tokens < 16 || o->tokens > 1 << 20 || o->runs < 1 || o->runs > 10000 ||
        o->lora_rank < 1) {
        return sella_err_set(err, SELLA_ARG,
                             "bench of %d tokens, %d runs, rank %d; expected 16 to 1048576 tokens, "
                             "1 to 10000 runs, rank 1 or more",
                             o->tokens, o->runs, o->lora_rank);
    }
    if (o->row_tokens < 0 || o->row_tokens > o->tokens || o->ratings < 2 || o->points < 100) {
        return sella_err_set(err, SELLA_ARG,
                             "bench of rows of %d tokens, %d ratings, %d points; expected at most "
                             "%d tokens a row, 2 ratings, 100 points or more",
                             o->row_tokens, o->ratings, o->points, o->tokens);
    }
    return SELLA_OK;
}

sella_status sella_bench(const sella_bench_options *options,
                         void (*each)(void *user, const sella_measurement *measurement), void *user,
                         sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_bench_options resolved;
    const bench_kind *kind;
    sella_bench_sink out = {.each = each, .user = user, .options = &resolved};
    SELLA_TRY(resolve(options, &resolved, &kind, err));
    SELLA_TRY(sella_blas_check(err));
    sella_threads_set(resolved.threads);
    out.start = sella_load_now();
    SELLA_TRY(kind->run(&resolved, &out, err));
    const double foreign = sella_load_foreign(out.start);
    if (foreign > FOREIGN_LOAD_MAX) {
        sella_say(resolved.talk, SELLA_LEVEL_WARN,
                  "others used %.0f %% of the processors while this was measured: an idle machine "
                  "is faster, and shares may be off",
                  100.0 * foreign);
    }
done:
    return status;
}
