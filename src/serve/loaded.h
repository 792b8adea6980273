/* loaded.h - an opened run that several threads hold on to.
 *
 * Does:     open -> take / drop ...; the last drop closes the engine. A reload opens another one
 *           beside and swaps the server's pointer: who works with the old one finishes with it.
 * Threads:  any; scoring with its engine is the scoring worker's alone.
 */
#ifndef SELLA_SERVE_LOADED_H
#define SELLA_SERVE_LOADED_H

#include <stdatomic.h>

#include "sella/service.h"

typedef struct sella_loaded {
    sella_engine *engine;
    char *info;      /* sella_engine_info */
    char *model;     /* path of the language model; NULL: none */
    double seconds;  /* that opening took */
    atomic_int holders;
} sella_loaded;

/* With one holder. */
sella_status sella_loaded_open(const char *run, const sella_engine_options *options,
                               sella_loaded **out, sella_err *err);
sella_loaded *sella_loaded_take(sella_loaded *loaded);
/* NULL is fine. */
void sella_loaded_drop(sella_loaded *loaded);

#endif
