/* system.c - facts about the machine and what follows from them (sella/system.h). */
#include "sella/system.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernels/gemm.h"

int sella_threads_use(int n)
{
    return sella_threads_set(n);
}

/* "model name : ..." of /proc/cpuinfo, or the architecture where there is no such line. */
static void cpu_name(char *out, size_t room)
{
    char line[512];
    struct utsname name;
    snprintf(out, room, "%s", uname(&name) == 0 ? name.machine : "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (colon) {
            colon += strspn(colon, ": \t");
            colon[strcspn(colon, "\n")] = '\0';
            snprintf(out, room, "%s", colon);
            break;
        }
    }
    if (file) {
        fclose(file);
    }
}

/* The features that kernels or BLAS make use of; fast: those that our AVX2 kernels need are all
 * there. */
static void cpu_features(char *out, size_t room, bool *fast)
{
    size_t used = 0;
    *fast = false;
    out[0] = '\0';
#if defined(__x86_64__)
#define FEATURE(name)                                                                          \
    if (__builtin_cpu_supports(name) && used < room) {                                         \
        used += (size_t)snprintf(out + used, room - used, "%s%s", used > 0 ? " " : "", name); \
    }
    FEATURE("avx")
    FEATURE("avx2")
    FEATURE("fma")
    FEATURE("f16c")
    FEATURE("avx512f")
    FEATURE("avx512dq")
    FEATURE("avx512bw")
    FEATURE("avx512vl")
    FEATURE("avx512vnni")
#undef FEATURE
    *fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("f16c");
#else
    (void)room;
    (void)used;
#endif
}

static void advise(sella_system *s, const char *fmt, ...) SELLA_PRINTF(2, 3);
static void advise(sella_system *s, const char *fmt, ...)
{
    if (s->advice_count < SELLA_ADVICE_MAX) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(s->advice[s->advice_count++], sizeof s->advice[0], fmt, args);
        va_end(args);
    }
}

void sella_system_report(sella_system *out)
{
    bool fast;
    double load[1];
    sella_err problem = {0};
    *out = (sella_system){.threads = sella_threads(),
                          .cores = sella_cores(),
                          .cpus = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    cpu_name(out->cpu, sizeof out->cpu);
    cpu_features(out->features, sizeof out->features, &fast);
    snprintf(out->blas, sizeof out->blas, "%s", sella_blas_name());
    out->load = getloadavg(load, 1) == 1 ? load[0] : -1;
    out->memory_total = sella_memory_total();
    out->memory_available = sella_memory_available() == SIZE_MAX ? 0 : sella_memory_available();

    if (!fast) {
        advise(out, "This processor lacks AVX2, FMA or F16C: attention and weights in 4 to 8 bits "
                    "use plain loops, several times slower.");
    }
    if (sella_blas_check(&problem) != SELLA_OK) {
        advise(out, "%.250s", problem.text);
    }
    if (strncmp(out->blas, "none", 4) == 0) {
        advise(out, "Built with BLAS=none: matrix products use the reference loops, about ten "
                    "times slower; install libopenblas-openmp-dev.");
    }
    if (out->threads > out->cores) {
        advise(out,
               "%d threads share %d physical cores: matrix products get slower, not faster; leave "
               "out --threads.",
               out->threads, out->cores);
    } else if (out->threads < out->cores) {
        advise(out, "%d of %d physical cores are used; leave out --threads to use all.",
               out->threads, out->cores);
    }
    if (out->load > 0.5 * out->cpus) {
        advise(out,
               "Other programs keep %.1f of %d processors busy: everything takes longer and "
               "benchmarks mean little.",
               out->load, out->cpus);
    }
    if (out->memory_available > 0 && out->memory_available < UINT64_C(3) << 29) {
        advise(out,
               "%.2f GiB of memory are free: training a language model of 135M parameters takes up "
               "to 1.5 GiB, a model of 7B in 4 bits 6 GiB.",
               (double)out->memory_available / 0x1p30);
    }
}
