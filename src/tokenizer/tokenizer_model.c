/* tokenizer_model.c - what the two readers of tokenizers have in common. */
#include "tokenizer/tokenizer_model.h"

#include "base/arena.h"
#include "base/file.h"

sella_status sella_spelling_init(sella_spelling *spelling, size_t count, sella_err *err)
{
    size_t size = 16;
    while (size < count + count / 2) {
        size *= 2;
    }
    spelling->mask = size - 1;
    spelling->text = sella_alloc(size, sizeof *spelling->text, "the vocabulary", err);
    spelling->id = spelling->text == NULL
                       ? NULL
                       : sella_alloc(size, sizeof *spelling->id, "the vocabulary", err);
    return spelling->id != NULL ? SELLA_OK : SELLA_MEMORY;
}

void sella_spelling_release(sella_spelling *spelling)
{
    free(spelling->text);
    free(spelling->id);
    *spelling = (sella_spelling){0};
}

static uint64_t spelling_slot(const sella_spelling *spelling, const char *text, size_t bytes)
{
    uint64_t at = sella_hash_bytes(text, bytes, 0) & spelling->mask;
    while (spelling->text[at].data != NULL && (spelling->text[at].bytes != bytes ||
                                               memcmp(spelling->text[at].data, text, bytes) != 0)) {
        at = (at + 1) & spelling->mask;
    }
    return at;
}

bool sella_spelling_put(sella_spelling *spelling, sella_span text, int32_t id)
{
    uint64_t at = spelling_slot(spelling, text.data, text.bytes);
    if (spelling->text[at].data != NULL) {
        return false;
    }
    spelling->text[at] = text;
    spelling->id[at] = id;
    return true;
}

int32_t sella_spelling_find(const sella_spelling *spelling, const char *text, size_t bytes)
{
    uint64_t at = spelling_slot(spelling, text, bytes);
    return spelling->text[at].data != NULL ? spelling->id[at] : -1;
}

sella_status sella_tokenizer_put(sella_tokenizer *tokenizer, int32_t id, sella_span text,
                                 const char *path, sella_err *err)
{
    char small[256];
    char *raw = small;
    size_t raw_bytes = 0;
    sella_vocab *vocab = &tokenizer->bpe.vocab;
    if (vocab->token[id].kind != SELLA_TOKEN_NONE) {
        sella_span other = sella_vocab_text(vocab, id);
        return sella_err_set(err, SELLA_FORMAT, "%s: tokens '%.*s' and '%.*s' have the same id %d",
                             path, (int)(other.bytes < 80 ? other.bytes : 80), other.data,
                             (int)(text.bytes < 80 ? text.bytes : 80), text.data, id);
    }
    if (text.bytes > sizeof small) {
        raw = sella_alloc(text.bytes, 1, "a token", err);
        if (raw == NULL) {
            return SELLA_MEMORY;
        }
    }
    sella_status status = SELLA_OK;
    if (text.bytes > 0 && sella_bytelevel_decode(text.data, text.bytes, raw, &raw_bytes)) {
        status = sella_vocab_set(vocab, id, raw, raw_bytes, SELLA_TOKEN_PLAIN, err);
    } else {
        status = sella_vocab_set(vocab, id, text.data, text.bytes, SELLA_TOKEN_LITERAL, err);
    }
    if (raw != small) {
        free(raw);
    }
    return status;
}

sella_status sella_tokenizer_merge(sella_tokenizer *tokenizer, const sella_spelling *spelling,
                                   sella_span left, sella_span right, uint32_t rank,
                                   const char *path, sella_err *err)
{
    char small[512];
    size_t bytes = left.bytes + right.bytes;
    int32_t a = sella_spelling_find(spelling, left.data, left.bytes);
    int32_t b = sella_spelling_find(spelling, right.data, right.bytes);
    int32_t whole = -1;
    if (a >= 0 && b >= 0 && bytes <= 2 * SELLA_TOKEN_BYTES_MAX) {
        char *both = bytes <= sizeof small ? small : sella_alloc(bytes, 1, "a merge", err);
        if (both == NULL) {
            return SELLA_MEMORY;
        }
        memcpy(both, left.data, left.bytes);
        memcpy(both + left.bytes, right.data, right.bytes);
        whole = sella_spelling_find(spelling, both, bytes);
        if (both != small) {
            free(both);
        }
    }
    if (whole < 0) {
        return sella_err_set(
            err, SELLA_FORMAT,
            "%s: merge %u ('%.*s' with '%.*s') needs a token that the vocabulary lacks", path, rank,
            (int)(left.bytes < 80 ? left.bytes : 80), left.data,
            (int)(right.bytes < 80 ? right.bytes : 80), right.data);
    }
    sella_merges_put(&tokenizer->bpe.merges, a, b, rank, whole);
    return SELLA_OK;
}

sella_status sella_tokenizer_finish(sella_tokenizer *tokenizer, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (tokenizer->kept == NULL) {
        tokenizer->kept = sella_alloc((size_t)tokenizer->bpe.vocab.count, 1, path, err);
        SELLA_TRY(tokenizer->kept == NULL ? SELLA_MEMORY : SELLA_OK);
    }
    SELLA_TRY(sella_vocab_index(&tokenizer->bpe.vocab, path, err));
    sella_bpe_bytes(&tokenizer->bpe);
    SELLA_TRY(sella_added_index(&tokenizer->raw, path, err));
    SELLA_TRY(sella_added_index(&tokenizer->normalized, path, err));
    bool any = false;
    for (int i = 0; i < 256; i++) {
        any = any || tokenizer->bpe.byte_id[i] >= 0;
    }
    if (!any) {
        SELLA_TRY(sella_err_set(
            err, SELLA_UNSUPPORTED,
            "%s: the vocabulary has no tokens of single bytes; expected byte-level BPE", path));
    }
done:
    return status;
}
