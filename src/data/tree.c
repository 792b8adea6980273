/* tree.c - rendered rows and their merging into forests of segments (data/tree.h).
 *
 * Rows are put one by one into a radix tree: a node is a run of tokens borrowed from one of the
 * rows that pass through it. The next node is found by a hash of (parent, first token, slot, ref),
 * so the cost is linear in the tokens of the rows, however many candidates hang below one history.
 *
 * Easy to get wrong:
 * - a row may end inside a node (it is a prefix of another row): nodes are never cut at answers, so
 *   answers are looked up last;
 * - two soft tokens are equal only when slot kind and ref are equal, although their token ids
 *   always are;
 * - plan and build must cut trees at the same rows: both go through forest_add.
 */
#include "data/tree.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* ---- rows ---- */

void sella_rows_init(sella_rows *rows)
{
    *rows = (sella_rows){0};
}

void sella_rows_release(sella_rows *rows)
{
    free(rows->start);
    free(rows->token);
    free(rows->slot);
    free(rows->ref);
    free(rows->group);
    free(rows->row);
    free(rows->label);
    free(rows->weight);
    *rows = (sella_rows){0};
}

void sella_rows_clear(sella_rows *rows)
{
    rows->count = 0;
}

/* Enlarge one array; a failure leaves the old one. */
static bool grow(void *array_pointer, size_t count, size_t size)
{
    void *old, *bigger;
    memcpy(&old, array_pointer, sizeof old);
    bigger = count <= SIZE_MAX / size ? realloc(old, count * size) : NULL;
    if (bigger) {
        memcpy(array_pointer, &bigger, sizeof bigger);
    }
    return bigger != NULL;
}

static sella_status rows_reserve(sella_rows *rows, int64_t count, int64_t tokens, sella_err *err)
{
    if (count > rows->capacity_rows) {
        int64_t capacity = count + count / 2 + 16;
        size_t n = (size_t)capacity;
        if (!grow(&rows->start, n + 1, sizeof *rows->start) ||
            !grow(&rows->ref, n * SELLA_SLOTS, sizeof *rows->ref) ||
            !grow(&rows->group, n, sizeof *rows->group) ||
            !grow(&rows->row, n, sizeof *rows->row) ||
            !grow(&rows->label, n, sizeof *rows->label) ||
            !grow(&rows->weight, n, sizeof *rows->weight)) {
            return sella_err_memory(err, "prompt rows", n * 48);
        }
        rows->start[0] = 0;
        rows->capacity_rows = capacity;
    }
    if (tokens > rows->capacity_tokens) {
        int64_t capacity = tokens + tokens / 2 + 256;
        size_t n = (size_t)capacity;
        if (!grow(&rows->token, n, sizeof *rows->token) ||
            !grow(&rows->slot, n, sizeof *rows->slot)) {
            return sella_err_memory(err, "prompt tokens", n * 5);
        }
        rows->capacity_tokens = capacity;
    }
    return SELLA_OK;
}

sella_status sella_rows_add(sella_rows *rows, const int32_t *token_n, const uint8_t *slot_n, int n,
                            const int32_t *ref, int32_t group, int64_t row, float label,
                            float weight, sella_err *err)
{
    assert(!slot_n || ref);
    if (n < 1) {
        return sella_err_set(err, SELLA_ARG, "row %lld has no tokens; its answer needs one",
                             (long long)row);
    }
    int64_t r = rows->count, begin = r > 0 ? rows->start[r] : 0;
    sella_status status = rows_reserve(rows, r + 1, begin + n, err);
    if (status != SELLA_OK) {
        return status;
    }
    memcpy(rows->token + begin, token_n, (size_t)n * sizeof *token_n);
    if (slot_n) {
        memcpy(rows->slot + begin, slot_n, (size_t)n);
    } else {
        memset(rows->slot + begin, SELLA_SLOT_NONE, (size_t)n);
    }
    for (int s = 0; s < SELLA_SLOTS; s++) {
        rows->ref[r * SELLA_SLOTS + s] = ref ? ref[s] : 0;
    }
    rows->start[r + 1] = begin + n;
    rows->group[r] = group;
    rows->row[r] = row;
    rows->label[r] = label;
    rows->weight[r] = weight;
    rows->count = r + 1;
    return SELLA_OK;
}

static int64_t row_length(const sella_rows *rows, int64_t r)
{
    return rows->start[r + 1] - rows->start[r];
}

/* ---- the radix tree ---- */

/* A run of tokens: tokens begin .. end-1 (depths) of row `row`. Node of a tree's root: no tokens,
 * parent -1. */
typedef struct node {
    int64_t row;
    int32_t begin, end;
    int32_t parent, first, last, next, prev; // -1: none
    int32_t segment;                         // its number in depth-first order, set by build
} node;

typedef struct forest {
    const sella_rows *rows;
    bool share;
    int64_t cap; // tokens of one tree
    node *node_n;
    int32_t nodes, capacity;
    int32_t *table; // [size] node + 1, found by parent and first token; 0 is empty
    size_t size;    // a power of two
    int64_t tree_tokens; // of the tree that is open
    int32_t root;        // of the tree that is open, -1 before the first
    int32_t group;
} forest;

static void forest_release(forest *f)
{
    free(f->node_n);
    free(f->table);
}

static uint64_t token_key(const sella_rows *rows, int64_t row, int32_t depth)
{
    int64_t at = rows->start[row] + depth;
    uint8_t slot = rows->slot[at];
    int32_t ref = slot == SELLA_SLOT_NONE ? 0 : rows->ref[row * SELLA_SLOTS + slot];
    return (uint64_t)(uint32_t)rows->token[at] | (uint64_t)((uint32_t)ref ^ ((uint32_t)slot << 29))
                                                     << 32;
}

static bool token_equal(const sella_rows *rows, int64_t a, int64_t b, int32_t depth)
{
    int64_t i = rows->start[a] + depth, j = rows->start[b] + depth;
    uint8_t slot = rows->slot[i];
    return rows->token[i] == rows->token[j] && slot == rows->slot[j] &&
           (slot == SELLA_SLOT_NONE ||
            rows->ref[a * SELLA_SLOTS + slot] == rows->ref[b * SELLA_SLOTS + slot]);
}

static size_t spot_of(const forest *f, int32_t parent, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u + (uint64_t)parent * 0xc2b2ae3d27d4eb4fu;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return (size_t)(h ^ h >> 32) & (f->size - 1);
}

/* Table entry of the child of `parent` that begins with the token of `row` at `depth`, or the empty
 * entry where it belongs. */
static int32_t *child_entry(const forest *f, int32_t parent, int64_t row, int32_t depth)
{
    size_t i = spot_of(f, parent, token_key(f->rows, row, depth));
    for (; f->table[i]; i = (i + 1) & (f->size - 1)) {
        const node *child = &f->node_n[f->table[i] - 1];
        if (child->parent == parent && token_equal(f->rows, row, child->row, depth)) {
            break;
        }
    }
    return &f->table[i];
}

/* Room for three more nodes (one row makes at most a root, a split and a leaf), with the table at
 * most half full. */
static sella_status forest_reserve(forest *f, sella_err *err)
{
    if (f->nodes + 3 > f->capacity) {
        if (f->capacity > INT32_MAX / 4) {
            return sella_err_memory(err, "a prefix tree", SIZE_MAX);
        }
        int32_t capacity = f->capacity * 2 + 64;
        if (!grow(&f->node_n, (size_t)capacity, sizeof *f->node_n)) {
            return sella_err_memory(err, "a prefix tree", (size_t)capacity * sizeof *f->node_n);
        }
        f->capacity = capacity;
    }
    if ((size_t)(f->nodes + 3) * 2 > f->size) {
        size_t size = f->size ? f->size * 4 : 256;
        int32_t *table = sella_alloc(size, sizeof *table, "a prefix tree", err);
        if (!table) {
            return SELLA_MEMORY;
        }
        free(f->table);
        f->table = table;
        f->size = size;
        for (int32_t n = 0; n < f->nodes; n++) {
            if (f->node_n[n].parent >= 0) {
                *child_entry(f, f->node_n[n].parent, f->node_n[n].row, f->node_n[n].begin) = n + 1;
            }
        }
    }
    return SELLA_OK;
}

/* A new last child; parent -1 makes a root. */
static int32_t node_new(forest *f, int64_t row, int32_t begin, int32_t end, int32_t parent)
{
    int32_t n = f->nodes++;
    node *x = &f->node_n[n];
    *x = (node){row, begin, end, parent, -1, -1, -1, -1, -1};
    if (parent >= 0) {
        node *p = &f->node_n[parent];
        x->prev = p->last;
        *(p->last >= 0 ? &f->node_n[p->last].next : &p->first) = n;
        p->last = n;
    }
    return n;
}

/* Cut node x at depth `at`: a new node takes its place and its first part; x keeps its number, its
 * end and its children. */
static int32_t node_split(forest *f, int32_t x, int32_t at)
{
    int32_t *entry = child_entry(f, f->node_n[x].parent, f->node_n[x].row, f->node_n[x].begin);
    int32_t upper = f->nodes++;
    node *low = &f->node_n[x], *up = &f->node_n[upper], *parent = &f->node_n[low->parent];
    assert(*entry == x + 1 && at > low->begin && at < low->end);
    *up = (node){low->row, low->begin, at, low->parent, x, x, low->next, low->prev, -1};
    *(low->prev >= 0 ? &f->node_n[low->prev].next : &parent->first) = upper;
    *(low->next >= 0 ? &f->node_n[low->next].prev : &parent->last) = upper;
    low->parent = upper;
    low->begin = at;
    low->next = low->prev = -1;
    *entry = upper + 1;
    *child_entry(f, upper, low->row, at) = x + 1;
    return upper;
}

/* How far the row agrees with the open tree: *at = the last node touched, returns the depth
 * reached. */
static int32_t forest_match(const forest *f, int64_t row, int32_t *at)
{
    int32_t length = (int32_t)row_length(f->rows, row), depth = 0, n = f->root;
    while (depth < length) {
        int32_t child = *child_entry(f, n, row, depth) - 1;
        if (child < 0) {
            break;
        }
        n = child;
        const node *x = &f->node_n[n];
        for (depth++; depth < x->end && depth < length && token_equal(f->rows, row, x->row, depth);
             depth++) {
        }
        if (depth < x->end) {
            break;
        }
    }
    *at = n;
    return depth;
}

/* Put a row into the open tree, or into a new one when it is of another group, the tree would grow
 * over the cap, or sharing is off. *fresh = a new tree was opened. *at (may be NULL) = a node whose
 * ancestors or itself hold the row's last token. */
static sella_status forest_add(forest *f, int64_t row, bool *fresh, int32_t *at, sella_err *err)
{
    int32_t length = (int32_t)row_length(f->rows, row), depth = 0, n = -1;
    sella_status status = forest_reserve(f, err);
    if (status != SELLA_OK) {
        return status;
    }
    *fresh = !f->share || f->root < 0 || f->group != f->rows->group[row];
    if (!*fresh) {
        depth = forest_match(f, row, &n);
        *fresh = f->tree_tokens + (length - depth) > f->cap;
    }
    if (*fresh) {
        f->root = n = node_new(f, row, 0, 0, -1);
        f->group = f->rows->group[row];
        f->tree_tokens = depth = 0;
    }
    f->tree_tokens += length - depth;
    if (depth < length) {
        node *x = &f->node_n[n];
        /* a leaf that the row continues: both are one run */
        if (depth == x->end && x->parent >= 0 && x->first < 0) {
            x->row = row;
            x->end = length;
        } else {
            n = depth < x->end ? node_split(f, n, depth) : n;
            n = node_new(f, row, depth, length, n);
            *child_entry(f, f->node_n[n].parent, row, depth) = n + 1;
        }
    }
    if (at) {
        *at = n;
    }
    return SELLA_OK;
}

/* Forget all nodes (plan looks at one tree at a time). Cost: nodes, not the table's size. */
static void forest_forget(forest *f)
{
    for (int32_t n = 0; n < f->nodes; n++) {
        if (f->node_n[n].parent < 0) {
            continue;
        }
        size_t i = spot_of(f, f->node_n[n].parent,
                           token_key(f->rows, f->node_n[n].row, f->node_n[n].begin));
        for (; f->table[i]; i = (i + 1) & (f->size - 1)) {
            f->table[i] = 0; // a whole run at once: nothing in it will be needed again
        }
    }
    f->nodes = 0;
    f->root = -1;
}

/* ---- plan ---- */

static sella_status options_check(const sella_tree_options *options, int64_t *cap, sella_err *err)
{
    if (options->budget < 1) {
        return sella_err_set(err, SELLA_ARG,
                             "a batch of %d tokens is asked for; expected at least 1",
                             options->budget);
    }
    if (options->tree_cap < 0) {
        return sella_err_set(err, SELLA_ARG,
                             "trees of %d tokens are asked for; expected 0 (as the batch) or more",
                             options->tree_cap);
    }
    *cap = options->tree_cap == 0 || options->tree_cap > options->budget ? options->budget
                                                                         : options->tree_cap;
    return SELLA_OK;
}

/* Row indexes with the rows of each group together: groups by first appearance, rows of a group in
 * the order given. */
static sella_status order_by_group(const sella_rows *rows, int64_t *order, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t count = (size_t)rows->count, size = 16;
    while (size < count * 2) {
        size *= 2;
    }
    int64_t groups = 0;
    /* a group's first row + 1, by hash */
    int64_t *table = sella_alloc(size, sizeof *table, "groups", err);
    int64_t *rank = sella_alloc(count, sizeof *rank, "groups", err);        // of each row's group
    /* of each group in order */
    int64_t *begin = sella_alloc(count + 1, sizeof *begin, "groups", err);
    if (!table || !rank || !begin) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t r = 0; r < rows->count; r++) {
        size_t i =
            (size_t)((uint64_t)(uint32_t)rows->group[r] * 0x9e3779b97f4a7c15u >> 24) & (size - 1);
        while (table[i] && rows->group[table[i] - 1] != rows->group[r]) {
            i = (i + 1) & (size - 1);
        }
        if (!table[i]) {
            table[i] = r + 1;
            rank[r] = groups++;
        }
        rank[r] = rank[table[i] - 1];
        begin[rank[r] + 1]++;
    }
    for (int64_t g = 0; g < groups; g++) {
        begin[g + 1] += begin[g];
    }
    for (int64_t r = 0; r < rows->count; r++) {
        order[begin[rank[r]]++] = r;
    }
done:
    free(table);
    free(rank);
    free(begin);
    return status;
}

/* Gather trees into batches of at most `budget` tokens, in order. */
static void fill_batches(sella_tree_plan *plan, int64_t budget)
{
    int64_t tokens = 0;
    plan->batches = 0;
    for (int64_t t = 0; t < plan->trees; t++) {
        if (t == 0 || tokens + plan->tree_tokens[t] > budget) {
            plan->first[plan->batches++] = plan->tree_first[t];
            tokens = 0;
        }
        tokens += plan->tree_tokens[t];
        plan->tokens += plan->tree_tokens[t];
    }
    plan->first[plan->batches] = plan->tree_first[plan->trees];
}

sella_status sella_tree_plan_new(const sella_rows *rows, const sella_tree_options *options,
                                 sella_tree_plan *plan, sella_err *err)
{
    sella_status status = SELLA_OK;
    forest f = {.rows = rows, .share = options->share, .root = -1};
    *plan = (sella_tree_plan){0};
    SELLA_TRY(options_check(options, &f.cap, err));
    for (int64_t r = 0; r < rows->count; r++) {
        if (row_length(rows, r) > options->budget) {
            status = sella_err_set(
                err, SELLA_ARG, "row %lld has %lld tokens; a batch holds at most %d",
                (long long)rows->row[r], (long long)row_length(rows, r), options->budget);
            goto done;
        }
    }
    size_t count = (size_t)rows->count;
    plan->order = sella_alloc(count, sizeof *plan->order, "a batch plan", err);
    plan->first = sella_alloc(count + 1, sizeof *plan->first, "a batch plan", err);
    plan->tree_first = sella_alloc(count + 1, sizeof *plan->tree_first, "a batch plan", err);
    plan->tree_tokens = sella_alloc(count, sizeof *plan->tree_tokens, "a batch plan", err);
    if (!plan->order || !plan->first || !plan->tree_first || !plan->tree_tokens) {
        status = SELLA_MEMORY;
        goto done;
    }
    if (options->share) {
        SELLA_TRY(order_by_group(rows, plan->order, err));
    }
    for (int64_t i = 0; i < rows->count; i++) {
        bool fresh;
        if (!options->share) {
            plan->order[i] = i;
        }
        if (f.nodes > 0 && (!options->share || f.group != rows->group[plan->order[i]])) {
            forest_forget(&f);
        }
        SELLA_TRY(forest_add(&f, plan->order[i], &fresh, NULL, err));
        if (fresh) {
            plan->tree_first[plan->trees++] = i;
        }
        plan->tree_tokens[plan->trees - 1] = (int32_t)f.tree_tokens;
    }
    plan->tree_first[plan->trees] = rows->count;
    fill_batches(plan, options->budget);
done:
    forest_release(&f);
    if (status != SELLA_OK) {
        sella_tree_plan_release(plan);
    }
    return status;
}

void sella_tree_plan_release(sella_tree_plan *plan)
{
    free(plan->first);
    free(plan->order);
    free(plan->tree_first);
    free(plan->tree_tokens);
    *plan = (sella_tree_plan){0};
}

/* ---- build ---- */

static void *carve(char **cursor, size_t count, size_t size)
{
    void *block = *cursor;
    *cursor += (count * size + 63) & ~(size_t)63;
    return block;
}

/* One block for all arrays of the batch. */
static sella_status batch_alloc(sella_tree_batch *out, sella_err *err)
{
    size_t T = (size_t)out->T, S = (size_t)out->S, N = (size_t)out->N, M = (size_t)out->M;
    size_t bytes = 13 * 64 + T * 8 + (S + 1) * 4 + S * 8 + N * 20 + M * 10;
    char *cursor = out->slab = sella_alloc(bytes, 1, "a batch", err);
    if (!cursor) {
        return SELLA_MEMORY;
    }
    out->row_n = carve(&cursor, N, sizeof *out->row_n);
    out->token_t = carve(&cursor, T, sizeof *out->token_t);
    out->position_t = carve(&cursor, T, sizeof *out->position_t);
    out->start_s = carve(&cursor, S + 1, sizeof *out->start_s);
    out->parent_s = carve(&cursor, S, sizeof *out->parent_s);
    out->subtree_s = carve(&cursor, S, sizeof *out->subtree_s);
    out->answer_n = carve(&cursor, N, sizeof *out->answer_n);
    out->label_n = carve(&cursor, N, sizeof *out->label_n);
    out->weight_n = carve(&cursor, N, sizeof *out->weight_n);
    out->soft_m = carve(&cursor, M, sizeof *out->soft_m);
    out->soft_ref_m = carve(&cursor, M, sizeof *out->soft_ref_m);
    out->soft_slot_m = carve(&cursor, M, sizeof *out->soft_slot_m);
    out->soft_part_m = carve(&cursor, M, sizeof *out->soft_part_m);
    assert((size_t)(cursor - (char *)out->slab) <= bytes);
    return SELLA_OK;
}

/* Tokens, segments and soft tokens of the forest, for the sizes of the batch. */
static sella_status batch_count(const forest *f, sella_tree_batch *out, sella_err *err)
{
    int64_t tokens = 0, soft = 0, segments = 0;
    for (int32_t n = 0; n < f->nodes; n++) {
        const node *x = &f->node_n[n];
        segments += x->parent >= 0;
        tokens += x->end - x->begin;
        for (int64_t at = f->rows->start[x->row] + x->begin; at < f->rows->start[x->row] + x->end;
             at++) {
            soft += f->rows->slot[at] != SELLA_SLOT_NONE;
        }
    }
    if (tokens > INT_MAX) {
        return sella_err_set(err, SELLA_ARG, "a batch of %lld tokens is too large",
                             (long long)tokens);
    }
    out->T = (int)tokens;
    out->S = (int)segments;
    out->M = (int)soft;
    return SELLA_OK;
}

/* How many tokens of the same slot stand directly before token `at` of its row. */
static uint8_t slot_part(const sella_rows *rows, int64_t row, int64_t at)
{
    int64_t first = at;
    while (first > rows->start[row] && rows->slot[first - 1] == rows->slot[at]) {
        first--;
    }
    return (uint8_t)(at - first);
}

/* The tokens of node n become the next segment. */
static void emit(forest *f, int32_t n, sella_tree_batch *out, int *s, int *t, int *m)
{
    const sella_rows *rows = f->rows;
    node *x = &f->node_n[n];
    x->segment = *s;
    out->start_s[*s] = *t;
    out->parent_s[*s] = f->node_n[x->parent].segment; // a root node's segment is -1
    for (int32_t depth = x->begin; depth < x->end; depth++, (*t)++) {
        int64_t at = rows->start[x->row] + depth;
        out->token_t[*t] = rows->token[at];
        out->position_t[*t] = depth;
        if (rows->slot[at] != SELLA_SLOT_NONE) {
            out->soft_m[*m] = *t;
            out->soft_slot_m[*m] = rows->slot[at];
            out->soft_ref_m[*m] = rows->ref[x->row * SELLA_SLOTS + rows->slot[at]];
            out->soft_part_m[*m] = slot_part(rows, x->row, at);
            (*m)++;
        }
    }
    (*s)++;
}

/* Depth-first over all trees, parents before children, children in the order in which rows brought
 * them. */
static void emit_all(forest *f, sella_tree_batch *out)
{
    int s = 0, t = 0, m = 0;
    for (int32_t root = 0; root < f->nodes; root++) {
        if (f->node_n[root].parent >= 0) {
            continue;
        }
        int32_t n = root;
        for (;;) {
            if (f->node_n[n].first >= 0) {
                n = f->node_n[n].first;
            } else {
                while (n != root && f->node_n[n].next < 0) {
                    n = f->node_n[n].parent;
                }
                if (n == root) {
                    break;
                }
                n = f->node_n[n].next;
            }
            emit(f, n, out, &s, &t, &m);
        }
    }
    assert(s == out->S && t == out->T && m == out->M);
    out->start_s[s] = t;
    for (int i = 0; i < s; i++) {
        out->subtree_s[i] = i + 1;
    }
    for (int i = s - 1; i >= 0; i--) {
        int parent = out->parent_s[i];
        if (parent >= 0 && out->subtree_s[parent] < out->subtree_s[i]) {
            out->subtree_s[parent] = out->subtree_s[i];
        }
    }
}

sella_status sella_tree_build(const sella_rows *rows, const int64_t *index_k, int64_t k,
                              const sella_tree_options *options, sella_tree_batch *out,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    forest f = {.rows = rows, .share = options->share, .root = -1};
    int32_t *at_k = NULL;
    *out = (sella_tree_batch){0};
    SELLA_TRY(options_check(options, &f.cap, err));
    if (k > INT_MAX) {
        status = sella_err_set(err, SELLA_ARG, "a batch of %lld rows is too large", (long long)k);
        goto done;
    }
    at_k = sella_alloc((size_t)k, sizeof *at_k, "a batch", err);
    if (!at_k) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t i = 0; i < k; i++) {
        bool fresh;
        assert(index_k[i] >= 0 && index_k[i] < rows->count);
        SELLA_TRY(forest_add(&f, index_k[i], &fresh, &at_k[i], err));
        out->row_tokens += row_length(rows, index_k[i]);
    }
    SELLA_TRY(batch_count(&f, out, err));
    if (out->T > options->budget) {
        status = sella_err_set(err, SELLA_ARG, "the batch has %d tokens; expected at most %d",
                               out->T, options->budget);
        goto done;
    }
    out->N = (int)k;
    SELLA_TRY(batch_alloc(out, err));
    emit_all(&f, out);
    for (int64_t i = 0; i < k; i++) {
        int64_t r = index_k[i];
        int32_t depth = (int32_t)row_length(rows, r) - 1, n = at_k[i];
        while (depth < f.node_n[n].begin) { // later rows split the node above the row's end
            n = f.node_n[n].parent;
        }
        assert(depth < f.node_n[n].end);
        out->answer_n[i] = out->start_s[f.node_n[n].segment] + depth - f.node_n[n].begin;
        out->row_n[i] = rows->row[r];
        out->label_n[i] = rows->label[r];
        out->weight_n[i] = rows->weight[r];
    }
done:
    free(at_k);
    forest_release(&f);
    if (status != SELLA_OK) {
        sella_tree_batch_release(out);
    }
    return status;
}

void sella_tree_batch_release(sella_tree_batch *batch)
{
    free(batch->slab);
    *batch = (sella_tree_batch){0};
}
