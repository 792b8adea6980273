/* input.c - standard input as a text (cli/input.h). */
#include "cli/input.h"

#include <errno.h>
#include <stdio.h>

sella_status sella_read_stdin(sella_text *out, sella_err *err)
{
    char block[1 << 16];
    sella_status status = SELLA_OK;
    for (size_t n; status == SELLA_OK && (n = fread(block, 1, sizeof block, stdin)) > 0;) {
        status = sella_text_append(out, block, n, err);
    }
    if (status == SELLA_OK && ferror(stdin)) {
        status = sella_err_errno(err, "standard input", "read", errno);
    }
    return status;
}
