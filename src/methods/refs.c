/* refs.c - equal users and items of a set of queries (methods/refs.h). */
#include "methods/refs.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"

/* Open addressing on 64-bit hashes, then on equality: entry = ref + 1. */
typedef struct table {
    int32_t *entry;
    size_t size; // a power of two, more than twice the entries
} table;

static bool same_user(const sella_query *a, const sella_query *b, sella_refs_kind kind)
{
    if (a->user != b->user || (kind == SELLA_REFS_TARGET && a->item != b->item)) {
        return false;
    }
    if (kind == SELLA_REFS_USER && a->user >= 0) {
        return true;
    }
    return a->history_count == b->history_count &&
           (a->history_n == b->history_n || a->history_count == 0 ||
            (a->history_n && b->history_n &&
             memcmp(a->history_n, b->history_n, (size_t)a->history_count * sizeof *a->history_n) ==
                 0));
}

static uint64_t user_hash(const sella_query *q, sella_refs_kind kind)
{
    uint64_t hash = sella_hash_bytes(&q->user, sizeof q->user, 1);
    hash = kind == SELLA_REFS_TARGET ? sella_hash_bytes(&q->item, sizeof q->item, hash) : hash;
    const bool look =
        (kind != SELLA_REFS_USER || q->user < 0) && q->history_n && q->history_count > 0;
    return look ? sella_hash_bytes(q->history_n, (size_t)q->history_count * sizeof *q->history_n,
                                   hash)
                : hash;
}

static int32_t user_ref(table *t, sella_refs *refs, const sella_query *query_n, int64_t n,
                        sella_refs_kind kind)
{
    size_t i = (size_t)user_hash(&query_n[n], kind) & (t->size - 1);
    for (; t->entry[i]; i = (i + 1) & (t->size - 1)) {
        int32_t ref = t->entry[i] - 1;
        if (same_user(&query_n[refs->user_query_u[ref]], &query_n[n], kind)) {
            return ref;
        }
    }
    refs->user_query_u[refs->users] = n;
    t->entry[i] = (int32_t)++refs->users;
    return t->entry[i] - 1;
}

static int32_t item_ref(table *t, sella_refs *refs, int32_t item)
{
    size_t i = (size_t)sella_hash_bytes(&item, sizeof item, 2) & (t->size - 1);
    for (; t->entry[i]; i = (i + 1) & (t->size - 1)) {
        if (refs->item_i[t->entry[i] - 1] == item) {
            return t->entry[i] - 1;
        }
    }
    refs->item_i[refs->items] = item;
    t->entry[i] = (int32_t)++refs->items;
    return t->entry[i] - 1;
}

sella_status sella_refs_make(const sella_query *query_n, int64_t N, sella_refs_kind kind,
                             sella_refs *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t n = (size_t)N, size = 16;
    *out = (sella_refs){.N = N};
    if (N > INT32_MAX / 4) {
        return sella_err_set(err, SELLA_ARG, "%lld queries at once are too many", (long long)N);
    }
    while (size < 2 * n + 2) {
        size *= 2;
    }
    table users = {sella_alloc(size, sizeof(int32_t), "users of queries", err), size};
    table items = {sella_alloc(size, sizeof(int32_t), "items of queries", err), size};
    out->user_ref_n = sella_alloc(n, sizeof *out->user_ref_n, "users of queries", err);
    out->item_ref_n = sella_alloc(n, sizeof *out->item_ref_n, "items of queries", err);
    out->user_query_u = sella_alloc(n, sizeof *out->user_query_u, "users of queries", err);
    out->item_i = sella_alloc(n, sizeof *out->item_i, "items of queries", err);
    if (!users.entry || !items.entry || !out->user_ref_n || !out->item_ref_n ||
        !out->user_query_u || !out->item_i) {
        status = SELLA_MEMORY;
        sella_refs_release(out);
        goto done;
    }
    for (int64_t q = 0; q < N; q++) {
        if (kind == SELLA_REFS_SHARED) {
            out->users = out->items = 1; // of the first query; refs are 0
            out->item_i[0] = -1;
            continue;
        }
        out->user_ref_n[q] = user_ref(&users, out, query_n, q, kind);
        out->item_ref_n[q] = item_ref(&items, out, query_n[q].item);
    }
done:
    free(users.entry);
    free(items.entry);
    return status;
}

void sella_refs_release(sella_refs *refs)
{
    free(refs->user_ref_n);
    free(refs->item_ref_n);
    free(refs->user_query_u);
    free(refs->item_i);
    *refs = (sella_refs){0};
}

void sella_refs_slots(const sella_refs *refs, int64_t n, int32_t ref[SELLA_SLOTS])
{
    ref[SELLA_SLOT_NONE] = 0;
    ref[SELLA_SLOT_USER] = refs ? refs->user_ref_n[n] : 0;
    ref[SELLA_SLOT_ITEM] = ref[SELLA_SLOT_WARM] = refs ? refs->item_ref_n[n] : 0;
}
