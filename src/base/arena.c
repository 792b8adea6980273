/* arena.c - slabs and checked heap allocation (base/arena.h).
 *
 * Under AddressSanitizer each block is followed by a poisoned gap, so that a kernel that runs over
 * a block is seen.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define GAP ((size_t)64)
#define POISON(data, bytes) __asan_poison_memory_region(data, bytes)
#define UNPOISON(data, bytes) __asan_unpoison_memory_region(data, bytes)
#else
#define GAP ((size_t)0)
#define POISON(data, bytes) ((void)0)
#define UNPOISON(data, bytes) ((void)0)
#endif

enum { ALIGN = 64 };

struct sella_arena {
    uint8_t *data; // [size]
    size_t size;
    size_t used;
};

size_t sella_arena_need(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - ALIGN - GAP) {
        return SIZE_MAX;
    }
    return (bytes + ALIGN - 1) / ALIGN * ALIGN + GAP;
}

sella_status sella_arena_new(size_t bytes, const char *what, sella_arena **out, sella_err *err)
{
    *out = NULL;
    sella_arena *arena = calloc(1, sizeof *arena);
    if (!arena || bytes == SIZE_MAX) {
        free(arena);
        return sella_err_memory(err, what, bytes);
    }
    arena->size = bytes > 0 ? bytes : ALIGN;
    arena->data =
        mmap(NULL, arena->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena->data == MAP_FAILED) {
        free(arena);
        return sella_err_memory(err, what, bytes);
    }
    if (arena->size >= (size_t)4 << 20) {
        /* a hint: fewer TLB misses in large slabs */
        (void)madvise(arena->data, arena->size, MADV_HUGEPAGE);
    }
    POISON(arena->data, arena->size);
    *out = arena;
    return SELLA_OK;
}

void sella_arena_free(sella_arena *arena)
{
    if (arena) {
        UNPOISON(arena->data, arena->size);
        munmap(arena->data, arena->size);
        free(arena);
    }
}

void *sella_arena_alloc(sella_arena *arena, size_t count, size_t size)
{
    size_t need = sella_arena_need(count, size);
    assert(need <= arena->size - arena->used);
    if (need > arena->size - arena->used) {
        return NULL; // never hand out what is not ours, even when asserts are off
    }
    void *block = arena->data + arena->used;
    UNPOISON(block, count * size);
    arena->used += need;
    return block;
}

void *sella_alloc(size_t count, size_t size, const char *what, sella_err *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        sella_err_memory(err, what, SIZE_MAX);
        return NULL;
    }
    void *data = calloc(bytes > 0 ? bytes : 1, 1);
    if (!data) {
        sella_err_memory(err, what, bytes);
    }
    return data;
}
