/* aside.c - folders that appear when they are finished (base/aside.h).
 *
 * A leftover is one whose process is gone and whose lock is free. Both are asked: a process of
 * another container that shares the disk has a number that means nothing here, but holds its lock;
 * a file system without locks leaves the number.
 */
#include "base/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"

static void aside_free(sella_aside *aside)
{
    if (aside->lock >= 0) {
        close(aside->lock);
    }
    free(aside->path);
    free(aside->place);
    free(aside);
}

/* A descriptor of the folder, locked; -1: somebody has the lock. *none: this file system has no
 * locks. */
static int lock_folder(const char *path, bool *none)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *none = false;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        *none = errno != EWOULDBLOCK && errno != EINTR;
        close(fd);
        return -1;
    }
    return fd;
}

/* The process that a name "PLACE.WORD-123" tells, 0 for other names. */
static long process_of(const char *name, const char *stem)
{
    const size_t length = strlen(stem);
    int64_t pid = 0;
    if (strncmp(name, stem, length) != 0 || name[length] < '1' || name[length] > '9' ||
        sella_parse_int(name + length, strlen(name + length), 1, INT32_MAX, "pid", &pid, NULL) !=
            SELLA_OK) {
        return 0;
    }
    return (long)pid;
}

/* Remove what a dead process left. What cannot be removed stays: it is in nobody's way. */
static void sweep_one(const char *path, long pid)
{
    bool none = false;
    if (pid != (long)getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH)) {
        return; // alive, or not ours to ask
    }
    const int fd = lock_folder(path, &none);
    if (fd >= 0 || none) {
        sella_path_remove(path, NULL);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static sella_status sweep(const char *place, const char *word, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *slash = strrchr(place, '/');
    char *folder =
        slash ? strndup(place, slash == place ? 1 : (size_t)(slash - place)) : strdup(".");
    char **names = NULL;
    size_t count = 0;
    sella_text stem = {0};
    SELLA_TRY(folder ? SELLA_OK : sella_err_memory(err, "a path", strlen(place)));
    SELLA_TRY(sella_text_format(&stem, err, "%s.%s-", slash ? slash + 1 : place, word));
    if (sella_dir_list(folder, &names, &count, NULL) != SELLA_OK) {
        goto done; // a folder that may be written but not read
    }
    for (size_t i = 0; i < count; i++) {
        const long pid = process_of(names[i], stem.data);
        char *path = pid > 0 ? sella_path_join(folder, names[i], NULL) : NULL;
        if (path) {
            sweep_one(path, pid);
        }
        free(path);
    }
done:
    sella_names_free(names, count);
    sella_text_release(&stem);
    free(folder);
    return status;
}

/* Where the folder will be: without slashes at the end, behind links. */
static sella_status place_of(const char *path, char **out, sella_err *err)
{
    struct stat info, here;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    char *plain = strndup(path, length);
    *out = NULL;
    if (!plain) {
        return sella_err_memory(err, "a path", length);
    }
    if (stat(plain, &info) != 0) {
        if (lstat(plain, &info) == 0) {
            free(plain);
            return sella_err_set(err, SELLA_STATE,
                                 "%s: is a link to nothing; expected a new or an empty folder",
                                 path);
        }
        *out = plain;
        return SELLA_OK;
    }
    if (S_ISDIR(info.st_mode) && stat(".", &here) == 0 && here.st_dev == info.st_dev &&
        here.st_ino == info.st_ino) {
        free(plain);
        return sella_err_set(
            err, SELLA_STATE,
            "%s: is the working folder; expected a new or an empty folder elsewhere", path);
    }
    if (lstat(plain, &info) == 0 && !S_ISLNK(info.st_mode)) {
        *out = plain;
        return SELLA_OK;
    }
    *out = realpath(plain, NULL);
    free(plain);
    return *out ? SELLA_OK : sella_err_errno(err, path, "resolved", errno);
}

sella_status sella_aside_check(const char *place, sella_err *err)
{
    char **names = NULL;
    size_t count = 0;
    if (!sella_path_exists(place)) {
        return SELLA_OK;
    }
    if (!sella_path_is_dir(place)) {
        return sella_err_set(err, SELLA_STATE, "%s: is a file; expected a new or an empty folder",
                             place);
    }
    sella_status status = sella_dir_list(place, &names, &count, err);
    sella_names_free(names, count);
    if (status == SELLA_OK && count > 0) {
        status =
            sella_err_set(err, SELLA_STATE,
                          "%s: exists and is not empty; expected a new or an empty folder", place);
    }
    return status;
}

sella_status sella_aside_begin(const char *place, const char *word, sella_aside **out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_text path = {0};
    bool none;
    *out = NULL;
    sella_aside *aside = sella_alloc(1, sizeof *aside, "a folder", err);
    if (!aside) {
        return SELLA_MEMORY;
    }
    aside->lock = -1;
    SELLA_TRY(sella_aside_check(place, err));
    SELLA_TRY(place_of(place, &aside->place, err));
    SELLA_TRY(sweep(aside->place, word, err));
    SELLA_TRY(sella_text_format(&path, err, "%s.%s-%ld", aside->place, word, (long)getpid()));
    aside->path = path.data;
    if (sella_path_exists(aside->path)) { // of a process with our number in another container
        status =
            sella_err_set(err, SELLA_STATE, "%s: is being written by another process", aside->path);
        goto done;
    }
    SELLA_TRY(sella_dir_make(aside->path, err));
    aside->lock = lock_folder(aside->path, &none);
    *out = aside;
    aside = NULL;
done:
    if (aside) {
        aside_free(aside);
    }
    return status;
}

sella_status sella_aside_publish(sella_aside *aside, sella_err *err)
{
    const sella_status status = sella_dir_publish(aside->path, aside->place, err);
    if (status != SELLA_OK) {
        sella_path_remove(aside->path, NULL);
    }
    aside_free(aside);
    return status;
}

void sella_aside_abandon(sella_aside *aside)
{
    if (aside) {
        sella_path_remove(aside->path, NULL);
        aside_free(aside);
    }
}
