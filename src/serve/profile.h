/* profile.h - what is known of a user now: the run's record and the feedback since.
 *
 * Does:     The last word on an item counts. Liked: it stands in the history, at its recorded place
 *           or behind it, in the order of the feedback's times. Not liked: it is taken out of the
 *           history, and is not recommended. Items that the catalogue lacks are left out.
 * Memory:   the profile owns its texts until sella_profile_release.
 * Threads:  one store handle per thread.
 */
#ifndef SELLA_SERVE_PROFILE_H
#define SELLA_SERVE_PROFILE_H

#include <jansson.h>

#include "serve/loaded.h"
#include "serve/store.h"

typedef struct sella_profile {
    json_t *history;          /* [{"item","title","time"}], oldest first */
    const char **item_n;      /* [count] ids of the history */
    int count;
    json_t *disliked;         /* object: item -> true */
    const char **disliked_n;  /* [disliked_count] */
    int disliked_count;
    bool changed;             /* the history is not the recorded one */
} sella_profile;

sella_status sella_profile_make(const sella_loaded *loaded, sella_store *store, const char *user,
                                sella_profile *out, sella_err *err);
void sella_profile_release(sella_profile *profile);

#endif
