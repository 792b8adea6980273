/* normalize.c - NFC with the tables of utf8proc.
 *
 * utf8proc's own ordering of combining marks exchanges neighbours, which takes quadratic time in a
 * long run of marks; so the decomposition is ordered here (stable, by counting when a run is long)
 * and utf8proc only composes.
 */
#include "tokenizer/normalize.h"

#include <utf8proc.h>

#include "base/arena.h"

enum { SHORT_RUN = 24, CLASSES = 256 };

/* Stable order by combining class. cp [n], class [n], scratch [n]. */
static void order_marks(utf8proc_int32_t *cp, uint8_t *class, size_t n, utf8proc_int32_t *scratch)
{
    if (n <= SHORT_RUN) {
        for (size_t i = 1; i < n; i++) {
            utf8proc_int32_t c = cp[i];
            uint8_t k = class[i];
            size_t j = i;
            for (; j > 0 && class[j - 1] > k; j--) {
                cp[j] = cp[j - 1];
                class[j] = class[j - 1];
            }
            cp[j] = c;
            class[j] = k;
        }
        return;
    }
    size_t start[CLASSES + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        start[class[i] + 1]++;
    }
    for (int k = 0; k < CLASSES; k++) {
        start[k + 1] += start[k];
    }
    for (size_t i = 0; i < n; i++) {
        scratch[start[class[i]]++] = cp[i];
    }
    memcpy(cp, scratch, n * sizeof *cp);
}

/* Decompose into cp [room]; returns how many code points there are (more than room: nothing useful
 * was written). */
static size_t decompose(const char *text, size_t bytes, utf8proc_int32_t *cp, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes;) {
        utf8proc_int32_t c;
        int boundary = 0;
        i += (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                      (utf8proc_ssize_t)(bytes - i), &c);
        utf8proc_ssize_t got = utf8proc_decompose_char(
            c, cp != NULL ? cp + n : NULL, cp != NULL ? (utf8proc_ssize_t)(room - n) : 0,
            UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
        n += (size_t)got;
    }
    return n;
}

static void order_all(utf8proc_int32_t *cp, uint8_t *class, size_t n, utf8proc_int32_t *scratch)
{
    for (size_t i = 0; i < n; i++) {
        class[i] = (uint8_t)utf8proc_get_property(cp[i])->combining_class;
    }
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && class[end] != 0) {
            end++;
        }
        if (end > i) {
            order_marks(cp + i, class + i, end - i, scratch);
        }
        i = end + 1;
    }
}

sella_status sella_nfc(const char *text, size_t bytes, sella_text *out, bool *same, sella_err *err)
{
    sella_status status = SELLA_OK;
    utf8proc_int32_t *cp = NULL, *scratch = NULL;
    uint8_t *class = NULL;
    size_t i = 0;
    /* every character below U+0300 is its own NFC */
    while (i < bytes && (unsigned char)text[i] < 0xcc) {
        i++;
    }
    *same = i == bytes;
    if (*same) {
        return SELLA_OK;
    }
    size_t count = decompose(text, bytes, NULL, 0);
    cp = sella_alloc(count, sizeof *cp, "a text's characters", err);
    scratch = cp == NULL ? NULL : sella_alloc(count, sizeof *scratch, "a text's characters", err);
    class = scratch == NULL ? NULL : sella_alloc(count, 1, "a text's characters", err);
    if (class == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    decompose(text, bytes, cp, count);
    order_all(cp, class, count, scratch);
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t k = 0; k < composed; k++) {
        utf8proc_uint8_t utf8[4];
        utf8proc_ssize_t width = utf8proc_encode_char(cp[k], utf8);
        SELLA_TRY(sella_text_append(out, (const char *)utf8, (size_t)width, err));
    }
done:
    free(cp);
    free(scratch);
    free(class);
    return status;
}
