/* list.c - lists that are given as one text (cli/list.h). */
#include "cli/list.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

void sella_list_release(sella_list *list)
{
    free(list->buffer);
    free(list->text_n);
    *list = (sella_list){0};
}

sella_status sella_list_cut(const char *data, size_t bytes, char separator, sella_list *out,
                            sella_err *err)
{
    size_t most = 1;
    for (size_t i = 0; i < bytes; i++) {
        most += data[i] == separator;
    }
    out->buffer = sella_alloc(bytes + 1, 1, "a list", err);
    out->text_n = sella_alloc(most, sizeof *out->text_n, "a list", err);
    if (out->buffer == NULL || out->text_n == NULL) {
        return SELLA_MEMORY;
    }
    memcpy(out->buffer, data, bytes);
    for (char *at = out->buffer, *end = out->buffer + bytes; at <= end;) {
        char *stop = memchr(at, separator, (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        char *last = stop;
        while (at < last && strchr(" \t\r", *at) != NULL) {
            at++;
        }
        while (last > at && strchr(" \t\r", last[-1]) != NULL) {
            last--;
        }
        *last = '\0';
        if (last > at) {
            out->text_n[out->count++] = at;
        }
        at = stop + 1;
    }
    return SELLA_OK;
}
