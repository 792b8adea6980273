/* loaded.h - an opened run that several threads hold on to.
 *
 * Does:     open -> opened -> take / drop ...; the last drop closes the engine. A reload opens
 *           another one beside and swaps the server's pointer: who works with the old one finishes
 *           with it.
 * Threads:  any; scoring with its engine is the scoring worker's alone.
 */
#ifndef SELLA_SERVE_LOADED_H
#define SELLA_SERVE_LOADED_H

#include <stdatomic.h>

#include "sella/service.h"

typedef struct sella_loaded {
    sella_engine *engine;
    char *info;      /* sella_engine_info */
    /* The run's folder and the language model (NULL: none) as they stand in the engine's messages:
     * from the root, so that they can be told from words and kept from clients. */
    char *path, *model;
    double seconds;  /* that opening took */
    const sella_talk *told; /* NULL, or who hears what the engine says while it is opened */
    sella_talk talk;        /* that the engine has */
    atomic_bool opening;
    atomic_int holders;
} sella_loaded;

/* With one holder. What the engine says goes to options->talk until sella_loaded_opened; later it
 * would speak of requests ("user 'x' is not in ..."). */
sella_status sella_loaded_open(const char *run, const sella_engine_options *options,
                               sella_loaded **out, sella_err *err);
void sella_loaded_opened(sella_loaded *loaded);
sella_loaded *sella_loaded_take(sella_loaded *loaded);
/* NULL is fine. */
void sella_loaded_drop(sella_loaded *loaded);

#endif
