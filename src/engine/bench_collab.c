/* bench_collab.c - bench collab: epochs of method mf on made-up ratings, through sella_train as any
 * user calls it (engine/bench_part.h).
 *
 * The clock hangs on training's progress: an epoch lasts from the last step of the one before to
 * its own last step, so that shuffling, the optimizer and the loop are in it. The roof is measured
 * between epochs, with the clock stopped. There is no valid split: what is measured is training.
 */
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/dataset_write.h"
#include "engine/bench_part.h"
#include "sella/train.h"

enum {
    USERS = 6040,
    ITEMS = 3706,
    WIDTH = 64,
    TRUE_WIDTH = 4 /* of the vectors that the labels are drawn from */
};

typedef struct collab_bench {
    const sella_bench_options *options;
    sella_roof roof;
    sella_sample *sample_r; /* [runs] */
    sella_sample start;     /* of the present epoch */
    int epochs;             /* done */
} collab_bench;

/* ---- ratings ---- */

static sella_status draft_ids(sella_draft *draft, sella_err *err)
{
    sella_status status = SELLA_OK;
    char text[32];
    int32_t number;
    for (int i = 0; i < ITEMS; i++) {
        const size_t bytes = (size_t)snprintf(text, sizeof text, "item %d", i);
        SELLA_TRY(sella_intern_add(&draft->items, text, bytes, &number, NULL, err));
        SELLA_TRY(sella_draft_title(draft, number, text, bytes, NULL, err));
    }
    for (int u = 0; u < USERS; u++) {
        const size_t bytes = (size_t)snprintf(text, sizeof text, "user %d", u);
        SELLA_TRY(sella_intern_add(&draft->users, text, bytes, &number, NULL, err));
    }
done:
    return status;
}

/* Users and items by chance, label = 1 with probability sigmoid(p_u . q_i). Histories stay empty:
 * mf does not look at them. */
static sella_status draft_ratings(sella_draft *draft, int ratings, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_rng rng = {.seed = 4, .stream = SELLA_STREAM_TEST},
                    normal = {.seed = 5, .stream = SELLA_STREAM_TEST};
    float *vector = sella_alloc((size_t)(USERS + ITEMS) * TRUE_WIDTH, sizeof *vector,
                                "vectors of ratings", err);
    if (vector == NULL) {
        return SELLA_MEMORY;
    }
    for (size_t i = 0; i < (size_t)(USERS + ITEMS) * TRUE_WIDTH; i++) {
        vector[i] = (float)sella_rng_normal(&normal, i);
    }
    draft->split[SELLA_SPLIT_TRAIN].present = true;
    for (int r = 0; r < ratings; r++) {
        uint32_t word[4];
        sella_rng_block(&rng, (uint64_t)r, word);
        const int u = (int)(word[0] % USERS), i = (int)(word[1] % ITEMS);
        double z = 0.0;
        for (int c = 0; c < TRUE_WIDTH; c++) {
            z += (double)vector[u * TRUE_WIDTH + c] * (double)vector[(USERS + i) * TRUE_WIDTH + c];
        }
        const int label = (double)word[2] / 4294967296.0 < 1.0 / (1.0 + exp(-z));
        SELLA_TRY(sella_draft_add_history(draft, SELLA_SPLIT_TRAIN, u, i, label, 0, NULL, 0, err));
    }
done:
    free(vector);
    return status;
}

static sella_status write_ratings(int ratings, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_draft draft = {0};
    const sella_draft_about about = {.noun = "item", .protocol = "made up by sella bench collab"};
    SELLA_TRY(draft_ids(&draft, err));
    SELLA_TRY(draft_ratings(&draft, ratings, err));
    SELLA_TRY(sella_draft_write(&draft, &about, path, NULL, err));
done:
    sella_draft_release(&draft);
    return status;
}

/* ---- epochs ---- */

/* The first epoch warms up; each further one is a run. */
static void on_progress(void *user, const sella_progress_report *report)
{
    collab_bench *b = user;
    const double epoch = report->total / (b->options->runs + 1);
    if (report->finished || report->done < (b->epochs + 1) * epoch - 0.5) {
        return;
    }
    if (b->epochs > 0 && b->epochs <= b->options->runs) {
        b->sample_r[b->epochs - 1] = sella_sample_since(b->start);
    }
    b->epochs++;
    sella_roof_measure(&b->roof, 3);
    b->start = sella_sample_now();
}

static int wants_stop(void *user)
{
    const sella_talk *talk = ((collab_bench *)user)->options->talk;
    return talk != NULL && talk->stop != NULL && talk->stop(talk->user);
}

static sella_status train(collab_bench *b, const char *folder, sella_err *err)
{
    sella_status status = SELLA_OK;
    char epochs[48], width[32], *data = sella_path_join(folder, "data", NULL),
                                *run = sella_path_join(folder, "run", NULL), *json = NULL;
    snprintf(epochs, sizeof epochs, "collab.epochs=%d", b->options->runs + 1);
    snprintf(width, sizeof width, "collab.width=%d", WIDTH);
    const char *const set[] = {epochs, width, "checkpoint.seconds=1000000"};
    const sella_talk talk = {.progress = on_progress, .stop = wants_stop, .user = b};
    const sella_train_options options = {.method = "mf",
                                         .dataset = data,
                                         .run = run,
                                         .set = set,
                                         .set_count = 3,
                                         .threads = b->options->threads};
    if (data == NULL || run == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 64));
    }
    SELLA_TRY(write_ratings(b->options->ratings, data, err));
    SELLA_TRY(sella_train(&options, &talk, &json, err));
    if (b->epochs != b->options->runs + 1) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE, "training told %d epochs; expected %d", b->epochs,
                                b->options->runs + 1));
    }
done:
    free(json);
    free(data);
    free(run);
    return status;
}

sella_status sella_bench_collab(const sella_bench_options *options, const sella_bench_sink *out,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    collab_bench b = {.options = options};
    sella_backbone_config shape = {
        .family = "llama", .layers = 30, .C = 576, .H = 9, .G = 3, .D = 64, .F = 1536, .V = 49152};
    char *folder = NULL, work[128];
    sella_backbone_need need;
    if (options->model != NULL) {
        SELLA_TRY(sella_backbone_probe(options->model, &shape, &need, err));
    }
    b.sample_r = sella_alloc((size_t)options->runs, sizeof *b.sample_r, "the times", err);
    if (b.sample_r == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(sella_roof_init(&b.roof, &shape, options->tokens, options->runs, err));
    SELLA_TRY(sella_bench_folder(&folder, err));
    SELLA_TRY(train(&b, folder, err));
    const double top = sella_roof_rate(&b.roof);
    sella_roof_tell(&b.roof, false, out);
    snprintf(work, sizeof work, "one epoch of mf, %d ratings of %d users on %d items, %d wide",
             options->ratings, USERS, ITEMS, WIDTH);
    for (int which = 0; which < 2; which++) {
        const sella_sample took = sella_sample_pick(b.sample_r, options->runs, which);
        const double rate = options->ratings / took.seconds;
        sella_bench_tell(out, "collab", work, which, took,
                         sella_measurement_new("rows/s", rate, 6.0 * WIDTH * rate / top));
    }
done:
    if (folder != NULL) {
        sella_path_remove(folder, NULL);
    }
    free(folder);
    free(b.sample_r);
    sella_roof_release(&b.roof);
    return status;
}
