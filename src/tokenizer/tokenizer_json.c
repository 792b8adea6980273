/* tokenizer_json.c - reading of Hugging Face's tokenizer.json.
 *
 * Accepted: model BPE over bytes; normalizer none or NFC; pre-tokenizers Split(Regex, Isolated),
 *           Digits and a ByteLevel at the end.
 * Not used: post_processor, truncation and padding, since nothing is ever added or cut here.
 * Everything else is refused by name.
 */
#include "base/arena.h"
#include "base/json.h"
#include "tokenizer/tokenizer_model.h"
#include "tokenizer/normalize.h"

enum { FILE_MAX = 256 << 20, DEPTH_MAX = 4 };

typedef struct json_reader {
    const char *path;
    sella_tokenizer *tokenizer;
    sella_spelling spelling;
    sella_err *err;
    bool bytelevel; /* the pre-tokenizer's end was seen */
} json_reader;

static const char *type_of(const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    return type != NULL ? type : "";
}

static sella_status unsupported(const json_reader *r, const char *part, const char *type)
{
    return sella_err_set(r->err, SELLA_UNSUPPORTED,
                         "%s: the %s '%.60s' is not supported; expected byte-level BPE", r->path,
                         part, type);
}

static sella_status setting(const json_reader *r, const char *name, const char *expected)
{
    return sella_err_set(r->err, SELLA_UNSUPPORTED,
                         "%s: '%s' has a value that is not supported; expected %s", r->path, name,
                         expected);
}

/* A boolean that may be absent or null. */
static sella_status get_flag(const json_reader *r, const json_t *object, const char *key,
                             bool absent, bool *out)
{
    const json_t *value = json_object_get(object, key);
    *out = value == NULL || json_is_null(value) ? absent : json_is_true(value);
    return value == NULL || json_is_null(value) || json_is_boolean(value)
               ? SELLA_OK
               : setting(r, key, "true or false");
}

/* ---- normalizer and pre-tokenizer ---- */

static sella_status read_normalizer(json_reader *r, const json_t *value, int depth)
{
    sella_status status = SELLA_OK;
    if (value == NULL || json_is_null(value)) {
        return SELLA_OK;
    }
    if (strcmp(type_of(value), "NFC") == 0) {
        r->tokenizer->nfc = true;
    } else if (strcmp(type_of(value), "Sequence") == 0 && depth < DEPTH_MAX &&
               json_is_array(json_object_get(value, "normalizers"))) {
        size_t i;
        json_t *part;
        json_array_foreach(json_object_get(value, "normalizers"), i, part) {
            SELLA_TRY(read_normalizer(r, part, depth + 1));
        }
    } else {
        return unsupported(r, "normalizer", type_of(value));
    }
done:
    return status;
}

static sella_status add_step(json_reader *r, const char *pattern, size_t bytes)
{
    return sella_splitter_add(r->tokenizer->splitter, pattern, bytes, r->path, r->err);
}

static sella_status read_split(json_reader *r, const json_t *value)
{
    const json_t *regex = json_object_get(json_object_get(value, "pattern"), "Regex");
    const char *behavior = json_string_value(json_object_get(value, "behavior"));
    bool invert = false;
    sella_status status = get_flag(r, value, "invert", false, &invert);
    if (status != SELLA_OK) {
        return status;
    }
    if (behavior == NULL || strcmp(behavior, "Isolated") != 0 || invert) {
        return unsupported(r, "pre-tokenizer Split with behavior",
                           invert             ? "invert"
                           : behavior != NULL ? behavior
                                              : "");
    }
    return json_is_string(regex)
               ? add_step(r, json_string_value(regex), json_string_length(regex))
               : unsupported(r, "pre-tokenizer Split with a pattern other than", "Regex");
}

static sella_status read_pre_tokenizer(json_reader *r, const json_t *value, int depth)
{
    sella_status status = SELLA_OK;
    const char *type = type_of(value);
    bool flag = false, prefix = false;
    if (r->bytelevel) {
        return sella_err_set(
            r->err, SELLA_UNSUPPORTED,
            "%s: the pre-tokenizer '%.60s' comes after ByteLevel; expected ByteLevel last", r->path,
            type);
    }
    if (strcmp(type, "Sequence") == 0 && depth < DEPTH_MAX &&
        json_is_array(json_object_get(value, "pretokenizers"))) {
        size_t i;
        json_t *part;
        json_array_foreach(json_object_get(value, "pretokenizers"), i, part) {
            SELLA_TRY(read_pre_tokenizer(r, part, depth + 1));
        }
    } else if (strcmp(type, "Split") == 0) {
        SELLA_TRY(read_split(r, value));
    } else if (strcmp(type, "Digits") == 0) {
        SELLA_TRY(get_flag(r, value, "individual_digits", false, &flag));
        const char *pattern = flag ? sella_pattern_digit : sella_pattern_digits;
        SELLA_TRY(add_step(r, pattern, strlen(pattern)));
    } else if (strcmp(type, "ByteLevel") == 0) {
        SELLA_TRY(get_flag(r, value, "add_prefix_space", true, &prefix));
        SELLA_TRY(get_flag(r, value, "use_regex", true, &flag));
        if (prefix) {
            return setting(r, "add_prefix_space", "false");
        }
        if (flag) {
            SELLA_TRY(add_step(r, sella_pattern_gpt2, strlen(sella_pattern_gpt2)));
        }
        r->bytelevel = true;
    } else {
        return unsupported(r, "pre-tokenizer",
                           json_is_null(value) || value == NULL ? "null" : type);
    }
done:
    return status;
}

static sella_status check_decoder(json_reader *r, const json_t *value)
{
    if (value == NULL || json_is_null(value) || strcmp(type_of(value), "ByteLevel") == 0) {
        return SELLA_OK;
    }
    size_t i;
    json_t *part;
    bool found = false;
    json_array_foreach(json_object_get(value, "decoders"), i, part) {
        found = found || strcmp(type_of(part), "ByteLevel") == 0;
    }
    return found ? SELLA_OK : unsupported(r, "decoder", type_of(value));
}

/* ---- vocabulary ---- */

static sella_status check_id(const json_reader *r, const json_t *value, const char *text,
                             int32_t *largest)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > SELLA_TOKEN_ID_MAX) {
        return sella_err_set(r->err, SELLA_FORMAT, "%s: token '%.80s' has no id from 0 to %d",
                             r->path, text, SELLA_TOKEN_ID_MAX);
    }
    if (json_integer_value(value) > *largest) {
        *largest = (int32_t)json_integer_value(value);
    }
    return SELLA_OK;
}

static sella_status read_vocab(json_reader *r, const json_t *vocab, const json_t *added)
{
    sella_status status = SELLA_OK;
    int32_t largest = -1;
    const char *text;
    json_t *value;
    size_t i;
    json_object_foreach((json_t *)vocab, text, value) {
        SELLA_TRY(check_id(r, value, text, &largest));
    }
    json_array_foreach(added, i, value) {
        const char *content = json_string_value(json_object_get(value, "content"));
        if (content == NULL) {
            return sella_err_set(r->err, SELLA_FORMAT, "%s: added token number %zu has no content",
                                 r->path, i);
        }
        SELLA_TRY(check_id(r, json_object_get(value, "id"), content, &largest));
    }
    if (json_object_size(vocab) == 0) {
        return sella_err_set(r->err, SELLA_FORMAT, "%s: the vocabulary is empty", r->path);
    }
    SELLA_TRY(sella_vocab_init(&r->tokenizer->bpe.vocab, largest + 1, r->err));
    SELLA_TRY(sella_spelling_init(&r->spelling, json_object_size(vocab), r->err));
    json_object_foreach((json_t *)vocab, text, value) {
        sella_span span = {text, strlen(text)};
        SELLA_TRY(sella_tokenizer_put(r->tokenizer, (int32_t)json_integer_value(value), span,
                                      r->path, r->err));
        /* keys of an object are unique */
        (void)sella_spelling_put(&r->spelling, span, (int32_t)json_integer_value(value));
    }
done:
    return status;
}

/* Text as it will stand in a normalized text. */
static sella_status add_normalized(json_reader *r, sella_added_token token)
{
    sella_text normal = {0};
    bool same = true;
    sella_status status = r->tokenizer->nfc
                              ? sella_nfc(token.text, (size_t)token.bytes, &normal, &same, r->err)
                              : SELLA_OK;
    if (status == SELLA_OK) {
        token.text = same ? token.text : normal.data;
        token.bytes = same ? token.bytes : (int)normal.size;
        status = sella_added_add(&r->tokenizer->normalized, &token, r->path, r->err);
    }
    sella_text_release(&normal);
    return status;
}

static sella_status read_added_token(json_reader *r, const json_t *value)
{
    sella_status status = SELLA_OK;
    const char *content = json_string_value(json_object_get(value, "content"));
    size_t bytes = strlen(content);
    bool normalized = false, single_word = false;
    char *text = (char *)(uintptr_t)content; /* only read: added.c copies it */
    sella_added_token token = {.text = text, .bytes = bytes > INT32_MAX ? INT32_MAX : (int)bytes};
    token.id = (int32_t)json_integer_value(json_object_get(value, "id"));
    SELLA_TRY(get_flag(r, value, "special", false, &token.special));
    SELLA_TRY(get_flag(r, value, "lstrip", false, &token.lstrip));
    SELLA_TRY(get_flag(r, value, "rstrip", false, &token.rstrip));
    SELLA_TRY(get_flag(r, value, "normalized", !token.special, &normalized));
    SELLA_TRY(get_flag(r, value, "single_word", false, &single_word));
    if (single_word) {
        return sella_err_set(r->err, SELLA_UNSUPPORTED,
                             "%s: the added token '%.80s' has single_word, which is not supported",
                             r->path, content);
    }
    int32_t spelled = sella_spelling_find(&r->spelling, content, bytes);
    const sella_vocab *vocab = &r->tokenizer->bpe.vocab;
    if (spelled >= 0 ? spelled != token.id : vocab->token[token.id].kind != SELLA_TOKEN_NONE) {
        return sella_err_set(
            r->err, SELLA_FORMAT,
            "%s: the added token '%.80s' has id %d, which contradicts the vocabulary", r->path,
            content, token.id);
    }
    if (vocab->token[token.id].kind >= SELLA_TOKEN_ADDED) {
        return sella_err_set(r->err, SELLA_FORMAT,
                             "%s: the added token '%.80s' with id %d is there twice", r->path,
                             content, token.id);
    }
    SELLA_TRY(sella_vocab_set(&r->tokenizer->bpe.vocab, token.id, content, bytes,
                              token.special ? SELLA_TOKEN_SPECIAL : SELLA_TOKEN_ADDED, r->err));
    SELLA_TRY(normalized ? add_normalized(r, token)
                         : sella_added_add(&r->tokenizer->raw, &token, r->path, r->err));
done:
    return status;
}

/* ---- merges ---- */

/* A merge is "left right" or ["left", "right"]. */
static bool read_pair(const json_t *value, sella_span *left, sella_span *right)
{
    if (json_is_array(value)) {
        const json_t *a = json_array_get(value, 0), *b = json_array_get(value, 1);
        if (json_array_size(value) != 2 || !json_is_string(a) || !json_is_string(b)) {
            return false;
        }
        *left = (sella_span){json_string_value(a), json_string_length(a)};
        *right = (sella_span){json_string_value(b), json_string_length(b)};
        return true;
    }
    const char *text = json_string_value(value);
    const char *space = text != NULL ? strchr(text, ' ') : NULL;
    if (space == NULL || strchr(space + 1, ' ') != NULL) {
        return false;
    }
    *left = (sella_span){text, (size_t)(space - text)};
    *right = (sella_span){space + 1, json_string_length(value) - left->bytes - 1};
    return true;
}

static sella_status read_merges(json_reader *r, const json_t *merges)
{
    sella_status status = SELLA_OK;
    size_t rank;
    json_t *value;
    SELLA_TRY(sella_merges_init(&r->tokenizer->bpe.merges, json_array_size(merges), r->err));
    json_array_foreach(merges, rank, value) {
        sella_span left, right;
        if (!read_pair(value, &left, &right)) {
            return sella_err_set(r->err, SELLA_FORMAT, "%s: merge %zu is not a pair of texts",
                                 r->path, rank);
        }
        SELLA_TRY(sella_tokenizer_merge(r->tokenizer, &r->spelling, left, right, (uint32_t)rank,
                                        r->path, r->err));
    }
done:
    return status;
}

/* ---- the file ---- */

static sella_status check_empty(const json_reader *r, const json_t *model, const char *key)
{
    const json_t *value = json_object_get(model, key);
    bool empty = value == NULL || json_is_null(value) ||
                 (json_is_string(value) && json_string_length(value) == 0) ||
                 (json_is_number(value) && json_number_value(value) == 0.0) || json_is_false(value);
    return empty ? SELLA_OK : setting(r, key, "none");
}

static sella_status read_model(json_reader *r, const json_t *model, const json_t *added)
{
    sella_status status = SELLA_OK;
    sella_bpe *bpe = &r->tokenizer->bpe;
    const json_t *vocab = json_object_get(model, "vocab"),
                 *merges = json_object_get(model, "merges");
    const json_t *unknown = json_object_get(model, "unk_token");
    if (json_object_get(model, "type") != NULL && strcmp(type_of(model), "BPE") != 0) {
        return unsupported(r, "model", type_of(model));
    }
    if (!json_is_object(vocab) || !json_is_array(merges)) {
        return sella_err_set(r->err, SELLA_FORMAT,
                             "%s: the model has no vocab and merges; expected a BPE model",
                             r->path);
    }
    SELLA_TRY(check_empty(r, model, "byte_fallback"));
    SELLA_TRY(check_empty(r, model, "dropout"));
    SELLA_TRY(check_empty(r, model, "continuing_subword_prefix"));
    SELLA_TRY(check_empty(r, model, "end_of_word_suffix"));
    SELLA_TRY(get_flag(r, model, "fuse_unk", false, &bpe->fuse_unknown));
    SELLA_TRY(get_flag(r, model, "ignore_merges", false, &bpe->ignore_merges));
    SELLA_TRY(read_vocab(r, vocab, added));
    if (json_is_string(unknown)) {
        bpe->unknown = sella_spelling_find(&r->spelling, json_string_value(unknown),
                                           json_string_length(unknown));
        if (bpe->unknown < 0) {
            return sella_err_set(r->err, SELLA_FORMAT,
                                 "%s: unk_token '%.80s' is not in the vocabulary", r->path,
                                 json_string_value(unknown));
        }
    } else if (unknown != NULL && !json_is_null(unknown)) {
        return setting(r, "unk_token", "a text or null");
    }
    size_t i;
    json_t *value;
    json_array_foreach(added, i, value) {
        SELLA_TRY(read_added_token(r, value));
    }
    SELLA_TRY(read_merges(r, merges));
done:
    return status;
}

static sella_status read_root(json_reader *r, const json_t *root)
{
    sella_status status = SELLA_OK;
    const json_t *added = json_object_get(root, "added_tokens");
    if (!json_is_object(json_object_get(root, "model"))) {
        return sella_err_set(r->err, SELLA_FORMAT,
                             "%s: this is not a tokenizer.json: it has no 'model'", r->path);
    }
    if (added != NULL && !json_is_null(added) && !json_is_array(added)) {
        return setting(r, "added_tokens", "a list");
    }
    /* The normalizer first: added tokens depend on it. The model before the pre-tokenizer, so that
     * a Unigram model is named as such. */
    SELLA_TRY(read_normalizer(r, json_object_get(root, "normalizer"), 0));
    SELLA_TRY(read_model(r, json_object_get(root, "model"), added));
    SELLA_TRY(sella_splitter_new(&r->tokenizer->splitter, r->err));
    SELLA_TRY(read_pre_tokenizer(r, json_object_get(root, "pre_tokenizer"), 0));
    if (!r->bytelevel) {
        SELLA_TRY(sella_err_set(
            r->err, SELLA_UNSUPPORTED,
            "%s: the pre-tokenizer does not end with ByteLevel; expected byte-level BPE", r->path));
    }
    SELLA_TRY(check_decoder(r, json_object_get(root, "decoder")));
done:
    return status;
}

sella_status sella_tokenizer_open_json(const char *path, sella_tokenizer **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *root = NULL;
    json_reader r = {.path = path, .err = err};
    *out = NULL;
    r.tokenizer = sella_alloc(1, sizeof *r.tokenizer, path, err);
    if (r.tokenizer == NULL) {
        return SELLA_MEMORY;
    }
    r.tokenizer->bpe.unknown = -1;
    r.tokenizer->fallback = -1;
    SELLA_TRY(sella_json_load(path, FILE_MAX, &root, err));
    SELLA_TRY(read_root(&r, root));
    SELLA_TRY(sella_tokenizer_finish(r.tokenizer, path, err));
    *out = r.tokenizer;
    r.tokenizer = NULL;
done:
    sella_spelling_release(&r.spelling);
    json_decref(root);
    sella_tokenizer_close(r.tokenizer);
    return status;
}
