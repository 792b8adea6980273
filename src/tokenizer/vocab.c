/* vocab.c - tokens by id and by text, and the table of merges. */
#include "tokenizer/vocab.h"

#include <assert.h>

#include "base/arena.h"
#include "base/file.h"

sella_status sella_vocab_init(sella_vocab *vocab, int32_t count, sella_err *err)
{
    *vocab = (sella_vocab){.count = count};
    vocab->token = sella_alloc((size_t)count, sizeof *vocab->token, "the vocabulary", err);
    return vocab->token != NULL ? SELLA_OK : SELLA_MEMORY;
}

void sella_vocab_release(sella_vocab *vocab)
{
    free(vocab->token);
    free(vocab->slot);
    sella_text_release(&vocab->pool);
    *vocab = (sella_vocab){0};
}

sella_status sella_vocab_set(sella_vocab *vocab, int32_t id, const char *text, size_t bytes,
                             sella_token_kind kind, sella_err *err)
{
    assert(id >= 0 && id < vocab->count);
    if (bytes > SELLA_TOKEN_BYTES_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "token %d has %zu bytes; expected at most %d", id,
                             bytes, SELLA_TOKEN_BYTES_MAX);
    }
    sella_span old = sella_vocab_text(vocab, id);
    bool plain = kind == SELLA_TOKEN_PLAIN || (vocab->token[id].plain && old.bytes == bytes &&
                                               memcmp(old.data, text, bytes) == 0);
    vocab->token[id] = (sella_token){vocab->pool.size, (uint32_t)bytes, kind, plain};
    return sella_text_append(&vocab->pool, text, bytes, err);
}

sella_span sella_vocab_text(const sella_vocab *vocab, int32_t id)
{
    const sella_token *token = &vocab->token[id];
    return (sella_span){token->bytes > 0 ? vocab->pool.data + token->offset : "", token->bytes};
}

/* Smallest 2^k - 1 whose table of 2^k stays at most two thirds full. */
static uint64_t mask_for(uint64_t count)
{
    uint64_t size = 16;
    while (size * 2 < count * 3) {
        size *= 2;
    }
    return size - 1;
}

sella_status sella_vocab_index(sella_vocab *vocab, const char *path, sella_err *err)
{
    vocab->mask = (uint32_t)mask_for((uint64_t)vocab->count);
    vocab->slot = sella_alloc((size_t)vocab->mask + 1, sizeof *vocab->slot, "the vocabulary", err);
    if (vocab->slot == NULL) {
        return SELLA_MEMORY;
    }
    memset(vocab->slot, 0xff, ((size_t)vocab->mask + 1) * sizeof *vocab->slot);
    for (int32_t id = 0; id < vocab->count; id++) {
        if (!vocab->token[id].plain) {
            continue;
        }
        sella_span text = sella_vocab_text(vocab, id);
        uint32_t at = (uint32_t)sella_hash_bytes(text.data, text.bytes, 0) & vocab->mask;
        for (; vocab->slot[at] >= 0; at = (at + 1) & vocab->mask) {
            sella_span other = sella_vocab_text(vocab, vocab->slot[at]);
            if (other.bytes == text.bytes && memcmp(other.data, text.data, text.bytes) == 0) {
                return sella_err_set(err, SELLA_FORMAT, "%s: tokens %d and %d have the same text",
                                     path, vocab->slot[at], id);
            }
        }
        vocab->slot[at] = id;
    }
    return SELLA_OK;
}

int32_t sella_vocab_find(const sella_vocab *vocab, const char *text, size_t bytes)
{
    for (uint32_t at = (uint32_t)sella_hash_bytes(text, bytes, 0) & vocab->mask;
         vocab->slot[at] >= 0; at = (at + 1) & vocab->mask) {
        sella_span other = sella_vocab_text(vocab, vocab->slot[at]);
        if (other.bytes == bytes && memcmp(other.data, text, bytes) == 0) {
            return vocab->slot[at];
        }
    }
    return -1;
}

/* Byte of a character of the alphabet, or -1. U+0100 + k stands for the k-th of the bytes 0-32,
 * 127-160, 173. */
static int byte_of(uint32_t c)
{
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255)) {
        return (int)c;
    }
    if (c < 256 || c >= 256 + 68) {
        return -1;
    }
    c -= 256;
    return c < 33 ? (int)c : c < 33 + 34 ? (int)(c - 33 + 127) : 173;
}

bool sella_bytelevel_decode(const char *text, size_t bytes, char *raw, size_t *raw_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes;) {
        unsigned char a = (unsigned char)text[i];
        uint32_t c = a;
        if (a >= 0x80) {
            if (a < 0xc2 || a > 0xc5 || i + 1 >= bytes ||
                ((unsigned char)text[i + 1] & 0xc0) != 0x80) {
                return false; /* above U+017F, or no UTF-8 */
            }
            c = (uint32_t)(a & 0x1f) << 6 | ((unsigned char)text[++i] & 0x3f);
        }
        i++;
        int byte = byte_of(c);
        if (byte < 0) {
            return false;
        }
        raw[n++] = (char)byte;
    }
    *raw_bytes = n;
    return true;
}

sella_status sella_merges_init(sella_merges *merges, size_t count, sella_err *err)
{
    merges->mask = mask_for(count);
    merges->slot = sella_alloc((size_t)merges->mask + 1, sizeof *merges->slot, "the merges", err);
    if (merges->slot == NULL) {
        return SELLA_MEMORY;
    }
    for (uint64_t i = 0; i <= merges->mask; i++) {
        merges->slot[i].pair = UINT64_MAX;
    }
    return SELLA_OK;
}

void sella_merges_release(sella_merges *merges)
{
    free(merges->slot);
    *merges = (sella_merges){0};
}

static sella_merge *merge_slot(const sella_merges *merges, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t hash = pair * 0x9e3779b97f4a7c15u;
    uint64_t at = (hash ^ hash >> 32) & merges->mask;
    while (merges->slot[at].pair != pair && merges->slot[at].pair != UINT64_MAX) {
        at = (at + 1) & merges->mask;
    }
    return &merges->slot[at];
}

void sella_merges_put(sella_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    *merge_slot(merges, left, right) =
        (sella_merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id};
}

const sella_merge *sella_merges_get(const sella_merges *merges, int32_t left, int32_t right)
{
    const sella_merge *merge = merge_slot(merges, left, right);
    return merge->pair == UINT64_MAX ? NULL : merge;
}
