/* prefix_cache.c - the radix tree of keys and values (backbone/prefix_cache.h).
 *
 * Easy to get wrong:
 * - the list of nodes is in the order of use and a path is touched from its end to its root: so the
 *   last of the list is always a leaf;
 * - a path may end inside a node: its run is a part of the node, and the node is split before
 *   anything hangs below that place.
 */
#include "backbone/prefix_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

typedef struct node {
    struct node *parent, *child, *sibling; // parent NULL: begins a prompt
    struct node *newer, *older;            // in the order of use
    uint64_t *key;                         // [tokens]
    float *data;                           // [layers, tokens, width]
    int tokens;
    bool pinned;                           // on the path of the last find, or made for it
} node;

struct sella_prefix_cache {
    int layers;
    size_t width; // floats of one token in one layer
    size_t limit, bytes;
    uint64_t nodes, evicted;
    node *first;           // of the nodes without a parent
    node *newest, *oldest;

    /* of the last find */
    node **path_n;         // [path_capacity]
    sella_kv_run *run_n;   // [path_capacity] found, then made
    int path, found_tokens, found, made, path_capacity;
};

static size_t node_bytes(const sella_prefix_cache *cache, int tokens)
{
    return (size_t)tokens *
           ((size_t)cache->layers * cache->width * sizeof(float) + sizeof(uint64_t));
}

sella_status sella_prefix_cache_new(const sella_backbone_config *shape, size_t bytes,
                                    sella_prefix_cache **out, sella_err *err)
{
    sella_prefix_cache *cache = sella_alloc(1, sizeof *cache, "a prefix cache", err);
    *out = cache;
    if (!cache) {
        return SELLA_MEMORY;
    }
    cache->layers = shape->layers;
    cache->width = 2 * (size_t)shape->G * (size_t)shape->D;
    cache->limit = bytes;
    return SELLA_OK;
}

/* ---- nodes ---- */

static void node_free(node *x)
{
    if (x) {
        free(x->key);
        free(x->data);
        free(x);
    }
}

static node *node_new(const sella_prefix_cache *cache, const uint64_t *key_n, int tokens,
                      sella_err *err)
{
    node *x = sella_alloc(1, sizeof *x, "a prefix", err);
    if (!x) {
        return NULL;
    }
    x->tokens = tokens;
    x->key = sella_alloc((size_t)tokens, sizeof *x->key, "a prefix", err);
    x->data = sella_alloc((size_t)tokens * (size_t)cache->layers, cache->width * sizeof(float),
                          "keys and values of a prefix", err);
    if (!x->key || !x->data) {
        node_free(x);
        return NULL;
    }
    memcpy(x->key, key_n, (size_t)tokens * sizeof *key_n);
    return x;
}

static node **children_of(sella_prefix_cache *cache, node *parent)
{
    return parent ? &parent->child : &cache->first;
}

static node *child_find(sella_prefix_cache *cache, node *parent, uint64_t key)
{
    node *x = *children_of(cache, parent);
    while (x && x->key[0] != key) {
        x = x->sibling;
    }
    return x;
}

static void list_remove(sella_prefix_cache *cache, node *x)
{
    *(x->newer ? &x->newer->older : &cache->newest) = x->older;
    *(x->older ? &x->older->newer : &cache->oldest) = x->newer;
    x->newer = x->older = NULL;
}

/* In front of `at` (NULL: as the oldest). */
static void list_insert(sella_prefix_cache *cache, node *x, node *at)
{
    x->older = at;
    x->newer = at ? at->newer : cache->oldest;
    *(x->newer ? &x->newer->older : &cache->newest) = x;
    *(at ? &at->newer : &cache->oldest) = x;
}

static void node_attach(sella_prefix_cache *cache, node *x, node *parent)
{
    node **children = children_of(cache, parent);
    x->parent = parent;
    x->sibling = *children;
    *children = x;
    cache->nodes++;
}

static void node_remove(sella_prefix_cache *cache, node *x)
{
    node **at = children_of(cache, x->parent);
    assert(!x->child);
    while (*at != x) {
        at = &(*at)->sibling;
    }
    *at = x->sibling;
    list_remove(cache, x);
    cache->bytes -= node_bytes(cache, x->tokens);
    cache->nodes--;
    node_free(x);
}

void sella_prefix_cache_free(sella_prefix_cache *cache)
{
    if (!cache) {
        return;
    }
    sella_prefix_cache_drop(cache);
    while (cache->oldest) {
        node_remove(cache, cache->oldest);
    }
    free(cache->path_n);
    free(cache->run_n);
    free(cache);
}

/* ---- find ---- */

static sella_status path_push(sella_prefix_cache *cache, node *x, int tokens, sella_err *err)
{
    if (cache->path == cache->path_capacity) {
        const size_t capacity = (size_t)cache->path_capacity * 2 + 16;
        node **path = realloc(cache->path_n, capacity * sizeof *path);
        cache->path_n = path ? path : cache->path_n;
        sella_kv_run *run = realloc(cache->run_n, capacity * sizeof *run);
        cache->run_n = run ? run : cache->run_n;
        if (!path || !run) {
            return sella_err_memory(err, "a prefix", capacity * sizeof *run);
        }
        cache->path_capacity = (int)capacity;
    }
    x->pinned = true;
    cache->path_n[cache->path] = x;
    cache->run_n[cache->path++] =
        (sella_kv_run){.data = x->data, .tokens = tokens, .stride = x->tokens};
    return SELLA_OK;
}

void sella_prefix_cache_drop(sella_prefix_cache *cache)
{
    for (int i = 0; i < cache->path; i++) {
        if (i < cache->found) {
            cache->path_n[i]->pinned = false;
        } else { // made and never written
            cache->bytes -= node_bytes(cache, cache->path_n[i]->tokens);
            node_free(cache->path_n[i]);
        }
    }
    cache->path = cache->found = cache->made = cache->found_tokens = 0;
}

int sella_prefix_cache_find(sella_prefix_cache *cache, const uint64_t *key_n, int n)
{
    sella_prefix_cache_drop(cache);
    int at = 0;
    for (node *x = NULL; at < n;) {
        x = child_find(cache, x, key_n[at]);
        int same = 0;
        while (x && same < x->tokens && at + same < n && x->key[same] == key_n[at + same]) {
            same++;
        }
        /* without memory less is found */
        if (same == 0 || path_push(cache, x, same, NULL) != SELLA_OK) {
            break;
        }
        at += same;
        if (same < x->tokens) {
            break;
        }
    }
    cache->found = cache->path;
    cache->found_tokens = at;
    for (int i = cache->path - 1; i >= 0; i--) {
        list_remove(cache, cache->path_n[i]);
        list_insert(cache, cache->path_n[i], cache->newest);
    }
    return at;
}

/* ---- extend ---- */

/* Rows from .. from + tokens of each layer into a block of `tokens` rows a layer. */
static void rows_copy(const sella_prefix_cache *cache, float *to, const node *x, int from,
                      int tokens)
{
    for (int l = 0; l < cache->layers; l++) {
        memcpy(to + (size_t)l * (size_t)tokens * cache->width,
               x->data + ((size_t)l * (size_t)x->tokens + (size_t)from) * cache->width,
               (size_t)tokens * cache->width * sizeof *to);
    }
}

/* Cut the last node of the path where the path ends: the path then ends with the upper part. */
static sella_status path_split(sella_prefix_cache *cache, sella_err *err)
{
    sella_kv_run *run = &cache->run_n[cache->path - 1];
    node *low = cache->path_n[cache->path - 1], **at = children_of(cache, low->parent);
    const int cut = run->tokens, rest = low->tokens - cut;
    node *up = node_new(cache, low->key, cut, err);
    float *data = sella_alloc((size_t)rest * (size_t)cache->layers, cache->width * sizeof *data,
                              "keys and values of a prefix", err);
    if (!up || !data) {
        node_free(up);
        free(data);
        return SELLA_MEMORY;
    }
    rows_copy(cache, up->data, low, 0, cut);
    rows_copy(cache, data, low, cut, rest);
    while (*at != low) {
        at = &(*at)->sibling;
    }
    *at = up;
    up->parent = low->parent;
    up->sibling = low->sibling;
    up->child = low;
    up->pinned = true;
    low->pinned = false;
    low->parent = up;
    low->sibling = NULL;
    free(low->data);
    low->data = data;
    memmove(low->key, low->key + cut, (size_t)rest * sizeof *low->key);
    low->tokens = rest;
    list_insert(cache, up, low); // in front of its child
    cache->nodes++;
    cache->path_n[cache->path - 1] = up;
    *run = (sella_kv_run){.data = up->data, .tokens = cut, .stride = cut};
    return SELLA_OK;
}

/* Forget what was used least recently until `need` more bytes fit; nothing when they cannot fit
 * beside the path. */
static bool make_room(sella_prefix_cache *cache, size_t need)
{
    size_t stays = 0;
    for (int i = 0; i < cache->path; i++) {
        stays += node_bytes(cache, cache->path_n[i]->tokens);
    }
    if (need > cache->limit || stays > cache->limit - need) {
        return false;
    }
    while (cache->bytes > cache->limit - need) {
        assert(!cache->oldest->pinned);
        node_remove(cache, cache->oldest);
        cache->evicted++;
    }
    return true;
}

sella_status sella_prefix_cache_extend(sella_prefix_cache *cache, const uint64_t *key_n,
                                       const uint8_t *cut_n, int n, bool *room, sella_err *err)
{
    sella_status status = SELLA_OK;
    int first = cache->found_tokens;
    *room = true;
    assert(cache->made == 0 && n >= first);
    if (first == n) {
        return SELLA_OK;
    }
    if (!make_room(cache, node_bytes(cache, n - first))) {
        *room = false;
        return SELLA_OK;
    }
    if (cache->found > 0 &&
        cache->run_n[cache->found - 1].tokens < cache->path_n[cache->found - 1]->tokens) {
        SELLA_TRY(path_split(cache, err));
    }
    while (first < n) {
        int end = first + 1;
        while (end < n && !cut_n[end]) {
            end++;
        }
        node *x = node_new(cache, key_n + first, end - first, err);
        status = x ? path_push(cache, x, end - first, err) : SELLA_MEMORY;
        if (status != SELLA_OK) {
            node_free(x);
            goto done;
        }
        cache->bytes += node_bytes(cache, x->tokens);
        cache->made++;
        first = end;
    }
done:
    if (status != SELLA_OK) {
        sella_prefix_cache_drop(cache);
    }
    return status;
}

sella_pass_link sella_prefix_cache_link(const sella_prefix_cache *cache)
{
    return (sella_pass_link){.given_n = cache->run_n,
                             .givens = cache->found,
                             .kept_n = cache->run_n + cache->found,
                             .keeps = cache->made};
}

void sella_prefix_cache_commit(sella_prefix_cache *cache)
{
    for (int i = cache->found; i < cache->path; i++) {
        node *parent = i > 0 ? cache->path_n[i - 1] : NULL;
        node_attach(cache, cache->path_n[i], parent);
        list_insert(cache, cache->path_n[i], parent); // newer than its parent for the moment
        cache->found_tokens += cache->path_n[i]->tokens;
    }
    for (int i = cache->path - 1; i >= 0 && cache->made > 0; i--) {
        list_remove(cache, cache->path_n[i]);
        list_insert(cache, cache->path_n[i], cache->newest);
    }
    cache->found = cache->path;
    cache->made = 0;
}

sella_prefix_cache_stats sella_prefix_cache_state(const sella_prefix_cache *cache)
{
    return (sella_prefix_cache_stats){.bytes = cache->bytes,
                                      .limit = cache->limit,
                                      .nodes = cache->nodes,
                                      .evicted = cache->evicted};
}
