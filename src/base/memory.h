/* memory.h - how much memory this process may still take, asked before large work starts.
 *
 * Threads:  pure (reads /proc and the control group).
 * Not here: getting memory (base/arena.h).
 */
#ifndef SELLA_BASE_MEMORY_H
#define SELLA_BASE_MEMORY_H

#include <stddef.h>

#include "base/error.h"

/* Bytes that could be had now without swapping: the least of the machine's MemAvailable, what the control group leaves, and the
 * address space limit. SIZE_MAX when nothing is known. */
size_t sella_memory_available(void);

/* Largest resident size of this process so far, in bytes; 0 when unknown. */
size_t sella_memory_peak(void);

/* SELLA_MEMORY with both figures when `bytes` for `what` ("the weights of model.gguf") exceed what is available. */
sella_status sella_memory_check(size_t bytes, const char *what, sella_err *err);

#endif
