/* weights.c - the handle of a pretrained decoder: opening, expansion to f32, embedding and head
 * rows (backbone/backbone.h).
 *
 * Easy to get wrong:
 * - llama.cpp's converter interleaves the halves of q's and k's heads (weights and biases) of
 *   architecture llama; Qwen2 and Qwen3 files are not permuted;
 * - Llama 3's rope scaling stands in a GGUF as a tensor of factors: inverse frequency d is divided
 *   by factor d.
 */
#include "backbone/backbone.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "backbone/source.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/memory.h"
#include "kernels/gemm.h"

enum { LOGIT_ROWS = 64 }; /* head rows that are dequantized at a time */

struct sella_backbone {
    sella_source source;
    sella_tokenizer *tokenizer;
    sella_arena *arena;
    sella_layer *layer; /* [layers] */
    const float *norm;  /* [C] */
    double *inv;        /* [D/2] */
    const sella_tensor *embedding;
    const sella_tensor *head;
    bool stored;        /* matrices stay in the files */
    size_t bytes;
    int64_t parameters;
    char fingerprint[17];
};

/* ---- a layer's tensors ---- */

/* What stands in one matrix or vector of a layer. */
typedef struct piece {
    int n;
    sella_part part[SELLA_WEIGHT_PARTS];
} piece;

static const piece piece_norm_attention = {1, {SELLA_PART_NORM_ATTENTION}},
                   piece_norm_ffn = {1, {SELLA_PART_NORM_FFN}},
                   piece_qkv = {3, {SELLA_PART_Q, SELLA_PART_K, SELLA_PART_V}},
                   piece_o = {1, {SELLA_PART_O}},
                   piece_gate_up = {2, {SELLA_PART_GATE, SELLA_PART_UP}},
                   piece_down = {1, {SELLA_PART_DOWN}},
                   piece_b_qkv = {3, {SELLA_PART_Q_BIAS, SELLA_PART_K_BIAS, SELLA_PART_V_BIAS}},
                   piece_b_o = {1, {SELLA_PART_O_BIAS}}, piece_norm_q = {1, {SELLA_PART_Q_NORM}},
                   piece_norm_k = {1, {SELLA_PART_K_NORM}}, piece_norm = {1, {SELLA_PART_NORM}};

static bool permuted(const sella_source *source, sella_part part)
{
    return source->permuted && (part == SELLA_PART_Q || part == SELLA_PART_K ||
                                part == SELLA_PART_Q_BIAS || part == SELLA_PART_K_BIAS);
}

/* A piece as it stands in the files; a vector is a matrix of one column. */
static sella_weight stored_weight(const sella_source *source, const piece *p, int layer)
{
    sella_weight w = {.parts = p->n};
    for (int i = 0; i < p->n; i++) {
        int64_t rows, cols;
        sella_part_shape(&source->config, p->part[i], &rows, &cols);
        w.part[i] =
            (sella_weight_part){.tensor = sella_source_find(source, p->part[i], layer),
                                .head = permuted(source, p->part[i]) ? source->config.D : 0};
        w.out += (int)rows;
        w.in = cols ? (int)cols : 1;
    }
    return w;
}

/* ---- sizes ---- */

static size_t piece_values(const sella_backbone_config *c, const piece *p)
{
    size_t values = 0;
    for (int i = 0; i < p->n; i++) {
        int64_t rows, cols;
        sella_part_shape(c, p->part[i], &rows, &cols);
        values += (size_t)rows * (size_t)(cols ? cols : 1);
    }
    return values;
}

static size_t piece_bytes(const sella_backbone_config *c, const piece *p)
{
    return sella_arena_need(piece_values(c, p), sizeof(float));
}

/* Bytes of the arena. */
static size_t weights_bytes(const sella_backbone_config *c, bool stored)
{
    size_t layer = piece_bytes(c, &piece_norm_attention) + piece_bytes(c, &piece_norm_ffn);
    layer += c->qkv_bias ? piece_bytes(c, &piece_b_qkv) : 0;
    layer += c->o_bias ? piece_bytes(c, &piece_b_o) : 0;
    layer += c->qk_norm ? piece_bytes(c, &piece_norm_q) + piece_bytes(c, &piece_norm_k) : 0;
    if (!stored) {
        layer += piece_bytes(c, &piece_qkv) + piece_bytes(c, &piece_o) +
                 piece_bytes(c, &piece_gate_up) + piece_bytes(c, &piece_down);
    }
    return (size_t)c->layers * layer + piece_bytes(c, &piece_norm);
}

static size_t tile_floats(const sella_backbone_config *c)
{
    const int Q = c->H * c->D;
    const size_t each[] = {
        sella_weight_tile_floats(Q + 2 * c->G * c->D, c->C), sella_weight_tile_floats(c->C, Q),
        sella_weight_tile_floats(2 * c->F, c->C), sella_weight_tile_floats(c->C, c->F)};
    size_t most = 0;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        most = each[i] > most ? each[i] : most;
    }
    return most;
}

/* Bytes of the layers' matrices in the files. */
static size_t mapped_bytes(const sella_source *source)
{
    static const sella_part matrix[] = {SELLA_PART_Q,   SELLA_PART_K,    SELLA_PART_V,
                                        SELLA_PART_O,   SELLA_PART_GATE, SELLA_PART_UP,
                                        SELLA_PART_DOWN};
    size_t bytes = 0;
    for (int l = 0; l < source->config.layers; l++) {
        for (size_t i = 0; i < sizeof matrix / sizeof *matrix; i++) {
            bytes += (size_t)sella_source_find(source, matrix[i], l)->bytes;
        }
    }
    return bytes;
}

static sella_backbone_need need_of(const sella_source *source)
{
    const sella_backbone_config *c = &source->config;
    return (sella_backbone_need){.expanded = weights_bytes(c, false),
                                 .stored = weights_bytes(c, true) + mapped_bytes(source) +
                                           sella_arena_need(tile_floats(c), sizeof(float))};
}

static int64_t parameters_of(const sella_backbone_config *c)
{
    size_t layer = 0;
    for (int part = SELLA_PART_NORM_ATTENTION; part < SELLA_PARTS; part++) {
        const piece p = {1, {(sella_part)part}};
        layer += sella_part_wanted(c, (sella_part)part) ? piece_values(c, &p) : 0;
    }
    return (int64_t)(layer * (size_t)c->layers + (size_t)c->C);
}

/* ---- expanded or stored ---- */

static const char *const weights_words[] = {"auto", "expanded", "stored"};

sella_status sella_weights_of(const char *word, sella_weights *out, sella_err *err)
{
    *out = SELLA_WEIGHTS_AUTO;
    for (int i = 0; word && i < 3; i++) {
        if (strcmp(word, weights_words[i]) == 0) {
            *out = (sella_weights)i;
            return SELLA_OK;
        }
    }
    return word ? sella_err_set(err, SELLA_ARG,
                                "weights '%s' are unknown; expected auto, expanded or stored", word)
                : SELLA_OK;
}

const char *sella_weights_word(sella_weights weights)
{
    return weights_words[weights];
}

sella_weights sella_weights_choose(sella_weights asked, const sella_backbone_need *need,
                                   size_t rest, const sella_talk *talk)
{
    const size_t free_bytes = sella_memory_available(), most = free_bytes / 4 * 3;
    const bool fits = need->expanded <= most && rest <= most - need->expanded;
    if (asked != SELLA_WEIGHTS_AUTO) {
        return asked;
    }
    sella_say(talk, SELLA_LEVEL_INFO,
              "weights %s: expanded they take %.2f GiB, as stored %.2f GiB; %.2f GiB can be had",
              fits ? "are expanded" : "stay as stored", (double)need->expanded / 0x1p30,
              (double)need->stored / 0x1p30, (double)free_bytes / 0x1p30);
    return fits ? SELLA_WEIGHTS_EXPANDED : SELLA_WEIGHTS_STORED;
}

size_t sella_weights_bytes(sella_weights weights, const sella_backbone_need *need)
{
    return weights == SELLA_WEIGHTS_STORED ? need->stored : need->expanded;
}

/* Expanded or stored; SELLA_MEMORY when it has no room. */
static sella_status weights_decide(sella_backbone *b, sella_weights asked, const sella_talk *talk,
                                   sella_err *err)
{
    const sella_backbone_config *c = &b->source.config;
    const sella_backbone_need need = need_of(&b->source);
    char what[128];
    const sella_weights chosen = sella_weights_choose(asked, &need, 0, talk);
    b->stored = chosen == SELLA_WEIGHTS_STORED;
    b->bytes = weights_bytes(c, b->stored);
    snprintf(what, sizeof what, "the %s weights of %d layers of width %d",
             b->stored ? "stored" : "expanded", c->layers, c->C);
    return sella_memory_check(sella_weights_bytes(chosen, &need), what, err);
}

/* ---- reading ---- */

/* A piece expanded into the arena. */
static sella_status expand(sella_backbone *b, int layer, const piece *p, const float **out,
                           sella_err *err)
{
    const sella_weight w = stored_weight(&b->source, p, layer);
    float *y = sella_arena_alloc(b->arena, (size_t)w.out * (size_t)w.in, sizeof *y);
    const sella_tensor *fault = sella_weight_read(&w, 0, w.out, y);
    *out = y;
    return fault ? sella_err_set(err, SELLA_FORMAT,
                                 "%s: tensor '%s' holds a value that is not finite", b->source.path,
                                 fault->name)
                 : SELLA_OK;
}

static sella_status matrix(sella_backbone *b, int layer, const piece *p, sella_weight *out,
                           sella_err *err)
{
    *out = stored_weight(&b->source, p, layer);
    return b->stored ? SELLA_OK : expand(b, layer, p, &out->expanded, err);
}

static sella_status layer_read(sella_backbone *b, int l, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_backbone_config *c = &b->source.config;
    sella_layer *layer = &b->layer[l];
    SELLA_TRY(expand(b, l, &piece_norm_attention, &layer->norm_attention, err));
    SELLA_TRY(expand(b, l, &piece_norm_ffn, &layer->norm_ffn, err));
    SELLA_TRY(matrix(b, l, &piece_qkv, &layer->w_qkv, err));
    SELLA_TRY(matrix(b, l, &piece_o, &layer->w_o, err));
    SELLA_TRY(matrix(b, l, &piece_gate_up, &layer->w_gate_up, err));
    SELLA_TRY(matrix(b, l, &piece_down, &layer->w_down, err));
    if (c->qkv_bias) {
        SELLA_TRY(expand(b, l, &piece_b_qkv, &layer->b_qkv, err));
    }
    if (c->o_bias) {
        SELLA_TRY(expand(b, l, &piece_b_o, &layer->b_o, err));
    }
    if (c->qk_norm) {
        SELLA_TRY(expand(b, l, &piece_norm_q, &layer->norm_q, err));
        SELLA_TRY(expand(b, l, &piece_norm_k, &layer->norm_k, err));
    }
done:
    return status;
}

/* ---- rotary frequencies and fingerprint ---- */

static sella_status rope_frequencies(sella_backbone *b, sella_err *err)
{
    const sella_backbone_config *c = &b->source.config;
    const size_t n = (size_t)c->D / 2;
    sella_rope_frequencies(b->inv, c->D, c->rope_theta, &c->rope_scaling);
    const sella_tensor *t =
        b->source.gguf ? sella_source_find_name(&b->source, "rope_freqs.weight") : NULL;
    if (t == NULL) {
        return SELLA_OK;
    }
    if (t->rank != 1 || t->shape[0] != (int64_t)n || t->dtype != SELLA_DTYPE_F32 || !t->readable) {
        return sella_err_set(err, SELLA_SHAPE,
                             "%s: tensor 'rope_freqs.weight' is not %zu values of type F32",
                             b->source.path, n);
    }
    for (size_t i = 0; i < n; i++) {
        float factor;
        memcpy(&factor, (const uint8_t *)t->data + i * sizeof factor, sizeof factor);
        if (!(factor > 0.0f && isfinite(factor))) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "%s: tensor 'rope_freqs.weight' holds %g; expected values > 0",
                                 b->source.path, (double)factor);
        }
        b->inv[i] /= (double)factor;
    }
    return SELLA_OK;
}

static uint64_t fingerprint(const sella_source *source)
{
    const sella_backbone_config *c = &source->config;
    char text[256];
    int n = snprintf(text, sizeof text,
                     "%s %d %d %d %d %d %d %d %.9g %.17g %d %.17g %.17g %.17g %.17g %d %d %d %d",
                     c->family, c->layers, c->C, c->H, c->G, c->D, c->F, c->V, (double)c->rms_eps,
                     c->rope_theta, c->rope_scaling.llama3, c->rope_scaling.factor,
                     c->rope_scaling.low_freq_factor, c->rope_scaling.high_freq_factor,
                     c->rope_scaling.original_context, c->qkv_bias, c->o_bias, c->qk_norm, c->tied);
    uint64_t hash = sella_hash_bytes(text, (size_t)n, 0);
    for (int part = 0; part < SELLA_PARTS; part++) {
        int layers = part < SELLA_PART_NORM_ATTENTION ? 1 : c->layers;
        for (int l = 0; sella_part_wanted(c, (sella_part)part) && l < layers; l++) {
            const sella_tensor *t = sella_source_find(source, (sella_part)part, l);
            hash = sella_hash_bytes(t->data, (size_t)t->bytes, hash);
        }
    }
    return hash;
}

/* ---- opening ---- */

static sella_status tokenizer_open(sella_backbone *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    if (b->source.gguf) {
        SELLA_TRY(sella_tokenizer_open_gguf(b->source.gguf, &b->tokenizer, err));
    } else {
        path = sella_path_join(b->source.path, "tokenizer.json", NULL);
        if (path == NULL) {
            status = sella_err_memory(err, "a path", strlen(b->source.path));
            goto done;
        }
        SELLA_TRY(sella_tokenizer_open_json(path, &b->tokenizer, err));
    }
    if (sella_tokenizer_vocab(b->tokenizer) > b->source.config.V) {
        status = sella_err_set(
            err, SELLA_SHAPE, "%s: the tokenizer has %d ids; the embedding has %d rows",
            b->source.path, sella_tokenizer_vocab(b->tokenizer), b->source.config.V);
    }
done:
    free(path);
    return status;
}

sella_status sella_backbone_open(const char *path, const sella_talk *talk, sella_backbone **out,
                                 sella_err *err)
{
    return sella_backbone_open_as(path, SELLA_WEIGHTS_EXPANDED, talk, out, err);
}

sella_status sella_backbone_open_as(const char *path, sella_weights weights, const sella_talk *talk,
                                    sella_backbone **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = NULL;
    sella_backbone *b = sella_alloc(1, sizeof *b, "a backbone", err);
    if (b == NULL) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_source_open(path, &b->source, err));
    SELLA_TRY(sella_source_check(&b->source, err));
    SELLA_TRY(tokenizer_open(b, err));
    const sella_backbone_config *c = &b->source.config;
    SELLA_TRY(weights_decide(b, weights, talk, err));
    SELLA_TRY(sella_arena_new(b->bytes, "the weights", &b->arena, err));
    b->layer = sella_alloc((size_t)c->layers, sizeof *b->layer, "layers", err);
    b->inv = sella_alloc((size_t)c->D / 2, sizeof *b->inv, "rotary frequencies", err);
    if (b->layer == NULL || b->inv == NULL) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(expand(b, 0, &piece_norm, &b->norm, err));
    sella_progress progress;
    sella_progress_start(&progress, talk, "opening the model", "layers", c->layers, 0);
    for (int l = 0; l < c->layers; l++) {
        SELLA_TRY(layer_read(b, l, err));
        sella_progress_step(&progress, l + 1, NULL);
        if (sella_stop_wanted(talk)) {
            status = sella_err_set(err, SELLA_INTERRUPTED, "%s: opening was interrupted", path);
            goto done;
        }
    }
    sella_progress_end(&progress);
    SELLA_TRY(rope_frequencies(b, err));
    b->embedding = sella_source_find(&b->source, SELLA_PART_EMBEDDING, 0);
    b->head = c->tied ? b->embedding : sella_source_find(&b->source, SELLA_PART_HEAD, 0);
    b->parameters = parameters_of(c);
    snprintf(b->fingerprint, sizeof b->fingerprint, "%016" PRIx64, fingerprint(&b->source));
    *out = b;
    b = NULL;
done:
    sella_backbone_close(b);
    return status;
}

void sella_backbone_close(sella_backbone *backbone)
{
    if (backbone) {
        sella_tokenizer_close(backbone->tokenizer);
        sella_arena_free(backbone->arena);
        sella_source_close(&backbone->source);
        free(backbone->layer);
        free(backbone->inv);
        free(backbone);
    }
}

sella_status sella_backbone_probe(const char *path, sella_backbone_config *config,
                                  sella_backbone_need *need, sella_err *err)
{
    sella_source source = {0};
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_source_open(path, &source, err));
    SELLA_TRY(sella_source_check(&source, err));
    *config = source.config;
    *need = need_of(&source);
done:
    sella_source_close(&source);
    return status;
}

/* ---- getters ---- */

const sella_backbone_config *sella_backbone_shape(const sella_backbone *backbone)
{
    return &backbone->source.config;
}

const sella_tokenizer *sella_backbone_tokenizer(const sella_backbone *backbone)
{
    return backbone->tokenizer;
}

const sella_layer *sella_backbone_layer(const sella_backbone *backbone, int layer)
{
    return &backbone->layer[layer];
}

const float *sella_backbone_norm(const sella_backbone *backbone)
{
    return backbone->norm;
}

const double *sella_backbone_rope(const sella_backbone *backbone)
{
    return backbone->inv;
}

const char *sella_backbone_path(const sella_backbone *backbone)
{
    return backbone->source.path;
}

const char *sella_backbone_fingerprint(const sella_backbone *backbone)
{
    return backbone->fingerprint;
}

size_t sella_backbone_bytes(const sella_backbone *backbone)
{
    return backbone->bytes;
}

bool sella_backbone_stored(const sella_backbone *backbone)
{
    return backbone->stored;
}

size_t sella_backbone_tile(const sella_backbone *backbone)
{
    return backbone->stored ? tile_floats(&backbone->source.config) : 0;
}

int64_t sella_backbone_parameters(const sella_backbone *backbone)
{
    return backbone->parameters;
}

/* ---- rows of the embedding and the head ---- */

static sella_status row_read(const sella_backbone *b, const sella_tensor *t, int64_t row, float *y,
                             sella_err *err)
{
    const size_t C = (size_t)b->source.config.C;
    const uint8_t *from = (const uint8_t *)t->data + (size_t)row * sella_dtype_size(t->dtype, C);
    if (!sella_dequantize(y, from, t->dtype, C)) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: row %lld of tensor '%s' holds a value that is not finite",
                             b->source.path, (long long)row, t->name);
    }
    return SELLA_OK;
}

static sella_status rows_read(const sella_backbone *b, const sella_tensor *t, const int32_t *id_n,
                              int n, float *y, sella_err *err)
{
    for (int i = 0; i < n; i++) {
        if (id_n[i] < 0 || id_n[i] >= b->source.config.V) {
            return sella_err_set(err, SELLA_ARG, "token id %d is not in the vocabulary of %d",
                                 id_n[i], b->source.config.V);
        }
        sella_status status =
            row_read(b, t, id_n[i], y + (size_t)i * (size_t)b->source.config.C, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

sella_status sella_backbone_embed(const sella_backbone *backbone, const int32_t *id_n, int n,
                                  float *y, sella_err *err)
{
    return rows_read(backbone, backbone->embedding, id_n, n, y, err);
}

sella_status sella_backbone_head(const sella_backbone *backbone, const int32_t *id_n, int n,
                                 float *y, sella_err *err)
{
    return rows_read(backbone, backbone->head, id_n, n, y, err);
}

sella_status sella_backbone_logits(const sella_backbone *backbone, const float *hidden,
                                   float *logit_v, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int C = backbone->source.config.C, V = backbone->source.config.V;
    float *rows =
        sella_alloc((size_t)LOGIT_ROWS * (size_t)C, sizeof *rows, "rows of the head", err);
    if (rows == NULL) {
        return SELLA_MEMORY;
    }
    for (int v0 = 0; v0 < V; v0 += LOGIT_ROWS) {
        const int n = V - v0 < LOGIT_ROWS ? V - v0 : LOGIT_ROWS;
        for (int i = 0; i < n; i++) {
            SELLA_TRY(
                row_read(backbone, backbone->head, v0 + i, rows + (size_t)i * (size_t)C, err));
            logit_v[v0 + i] = sella_dot(rows + (size_t)i * (size_t)C, hidden, C);
        }
    }
done:
    free(rows);
    return status;
}
