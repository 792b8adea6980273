/* token_text.c - tokens as text that JSON can hold (engine/token_text.h). */
#include "engine/token_text.h"

sella_status sella_token_text(const sella_tokenizer *tokenizer, const int32_t *id_n, int n,
                              json_t **out, sella_err *err)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    sella_text raw = {0};
    sella_text clean = {0};
    sella_status status = SELLA_OK;
    *out = NULL;
    SELLA_TRY(sella_tokenizer_decode(tokenizer, id_n, n, &raw, err));
    for (size_t at = 0; at < raw.size;) {
        const size_t good = sella_utf8_valid(raw.data + at, raw.size - at);
        SELLA_TRY(sella_text_append(&clean, raw.data + at, good, err));
        at += good;
        if (at < raw.size) {
            SELLA_TRY(sella_text_append(&clean, replacement, sizeof replacement - 1, err));
            at++;
        }
    }
    *out = json_stringn(clean.data != NULL ? clean.data : "", clean.size);
    if (*out == NULL) {
        status = sella_err_memory(err, "a token", clean.size);
    }
done:
    sella_text_release(&raw);
    sella_text_release(&clean);
    return status;
}
