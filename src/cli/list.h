/* list.h - lists that are given as one text: "a; b;c".
 *
 * Does:     sella_list_cut -> text_n [count] -> sella_list_release.
 * Memory:   a list owns a copy of the text; release in every case.
 * Threads:  pure.
 */
#ifndef SELLA_CLI_LIST_H
#define SELLA_CLI_LIST_H

#include "base/error.h"

typedef struct sella_list {
    char *buffer;
    const char **text_n; /* [count] */
    int count;
} sella_list;

/* Cut bytes at `separator`; blanks around an entry and empty entries are dropped. */
sella_status sella_list_cut(const char *data, size_t bytes, char separator, sella_list *out,
                            sella_err *err);
void sella_list_release(sella_list *list);

#endif
