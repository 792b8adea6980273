/* memory.c - /proc/meminfo, control groups and limits (base/memory.h). */
#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* The number after `key` in a file of "key: number kB" lines. */
static bool proc_value(const char *path, const char *key, size_t *bytes)
{
    char line[256];
    unsigned long long value = 0;
    bool found = false;
    FILE *file = fopen(path, "r");
    while (file && !found && fgets(line, sizeof line, file)) {
        size_t n = strlen(key);
        found = strncmp(line, key, n) == 0 && sscanf(line + n, "%llu", &value) == 1;
    }
    if (file) {
        fclose(file);
    }
    *bytes = (size_t)value << 10;
    return found;
}

static bool number_in(const char *path, size_t *value)
{
    unsigned long long number = 0;
    FILE *file = fopen(path, "r");
    bool ok = file && fscanf(file, "%llu", &number) == 1;
    if (file) {
        fclose(file);
    }
    *value = (size_t)number;
    return ok;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t sella_memory_available(void)
{
    size_t bytes = SIZE_MAX, value = 0, used = 0;
    if (proc_value("/proc/meminfo", "MemAvailable:", &value)) {
        bytes = value;
    }
    if ((number_in("/sys/fs/cgroup/memory.max", &value) && number_in("/sys/fs/cgroup/memory.current", &used)) ||
        (number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", &value) && number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes", &used))) {
        bytes = least(bytes, value > used ? value - used : 0);
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && proc_value("/proc/self/status", "VmSize:", &used)) {
        bytes = least(bytes, limit.rlim_cur > used ? (size_t)limit.rlim_cur - used : 0);
    }
    return bytes;
}

size_t sella_memory_peak(void)
{
    size_t bytes = 0;
    return proc_value("/proc/self/status", "VmHWM:", &bytes) ? bytes : 0;
}

sella_status sella_memory_check(size_t bytes, const char *what, sella_err *err)
{
    size_t available = sella_memory_available();
    if (bytes > available) {
        return sella_err_set(err, SELLA_MEMORY, "%s need %.2f GB of memory; %.2f GB are available", what, (double)bytes / 1e9,
                             (double)available / 1e9);
    }
    return SELLA_OK;
}
