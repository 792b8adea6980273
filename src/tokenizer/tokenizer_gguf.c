/* tokenizer_gguf.c - reading of a tokenizer from the metadata of a GGUF file.
 *
 * The file names its pre-tokenizer instead of carrying it; what the name means (pattern, NFC, whole
 * words first) is the table below, as the models' own tokenizer.json files have it.
 */
#include "base/arena.h"
#include "tokenizer/tokenizer_model.h"

/* Kinds of tokens in tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_UNUSED = 5 };

static const struct {
    const char *name;
    const char *pattern;
    bool digits; /* each digit on its own first */
    bool nfc;
    bool ignore_merges;
} known[] = {
    {"gpt-2", sella_pattern_gpt2, false, false, false},
    {"default", sella_pattern_gpt2, false, false, false},
    {"smollm", sella_pattern_gpt2, true, false, false},
    {"llama-bpe", sella_pattern_llama3, false, false, true},
    {"llama3", sella_pattern_llama3, false, false, true},
    {"llama-v3", sella_pattern_llama3, false, false, true},
    {"qwen2", sella_pattern_qwen2, false, true, false},
    {"deepseek-r1-qwen", sella_pattern_qwen2, false, true, false},
};
enum { KNOWN = sizeof known / sizeof *known };

static sella_status choose(const sella_gguf *file, sella_tokenizer *tokenizer, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *path = sella_gguf_path(file);
    sella_span model, pre;
    SELLA_TRY(sella_gguf_string(file, "tokenizer.ggml.model", &model, err));
    if (model.bytes != 4 || memcmp(model.data, "gpt2", 4) != 0) {
        return sella_err_set(
            err, SELLA_UNSUPPORTED,
            "%s: the tokenizer model '%.*s' is not supported; expected 'gpt2' (byte-level BPE)",
            path, (int)(model.bytes < 60 ? model.bytes : 60), model.data);
    }
    SELLA_TRY(sella_gguf_string(file, "tokenizer.ggml.pre", &pre, err));
    for (int i = 0; i < KNOWN; i++) {
        if (strlen(known[i].name) == pre.bytes && memcmp(known[i].name, pre.data, pre.bytes) == 0) {
            tokenizer->nfc = known[i].nfc;
            tokenizer->bpe.ignore_merges = known[i].ignore_merges;
            SELLA_TRY(sella_splitter_new(&tokenizer->splitter, err));
            if (known[i].digits) {
                SELLA_TRY(sella_splitter_add(tokenizer->splitter, sella_pattern_digit,
                                             strlen(sella_pattern_digit), path, err));
            }
            return sella_splitter_add(tokenizer->splitter, known[i].pattern,
                                      strlen(known[i].pattern), path, err);
        }
    }
    return sella_err_set(
        err, SELLA_UNSUPPORTED,
        "%s: the pre-tokenizer '%.*s' is not supported; expected gpt-2, smollm, llama-bpe or qwen2",
        path, (int)(pre.bytes < 60 ? pre.bytes : 60), pre.data);
done:
    return status;
}

static sella_status put_token(sella_tokenizer *tokenizer, sella_spelling *spelling, int32_t id,
                              sella_span text, int32_t type, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (text.bytes > SELLA_TOKEN_BYTES_MAX ||
        sella_utf8_valid(text.data, text.bytes) != text.bytes) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: token %d is not a UTF-8 text of at most %d bytes", path, id,
                             SELLA_TOKEN_BYTES_MAX);
    }
    if (!sella_spelling_put(spelling, text, id)) {
        return sella_err_set(err, SELLA_FORMAT,
                             "%s: the token '%.*s' is there twice (once with id %d)", path,
                             (int)(text.bytes < 80 ? text.bytes : 80), text.data, id);
    }
    switch (type) {
    case TYPE_NORMAL: return sella_tokenizer_put(tokenizer, id, text, path, err);
    case TYPE_UNUSED:
        return sella_vocab_set(&tokenizer->bpe.vocab, id, text.data, text.bytes, SELLA_TOKEN_UNUSED,
                               err);
    case TYPE_UNKNOWN:
    case TYPE_CONTROL:
    case TYPE_USER: break;
    default:
        return sella_err_set(err, SELLA_UNSUPPORTED,
                             "%s: token %d has the kind %d; expected 1 to 5", path, id, type);
    }
    char *content = (char *)(uintptr_t)text.data; /* only read: added.c copies it */
    sella_added_token added = {
        .text = content, .bytes = (int)text.bytes, .id = id, .special = type != TYPE_USER};
    SELLA_TRY(sella_vocab_set(&tokenizer->bpe.vocab, id, text.data, text.bytes,
                              added.special ? SELLA_TOKEN_SPECIAL : SELLA_TOKEN_ADDED, err));
    SELLA_TRY(sella_added_add(&tokenizer->raw, &added, path, err));
done:
    return status;
}

static sella_status read_tokens(const sella_gguf *file, sella_tokenizer *tokenizer,
                                sella_spelling *spelling, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *path = sella_gguf_path(file);
    sella_span *text = NULL;
    int32_t *type = NULL;
    int64_t count = 0, types = 0;
    SELLA_TRY(sella_gguf_strings(file, "tokenizer.ggml.tokens", &text, &count, err));
    SELLA_TRY(sella_gguf_ints(file, "tokenizer.ggml.token_type", &type, &types, err));
    if (count != types || count < 1 || count > SELLA_TOKEN_ID_MAX + 1) {
        SELLA_TRY(sella_err_set(
            err, SELLA_FORMAT,
            "%s: there are %lld tokens and %lld token types; expected as many of each, 1 to %d",
            path, (long long)count, (long long)types, SELLA_TOKEN_ID_MAX + 1));
    }
    SELLA_TRY(sella_vocab_init(&tokenizer->bpe.vocab, (int32_t)count, err));
    SELLA_TRY(sella_spelling_init(spelling, (size_t)count, err));
    for (int64_t i = 0; i < count; i++) {
        SELLA_TRY(put_token(tokenizer, spelling, (int32_t)i, text[i], type[i], path, err));
    }
done:
    free(text);
    free(type);
    return status;
}

static sella_status read_merges(const sella_gguf *file, sella_tokenizer *tokenizer,
                                const sella_spelling *spelling, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *path = sella_gguf_path(file);
    sella_span *merge = NULL;
    int64_t count = 0;
    SELLA_TRY(sella_gguf_strings(file, "tokenizer.ggml.merges", &merge, &count, err));
    if (count > UINT32_MAX) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "%s: %lld merges are too many", path,
                                (long long)count));
    }
    SELLA_TRY(sella_merges_init(&tokenizer->bpe.merges, (size_t)count, err));
    for (int64_t i = 0; i < count; i++) {
        const char *space = memchr(merge[i].data, ' ', merge[i].bytes);
        size_t left = space != NULL ? (size_t)(space - merge[i].data) : 0;
        if (space == NULL || memchr(space + 1, ' ', merge[i].bytes - left - 1) != NULL) {
            SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                    "%s: merge %lld is not two texts with a space between", path,
                                    (long long)i));
        }
        SELLA_TRY(sella_tokenizer_merge(tokenizer, spelling, (sella_span){merge[i].data, left},
                                        (sella_span){space + 1, merge[i].bytes - left - 1},
                                        (uint32_t)i, path, err));
    }
done:
    free(merge);
    return status;
}

/* Keep what the file names and what its chat template writes from being reserved. */
static sella_status keep_named(const sella_gguf *file, sella_tokenizer *tokenizer, sella_err *err)
{
    static const char *const names[] = {"padding", "eos",       "eot",       "eom", "bos",
                                        "unknown", "seperator", "separator", "cls", "mask"};
    sella_span chat;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char key[64];
        int64_t id = 0;
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", names[i]);
        if (!sella_gguf_has(file, key)) {
            continue;
        }
        sella_status status = sella_gguf_int(file, key, &id, err);
        if (status != SELLA_OK) {
            return status;
        }
        if (id < 0 || id >= tokenizer->bpe.vocab.count) {
            return sella_err_set(err, SELLA_FORMAT, "%s: key '%s' is %lld; expected 0 to %d",
                                 sella_gguf_path(file), key, (long long)id,
                                 tokenizer->bpe.vocab.count - 1);
        }
        tokenizer->kept[id] = 1;
        tokenizer->fallback = tokenizer->fallback < 0 ? (int32_t)id : tokenizer->fallback;
    }
    if (sella_gguf_has(file, "tokenizer.chat_template") &&
        sella_gguf_string(file, "tokenizer.chat_template", &chat, NULL) == SELLA_OK) {
        sella_added_cut found = {0};
        while (sella_added_next(&tokenizer->raw, chat.data, chat.bytes, true, &found)) {
            tokenizer->kept[found.id] = 1;
        }
    }
    return SELLA_OK;
}

sella_status sella_tokenizer_open_gguf(const sella_gguf *file, sella_tokenizer **out,
                                       sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_spelling spelling = {0};
    *out = NULL;
    sella_tokenizer *tokenizer = sella_alloc(1, sizeof *tokenizer, sella_gguf_path(file), err);
    if (tokenizer == NULL) {
        return SELLA_MEMORY;
    }
    tokenizer->bpe.unknown = -1;
    tokenizer->fallback = -1;
    SELLA_TRY(choose(file, tokenizer, err));
    SELLA_TRY(read_tokens(file, tokenizer, &spelling, err));
    SELLA_TRY(read_merges(file, tokenizer, &spelling, err));
    SELLA_TRY(sella_tokenizer_finish(tokenizer, sella_gguf_path(file), err));
    SELLA_TRY(keep_named(file, tokenizer, err));
    *out = tokenizer;
    tokenizer = NULL;
done:
    sella_spelling_release(&spelling);
    sella_tokenizer_close(tokenizer);
    return status;
}
