/* place.h - things sorted by what they belong to (rows by user, queries by group), and those that
 * belong together in their own order.
 *
 * Threads:  pure.
 */
#ifndef SELLA_METHODS_PLACE_H
#define SELLA_METHODS_PLACE_H

#include <stdint.h>

typedef struct sella_place {
    int32_t group;
    int64_t index;
} sella_place;

/* Sort by group, then by index. */
void sella_places_sort(sella_place *place_n, int64_t n);

#endif
