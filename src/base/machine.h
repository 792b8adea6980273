/* machine.h - the memory of this machine or container, so that what will not fit is refused before work starts.
 *
 * Does:     Figures come from /proc and the cgroup (1 or 2) that the process runs in: a container's limit counts, not its host's memory.
 * Threads:  pure reads.
 * Not here: threads and cores (kernels/gemm.h).
 */
#ifndef SELLA_BASE_MACHINE_H
#define SELLA_BASE_MACHINE_H

#include <stdint.h>

#include "base/error.h"

/* Bytes that exist, and bytes that can still be had without swapping; 0 when the system does not say. */
uint64_t sella_memory_total(void);
uint64_t sella_memory_available(void);
/* Most bytes that this process had resident so far. */
uint64_t sella_memory_peak(void);

/* SELLA_MEMORY with both figures when `bytes` more are not available: "sella needs 4.10 GiB of memory and 1.90 GiB can be had; ADVICE".
 * advice says what to lower; NULL: nothing. */
sella_status sella_memory_check(uint64_t bytes, const char *what, const char *advice, sella_err *err);

#endif
