/* weights.c - the handle of a pretrained decoder: opening, expansion to f32, embedding and head rows (backbone/backbone.h).
 *
 * Easy to get wrong:
 * - llama.cpp's converter stores the rows of q and k (weights and biases) of architecture llama with the two halves of a head
 *   interleaved: file row h D + 2 i + j is Hugging Face row h D + j D/2 + i. Qwen2 and Qwen3 files are not permuted;
 * - Llama 3's rope scaling stands in a GGUF as a tensor of factors: inverse frequency d is divided by factor d.
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
    size_t bytes;
    int64_t parameters;
    char fingerprint[17];
};

/* ---- sizes ---- */

static size_t part_values(const sella_backbone_config *config, sella_part part)
{
    int64_t rows, cols;
    sella_part_shape(config, part, &rows, &cols);
    return (size_t)rows * (size_t)(cols ? cols : 1);
}

/* Values of one layer that are expanded, in `blocks` aligned pieces. */
static size_t layer_bytes(const sella_backbone_config *c)
{
    const size_t wide = (size_t)(c->H + 2 * c->G) * (size_t)c->D, C = (size_t)c->C, f = sizeof(float);
    size_t bytes = 2 * sella_arena_need(C, f) + sella_arena_need(wide * C, f) +
                   sella_arena_need(C * (size_t)c->H * (size_t)c->D, f) + sella_arena_need(2 * (size_t)c->F * C, f) +
                   sella_arena_need(C * (size_t)c->F, f);
    bytes += c->qkv_bias ? sella_arena_need(wide, f) : 0;
    bytes += c->o_bias ? sella_arena_need(C, f) : 0;
    bytes += c->qk_norm ? 2 * sella_arena_need((size_t)c->D, f) : 0;
    return bytes;
}

static size_t weights_bytes(const sella_backbone_config *c)
{
    return (size_t)c->layers * layer_bytes(c) + sella_arena_need((size_t)c->C, sizeof(float));
}

static int64_t parameters_of(const sella_backbone_config *c)
{
    size_t layer = 0;
    for (int part = SELLA_PART_NORM_ATTENTION; part < SELLA_PARTS; part++) {
        layer += sella_part_wanted(c, (sella_part)part) ? part_values(c, (sella_part)part) : 0;
    }
    return (int64_t)(layer * (size_t)c->layers + (size_t)c->C);
}

/* ---- expansion ---- */

/* Hugging Face row of row r of a permuted file. */
static int64_t unpermuted(int64_t r, int D)
{
    int64_t head = r / D, within = r % D;
    return head * D + (within % 2) * (D / 2) + within / 2;
}

/* One tensor to f32 rows at y. */
static sella_status expand(const sella_backbone *b, sella_part part, int layer, float *y, sella_err *err)
{
    const sella_tensor *t = sella_source_find(&b->source, part, layer);
    const bool permuted = b->source.permuted && (part == SELLA_PART_Q || part == SELLA_PART_K ||
                                                 part == SELLA_PART_Q_BIAS || part == SELLA_PART_K_BIAS);
    const int D = b->source.config.D;
    const bool vector = t->rank == 1;
    const int64_t rows = vector && !permuted ? 1 : t->shape[0];
    const size_t cols = (size_t)(vector ? (permuted ? 1 : t->shape[0]) : t->shape[1]);
    const size_t stride = sella_dtype_size(t->dtype, cols);
    bool finite = true;
#pragma omp parallel for schedule(static) reduction(&& : finite) if (t->bytes > 65536)
    for (int64_t r = 0; r < rows; r++) {
        int64_t to = permuted ? unpermuted(r, D) : r;
        finite =
            sella_dequantize(y + (size_t)to * cols, (const uint8_t *)t->data + (size_t)r * stride, t->dtype, cols) &&
            finite;
    }
    if (!finite) {
        return sella_err_set(err, SELLA_FORMAT, "%s: tensor '%s' holds a value that is not finite", b->source.path,
                             t->name);
    }
    return SELLA_OK;
}

/* A block of the arena filled with up to three tensors one after another. */
static sella_status expand_block(sella_backbone *b, int layer, const sella_part *part_n, int n, const float **out,
                                 sella_err *err)
{
    size_t values = 0;
    for (int i = 0; i < n; i++) {
        values += part_values(&b->source.config, part_n[i]);
    }
    float *y = sella_arena_alloc(b->arena, values, sizeof *y);
    *out = y;
    for (int i = 0; i < n; i++) {
        sella_status status = expand(b, part_n[i], layer, y, err);
        if (status != SELLA_OK) {
            return status;
        }
        y += part_values(&b->source.config, part_n[i]);
    }
    return SELLA_OK;
}

static sella_status expand_layer(sella_backbone *b, int l, sella_err *err)
{
    static const sella_part norms[] = {SELLA_PART_NORM_ATTENTION, SELLA_PART_NORM_FFN, SELLA_PART_Q_NORM,
                                       SELLA_PART_K_NORM};
    static const sella_part qkv[] = {SELLA_PART_Q, SELLA_PART_K, SELLA_PART_V};
    static const sella_part biases[] = {SELLA_PART_Q_BIAS, SELLA_PART_K_BIAS, SELLA_PART_V_BIAS};
    static const sella_part o[] = {SELLA_PART_O}, o_bias[] = {SELLA_PART_O_BIAS};
    static const sella_part gate_up[] = {SELLA_PART_GATE, SELLA_PART_UP}, down[] = {SELLA_PART_DOWN};
    sella_status status = SELLA_OK;
    const sella_backbone_config *c = &b->source.config;
    sella_layer *layer = &b->layer[l];
    SELLA_TRY(expand_block(b, l, &norms[0], 1, &layer->norm_attention, err));
    SELLA_TRY(expand_block(b, l, &norms[1], 1, &layer->norm_ffn, err));
    SELLA_TRY(expand_block(b, l, qkv, 3, &layer->w_qkv, err));
    SELLA_TRY(expand_block(b, l, o, 1, &layer->w_o, err));
    SELLA_TRY(expand_block(b, l, gate_up, 2, &layer->w_gate_up, err));
    SELLA_TRY(expand_block(b, l, down, 1, &layer->w_down, err));
    if (c->qkv_bias) {
        SELLA_TRY(expand_block(b, l, biases, 3, &layer->b_qkv, err));
    }
    if (c->o_bias) {
        SELLA_TRY(expand_block(b, l, o_bias, 1, &layer->b_o, err));
    }
    if (c->qk_norm) {
        SELLA_TRY(expand_block(b, l, &norms[2], 1, &layer->norm_q, err));
        SELLA_TRY(expand_block(b, l, &norms[3], 1, &layer->norm_k, err));
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
    const sella_tensor *t = b->source.gguf ? sella_gguf_find(b->source.gguf, "rope_freqs.weight") : NULL;
    if (t == NULL) {
        return SELLA_OK;
    }
    if (t->rank != 1 || t->shape[0] != (int64_t)n || t->dtype != SELLA_DTYPE_F32 || !t->readable) {
        return sella_err_set(err, SELLA_SHAPE, "%s: tensor 'rope_freqs.weight' is not %zu values of type F32",
                             b->source.path, n);
    }
    for (size_t i = 0; i < n; i++) {
        float factor;
        memcpy(&factor, (const uint8_t *)t->data + i * sizeof factor, sizeof factor);
        if (!(factor > 0.0f && isfinite(factor))) {
            return sella_err_set(err, SELLA_FORMAT, "%s: tensor 'rope_freqs.weight' holds %g; expected values > 0",
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
    int n = snprintf(text, sizeof text, "%s %d %d %d %d %d %d %d %.9g %.17g %d %.17g %.17g %.17g %.17g %d %d %d %d",
                     c->family, c->layers, c->C, c->H, c->G, c->D, c->F, c->V, (double)c->rms_eps, c->rope_theta,
                     c->rope_scaling.llama3, c->rope_scaling.factor, c->rope_scaling.low_freq_factor,
                     c->rope_scaling.high_freq_factor, c->rope_scaling.original_context, c->qkv_bias, c->o_bias,
                     c->qk_norm, c->tied);
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
        status = sella_err_set(err, SELLA_SHAPE, "%s: the tokenizer has %d ids; the embedding has %d rows",
                               b->source.path, sella_tokenizer_vocab(b->tokenizer), b->source.config.V);
    }
done:
    free(path);
    return status;
}

sella_status sella_backbone_open(const char *path, const sella_talk *talk, sella_backbone **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char what[128];
    *out = NULL;
    sella_backbone *b = sella_alloc(1, sizeof *b, "a backbone", err);
    if (b == NULL) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_source_open(path, &b->source, err));
    SELLA_TRY(sella_source_check(&b->source, err));
    SELLA_TRY(tokenizer_open(b, err));
    const sella_backbone_config *c = &b->source.config;
    b->bytes = weights_bytes(c);
    snprintf(what, sizeof what, "the expanded weights of %d layers of width %d", c->layers, c->C);
    SELLA_TRY(sella_memory_check(b->bytes, what, err));
    SELLA_TRY(sella_arena_new(b->bytes, what, &b->arena, err));
    b->layer = sella_alloc((size_t)c->layers, sizeof *b->layer, "layers", err);
    b->inv = sella_alloc((size_t)c->D / 2, sizeof *b->inv, "rotary frequencies", err);
    if (b->layer == NULL || b->inv == NULL) {
        status = SELLA_MEMORY;
        goto done;
    }
    static const sella_part norm[] = {SELLA_PART_NORM};
    SELLA_TRY(expand_block(b, 0, norm, 1, &b->norm, err));
    sella_progress progress;
    sella_progress_start(&progress, talk, "opening the model", "layers", c->layers, 0);
    for (int l = 0; l < c->layers; l++) {
        SELLA_TRY(expand_layer(b, l, err));
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

sella_status sella_backbone_probe(const char *path, sella_backbone_config *config, size_t *bytes, sella_err *err)
{
    sella_source source = {0};
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_source_open(path, &source, err));
    SELLA_TRY(sella_source_check(&source, err));
    *config = source.config;
    *bytes = weights_bytes(&source.config);
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

int64_t sella_backbone_parameters(const sella_backbone *backbone)
{
    return backbone->parameters;
}

/* ---- rows of the embedding and the head ---- */

static sella_status row_read(const sella_backbone *b, const sella_tensor *t, int64_t row, float *y, sella_err *err)
{
    const size_t C = (size_t)b->source.config.C;
    const uint8_t *from = (const uint8_t *)t->data + (size_t)row * sella_dtype_size(t->dtype, C);
    if (!sella_dequantize(y, from, t->dtype, C)) {
        return sella_err_set(err, SELLA_FORMAT, "%s: row %lld of tensor '%s' holds a value that is not finite",
                             b->source.path, (long long)row, t->name);
    }
    return SELLA_OK;
}

static sella_status rows_read(const sella_backbone *b, const sella_tensor *t, const int32_t *id_n, int n, float *y,
                              sella_err *err)
{
    for (int i = 0; i < n; i++) {
        if (id_n[i] < 0 || id_n[i] >= b->source.config.V) {
            return sella_err_set(err, SELLA_ARG, "token id %d is not in the vocabulary of %d", id_n[i],
                                 b->source.config.V);
        }
        sella_status status = row_read(b, t, id_n[i], y + (size_t)i * (size_t)b->source.config.C, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

sella_status sella_backbone_embed(const sella_backbone *backbone, const int32_t *id_n, int n, float *y, sella_err *err)
{
    return rows_read(backbone, backbone->embedding, id_n, n, y, err);
}

sella_status sella_backbone_head(const sella_backbone *backbone, const int32_t *id_n, int n, float *y, sella_err *err)
{
    return rows_read(backbone, backbone->head, id_n, n, y, err);
}

sella_status sella_backbone_logits(const sella_backbone *backbone, const float *hidden, float *logit_v, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int C = backbone->source.config.C, V = backbone->source.config.V;
    float *rows = sella_alloc((size_t)LOGIT_ROWS * (size_t)C, sizeof *rows, "rows of the head", err);
    if (rows == NULL) {
        return SELLA_MEMORY;
    }
    for (int v0 = 0; v0 < V; v0 += LOGIT_ROWS) {
        const int n = V - v0 < LOGIT_ROWS ? V - v0 : LOGIT_ROWS;
        for (int i = 0; i < n; i++) {
            SELLA_TRY(row_read(backbone, backbone->head, v0 + i, rows + (size_t)i * (size_t)C, err));
            logit_v[v0 + i] = sella_dot(rows + (size_t)i * (size_t)C, hidden, C);
        }
    }
done:
    free(rows);
    return status;
}
