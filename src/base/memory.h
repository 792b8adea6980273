/* memory.h - how much memory there is, so that what will not fit is refused before work starts.
 *
 * Does:     Figures come from /proc, the cgroup (1 or 2) that the process runs in, and the address
 *           space limit: a container's limit counts, not its host's memory.
 * Threads:  pure reads.
 * Not here: getting memory (base/arena.h); threads and cores (kernels/gemm.h).
 */
#ifndef SELLA_BASE_MEMORY_H
#define SELLA_BASE_MEMORY_H

#include <stddef.h>

#include "base/error.h"

/* Bytes that exist; 0 when the system does not say. */
size_t sella_memory_total(void);
/* Bytes that can still be had without swapping; SIZE_MAX when nothing is known. */
size_t sella_memory_available(void);

/* SELLA_MEMORY with both figures when `bytes` more for `what` ("the weights of model.gguf") cannot
 * be had. */
sella_status sella_memory_check(size_t bytes, const char *what, sella_err *err);

#endif
