/* folder.c - paths and folders (base/file.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"

char *sella_path_join(const char *first, ...)
{
    sella_text path = {0};
    sella_status status = sella_text_append(&path, first, strlen(first), NULL);
    va_list args;
    va_start(args, first);
    for (const char *part = va_arg(args, const char *); part && status == SELLA_OK;
         part = va_arg(args, const char *)) {
        if (path.size > 0 && path.data[path.size - 1] != '/' && part[0] != '\0') {
            status = sella_text_append(&path, "/", 1, NULL);
        }
        status = status == SELLA_OK ? sella_text_append(&path, part, strlen(part), NULL) : status;
    }
    va_end(args);
    if (status != SELLA_OK) {
        sella_text_release(&path);
    }
    return path.data;
}

char *sella_path_absolute(const char *path)
{
    char *real = realpath(path, NULL);
    return real ? real : strdup(path);
}

bool sella_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool sella_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

sella_status sella_dir_make(const char *path, sella_err *err)
{
    char *copy = strdup(path);
    if (!copy) {
        return sella_err_memory(err, "a path", strlen(path));
    }
    sella_status status = SELLA_OK;
    for (char *c = copy; status == SELLA_OK && *c; c++) {
        bool last = c[1] == '\0';
        if (!last && (c[1] != '/' || *c == '/')) {
            continue; // only at the end of a component
        }
        char after = c[1];
        c[1] = '\0';
        if (mkdir(copy, 0777) != 0) {
            int reason = errno;
            if (!sella_path_is_dir(copy)) {
                status = reason == EEXIST ? sella_err_set(err, SELLA_IO,
                                                          "%s: is a file; expected a folder", copy)
                                          : sella_err_errno(err, copy, "made", reason);
            }
        }
        c[1] = after;
    }
    free(copy);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void sella_names_free(char **names, size_t count)
{
    for (size_t i = 0; names && i < count; i++) {
        free(names[i]);
    }
    free(names);
}

sella_status sella_dir_list(const char *path, char ***names, size_t *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    char **list = NULL;
    size_t n = 0, capacity = 0;
    *names = NULL;
    *count = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        return sella_err_errno(err, path, "listed", errno);
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            char **more = realloc(list, capacity * sizeof *more);
            if (!more) {
                status = sella_err_memory(err, "a list of files", capacity * sizeof *more);
                goto done;
            }
            list = more;
        }
        list[n] = strdup(entry->d_name);
        if (!list[n]) {
            status = sella_err_memory(err, "a list of files", strlen(entry->d_name));
            goto done;
        }
        n++;
    }
    if (errno) {
        status = sella_err_errno(err, path, "listed", errno);
        goto done;
    }
    if (!list) {
        list = sella_alloc(1, sizeof *list, "a list of files", err);
        status = list ? SELLA_OK : SELLA_MEMORY;
    }
    qsort(list, n, sizeof *list, compare_names);
    *names = list;
    *count = n;
    list = NULL;
done:
    sella_names_free(list, n);
    closedir(folder);
    return status;
}

/* Call `leave` for every entry of a folder, then return; stops at the first failure. */
typedef sella_status (*entry_call)(const char *path, sella_err *err);
static sella_status each_entry(const char *path, entry_call call, sella_err *err)
{
    char **names = NULL;
    size_t count = 0;
    sella_status status = sella_dir_list(path, &names, &count, err);
    for (size_t i = 0; i < count && status == SELLA_OK; i++) {
        char *entry = sella_path_join(path, names[i], NULL);
        status = entry ? call(entry, err) : sella_err_memory(err, "a path", strlen(path));
        free(entry);
    }
    sella_names_free(names, count);
    return status;
}

sella_status sella_path_remove(const char *path, sella_err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? SELLA_OK : sella_err_errno(err, path, "removed", errno);
    }
    if (S_ISDIR(info.st_mode)) { // links are removed, not followed
        sella_status status = each_entry(path, sella_path_remove, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    if (remove(path) != 0 && errno != ENOENT) {
        return sella_err_errno(err, path, "removed", errno);
    }
    return SELLA_OK;
}

/* Is it the name of a file that sella_write_open began? */
static bool is_aside(const char *path)
{
    const char *slash = strrchr(path, '/'), *last = slash ? slash : path, *at = NULL;
    while ((last = strstr(last, ".new-")) != NULL) {
        at = last += 5;
    }
    size_t pid = at ? strspn(at, "0123456789") : 0;
    const char *number = pid > 0 && at[pid] == '-' ? at + pid + 1 : "";
    return *number != '\0' && number[strspn(number, "0123456789")] == '\0';
}

static sella_status sweep_entry(const char *path, sella_err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? SELLA_OK : sella_err_errno(err, path, "opened", errno);
    }
    if (S_ISDIR(info.st_mode)) {
        return each_entry(path, sweep_entry, err);
    }
    return S_ISREG(info.st_mode) && is_aside(path) ? sella_path_remove(path, err) : SELLA_OK;
}

sella_status sella_dir_sweep(const char *path, sella_err *err)
{
    return each_entry(path, sweep_entry, err);
}

static sella_status sync_path(const char *path, sella_err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return sella_err_errno(err, path, "synced", errno);
    }
    if (S_ISDIR(info.st_mode)) {
        sella_status status = each_entry(path, sync_path, err);
        if (status != SELLA_OK) {
            return status;
        }
    } else if (!S_ISREG(info.st_mode)) {
        return SELLA_OK;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sella_err_errno(err, path, "synced", errno);
    }
    sella_status status = fsync(fd) == 0 || (S_ISDIR(info.st_mode) && errno == EINVAL)
                              ? SELLA_OK
                              : sella_err_errno(err, path, "synced", errno);
    close(fd);
    return status;
}

int sella_path_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    if (fd < 0) {
        return 0; // a folder that may be written but not read
    }
    /* some file systems cannot */
    int reason = fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;
    close(fd);
    return reason;
}

bool sella_disk_free(const char *path, uint64_t *bytes)
{
    struct statvfs disk;
    struct rlimit limit;
    if (statvfs(path, &disk) != 0) {
        return false;
    }
    *bytes = (uint64_t)disk.f_bavail * (uint64_t)disk.f_frsize;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < *bytes) {
        *bytes = limit.rlim_cur;
    }
    return true;
}

sella_status sella_dir_publish(const char *tmp, const char *path, sella_err *err)
{
    sella_status status = sync_path(tmp, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (sella_path_exists(path) && !sella_path_is_dir(path)) {
        return sella_err_set(err, SELLA_STATE, "%s: is a file; expected a new or an empty folder",
                             path);
    }
    if (rename(tmp, path) != 0) { // an empty folder is replaced, a full one is refused
        if (errno == ENOTEMPTY || errno == EEXIST) {
            return sella_err_set(err, SELLA_STATE,
                                 "%s: exists and is not empty; expected a new or an empty folder",
                                 path);
        }
        return sella_err_errno(err, path, "written", errno);
    }
    int reason = sella_path_sync_parent(path);
    return reason ? sella_err_errno(err, path, "synced", reason) : SELLA_OK;
}
