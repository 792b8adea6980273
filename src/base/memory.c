/* memory.c - memory figures from /proc, cgroups and limits (base/memory.h). */
#include "base/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* The number after `key` at the start of a line of a small text file (key "": the first number).
 * False when there is none. */
static bool number_in(const char *path, const char *key, uint64_t *out)
{
    char line[256];
    bool found = false;
    FILE *file = fopen(path, "r");
    while (file && !found && fgets(line, sizeof line, file)) {
        found = strncmp(line, key, strlen(key)) == 0 &&
                sscanf(line + strlen(key), " %" SCNu64, out) == 1;
    }
    if (file) {
        fclose(file);
    }
    return found;
}

/* Limit of the cgroup and what of it is in use without cache that can be dropped. False when there
 * is no limit. */
static bool cgroup(uint64_t *limit, uint64_t *used)
{
    uint64_t cache = 0;
    /* version 2, as seen in a container; "max" is no number */
    if (number_in("/sys/fs/cgroup/memory.max", "", limit)) {
        if (!number_in("/sys/fs/cgroup/memory.current", "", used)) {
            return false;
        }
        number_in("/sys/fs/cgroup/memory.stat", "inactive_file ", &cache);
    } else if (number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", "", limit)) {
        if (*limit >= UINT64_C(1) << 60 ||
            !number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes", "", used)) {
            return false; // version 1 writes "no limit" as a very large number
        }
        number_in("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file ", &cache);
    } else {
        return false;
    }
    *used = *used > cache ? *used - cache : 0;
    return true;
}

size_t sella_memory_total(void)
{
    uint64_t total = 0, limit = 0, used = 0;
    total = number_in("/proc/meminfo", "MemTotal:", &total) ? total * 1024 : 0;
    return (size_t)(cgroup(&limit, &used) && (total == 0 || limit < total) ? limit : total);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

size_t sella_memory_available(void)
{
    uint64_t available = SIZE_MAX, value = 0, used = 0;
    struct rlimit limit;
    if (number_in("/proc/meminfo", "MemAvailable:", &value)) {
        available = value * 1024;
    }
    if (cgroup(&value, &used)) {
        available = least(available, value > used ? value - used : 0);
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        number_in("/proc/self/status", "VmSize:", &used)) {
        available =
            least(available, limit.rlim_cur > used * 1024 ? limit.rlim_cur - used * 1024 : 0);
    }
    return (size_t)available;
}

sella_status sella_memory_check(size_t bytes, const char *what, sella_err *err)
{
    size_t available = sella_memory_available();
    if (bytes <= available) {
        return SELLA_OK;
    }
    return sella_err_set(err, SELLA_MEMORY,
                         "%s: %.2f GiB of memory are needed and %.2f GiB can be had", what,
                         (double)bytes / 0x1p30, (double)available / 0x1p30);
}
