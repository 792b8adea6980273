/* match.c - soft tokens on the scale of token embeddings (methods/sella/match.h). */
#include "methods/sella/match.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "methods/soft.h"

enum { CHUNK = 512 };

/* Rows as they come: their mean, and their spread about it. */
typedef struct cloud {
    int L;
    int64_t rows;
    double *mean_l; /* [L] a sum until cloud_close */
    double square;  /* sum of |row|^2 */
    double spread;
} cloud;

static sella_status cloud_open(cloud *c, int L, sella_err *err)
{
    *c = (cloud){.L = L, .mean_l = sella_alloc((size_t)L, sizeof *c->mean_l, "a mean", err)};
    return c->mean_l ? SELLA_OK : SELLA_MEMORY;
}

static void cloud_add(cloud *c, const float *rows, int n)
{
    for (int r = 0; r < n; r++) {
        const float *row = rows + (size_t)r * (size_t)c->L;
        for (int l = 0; l < c->L; l++) {
            c->mean_l[l] += (double)row[l];
            c->square += (double)row[l] * (double)row[l];
        }
    }
    c->rows += n;
}

static void cloud_close(cloud *c)
{
    const double rows = c->rows > 0 ? (double)c->rows : 1;
    double square = 0;
    for (int l = 0; l < c->L; l++) {
        c->mean_l[l] /= rows;
        square += c->mean_l[l] * c->mean_l[l];
    }
    c->spread = sqrt(fmax(c->square / rows - square, 0));
}

/* Buffers of CHUNK rows. */
typedef struct chunk {
    int32_t *id;
    float *x, *pre, *act, *y; /* [CHUNK, C or L], [CHUNK, hidden] twice, [CHUNK, L] */
} chunk;

static sella_status chunk_open(chunk *c, const sella_vectors *v, sella_err *err)
{
    const size_t C = (size_t)v->C, L = (size_t)v->L, hidden = (size_t)v->projection.hidden;
    c->id = sella_alloc(CHUNK, sizeof *c->id, "soft tokens", err);
    c->x = sella_alloc(CHUNK * (C > L ? C : L), sizeof *c->x, "soft tokens", err);
    c->pre = sella_alloc(CHUNK * hidden, sizeof *c->pre, "soft tokens", err);
    c->act = sella_alloc(CHUNK * hidden, sizeof *c->act, "soft tokens", err);
    c->y = sella_alloc(CHUNK * L, sizeof *c->y, "soft tokens", err);
    return c->id && c->x && c->pre && c->act && c->y ? SELLA_OK : SELLA_MEMORY;
}

static void chunk_close(chunk *c)
{
    free(c->id);
    free(c->x);
    free(c->pre);
    free(c->act);
    free(c->y);
}

/* ids first ... : how many there are. */
static int chunk_ids(chunk *c, int32_t first, int32_t count)
{
    const int n = count - first < CHUNK ? count - first : CHUNK;
    for (int k = 0; k < n; k++) {
        c->id[k] = first + k;
    }
    return n;
}

static sella_status measure_embeddings(const sella_backbone *backbone, chunk *c, cloud *out,
                                       sella_err *err)
{
    sella_status status = SELLA_OK;
    const int32_t V = sella_backbone_shape(backbone)->V;
    for (int32_t first = 0; first < V; first += CHUNK) {
        const int n = chunk_ids(c, first, V);
        SELLA_TRY(sella_backbone_embed(backbone, c->id, n, c->y, err));
        cloud_add(out, c->y, n);
    }
done:
    cloud_close(out);
    return status;
}

static sella_status measure_proj(sella_vectors *v, chunk *c, cloud *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_pass pass = {0};
    for (int32_t first = 0; first < v->items; first += CHUNK) {
        const int n = chunk_ids(c, first, v->items);
        const sella_collab_batch batch = {.N = n, .item_n = c->id};
        SELLA_TRY(sella_collab_vectors(v->collab, &batch, &pass, NULL, c->x, err));
        sella_proj_forward(&v->projection, c->y, c->x, n, c->pre, c->act);
        cloud_add(out, c->y, n);
    }
done:
    cloud_close(out);
    sella_collab_pass_release(&pass);
    return status;
}

static void measure_warm(const sella_vectors *v, chunk *c, cloud *out)
{
    for (int32_t first = 0; first < v->items; first += CHUNK) {
        const int n = chunk_ids(c, first, v->items);
        sella_rows_take(&v->semantic.param[0], c->id, n, c->x);
        sella_warm_forward(&v->projection, c->y, c->x, n);
        cloud_add(out, c->y, n);
    }
    cloud_close(out);
}

/* The map's outputs move from `from` to where `to` lies. */
static void move_map(sella_param_table *table, const char *weight, const char *bias,
                     const cloud *from, const cloud *to)
{
    const sella_param *w = sella_param_find(table, weight), *b = sella_param_find(table, bias);
    const double f = from->spread > 0 ? to->spread / from->spread : 1;
    for (size_t k = 0; k < w->count; k++) {
        w->data[k] = (float)(f * (double)w->data[k]);
    }
    for (size_t l = 0; l < b->count; l++) {
        b->data[l] = (float)(f * ((double)b->data[l] - from->mean_l[l]) + to->mean_l[l]);
    }
}

sella_status sella_soft_match(sella_vectors *v, const sella_backbone *backbone,
                              sella_slot_set slots, bool change, sella_soft_spread *out,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    cloud embedding = {0}, soft = {0};
    chunk c = {0};
    *out = (sella_soft_spread){0};
    SELLA_TRY(chunk_open(&c, v, err));
    SELLA_TRY(cloud_open(&embedding, v->L, err));
    SELLA_TRY(measure_embeddings(backbone, &c, &embedding, err));
    out->embedding = embedding.spread;
    if (slots & SELLA_SLOT_SET_USER_ITEM) {
        SELLA_TRY(cloud_open(&soft, v->L, err));
        SELLA_TRY(measure_proj(v, &c, &soft, err));
        out->proj = soft.spread;
        if (change) {
            move_map(&v->projection.table, "proj.2.weight", "proj.2.bias", &soft, &embedding);
        }
        free(soft.mean_l);
        soft.mean_l = NULL;
    }
    if (slots & 1u << SELLA_SLOT_WARM) {
        SELLA_TRY(cloud_open(&soft, v->L, err));
        measure_warm(v, &c, &soft);
        out->warm = soft.spread;
        if (change) {
            move_map(&v->projection.table, "warm.weight", "warm.bias", &soft, &embedding);
        }
    }
done:
    free(embedding.mean_l);
    free(soft.mean_l);
    chunk_close(&c);
    return status;
}
