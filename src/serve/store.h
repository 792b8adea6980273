/* store.h - feedback in SQLite: what users did since training.
 *
 * Does:     open -> begin, add ..., commit (durable when it returns) | user, each -> close. The
 *           schema has a version; an older store is migrated when it is opened, a newer one
 *           refused.
 * Layout:   docs/formats.md. WAL journal, synchronous=FULL: what was committed survives SIGKILL and
 *           a power cut.
 * Memory:   texts in rows are valid until the next call.
 * Threads:  one handle per thread; several handles and processes may have one file open, one of
 *           them writing.
 */
#ifndef SELLA_SERVE_STORE_H
#define SELLA_SERVE_STORE_H

#include <stdbool.h>

#include "serve/feedback.h"

enum { SELLA_STORE_VERSION = 2 };

typedef struct sella_store sella_store;

/* Open for writing, made when it is missing, or (write false) for reading what is there.
 * SELLA_FORMAT: no feedback store; SELLA_UNSUPPORTED: of a later version. */
sella_status sella_store_open(const char *path, bool write, sella_store **out, sella_err *err);
void sella_store_close(sella_store *store);

/* One transaction. add counts in events->stored and ->duplicates. A failed add or commit has rolled
 * everything back to begin: nothing of the group is there. Returns: SELLA_MEMORY never; *full (may
 * be NULL) tells a full disk from other reasons of SELLA_IO. */
sella_status sella_store_begin(sella_store *store, bool *full, sella_err *err);
sella_status sella_store_add(sella_store *store, sella_feedback *events, int64_t received,
                             bool *full, sella_err *err);
/* What an item is called, for exports. */
sella_status sella_store_title(sella_store *store, const char *item, const char *title, bool *full,
                               sella_err *err);
sella_status sella_store_commit(sella_store *store, bool *full, sella_err *err);

typedef struct sella_stored {
    const char *user, *item;
    const char *title; /* NULL: never told (each only) */
    int label;
    int64_t time;
} sella_stored;

/* The last word on every item: of the events of one user on one item the one with the highest time,
 * the later arrival among equals. */
/* Of one user, oldest first. */
sella_status sella_store_user(sella_store *store, const char *user,
                              sella_status (*each)(void *context, const sella_stored *row,
                                                   sella_err *err),
                              void *context, sella_err *err);
/* Of all users, by user, then oldest first. */
sella_status sella_store_each(sella_store *store,
                              sella_status (*each)(void *context, const sella_stored *row,
                                                   sella_err *err),
                              void *context, sella_err *err);
/* Events stored, of which not the last word on their item. */
sella_status sella_store_count(sella_store *store, int64_t *events, sella_err *err);

#endif
