/* tokenizer.c - encoding, decoding and looking up with an opened tokenizer. */
#include "tokenizer/tokenizer.h"

#include "tokenizer/tokenizer_model.h"
#include "tokenizer/normalize.h"

enum { TEXT_MAX = 64 << 20 };

void sella_tokenizer_close(sella_tokenizer *tokenizer)
{
    if (tokenizer != NULL) {
        sella_bpe_release(&tokenizer->bpe);
        sella_splitter_free(tokenizer->splitter);
        sella_added_release(&tokenizer->raw);
        sella_added_release(&tokenizer->normalized);
        free(tokenizer->kept);
        free(tokenizer);
    }
}

int sella_tokenizer_vocab(const sella_tokenizer *tokenizer)
{
    return tokenizer->bpe.vocab.count;
}

void sella_ids_release(sella_ids *ids)
{
    free(ids->id);
    *ids = (sella_ids){0};
}

sella_status sella_ids_push(sella_ids *ids, int32_t id, sella_err *err)
{
    if (ids->count == ids->capacity) {
        int capacity = ids->capacity < 32              ? 32
                       : ids->capacity > INT32_MAX / 2 ? INT32_MAX
                                                       : ids->capacity * 2;
        int32_t *bigger =
            ids->count == INT32_MAX ? NULL : realloc(ids->id, (size_t)capacity * sizeof *bigger);
        if (bigger == NULL) {
            return sella_err_memory(err, "token ids", (size_t)capacity * sizeof *bigger);
        }
        ids->id = bigger;
        ids->capacity = capacity;
    }
    ids->id[ids->count++] = id;
    return SELLA_OK;
}

/* One call of encode. */
typedef struct encoding {
    const sella_tokenizer *tokenizer;
    bool special;
    sella_ids *ids;
    sella_bpe_work work;
    sella_text normal; /* the piece at hand, normalized */
} encoding;

static sella_status encode_word(void *user, const char *text, size_t bytes, sella_err *err)
{
    encoding *e = user;
    return sella_bpe_encode(&e->tokenizer->bpe, &e->work, text, bytes, e->ids, err);
}

typedef sella_status (*plain_call)(encoding *e, const char *text, size_t bytes, sella_err *err);

static sella_status encode_plain(encoding *e, const char *text, size_t bytes, sella_err *err)
{
    return sella_splitter_run(e->tokenizer->splitter, text, bytes, encode_word, e, err);
}

/* Push the ids of added tokens and call `plain` for what lies between them. */
static sella_status cut(encoding *e, const sella_added *added, const char *text, size_t bytes,
                        plain_call plain, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t done_to = 0;
    sella_added_cut found = {0};
    while (sella_added_next(added, text, bytes, e->special, &found)) {
        if (found.start > done_to) {
            SELLA_TRY(plain(e, text + done_to, found.start - done_to, err));
        }
        SELLA_TRY(sella_ids_push(e->ids, found.id, err));
        done_to = found.end;
    }
    if (bytes > done_to) {
        SELLA_TRY(plain(e, text + done_to, bytes - done_to, err));
    }
done:
    return status;
}

static sella_status encode_raw(encoding *e, const char *text, size_t bytes, sella_err *err)
{
    if (e->tokenizer->nfc) {
        bool same = true;
        e->normal.size = 0;
        sella_status status = sella_nfc(text, bytes, &e->normal, &same, err);
        if (status != SELLA_OK) {
            return status;
        }
        if (!same) {
            text = e->normal.data;
            bytes = e->normal.size;
        }
    }
    return cut(e, &e->tokenizer->normalized, text, bytes, encode_plain, err);
}

sella_status sella_tokenizer_encode(const sella_tokenizer *tokenizer, const char *text,
                                    size_t bytes, bool special, sella_ids *ids, sella_err *err)
{
    encoding e = {.tokenizer = tokenizer, .special = special, .ids = ids};
    int before = ids->count;
    if (bytes > TEXT_MAX) {
        return sella_err_set(
            err, SELLA_ARG,
            "a text of %zu bytes is too long for the tokenizer; expected at most %d", bytes,
            TEXT_MAX);
    }
    size_t good = sella_utf8_valid(text, bytes);
    if (good < bytes) {
        return sella_err_set(err, SELLA_FORMAT,
                             "a text for the tokenizer is not valid UTF-8 at byte %zu of %zu", good,
                             bytes);
    }
    sella_status status = cut(&e, &tokenizer->raw, text, bytes, encode_raw, err);
    if (status != SELLA_OK) {
        ids->count = before;
    }
    sella_bpe_work_release(&e.work);
    sella_text_release(&e.normal);
    return status;
}

sella_status sella_tokenizer_decode(const sella_tokenizer *tokenizer, const int32_t *id_n, int n,
                                    sella_text *text, sella_err *err)
{
    const sella_vocab *vocab = &tokenizer->bpe.vocab;
    size_t before = text->size;
    for (int i = 0; i < n; i++) {
        bool known = id_n[i] >= 0 && id_n[i] < vocab->count &&
                     vocab->token[id_n[i]].kind != SELLA_TOKEN_NONE;
        sella_status status = SELLA_OK;
        if (!known) {
            status =
                sella_err_set(err, SELLA_ARG, "there is no token %d; expected ids from 0 to %d",
                              id_n[i], vocab->count - 1);
        } else {
            sella_span piece = sella_vocab_text(vocab, id_n[i]);
            status = sella_text_append(text, piece.data, piece.bytes, err);
        }
        if (status != SELLA_OK) {
            text->size = before;
            if (text->data != NULL) {
                text->data[before] = '\0';
            }
            return status;
        }
    }
    return SELLA_OK;
}

int32_t sella_tokenizer_find(const sella_tokenizer *tokenizer, const char *token)
{
    size_t bytes = strlen(token);
    int32_t id = sella_added_find(&tokenizer->raw, token, bytes);
    id = id >= 0 ? id : sella_added_find(&tokenizer->normalized, token, bytes);
    return id >= 0 ? id : sella_vocab_find(&tokenizer->bpe.vocab, token, bytes);
}

/* Special tokens that chat templates and training data are known to use. */
static bool is_in_use(sella_span text)
{
    static const char *const used[] = {
        "<s>",
        "</s>",
        "<unk>",
        "<pad>",
        "<bos>",
        "<eos>",
        "<mask>",
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|im_sep|>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|python_tag|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|end|>",
        "<|tool|>",
        "<|pad|>",
        "<|finetune_right_pad_id|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<tool_call>",
        "</tool_call>",
        "<tool_response>",
        "</tool_response>",
        "<think>",
        "</think>",
    };
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) {
        if (strlen(used[i]) == text.bytes && memcmp(used[i], text.data, text.bytes) == 0) {
            return true;
        }
    }
    return false;
}

static bool says_reserved(sella_span text)
{
    return memmem(text.data, text.bytes, "reserved", 8) != NULL ||
           memmem(text.data, text.bytes, "unused", 6) != NULL;
}

int sella_tokenizer_reserved(const sella_tokenizer *tokenizer, int32_t *id_n, int want)
{
    const sella_vocab *vocab = &tokenizer->bpe.vocab;
    int found = 0;
    /* first what is reserved or unused, then other special tokens */
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t id = 0; id < vocab->count && found < want; id++) {
            sella_token_kind kind = vocab->token[id].kind;
            if (kind != SELLA_TOKEN_SPECIAL && kind != SELLA_TOKEN_UNUSED) {
                continue;
            }
            sella_span text = sella_vocab_text(vocab, id);
            bool first = kind == SELLA_TOKEN_UNUSED || says_reserved(text);
            if (first == (pass == 0) && !tokenizer->kept[id] && !is_in_use(text)) {
                id_n[found++] = id;
            }
        }
    }
    if (found == 0 && want > 0) {
        static const char *const ends[] = {"<pad>",           "<|pad|>", "<|endoftext|>",
                                           "<|end_of_text|>", "</s>",    "<|im_end|>"};
        id_n[0] = tokenizer->fallback;
        for (size_t i = 0; i < sizeof ends / sizeof *ends && id_n[0] < 0; i++) {
            id_n[0] = sella_tokenizer_find(tokenizer, ends[i]);
        }
        /* no special token at all: the last one */
        for (int32_t id = vocab->count - 1; id >= 0 && id_n[0] < 0; id--) {
            id_n[0] = vocab->token[id].kind != SELLA_TOKEN_NONE ? id : -1;
        }
        found = 1;
    }
    for (int i = found; i < want; i++) {
        id_n[i] = id_n[i % found];
    }
    return found;
}
