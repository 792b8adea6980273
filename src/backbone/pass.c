/* pass.c - buffers of a pass and the forward pass over all layers (backbone/pass.h). */
#include "backbone/pass_state.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

/* ---- buffers ---- */

/* Walks over all buffers twice: first counting, then handing out. */
typedef struct carver {
    sella_arena *arena; /* NULL: count only */
    size_t bytes;
} carver;

static void *carve(carver *from, size_t count, size_t size)
{
    if (from->arena) {
        return sella_arena_alloc(from->arena, count, size);
    }
    const size_t need = sella_arena_need(count, size);
    from->bytes = need > SIZE_MAX - from->bytes ? SIZE_MAX : from->bytes + need;
    return NULL;
}

static float *carve_f32(carver *from, size_t rows, int cols)
{
    return carve(from, rows * (size_t)cols, sizeof(float));
}

/* Layers from here on keep what the backward pass needs. */
static int first_kept(const sella_backbone_config *shape, const sella_lora_config *lora,
                      const sella_pass_options *options)
{
    if (!options->backward || (!options->train_soft && !(options->train_lora && lora))) {
        return shape->layers;
    }
    return options->train_soft ? 0 : lora->first_layer;
}

static void carve_adapters(carver *from, const sella_backbone_config *shape,
                           const sella_lora_config *lora, size_t T, sella_layer_state *s)
{
    for (int m = 0; lora && m < SELLA_MATRICES; m++) {
        int out, in;
        if (!(lora->targets & 1u << m)) {
            continue;
        }
        sella_matrix_shape(shape, (sella_matrix)m, &out, &in);
        s->u[m] = carve_f32(from, T, lora->rank);
        s->mask[m] = lora->dropout > 0.0 ? carve(from, T * (((size_t)in + 7) / 8), 1) : NULL;
    }
}

static void carve_state(carver *from, const sella_backbone_config *c, const sella_lora_config *lora,
                        size_t T, bool kept, sella_layer_state *s)
{
    const int Q = c->H * c->D, K = c->G * c->D;
    *s = (sella_layer_state){0};
    s->x = carve_f32(from, T, c->C);
    s->r1 = carve_f32(from, T, 1);
    s->raw = c->qk_norm && kept ? carve_f32(from, T, Q + K) : NULL;
    s->rq = c->qk_norm ? carve_f32(from, T, c->H) : NULL;
    s->rk = c->qk_norm ? carve_f32(from, T, c->G) : NULL;
    s->qkv = carve_f32(from, T, Q + 2 * K);
    s->lse = carve_f32(from, T, c->H);
    s->o = carve_f32(from, T, Q);
    s->x2 = carve_f32(from, T, c->C);
    s->r2 = carve_f32(from, T, 1);
    s->gu = carve_f32(from, T, 2 * c->F);
    carve_adapters(from, c, lora, T, s);
}

static void carve_states(carver *from, const sella_backbone_config *c,
                         const sella_lora_config *lora, size_t T, int keep_from,
                         sella_layer_state *state)
{
    sella_layer_state shared = {0}, own;
    if (keep_from > 0) {
        carve_state(from, c, lora, T, false, &shared);
    }
    for (int l = 0; l < c->layers; l++) {
        own = shared;
        if (l >= keep_from) {
            carve_state(from, c, lora, T, true, &own);
        }
        if (state) {
            state[l] = own;
        }
    }
}

static void carve_backward(carver *from, const sella_backbone_config *c,
                           const sella_pass_options *options, size_t T, sella_pass *p)
{
    const int Q = c->H * c->D, K = c->G * c->D;
    const int wide = 2 * c->F > Q + K ? 2 * c->F : Q + K; // borrowed for q and k, too
    p->d = carve_f32(from, T, c->C);
    p->dx = carve_f32(from, T, c->C);
    p->dh = carve_f32(from, T, c->C);
    p->da = carve_f32(from, T, c->F > c->C ? c->F : c->C);
    p->dgu = carve_f32(from, T, wide);
    p->dqkv = carve_f32(from, T, Q + 2 * K);
    p->draw = c->qk_norm ? carve_f32(from, T, Q + K) : NULL;
    p->dheads = carve_f32(from, T, Q);
    if (options->train_soft) {
        p->live_gu = carve_f32(from, T, wide);
        p->live_x = carve_f32(from, T, c->C);
        p->live_r = carve_f32(from, T, 1);
        p->live_qkv = carve_f32(from, T, Q + 2 * K);
    }
}

/* All buffers of *p, in a fixed order. */
static void carve_pass(carver *from, const sella_backbone_config *c, const sella_lora_config *lora,
                       const sella_pass_options *options, sella_pass *p)
{
    const size_t T = (size_t)options->max_tokens;
    const int Q = c->H * c->D, widest = Q > c->F ? Q : c->F;
    const int rank = lora ? lora->rank : 1;
    /* one segment of all tokens has the longest paths, which is what attention's scratch grows
     * with */
    const int32_t start[2] = {0, options->max_tokens}, parent[1] = {-1}, subtree[1] = {1};
    const sella_attention_shape most = {.T = options->max_tokens,
                                        .S = 1,
                                        .H = c->H,
                                        .G = c->G,
                                        .D = c->D,
                                        .start_s = start,
                                        .parent_s = parent,
                                        .subtree_s = subtree,
                                        .threads = p->threads};
    p->scratch_floats = sella_attention_scratch(&most);
    p->cosine = carve_f32(from, T, c->D / 2);
    p->sine = carve_f32(from, T, c->D / 2);
    p->state = carve(from, (size_t)c->layers, sizeof *p->state);
    carve_states(from, c, lora, T, p->keep_from, p->state);
    p->final = carve_f32(from, T, c->C);
    p->r = carve_f32(from, T, 1);
    p->h = carve_f32(from, T, c->C);
    p->a = carve_f32(from, T, c->F);
    p->q = carve_f32(from, T, Q);
    p->rows = carve_f32(from, T, Q > c->C ? Q : c->C);
    p->adapt = lora ? carve_f32(from, T, widest > c->C ? widest : c->C) : NULL;
    p->du = lora ? carve_f32(from, T, rank) : NULL;
    p->keep = lora && lora->dropout > 0.0 ? carve_f32(from, 256, 8) : NULL;
    p->tile.data = p->tile.floats ? carve_f32(from, p->tile.floats, 1) : NULL;
    p->scratch = carve_f32(from, p->scratch_floats, 1);
    p->position = carve(from, T, sizeof *p->position);
    p->behind_start = carve(from, T + 2, sizeof *p->behind_start);
    p->behind_parent = carve(from, T + 2, sizeof *p->behind_parent);
    p->behind_subtree = carve(from, T + 2, sizeof *p->behind_subtree);
    p->behind_query = carve(from, T, sizeof *p->behind_query);
    p->answer_token = carve(from, T, sizeof *p->answer_token);
    p->answer_place = carve(from, T, sizeof *p->answer_place);
    p->live_token = carve(from, T, sizeof *p->live_token);
    if (p->keep_from < c->layers) {
        carve_backward(from, c, options, T, p);
    }
}

size_t sella_pass_bytes(const sella_backbone_config *shape, const sella_lora_config *lora,
                        const sella_pass_options *options)
{
    sella_pass pass = {.keep_from = first_kept(shape, lora, options), .threads = sella_threads()};
    carver count = {NULL, 0};
    carve_pass(&count, shape, lora, options, &pass);
    return count.bytes;
}

sella_status sella_pass_new(const sella_backbone *backbone, sella_lora *lora,
                            const sella_pass_options *options, sella_pass **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_backbone_config *shape = sella_backbone_shape(backbone);
    const sella_lora_config *config = lora ? sella_lora_settings(lora) : NULL;
    char what[96];
    *out = NULL;
    if (options->max_tokens < 1 || options->max_tokens > 1 << 20) {
        return sella_err_set(err, SELLA_ARG, "a pass over %d tokens; expected 1 to %d",
                             options->max_tokens, 1 << 20);
    }
    sella_pass *p = sella_alloc(1, sizeof *p, "a pass", err);
    if (p == NULL) {
        return SELLA_MEMORY;
    }
    p->backbone = backbone;
    p->shape = shape;
    p->lora = lora;
    p->options = *options;
    p->keep_from = first_kept(shape, config, options);
    p->threads = sella_threads();
    p->tile.floats = sella_backbone_tile(backbone);
    carver count = {NULL, 0};
    carve_pass(&count, shape, config, options, p);
    const size_t bytes = count.bytes;
    snprintf(what, sizeof what, "the activations of %d tokens", options->max_tokens);
    SELLA_TRY(sella_memory_check(bytes, what, err));
    SELLA_TRY(sella_arena_new(bytes, what, &p->arena, err));
    carver from = {p->arena, 0};
    carve_pass(&from, shape, config, options, p);
    sella_rope_table(p->cosine, p->sine, options->max_tokens, shape->D,
                     sella_backbone_rope(backbone));
    if (p->keep) {
        sella_adapt_table(p->keep, config->dropout);
    }
    *out = p;
    p = NULL;
done:
    sella_pass_free(p);
    return status;
}

void sella_pass_free(sella_pass *pass)
{
    if (pass) {
        sella_arena_free(pass->arena);
        free(pass);
    }
}

void sella_pass_profile_into(sella_pass *pass, sella_pass_profile *profile)
{
    pass->profile = profile;
}

void sella_pass_capture_into(sella_pass *pass, const sella_attention_capture *capture)
{
    for (int k = 0; capture && k < capture->K; k++) {
        assert(capture->layer_k[k] >= 0 && capture->layer_k[k] < pass->shape->layers);
    }
    pass->capture = capture;
}

/* ---- the batch ---- */

static sella_status batch_check(const sella_pass *p, const sella_tree_batch *b, sella_err *err)
{
    if (b->T < 1 || b->T > p->options.max_tokens - p->past) {
        return sella_err_set(err, SELLA_ARG, "a batch of %d tokens; this pass holds 1 to %d", b->T,
                             p->options.max_tokens - p->past);
    }
    for (int t = 0; t < b->T; t++) {
        if (b->token_t[t] < 0 || b->token_t[t] >= p->shape->V) {
            return sella_err_set(err, SELLA_ARG, "token id %d is not in the vocabulary of %d",
                                 b->token_t[t], p->shape->V);
        }
        if (b->position_t[t] < 0 || b->position_t[t] >= p->options.max_tokens) {
            return sella_err_set(err, SELLA_ARG,
                                 "token %d of a batch has position %d; this pass holds 0 to %d", t,
                                 b->position_t[t], p->options.max_tokens - 1);
        }
    }
    for (int n = 0; n < b->N; n++) {
        if (b->answer_n[n] < 0 || b->answer_n[n] >= b->T) {
            return sella_err_set(err, SELLA_ARG,
                                 "row %d of a batch has its answer at token %d of %d", n,
                                 b->answer_n[n], b->T);
        }
    }
    assert(b->start_s[0] == 0 && b->start_s[b->S] == b->T);
    return SELLA_OK;
}

/* Distinct answer tokens, ascending; all tokens when the last layer's attention is wanted. */
static void answers_list(sella_pass *p, const sella_tree_batch *b)
{
    int n = 0;
    const bool all = sella_capture_place(p, p->shape->layers - 1) >= 0;
    for (int t = 0; t < b->T; t++) {
        p->answer_place[t] = all ? 0 : -1;
    }
    for (int i = 0; i < b->N; i++) {
        p->answer_place[b->answer_n[i]] = 0;
    }
    for (int t = 0; t < b->T; t++) {
        if (p->answer_place[t] == 0) {
            p->answer_place[t] = n;
            p->answer_token[n++] = t;
        }
    }
    p->answers = (sella_row_list){n, p->answer_token};
}

static sella_status inputs_fill(sella_pass *p, const sella_tree_batch *b, const float *soft,
                                sella_err *err)
{
    const size_t C = (size_t)p->shape->C;
    float *x = p->state[0].x;
    sella_status status = sella_backbone_embed(p->backbone, b->token_t, b->T, x, err);
    for (int m = 0; status == SELLA_OK && m < b->M; m++) {
        memcpy(x + (size_t)b->soft_m[m] * C, soft + (size_t)m * C, C * sizeof *x);
    }
    return status;
}

/* ---- forward ---- */

sella_status sella_pass_fault(const sella_pass *pass, sella_err *err)
{
    return sella_err_set(err, SELLA_FORMAT, "%s: tensor '%s' holds a value that is not finite",
                         sella_backbone_path(pass->backbone), pass->tile.fault->name);
}

size_t sella_kv_floats(const sella_backbone_config *shape)
{
    return (size_t)shape->layers * 2 * (size_t)shape->G * (size_t)shape->D;
}

/* The segments that attention sees: those of the batch, or one of the given tokens and those of the
 * batch below it. */
static void attention_over(sella_pass *p, const sella_tree_batch *b)
{
    const sella_backbone_config *c = p->shape;
    p->attention = (sella_attention_shape){.T = p->past + b->T,
                                           .S = b->S,
                                           .H = c->H,
                                           .G = c->G,
                                           .D = c->D,
                                           .scale = 1.0f / sqrtf((float)c->D),
                                           .start_s = b->start_s,
                                           .parent_s = b->parent_s,
                                           .subtree_s = b->subtree_s,
                                           .threads = p->threads};
    if (p->past == 0) {
        return;
    }
    p->behind_start[0] = 0;
    p->behind_parent[0] = -1;
    p->behind_subtree[0] = b->S + 1;
    for (int s = 0; s < b->S; s++) {
        p->behind_start[s + 1] = b->start_s[s] + p->past;
        p->behind_parent[s + 1] = b->parent_s[s] + 1;
        p->behind_subtree[s + 1] = b->subtree_s[s] + 1;
    }
    p->behind_start[b->S + 1] = p->past + b->T;
    p->attention.S = b->S + 1;
    p->attention.start_s = p->behind_start;
    p->attention.parent_s = p->behind_parent;
    p->attention.subtree_s = p->behind_subtree;
}

/* Check a batch and make it the one of this pass, behind what is given before it. */
static sella_status batch_begin(sella_pass *pass, const sella_tree_batch *batch,
                                const sella_pass_link *link, uint64_t seed, int64_t step,
                                sella_err *err)
{
    pass->batch = NULL;
    pass->link = link;
    pass->past = 0;
    for (int i = 0; link && i < link->givens; i++) {
        pass->past += link->given_n[i].tokens;
    }
    sella_lap_begin(pass, false);
    const sella_status status = batch_check(pass, batch, err);
    if (status != SELLA_OK) {
        return status;
    }
    pass->batch = batch;
    pass->seed = seed;
    pass->step = step;
    attention_over(pass, batch);
    assert(sella_attention_scratch(&pass->attention) <= pass->scratch_floats);
    answers_list(pass, batch);
    return SELLA_OK;
}

/* Layers first .. end-1; behind the last of them the residual stream is written to `out`. */
static sella_status layers_forward(sella_pass *pass, int first, int end, float *out, sella_err *err)
{
    for (int l = first; l < end; l++) {
        sella_layer_forward(pass, l, l + 1 < end ? pass->state[l + 1].x : out);
        if (pass->tile.fault) {
            pass->batch = NULL;
            return sella_pass_fault(pass, err);
        }
    }
    return SELLA_OK;
}

/* The answers' rows behind the final norm. */
static sella_status answers_forward(sella_pass *pass, float *answer, sella_err *err)
{
    const sella_backbone_config *c = pass->shape;
    const sella_tree_batch *batch = pass->batch;
    sella_rmsnorm_forward(pass->h, c->C, pass->r, pass->final, c->C,
                          sella_backbone_norm(pass->backbone), pass->answers.n, c->C, c->rms_eps);
    sella_lap(pass, SELLA_LAP_NORM);
    for (int n = 0; n < batch->N; n++) {
        const float *from = pass->h + (size_t)pass->answer_place[batch->answer_n[n]] * (size_t)c->C;
        for (int i = 0; i < c->C; i++) {
            if (!isfinite(from[i])) {
                pass->batch = NULL;
                return sella_err_set(err, SELLA_DIVERGED,
                                     "the hidden state of row %lld is not finite (%g at place %d)",
                                     (long long)batch->row_n[n], (double)from[i], i);
            }
        }
        memcpy(answer + (size_t)n * (size_t)c->C, from, (size_t)c->C * sizeof *answer);
    }
    sella_lap(pass, SELLA_LAP_REST);
    return SELLA_OK;
}

static sella_status forward(sella_pass *pass, const sella_tree_batch *batch,
                            const sella_pass_link *link, const float *soft, uint64_t seed,
                            int64_t step, float *answer, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(batch_begin(pass, batch, link, seed, step, err));
    assert(soft || batch->M == 0);
    status = inputs_fill(pass, batch, soft, err);
    if (status != SELLA_OK) {
        pass->batch = NULL;
        goto done;
    }
    pass->from = 0;
    sella_lap(pass, SELLA_LAP_EMBEDDING);
    SELLA_TRY(layers_forward(pass, 0, pass->shape->layers, pass->final, err));
    SELLA_TRY(answers_forward(pass, answer, err));
done:
    return status;
}

sella_status sella_pass_forward(sella_pass *pass, const sella_tree_batch *batch, const float *soft,
                                uint64_t seed, int64_t step, float *answer, sella_err *err)
{
    return forward(pass, batch, NULL, soft, seed, step, answer, err);
}

sella_status sella_pass_forward_behind(sella_pass *pass, const sella_tree_batch *batch,
                                       const sella_pass_link *link, const float *soft,
                                       float *answer, sella_err *err)
{
    const sella_status status = forward(pass, batch, link, soft, 0, -1, answer, err);
    pass->batch = NULL; // the states of the given tokens are not here: no backward
    pass->link = NULL;
    return status;
}

sella_status sella_pass_hidden(sella_pass *pass, const sella_tree_batch *batch, int layer, float *x,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    assert(layer > 0 && layer < pass->shape->layers && batch->M == 0);
    SELLA_TRY(batch_begin(pass, batch, NULL, 0, -1, err));
    SELLA_TRY(inputs_fill(pass, batch, NULL, err));
    sella_lap(pass, SELLA_LAP_EMBEDDING);
    SELLA_TRY(layers_forward(pass, 0, layer, x, err));
done:
    pass->batch = NULL;
    return status;
}

sella_status sella_pass_forward_from(sella_pass *pass, const sella_tree_batch *batch, int layer,
                                     const float *x, uint64_t seed, int64_t step, float *answer,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_backbone_config *c = pass->shape;
    assert(layer > 0 && layer < c->layers && batch->M == 0);
    SELLA_TRY(batch_begin(pass, batch, NULL, seed, step, err));
    memcpy(pass->state[layer].x, x, (size_t)batch->T * (size_t)c->C * sizeof *x);
    pass->from = layer;
    sella_lap(pass, SELLA_LAP_EMBEDDING);
    SELLA_TRY(layers_forward(pass, layer, c->layers, pass->final, err));
    SELLA_TRY(answers_forward(pass, answer, err));
done:
    return status;
}
