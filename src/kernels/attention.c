/* attention.c - attention over a forest of segments: which keys a tile of queries sees, and who
 * works on which tile.
 *
 * In depth-first order the tokens that see token j are exactly j .. e_j - 1, where e_j ends the
 * subtree of j's segment. So a tile of queries needs the path from its first query to the root (a
 * few ranges of older tokens) and the tokens between its queries; and the queries that see a key
 * are a range of the tile.
 *
 * Backward sums dk and dv without races and in an order that the number of threads does not change:
 * tokens are cut into chunks; a chunk's queries add to the rows of its own tokens directly and to a
 * partial copy of the older rows on its path, and the copies are added in the order of the chunks.
 */
#include "kernels/attention.h"

#include <assert.h>
#include <omp.h>

#include "kernels/attention_tile.h"
#include "kernels/fast.h"
#include "kernels/gemm.h"

enum {
    CHUNK = 128,  /* fewest tokens of a backward chunk */
    CHUNKS = 16,  /* most chunks */
    SPAN = 128,   /* most tokens between the first and the last query of a tile */
    TILE_MAX = 64 /* most queries of a tile, as in attention_body.h */
};

/* ---- where things stand in scratch ----
 * At its start int32 [T + 1]: the first query of each tile. */

typedef struct layout {
    int workers;
    int chunk;       /* tokens a chunk */
    int chunks;
    size_t offsets;  /* int32 [CHUNKS + 1]: first row of each chunk's partial */
    size_t partial;  /* [rows, 2 D] for each key head */
    size_t rows;
    size_t workers_at;
    size_t lists;    /* of a worker: int32 key, low, high, slot, slot of each token: [5, T] */
    size_t worker;   /* floats of one worker: lists, then work */
    size_t total;
} layout;

static int segment_of(const sella_attention_shape *shape, int token)
{
    int low = 0, high = shape->S - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (shape->start_s[middle] <= token) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* Tokens before `token` that it sees. */
static int path_length(const sella_attention_shape *shape, int token)
{
    int s = segment_of(shape, token), length = token - shape->start_s[s];
    while ((s = shape->parent_s[s]) >= 0) {
        length += shape->start_s[s + 1] - shape->start_s[s];
    }
    return length;
}

static size_t aligned(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

static layout layout_make(const sella_attention_shape *shape, const sella_attention_size *size)
{
    layout at = {.workers = shape->threads > 0 ? shape->threads : sella_threads()};
    const size_t T = (size_t)shape->T, D = (size_t)shape->D;
    at.chunk = (shape->T + CHUNKS - 1) / CHUNKS;
    at.chunk = at.chunk < CHUNK ? CHUNK : at.chunk;
    at.chunks = (shape->T + at.chunk - 1) / at.chunk;
    for (int c = 0; c < at.chunks; c++) {
        at.rows += (size_t)path_length(shape, c * at.chunk);
    }
    at.offsets = aligned(T + 1);
    at.partial = at.offsets + aligned(CHUNKS + 1);
    at.workers_at = at.partial + aligned(at.rows * 2 * D * (size_t)shape->G);
    at.lists = aligned(5 * T);
    at.worker = at.lists + aligned(size->forward_work > size->backward_work ? size->forward_work
                                                                            : size->backward_work);
    at.total = at.workers_at + (size_t)at.workers * at.worker;
    return at;
}

/* ---- key lists ---- */

typedef struct key_list {
    int count;
    int32_t *key, *low, *high, *slot;
} key_list;

/* First of the n ascending queries that is at least `token`. */
static int first_query(const int32_t *query, int n, int token)
{
    int low = 0, high = n;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (query[middle] < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The tokens before query[0] that it sees, ascending, with the ranges of queries that see them. */
static void list_path(key_list *list, const sella_attention_shape *shape, const int32_t *query,
                      int n)
{
    int s = segment_of(shape, query[0]), end = query[0];
    int at = list->count = path_length(shape, query[0]);
    while (s >= 0) {
        const int high = first_query(query, n, shape->start_s[shape->subtree_s[s]]);
        for (int j = end - 1; j >= shape->start_s[s]; j--) {
            at--;
            list->key[at] = j;
            list->low[at] = 0;
            list->high[at] = high;
        }
        s = shape->parent_s[s];
        end = s < 0 ? 0 : shape->start_s[s + 1];
    }
}

/* Adds the tokens from query[0] to query[n - 1] that some query sees. */
static void list_between(key_list *list, const sella_attention_shape *shape, const int32_t *query,
                         int n)
{
    int low = 0;
    for (int s = segment_of(shape, query[0]); s < shape->S && shape->start_s[s] <= query[n - 1];
         s++) {
        const int high = first_query(query, n, shape->start_s[shape->subtree_s[s]]);
        const int from = shape->start_s[s] < query[0] ? query[0] : shape->start_s[s];
        for (int j = from; j < shape->start_s[s + 1] && j <= query[n - 1]; j++) {
            while (query[low] < j) {
                low++;
            }
            if (low < high) {
                list->key[list->count] = j;
                list->low[list->count] = low;
                list->high[list->count++] = high;
            }
        }
    }
}

/* ---- a call ---- */

typedef struct call {
    const sella_attention_shape *shape;
    const sella_fast *fast;
    sella_attention_size size;
    layout at;
    float *scratch;
    const int32_t *query_n; /* NULL: all tokens */
    int N;
    int tiles;
    int32_t *tile; /* [tiles + 1] first query of each */
} call;

static int query_token(const call *c, int n)
{
    return c->query_n == NULL ? n : c->query_n[n];
}

/* Cut the queries into tiles; a tile never crosses a chunk, so that backward can use the same
 * ones. */
static call call_make(const sella_attention_shape *shape, const sella_fast *fast,
                      const int32_t *query_n, int N, float *scratch)
{
    call c = {.shape = shape,
              .fast = fast,
              .query_n = query_n,
              .N = query_n == NULL ? shape->T : N,
              .scratch = scratch};
    fast->attention_size(&c.size, shape->D, shape->H / shape->G);
    assert(c.size.queries <= TILE_MAX && shape->H % shape->G == 0);
    c.at = layout_make(shape, &c.size);
    c.tile = (int32_t *)(void *)scratch;
    for (int n = 0; n < c.N; n++) {
        const int token = query_token(&c, n), first = c.tiles > 0 ? c.tile[c.tiles - 1] : 0;
        if (c.tiles == 0 || n - first >= c.size.queries || token - query_token(&c, first) >= SPAN ||
            token / c.at.chunk != query_token(&c, first) / c.at.chunk) {
            c.tile[c.tiles++] = n;
        }
    }
    c.tile[c.tiles] = c.N;
    return c;
}

/* The tensors of a tile of key head g. */
typedef struct tensors {
    const float *q, *k, *v, *do_;
    float *o, *lse, *dq, *dk, *dv;
    int ldq, ldk, ldv, lddo, ldo, lddq, lddk, lddv;
} tensors;

static float *shifted(float *x, size_t by)
{
    return x == NULL ? NULL : x + by;
}

static sella_attention_tile tile_make(const call *c, const tensors *x, int g, float *worker)
{
    const sella_attention_shape *shape = c->shape;
    const int ratio = shape->H / shape->G;
    const size_t key_head = (size_t)g * (size_t)shape->D, query_head = key_head * (size_t)ratio;
    return (sella_attention_tile){
        .D = shape->D,
        .ratio = ratio,
        .scale = shape->scale,
        .q = x->q + query_head,
        .k = x->k + key_head,
        .v = x->v + key_head,
        .ldq = x->ldq,
        .ldk = x->ldk,
        .ldv = x->ldv,
        .o = x->o + query_head,
        .ldo = x->ldo,
        .lse = shifted(x->lse, (size_t)g * (size_t)ratio),
        .ldlse = shape->H,
        .do_ = x->do_ == NULL ? NULL : x->do_ + query_head,
        .lddo = x->lddo,
        .dq = shifted(x->dq, query_head),
        .lddq = x->lddq,
        .dk = shifted(x->dk, key_head),
        .dv = shifted(x->dv, key_head),
        .lddk = x->lddk,
        .lddv = x->lddv,
        .work = worker + c->at.lists,
    };
}

static key_list worker_lists(const call *c, float *worker)
{
    int32_t *ints = (int32_t *)(void *)worker;
    const size_t T = (size_t)c->shape->T;
    return (key_list){.key = ints, .low = ints + T, .high = ints + 2 * T, .slot = ints + 3 * T};
}

/* Fill in the queries and keys of tile number i. query has TILE_MAX places. */
static void tile_fill(sella_attention_tile *tile, key_list *list, int32_t *query, const call *c,
                      int i)
{
    const int from = c->tile[i], n = c->tile[i + 1] - from;
    for (int j = 0; j < n; j++) {
        query[j] = query_token(c, from + j);
    }
    list_path(list, c->shape, query, n);
    list_between(list, c->shape, query, n);
    tile->query = query;
    tile->queries = n;
    tile->key = list->key;
    tile->low = list->low;
    tile->high = list->high;
    tile->slot = list->slot;
    tile->keys = list->count;
}

static float *worker_scratch(const call *c)
{
    return c->scratch + c->at.workers_at + (size_t)omp_get_thread_num() * c->at.worker;
}

static void forward_tile(const call *c, const tensors *x, int task)
{
    float *worker = worker_scratch(c);
    int32_t query[TILE_MAX];
    sella_attention_tile tile = tile_make(c, x, task % c->shape->G, worker);
    key_list list = worker_lists(c, worker);
    tile_fill(&tile, &list, query, c, task / c->shape->G);
    c->fast->attention_forward(&tile);
}

static void clear_rows(float *x, int ld, int from, int to, int C)
{
    for (int t = from; t < to; t++) {
        memset(x + (size_t)t * (size_t)ld, 0, (size_t)C * sizeof *x);
    }
}

static float *chunk_partial(const call *c, int g, int chunk)
{
    const int32_t *offset = (const int32_t *)(const void *)(c->scratch + c->at.offsets);
    return c->scratch + c->at.partial +
           ((size_t)g * c->at.rows + (size_t)offset[chunk]) * 2 * (size_t)c->shape->D;
}

/* All queries of one chunk and one key head. */
static void backward_chunk(const call *c, const tensors *x, int chunk, int g)
{
    const sella_attention_shape *shape = c->shape;
    float *worker = worker_scratch(c);
    int32_t query[TILE_MAX], *slot_of = (int32_t *)(void *)worker + 4 * (size_t)shape->T;
    sella_attention_tile tile = tile_make(c, x, g, worker);
    key_list list = worker_lists(c, worker);
    const int start = chunk * c->at.chunk,
              end = shape->T - start < c->at.chunk ? shape->T : start + c->at.chunk;
    clear_rows(tile.dk, x->lddk, start, end, shape->D);
    clear_rows(tile.dv, x->lddv, start, end, shape->D);
    if (c->query_n != NULL) { /* otherwise every row is overwritten */
        clear_rows(tile.dq, x->lddq, start, end, shape->D * tile.ratio);
    }
    query[0] = start;
    list_path(&list, shape, query, 1);
    tile.partial = chunk_partial(c, g, chunk);
    memset(tile.partial, 0, (size_t)list.count * 2 * (size_t)shape->D * sizeof *tile.partial);
    for (int j = 0; j < list.count; j++) {
        slot_of[list.key[j]] = j;
    }
    for (int i = 0; i < c->tiles; i++) {
        const int first = query_token(c, c->tile[i]);
        if (first < start || first >= end) {
            continue;
        }
        tile_fill(&tile, &list, query, c, i);
        for (int j = 0; j < list.count; j++) {
            list.slot[j] = list.key[j] < start ? slot_of[list.key[j]] : -1;
        }
        c->fast->attention_backward(&tile);
    }
}

/* Add the partial rows of key head g, chunk after chunk; which: 0 dk, 1 dv. */
static void add_partials(const call *c, const tensors *x, int g, int which)
{
    const sella_attention_shape *shape = c->shape;
    const int ld = which == 0 ? x->lddk : x->lddv;
    float *head = (which == 0 ? x->dk : x->dv) + (size_t)g * (size_t)shape->D;
    for (int chunk = 0; chunk < c->at.chunks; chunk++) {
        const int start = chunk * c->at.chunk;
        int s = segment_of(shape, start), end = start, at = path_length(shape, start);
        const float *partial = chunk_partial(c, g, chunk);
        while (s >= 0) {
            for (int j = end - 1; j >= shape->start_s[s]; j--) {
                const float *from = partial + ((size_t)--at * 2 + (size_t)which) * (size_t)shape->D;
                float *to = head + (size_t)j * (size_t)ld;
                c->fast->axpy(to, 1.0f, from, (size_t)shape->D);
            }
            s = shape->parent_s[s];
            end = s < 0 ? 0 : shape->start_s[s + 1];
        }
    }
}

/* ---- public ---- */

/* Whether the level has tiles, for this many query heads to a key head. */
static bool tiled(const sella_fast *fast, const sella_attention_shape *shape)
{
    return fast->attention_size != NULL && shape->H / shape->G <= SELLA_ATTENTION_ROWS;
}

size_t sella_attention_scratch(const sella_attention_shape *shape)
{
    return sella_attention_scratch_with(sella_fast_best(), shape);
}

size_t sella_attention_scratch_with(const sella_fast *fast, const sella_attention_shape *shape)
{
    sella_attention_size size;
    if (!tiled(fast, shape) || shape->T == 0) {
        return 16;
    }
    fast->attention_size(&size, shape->D, shape->H / shape->G);
    const layout at = layout_make(shape, &size);
    return at.total;
}

void sella_attention_forward_with(const sella_fast *fast, float *o, int ldo, float *lse,
                                  const float *q, int ldq, const float *k, int ldk, const float *v,
                                  int ldv, const int32_t *query_n, int N,
                                  const sella_attention_shape *shape, float *scratch)
{
    if (!tiled(fast, shape)) {
        sella_attention_forward_plain(o, ldo, lse, q, ldq, k, ldk, v, ldv, query_n, N, shape);
        return;
    }
    if (shape->T == 0) {
        return;
    }
    const call c = call_make(shape, fast, query_n, N, scratch);
    const tensors x = {
        .q = q, .k = k, .v = v, .o = o, .lse = lse, .ldq = ldq, .ldk = ldk, .ldv = ldv, .ldo = ldo};
    const int tasks = c.tiles * shape->G;
#pragma omp parallel for schedule(dynamic, 1) num_threads(c.at.workers)
    for (int task = 0; task < tasks; task++) {
        forward_tile(&c, &x, task);
    }
}

void sella_attention_backward_with(const sella_fast *fast, float *dq, int lddq, float *dk, int lddk,
                                   float *dv, int lddv, const float *do_, int lddo, const float *o,
                                   int ldo, const float *lse, const float *q, int ldq,
                                   const float *k, int ldk, const float *v, int ldv,
                                   const int32_t *query_n, int N,
                                   const sella_attention_shape *shape, float *scratch)
{
    if (!tiled(fast, shape)) {
        sella_attention_backward_plain(dq, lddq, dk, lddk, dv, lddv, do_, lddo, o, ldo, lse, q, ldq,
                                       k, ldk, v, ldv, query_n, N, shape);
        return;
    }
    if (shape->T == 0) {
        return;
    }
    const call c = call_make(shape, fast, query_n, N, scratch);
    const tensors x = {.q = q,
                       .k = k,
                       .v = v,
                       .do_ = do_,
                       .o = (float *)(uintptr_t)o,
                       .lse = (float *)(uintptr_t)lse,
                       .dq = dq,
                       .dk = dk,
                       .dv = dv,
                       .ldq = ldq,
                       .ldk = ldk,
                       .ldv = ldv,
                       .lddo = lddo,
                       .ldo = ldo,
                       .lddq = lddq,
                       .lddk = lddk,
                       .lddv = lddv};
    int32_t *offset = (int32_t *)(void *)(scratch + c.at.offsets);
    for (int chunk = 0, rows = 0; chunk < c.at.chunks; chunk++) {
        offset[chunk] = rows;
        rows += path_length(shape, chunk * c.at.chunk);
    }
    const int tasks = c.at.chunks * shape->G;
#pragma omp parallel num_threads(c.at.workers)
    {
#pragma omp for schedule(dynamic, 1)
        for (int task = 0; task < tasks; task++) {
            backward_chunk(&c, &x, task / shape->G, task % shape->G);
        }
#pragma omp for schedule(static)
        for (int task = 0; task < 2 * shape->G; task++) {
            add_partials(&c, &x, task / 2, task % 2);
        }
    }
}

void sella_attention_forward(float *o, int ldo, float *lse, const float *q, int ldq, const float *k,
                             int ldk, const float *v, int ldv, const int32_t *query_n, int N,
                             const sella_attention_shape *shape, float *scratch)
{
    sella_attention_forward_with(sella_fast_best(), o, ldo, lse, q, ldq, k, ldk, v, ldv, query_n, N,
                                 shape, scratch);
}

void sella_attention_backward(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                              const float *do_, int lddo, const float *o, int ldo, const float *lse,
                              const float *q, int ldq, const float *k, int ldk, const float *v,
                              int ldv, const int32_t *query_n, int N,
                              const sella_attention_shape *shape, float *scratch)
{
    sella_attention_backward_with(sella_fast_best(), dq, lddq, dk, lddk, dv, lddv, do_, lddo, o,
                                  ldo, lse, q, ldq, k, ldk, v, ldv, query_n, N, shape, scratch);
}
