/* bench_clock.c - seconds, processor seconds, the load of others, and the lines that are told
 * (engine/bench_part.h). */
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "engine/bench_part.h"
#include "kernels/gemm.h"

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

sella_sample sella_sample_now(void)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return (sella_sample){sella_now(), seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime)};
}

sella_sample sella_sample_since(sella_sample start)
{
    const sella_sample now = sella_sample_now();
    return (sella_sample){now.seconds - start.seconds, now.cpu - start.cpu};
}

static int by_seconds(const void *a, const void *b)
{
    const double x = ((const sella_sample *)a)->seconds;
    const double y = ((const sella_sample *)b)->seconds;
    return (x > y) - (x < y);
}

sella_sample sella_sample_pick(sella_sample *sample_r, int runs, int which)
{
    qsort(sample_r, (size_t)runs, sizeof *sample_r, by_seconds);
    return which == 0 ? sample_r[0] : sample_r[runs / 2];
}

/* ---- others ---- */

sella_load sella_load_now(void)
{
    sella_load load = {.busy = NAN, .own = sella_sample_now()};
    FILE *file = fopen("/proc/stat", "r");
    char line[512];
    if (file != NULL && fgets(line, sizeof line, file) != NULL && strncmp(line, "cpu ", 4) == 0) {
        double ticks = 0.0;
        char *at = line + 4;
        /* user nice system idle iowait irq softirq steal */
        for (int field = 0; field < 8; field++) {
            const double value = strtod(at, &at);
            ticks += field == 3 || field == 4 ? 0.0 : value;
        }
        load.busy = ticks / (double)sysconf(_SC_CLK_TCK);
    }
    if (file != NULL) {
        fclose(file);
    }
    return load;
}

sella_status sella_bench_folder(char **path, sella_err *err)
{
    const char *base = getenv("TMPDIR");
    char *folder = sella_path_join(base != NULL && base[0] != '\0' ? base : "/tmp",
                                   "sella-bench-XXXXXX", NULL);
    *path = NULL;
    if (folder == NULL) {
        return sella_err_memory(err, "a path", 64);
    }
    if (mkdtemp(folder) == NULL) {
        const sella_status status = sella_err_set(
            err, SELLA_IO, "%s: a folder for what is measured cannot be made there", folder);
        free(folder);
        return status;
    }
    *path = folder;
    return SELLA_OK;
}

double sella_load_foreign(sella_load since)
{
    const sella_load now = sella_load_now();
    const double wall = now.own.seconds - since.own.seconds;
    const double foreign = now.busy - since.busy - (now.own.cpu - since.own.cpu);
    if (isnan(foreign) || wall <= 0.0) {
        return NAN;
    }
    return foreign > 0.0 ? foreign / (wall * (double)sysconf(_SC_NPROCESSORS_ONLN)) : 0.0;
}

/* ---- lines ---- */

/* Peak resident memory, from the kernel's own account. */
static double peak_mb(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double kb = 0.0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kb = strtod(line + 6, NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb / 1024.0;
}

sella_measurement sella_measurement_new(const char *unit, double rate, double bound_share)
{
    sella_measurement m = {.rate = rate,
                           .bound_share = bound_share,
                           .answer = NAN,
                           .token_ratio = NAN,
                           .speed_up = NAN,
                           .share = NAN,
                           .difference = NAN,
                           .work_ratio = NAN,
                           .disk_mb = NAN};
    snprintf(m.unit, sizeof m.unit, "%s", unit);
    return m;
}

void sella_bench_tell(const sella_bench_sink *out, const char *name, const char *work, int which,
                      sella_sample took, sella_measurement m)
{
    m.seconds = took.seconds;
    m.cpu_seconds = took.cpu;
    m.rss_mb = peak_mb();
    m.threads = sella_threads();
    m.foreign_load = sella_load_foreign(out->start);
    snprintf(m.name, sizeof m.name, "%s", name);
    snprintf(m.work, sizeof m.work, "%s, %s of %d", work,
             which < 0    ? "mean"
             : which == 0 ? "best"
                          : "median",
             out->options->runs);
    out->each(out->user, &m);
}
