/* pretokenize.c - splitting of a text into pre-tokens by regular expressions. */
#include "tokenizer/pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/arena.h"
#include "base/text.h"
#include "tokenizer/pattern.h"

enum {
    STEPS_BASE = 10000,    /* steps that one match may take: so many and ... */
    /* ... so many more for each byte of the text: the known patterns need about one */
    STEPS_A_BYTE = 8,
    /* KiB, for the interpreter that steps in where the JIT's stack is too small */
    HEAP_LIMIT = 64 * 1024
};

const char sella_pattern_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char sella_pattern_llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char sella_pattern_qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char sella_pattern_digit[] = "\\p{N}";
const char sella_pattern_digits[] = "\\p{N}+";

struct sella_splitter {
    pcre2_code *step[SELLA_SPLITTER_STEPS_MAX];
    int count;
};

sella_status sella_splitter_new(sella_splitter **out, sella_err *err)
{
    *out = NULL;
    sella_splitter *splitter = sella_alloc(1, sizeof *splitter, "a pre-tokenizer", err);
    if (splitter == NULL) {
        return SELLA_MEMORY;
    }
    *out = splitter;
    return SELLA_OK;
}

void sella_splitter_free(sella_splitter *splitter)
{
    if (splitter != NULL) {
        for (int i = 0; i < splitter->count; i++) {
            pcre2_code_free(splitter->step[i]);
        }
        free(splitter);
    }
}

sella_status sella_splitter_add(sella_splitter *splitter, const char *pattern, size_t bytes,
                                const char *where, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text translated = {0};
    int code = 0;
    PCRE2_SIZE place = 0;
    PCRE2_UCHAR reason[160];
    if (splitter->count == SELLA_SPLITTER_STEPS_MAX) {
        return sella_err_set(err, SELLA_UNSUPPORTED, "%s: more than %d pre-tokenizers in a row",
                             where, SELLA_SPLITTER_STEPS_MAX);
    }
    SELLA_TRY(sella_pattern_translate(pattern, bytes, where, &translated, err));
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)translated.data, translated.size,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &place, NULL);
    if (compiled == NULL) {
        pcre2_get_error_message(code, reason, sizeof reason);
        SELLA_TRY(sella_err_set(
            err, SELLA_FORMAT, "%s: the pre-tokenizer's pattern '%.*s' does not compile: %s", where,
            (int)(bytes < 300 ? bytes : 300), pattern, (const char *)reason));
    }
    /* without a JIT the interpreter matches, slower */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    splitter->step[splitter->count++] = compiled;
done:
    sella_text_release(&translated);
    return status;
}

/* One run over one text. */
typedef struct split_run {
    const sella_splitter *splitter;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    sella_piece_call call;
    void *user;
} split_run;

static int match_at(const split_run *run, int step, const char *text, size_t bytes, size_t from)
{
    const pcre2_code *code = run->splitter->step[step];
    int found = pcre2_match(code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, run->match,
                            run->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        found = pcre2_match(code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            run->match, run->limits);
    }
    return found;
}

static sella_status split(const split_run *run, int step, const char *text, size_t bytes,
                          sella_err *err);

static sella_status hand_on(const split_run *run, int step, const char *text, size_t bytes,
                            sella_err *err)
{
    return bytes == 0 ? SELLA_OK : split(run, step, text, bytes, err);
}

static size_t character_bytes(const char *text)
{
    unsigned char c = (unsigned char)*text;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Split a piece by one step and hand what comes out to the next. A step sees its piece as a whole
 * text. */
static sella_status split(const split_run *run, int step, const char *text, size_t bytes,
                          sella_err *err)
{
    sella_status status = SELLA_OK;
    if (step == run->splitter->count) {
        return run->call(run->user, text, bytes, err);
    }
    size_t done_to = 0, from = 0;
    while (from < bytes) {
        int found = match_at(run, step, text, bytes, from);
        if (found == PCRE2_ERROR_NOMATCH) {
            break;
        }
        if (found < 0) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "the pre-tokenizer's pattern takes too long or too much memory on "
                                 "a text of %zu bytes",
                                 bytes);
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(run->match);
        size_t start = range[0], end = range[1];
        if (start < from || end < start || end > bytes) {
            return sella_err_set(err, SELLA_FORMAT,
                                 "the pre-tokenizer's pattern matches outside of its text");
        }
        if (end == start) { /* an empty match divides what surrounds it */
            SELLA_TRY(hand_on(run, step + 1, text + done_to, start - done_to, err));
            done_to = start;
            from = start < bytes ? start + character_bytes(text + start) : bytes;
            continue;
        }
        SELLA_TRY(hand_on(run, step + 1, text + done_to, start - done_to, err));
        SELLA_TRY(hand_on(run, step + 1, text + start, end - start, err));
        done_to = from = end;
    }
    SELLA_TRY(hand_on(run, step + 1, text + done_to, bytes - done_to, err));
done:
    return status;
}

sella_status sella_splitter_run(const sella_splitter *splitter, const char *text, size_t bytes,
                                sella_piece_call call, void *user, sella_err *err)
{
    split_run run = {splitter, pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL),
                     call, user};
    sella_status status = SELLA_OK;
    if (run.match == NULL || run.limits == NULL) {
        SELLA_TRY(sella_err_memory(err, "a match", 0));
    }
    size_t steps = STEPS_BASE + STEPS_A_BYTE * bytes;
    pcre2_set_match_limit(run.limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    pcre2_set_heap_limit(run.limits, HEAP_LIMIT);
    SELLA_TRY(hand_on(&run, 0, text, bytes, err));
done:
    pcre2_match_data_free(run.match);
    pcre2_match_context_free(run.limits);
    return status;
}
