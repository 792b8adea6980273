/* added.c - tokens that are cut out of a text as a whole. */
#include "tokenizer/added.h"

#include "base/arena.h"

void sella_added_release(sella_added *added)
{
    for (int i = 0; i < added->count; i++) {
        free(added->token[i].text);
    }
    free(added->token);
    *added = (sella_added){0};
}

/* Bytes of the White_Space character at the start of text, or 0. */
static size_t space_bytes(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    if (bytes == 0) {
        return 0;
    }
    if ((p[0] >= 9 && p[0] <= 13) || p[0] == ' ') {
        return 1;
    }
    if (bytes >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0)) {
        return 2;
    }
    if (bytes < 3) {
        return 0;
    }
    uint32_t c = (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    bool space =
        (p[0] & 0xf0) == 0xe0 && (c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
                                  c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000);
    return space ? 3 : 0;
}

sella_status sella_added_add(sella_added *added, const sella_added_token *token, const char *path,
                             sella_err *err)
{
    if (token->bytes < 1 || token->bytes > SELLA_ADDED_BYTES_MAX) {
        return sella_err_set(err, SELLA_FORMAT, "%s: added token %d has %d bytes; expected 1 to %d",
                             path, token->id, token->bytes, SELLA_ADDED_BYTES_MAX);
    }
    /* a run of n such tokens would cost n * n */
    if (token->rstrip && space_bytes(token->text, (size_t)token->bytes) > 0) {
        return sella_err_set(
            err, SELLA_UNSUPPORTED,
            "%s: added token %d begins with white space and strips it on its right", path,
            token->id);
    }
    if (added->count == added->room) {
        int room = added->room == 0 ? 32 : added->room * 2;
        sella_added_token *bigger = realloc(added->token, (size_t)room * sizeof *bigger);
        if (bigger == NULL) {
            return sella_err_memory(err, "added tokens", (size_t)room * sizeof *bigger);
        }
        added->token = bigger;
        added->room = room;
    }
    sella_added_token copy = *token;
    copy.text = sella_alloc((size_t)token->bytes, 1, "an added token", err);
    if (copy.text == NULL) {
        return SELLA_MEMORY;
    }
    memcpy(copy.text, token->text, (size_t)token->bytes);
    added->token[added->count++] = copy;
    return SELLA_OK;
}

static int compare_text(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int compare_tokens(const void *a, const void *b)
{
    const sella_added_token *x = a, *y = b;
    return compare_text(x->text, (size_t)x->bytes, y->text, (size_t)y->bytes);
}

sella_status sella_added_index(sella_added *added, const char *path, sella_err *err)
{
    if (added->count > 0) {
        qsort(added->token, (size_t)added->count, sizeof *added->token, compare_tokens);
    }
    for (int i = 1; i < added->count; i++) {
        if (compare_tokens(&added->token[i - 1], &added->token[i]) == 0) {
            return sella_err_set(err, SELLA_FORMAT, "%s: the added token '%.*s' is there twice",
                                 path, added->token[i].bytes, added->token[i].text);
        }
    }
    int next = 0;
    for (int byte = 0; byte <= 256; byte++) {
        while (next < added->count && (unsigned char)added->token[next].text[0] < byte) {
            next++;
        }
        added->first[byte] = next;
    }
    return SELLA_OK;
}

int32_t sella_added_find(const sella_added *added, const char *text, size_t bytes)
{
    int low = 0, high = added->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const sella_added_token *t = &added->token[middle];
        int order = compare_text(text, bytes, t->text, (size_t)t->bytes);
        if (order == 0) {
            return t->id;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return -1;
}

/* First of [low, high) whose byte at `depth` is >= byte; all are longer than depth or end there
 * (and sort first). */
static int narrow(const sella_added *added, int low, int high, int depth, int byte)
{
    while (low < high) {
        int middle = low + (high - low) / 2;
        const sella_added_token *t = &added->token[middle];
        if (t->bytes <= depth || (unsigned char)t->text[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Longest token at the start of text, or NULL. */
static const sella_added_token *longest(const sella_added *added, const char *text, size_t bytes)
{
    const sella_added_token *best = NULL;
    int low = added->first[(unsigned char)text[0]], high = added->first[(unsigned char)text[0] + 1];
    for (int depth = 1; low < high; depth++) {
        if (added->token[low].bytes == depth) {
            best = &added->token[low];
        }
        if ((size_t)depth == bytes) {
            break;
        }
        int byte = (unsigned char)text[depth];
        int from = narrow(added, low, high, depth, byte);
        high = narrow(added, from, high, depth, byte + 1);
        low = from;
    }
    return best;
}

static size_t strip_left(const char *text, size_t from, size_t start)
{
    for (;;) {
        size_t before = start;
        for (size_t n = 1; n <= 3 && n <= start - from; n++) {
            if (space_bytes(text + start - n, n) == n) {
                before = start - n;
                break;
            }
        }
        if (before == start) {
            return start;
        }
        start = before;
    }
}

static size_t strip_right(const char *text, size_t end, size_t bytes)
{
    for (size_t n; (n = space_bytes(text + end, bytes - end)) > 0;) {
        end += n;
    }
    return end;
}

bool sella_added_next(const sella_added *added, const char *text, size_t bytes, bool special,
                      sella_added_cut *c)
{
    if (added->count == 0) {
        return false;
    }
    for (size_t i = c->at; i < bytes;) {
        const sella_added_token *t = longest(added, text + i, bytes - i);
        if (t == NULL) {
            i++;
            continue;
        }
        c->at = i + (size_t)t->bytes;
        if (t->special && !special) {
            i = c->at; /* the package passes over it as a whole, too */
            continue;
        }
        size_t before = c->end;
        c->start = !t->lstrip ? i : before < i ? strip_left(text, before, i) : before;
        c->end = t->rstrip ? strip_right(text, c->at, bytes) : c->at;
        c->id = t->id;
        return true;
    }
    return false;
}
