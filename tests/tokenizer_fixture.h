/* tokenizer_fixture.h - tokenizers opened from either kind of file, or the running test fails.
 *
 * Include after <cmocka.h>. */
#ifndef SELLA_TESTS_TOKENIZER_FIXTURE_H
#define SELLA_TESTS_TOKENIZER_FIXTURE_H

#include "check.h"
#include "tokenizer/tokenizer.h"

static inline sella_tokenizer *open_json(const char *path)
{
    sella_tokenizer *tokenizer = NULL;
    CHECK(sella_tokenizer_open_json(path, &tokenizer, err));
    return tokenizer;
}

static inline sella_tokenizer *open_gguf(const char *path)
{
    sella_gguf *file = NULL;
    sella_tokenizer *tokenizer = NULL;
    CHECK(sella_gguf_open(path, &file, err));
    CHECK(sella_tokenizer_open_gguf(file, &tokenizer, err));
    sella_gguf_close(file); /* nothing may be borrowed from it */
    return tokenizer;
}

#endif
