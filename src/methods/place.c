/* place.c - things sorted by what they belong to (methods/place.h). */
#include "methods/place.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    const sella_place *x = a, *y = b;
    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

void sella_places_sort(sella_place *place_n, int64_t n)
{
    qsort(place_n, (size_t)n, sizeof *place_n, compare);
}
