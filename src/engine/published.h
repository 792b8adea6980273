/* published.h - what the papers print for MovieLens-1M and Amazon-Book on the split that all of
 * them use, test rows.
 *
 * Does:     Constants with their source; NaN: not printed.
 * Threads:  constants.
 * Paper:    tables 2 to 6; CoLLM (Zhang et al. 2025, v3).
 */
#ifndef SELLA_ENGINE_PUBLISHED_H
#define SELLA_ENGINE_PUBLISHED_H

#include <stdint.h>

typedef enum sella_known {
    SELLA_KNOWN_NONE = -1,
    SELLA_KNOWN_ML1M = 0,
    SELLA_KNOWN_BOOK = 1,
    SELLA_KNOWN = 2
} sella_known;

/* By the users of train and the catalogue, which the published splits fix. */
sella_known sella_known_data(int64_t train_users, int64_t items);
const char *sella_known_name(sella_known data);

/* AUC and UAUC of a system, key as in the rows of experiments ("mf", "sella-warm", ...); sella:
 * table 3 or 5 of the SeLLa-Rec paper, collm: table of the CoLLM paper (its own backbone). 0 when
 * there is none. */
typedef struct sella_published {
    const char *key;
    double sella[SELLA_KNOWN][2];
    double collm[SELLA_KNOWN][2];
} sella_published;
const sella_published *sella_published_find(const char *key);

/* Table 2: {train, valid, test, users, items}; users and items are the largest id + 1. */
extern const int64_t sella_published_counts[SELLA_KNOWN][5];
/* Table 4, Book: zero-shot {AUC, UAUC} x {all, warm, cold}. */
extern const double sella_published_zeroshot[2][3];
/* Table 6: AUC on warm rows at step 0 with both, without Proj's pretraining, with neither. */
extern const double sella_published_step0[SELLA_KNOWN][3];

/* How to read these figures; paragraphs of HTML. */
extern const char sella_published_caveats[];

#endif
