/* arena.h - one slab of memory, handed out from the front, freed at once.
 *
 * Does:     new(bytes) -> alloc ... -> free. Sizes are counted first (sella_arena_need), so the
 *           peak is known before work starts.
 * Layout:   every block starts on a 64-byte boundary and is zero.
 * Memory:   blocks live until the arena is freed.
 * Threads:  one object per thread.
 */
#ifndef SELLA_BASE_ARENA_H
#define SELLA_BASE_ARENA_H

#include <stddef.h>

#include "base/error.h"

typedef struct sella_arena sella_arena;

/* Bytes that an allocation of `count` elements of `size` takes with its alignment; SIZE_MAX when
 * the product overflows. */
size_t sella_arena_need(size_t count, size_t size);

/* Get a slab (anonymous mapping: pages cost memory only when touched). Returns SELLA_MEMORY when
 * refused. */
sella_status sella_arena_new(size_t bytes, const char *what, sella_arena **out, sella_err *err);
void sella_arena_free(sella_arena *arena);

/* Next block; asserts that it fits (sizes were counted before: a miss is our bug). */
void *sella_arena_alloc(sella_arena *arena, size_t count, size_t size);

/* Checked heap allocation for everything that is not training memory: zeroed, overflow-safe. NULL +
 * err sentence on failure; free with free(). count*size == 0 gives a valid pointer. */
void *sella_alloc(size_t count, size_t size, const char *what, sella_err *err);

#endif
