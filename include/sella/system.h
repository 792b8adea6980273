/* system.h - the machine as sella sees it: what it will use, and what would be slow and why (`sella
 * doctor`).
 *
 * Does:     sella_threads_use(0) -> sella_system_report(&report).
 * Memory:   sella_system is a plain struct owned by the caller.
 * Threads:  sella_threads_use changes the whole process: call it before other work.
 */
#ifndef SELLA_SYSTEM_H
#define SELLA_SYSTEM_H

#include <stdint.h>

#include "sella/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SELLA_ADVICE_MAX = 8 };

typedef struct sella_system {
    char cpu[128];           /* model name, or the architecture */
    /* of those that matter here, e.g. "avx2 fma f16c avx512f"; may be empty */
    char features[256];
    char blas[128];          /* e.g. "OpenBLAS 0.3.21 (Zen, OpenMP)" or "none (reference loops)" */
    int threads;             /* in use now */
    int cores;               /* physical cores that this process may use */
    int cpus;                /* logical processors that are online */
    double load;             /* runnable programs, mean of the last minute; negative when unknown */
    uint64_t memory_total;   /* bytes, of the container when there is one; 0 when unknown */
    uint64_t memory_available;
    int advice_count;
    char advice[SELLA_ADVICE_MAX][256]; /* sentences: what would be slow or fail, and why */
} sella_system;

/* Fill *out; what the system does not say is 0, negative or empty, as written above. */
SELLA_API void sella_system_report(sella_system *out);

/* Compute with n threads from now on (n < 1: as many as there are physical cores). Returns how many
 * are in use. */
SELLA_API int sella_threads_use(int n);

#ifdef __cplusplus
}
#endif
#endif
