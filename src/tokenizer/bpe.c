/* bpe.c - byte-pair merging of one pre-token.
 *
 * The order of merges is that of the tokenizers package: lowest rank first, then leftmost. A
 * candidate is stale when its left symbol was merged away or the pair that now stands there makes
 * another token; it is dropped when it surfaces.
 */
#include "tokenizer/bpe.h"

#include <assert.h>

void sella_bpe_release(sella_bpe *bpe)
{
    sella_vocab_release(&bpe->vocab);
    sella_merges_release(&bpe->merges);
}

void sella_bpe_work_release(sella_bpe_work *work)
{
    free(work->symbol);
    free(work->heap);
    *work = (sella_bpe_work){0};
}

void sella_bpe_bytes(sella_bpe *bpe)
{
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        bpe->byte_id[i] = sella_vocab_find(&bpe->vocab, &byte, 1);
    }
}

static sella_status grow(void **data, size_t *room, size_t need, size_t size, sella_err *err)
{
    if (need <= *room) {
        return SELLA_OK;
    }
    size_t wanted = need < 64 ? 64 : need + need / 2;
    void *bigger = realloc(*data, wanted * size);
    if (bigger == NULL) {
        return sella_err_memory(err, "a text's tokens", wanted * size);
    }
    *data = bigger;
    *room = wanted;
    return SELLA_OK;
}

static bool before(const sella_bpe_candidate *a, const sella_bpe_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void sift_down(sella_bpe_candidate *heap, size_t count, size_t at)
{
    sella_bpe_candidate moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!before(&heap[child], &moving)) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static sella_status push(sella_bpe_work *work, sella_bpe_candidate candidate, sella_err *err)
{
    void *heap = work->heap;
    sella_status status =
        grow(&heap, &work->heap_room, work->heap_count + 1, sizeof *work->heap, err);
    work->heap = heap;
    if (status != SELLA_OK) {
        return status;
    }
    size_t at = work->heap_count++;
    while (at > 0 && before(&candidate, &work->heap[(at - 1) / 2])) {
        work->heap[at] = work->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    work->heap[at] = candidate;
    return SELLA_OK;
}

static sella_bpe_candidate pop(sella_bpe_work *work)
{
    sella_bpe_candidate top = work->heap[0];
    work->heap[0] = work->heap[--work->heap_count];
    if (work->heap_count > 0) {
        sift_down(work->heap, work->heap_count, 0);
    }
    return top;
}

/* One symbol a byte, linked; returns how many. */
static int32_t spell(const sella_bpe *bpe, sella_bpe_symbol *symbol, const char *text, size_t bytes)
{
    int32_t n = 0;
    bool after_unknown = false;
    for (size_t i = 0; i < bytes; i++) {
        int32_t id = bpe->byte_id[(unsigned char)text[i]];
        bool unknown = id < 0;
        if (unknown) {
            id = bpe->unknown;
            if (id < 0 || (after_unknown && bpe->fuse_unknown)) {
                continue;
            }
        }
        after_unknown = unknown;
        symbol[n] = (sella_bpe_symbol){id, n - 1, n + 1};
        n++;
    }
    if (n > 0) {
        symbol[n - 1].next = -1;
    }
    return n;
}

/* Make the pair that starts at `place` a candidate if it merges. */
static sella_status consider(const sella_bpe *bpe, sella_bpe_work *work, int32_t place,
                             sella_err *err)
{
    const sella_bpe_symbol *left = &work->symbol[place];
    const sella_merge *merge =
        sella_merges_get(&bpe->merges, left->id, work->symbol[left->next].id);
    return merge == NULL ? SELLA_OK
                         : push(work, (sella_bpe_candidate){merge->rank, place, merge->id}, err);
}

static sella_status merge_all(const sella_bpe *bpe, sella_bpe_work *work, int32_t count,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_bpe_symbol *symbol = work->symbol;
    work->heap_count = 0;
    for (int32_t i = 0; i + 1 < count; i++) {
        SELLA_TRY(consider(bpe, work, i, err));
    }
    while (work->heap_count > 0) {
        sella_bpe_candidate top = pop(work);
        sella_bpe_symbol *left = &symbol[top.place];
        if (left->id < 0 || left->next < 0) {
            continue;
        }
        sella_bpe_symbol *right = &symbol[left->next];
        const sella_merge *merge = sella_merges_get(&bpe->merges, left->id, right->id);
        if (merge == NULL || merge->id != top.id) {
            continue;
        }
        left->id = top.id;
        right->id = -1;
        left->next = right->next;
        if (left->next >= 0) {
            symbol[left->next].prev = top.place;
            SELLA_TRY(consider(bpe, work, top.place, err));
        }
        if (left->prev >= 0) {
            SELLA_TRY(consider(bpe, work, left->prev, err));
        }
    }
done:
    return status;
}

sella_status sella_bpe_encode(const sella_bpe *bpe, sella_bpe_work *work, const char *text,
                              size_t bytes, sella_ids *ids, sella_err *err)
{
    assert(bytes <= INT32_MAX);
    sella_status status = SELLA_OK;
    if (bpe->ignore_merges) {
        int32_t id = sella_vocab_find(&bpe->vocab, text, bytes);
        if (id >= 0) {
            return sella_ids_push(ids, id, err);
        }
    }
    void *symbol = work->symbol;
    status = grow(&symbol, &work->symbol_room, bytes, sizeof *work->symbol, err);
    work->symbol = symbol;
    if (status != SELLA_OK) {
        return status;
    }
    int32_t count = spell(bpe, work->symbol, text, bytes);
    SELLA_TRY(merge_all(bpe, work, count, err));
    for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = work->symbol[i].next) {
        SELLA_TRY(sella_ids_push(ids, work->symbol[i].id, err));
    }
done:
    return status;
}
