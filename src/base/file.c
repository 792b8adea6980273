/* file.c - mapped reading, atomic writing, fingerprints (base/file.h). Folders are in folder.c. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/arena.h"

sella_status sella_file_open(const char *path, int flags, int *fd, sella_err *err)
{
    struct stat info = {0};
    /* non-blocking: a named pipe must not hang us */
    *fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0666);
    const int reason = *fd < 0 || fstat(*fd, &info) != 0 ? errno : 0;
    if (reason == 0 && S_ISREG(info.st_mode)) {
        return SELLA_OK;
    }
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    if (reason != 0 && reason != ENXIO) { // that is a pipe without a reader
        return sella_err_errno(err, path, (flags & O_ACCMODE) == O_RDONLY ? "opened" : "written",
                               reason);
    }
    return sella_err_set(err, SELLA_IO, "%s: is %s; expected a file", path,
                         S_ISDIR(info.st_mode) ? "a folder" : "a pipe or device");
}

sella_status sella_map_open(const char *path, sella_map *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    struct stat info;
    int fd;
    *out = (sella_map){0};
    SELLA_TRY(sella_file_open(path, O_RDONLY, &fd, err));
    if (fstat(fd, &info) != 0) {
        status = sella_err_errno(err, path, "opened", errno);
        goto done;
    }
    out->path = strdup(path);
    if (!out->path) {
        status = sella_err_memory(err, "a path", strlen(path));
        goto done;
    }
    out->size = (size_t)info.st_size;
    if (out->size > 0) {
        void *data = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = sella_err_errno(err, path, "mapped", errno);
            free(out->path);
            *out = (sella_map){0};
            goto done;
        }
        out->data = data;
    }
done:
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

void sella_map_close(sella_map *map)
{
    if (map->data) {
        munmap((void *)(uintptr_t)map->data, map->size);
    }
    free(map->path);
    *map = (sella_map){0};
}

/* ---- atomic writing ---- */

struct sella_writer {
    char *path;  // the name it will have; a link is followed, so that the link stays
    char *aside; // the name it has now; NULL for pipes and devices, which are written directly
    FILE *file;
    int reason; // errno of the first failure, 0 before
};

static void writer_free(sella_writer *writer)
{
    if (writer->file) {
        fclose(writer->file);
    }
    if (writer->aside) {
        unlink(writer->aside);
    }
    free(writer->aside);
    free(writer->path);
    free(writer);
}

/* Create a new file beside the path: PATH.new-PID-NANOSECONDS. Returns the descriptor, or -1 with
 * errno. */
static int create_aside(sella_writer *writer)
{
    for (int try = 0; try < 100; try++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        free(writer->aside);
        if (asprintf(&writer->aside, "%s.new-%ld-%ld", writer->path, (long)getpid(),
                     now.tv_nsec + try) < 0) {
            writer->aside = NULL;
            errno = ENOMEM;
            return -1;
        }
        int fd = open(writer->aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

/* A pipe that nobody reads is refused (ENXIO) instead of waited for; writing then waits for the
 * reader as usual. */
static int open_direct(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    const int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
    if (flags >= 0) {
        (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    }
    return fd;
}

sella_status sella_write_open(const char *path, sella_writer **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    struct stat info;
    int fd = -1;
    *out = NULL;
    sella_writer *writer = sella_alloc(1, sizeof *writer, "a file writer", err);
    if (!writer) {
        return SELLA_MEMORY;
    }
    bool exists = stat(path, &info) == 0;
    writer->path = exists ? realpath(path, NULL) : strdup(path);
    if (!writer->path) {
        status = sella_err_errno(err, path, "written", errno);
        goto done;
    }
    if (exists && S_ISDIR(info.st_mode)) {
        status = sella_err_errno(err, path, "written", EISDIR);
        goto done;
    }
    /* renaming over /dev/null would replace the device */
    bool direct = exists && !S_ISREG(info.st_mode);
    fd = direct ? open_direct(path) : create_aside(writer);
    if (fd < 0) {
        int reason = errno;
        free(writer->aside); // was not created: nothing to unlink
        writer->aside = NULL;
        // A missing folder is a failure to write, not a missing input.
        status = sella_err_errno(err, path, "written", reason);
        status = status == SELLA_MISSING
                     ? sella_err_set(err, SELLA_IO,
                                     "%s: could not be written: its folder does not exist", path)
                     : status;
        goto done;
    }
    if (exists && !direct) {
        (void)fchmod(fd, info.st_mode & 07777); // a private file stays private
    }
    writer->file = fdopen(fd, "wb");
    if (!writer->file) {
        status = sella_err_errno(err, path, "written", errno);
        goto done;
    }
    fd = -1;
    setvbuf(writer->file, NULL, _IOFBF, (size_t)1 << 18);
    *out = writer;
    writer = NULL;
done:
    if (fd >= 0) {
        close(fd);
    }
    if (writer) {
        writer_free(writer);
    }
    return status;
}

sella_status sella_write_bytes(sella_writer *writer, const void *data, size_t bytes, sella_err *err)
{
    if (!writer->reason && bytes > 0 && fwrite(data, 1, bytes, writer->file) != bytes) {
        writer->reason = errno ? errno : EIO;
    }
    return writer->reason ? sella_err_errno(err, writer->path, "written", writer->reason)
                          : SELLA_OK;
}

sella_status sella_write_format(sella_writer *writer, sella_err *err, const char *fmt, ...)
{
    if (!writer->reason) {
        /* a decimal point in every country */
        locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        locale_t before = plain ? uselocale(plain) : (locale_t)0;
        va_list args;
        va_start(args, fmt);
        if (vfprintf(writer->file, fmt, args) < 0) {
            writer->reason = errno ? errno : EIO;
        }
        va_end(args);
        if (plain) {
            uselocale(before);
            freelocale(plain);
        }
    }
    return writer->reason ? sella_err_errno(err, writer->path, "written", writer->reason)
                          : SELLA_OK;
}

sella_status sella_write_commit(sella_writer *writer, sella_err *err)
{
    if (!writer->reason && fflush(writer->file) != 0) {
        writer->reason = errno;
    }
    if (!writer->reason && writer->aside && fsync(fileno(writer->file)) != 0) {
        writer->reason = errno;
    }
    if (fclose(writer->file) != 0 && !writer->reason) {
        writer->reason = errno;
    }
    writer->file = NULL;
    if (!writer->reason && writer->aside) {
        if (rename(writer->aside, writer->path) != 0) {
            writer->reason = errno;
        } else {
            free(writer->aside);
            writer->aside = NULL;
            writer->reason = sella_path_sync_parent(writer->path);
        }
    }
    sella_status status =
        writer->reason ? sella_err_errno(err, writer->path, "written", writer->reason) : SELLA_OK;
    writer_free(writer);
    return status;
}

void sella_write_abandon(sella_writer *writer)
{
    if (writer) {
        writer_free(writer);
    }
}

sella_status sella_write_try(const char *path, sella_err *err)
{
    struct stat info;
    sella_writer *writer = NULL;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
        return SELLA_OK; // a reader at the other end would see it close
    }
    sella_status status = sella_write_open(path, &writer, err);
    sella_write_abandon(writer);
    return status;
}

sella_status sella_write_file(const char *path, const void *data, size_t bytes, sella_err *err)
{
    sella_writer *writer = NULL;
    sella_status status = sella_write_open(path, &writer, err);
    if (status != SELLA_OK) {
        return status;
    }
    status = sella_write_bytes(writer, data, bytes, err);
    if (status != SELLA_OK) {
        sella_write_abandon(writer);
        return status;
    }
    return sella_write_commit(writer, err);
}

sella_status sella_append_line(const char *path, const char *line, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *text = NULL;
    size_t bytes = strlen(line) + 1;
    struct stat info;
    int fd;
    SELLA_TRY(sella_file_open(path, O_WRONLY | O_APPEND | O_CREAT, &fd, err));
    if (fstat(fd, &info) != 0) {
        status = sella_err_errno(err, path, "written", errno);
        goto done;
    }
    text = sella_alloc(bytes, 1, "a line", err);
    if (!text) {
        status = SELLA_MEMORY;
        goto done;
    }
    memcpy(text, line, bytes - 1);
    text[bytes - 1] = '\n';
    errno = 0;
    ssize_t written = write(fd, text, bytes);
    if (written != (ssize_t)bytes) {
        status = sella_err_errno(err, path, "written", errno ? errno : ENOSPC);
        if (written > 0 && ftruncate(fd, info.st_size) != 0) { // no half line stays
            status = sella_err_errno(err, path, "written (half a line stays at its end)", errno);
        }
    }
done:
    free(text);
    if (fd >= 0 && close(fd) != 0 && status == SELLA_OK) {
        status = sella_err_errno(err, path, "written", errno);
    }
    return status;
}

sella_status sella_file_copy(const char *from, const char *to, sella_err *err)
{
    sella_map map;
    sella_status status = sella_map_open(from, &map, err);
    if (status == SELLA_OK) {
        status = sella_write_file(to, map.data, map.size, err);
        sella_map_close(&map);
    }
    return status;
}

/* ---- fingerprints ---- */

uint64_t sella_hash_bytes(const void *data, size_t bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes > 0 ? data : "", bytes, seed);
}

sella_status sella_hash_file(const char *path, uint64_t *hash, sella_err *err)
{
    enum { CHUNK = 1 << 20 };
    int fd = -1;
    sella_status status = sella_file_open(path, O_RDONLY, &fd, err);
    if (status != SELLA_OK) {
        return status;
    }
    XXH3_state_t *state = XXH3_createState();
    char *chunk = malloc(CHUNK);
    ssize_t n = 1;
    if (state == NULL || chunk == NULL) {
        status = sella_err_memory(err, "a checksum", CHUNK);
        goto done;
    }
    XXH3_64bits_reset(state);
    while (n != 0) {
        n = read(fd, chunk, CHUNK);
        if (n < 0 && errno != EINTR) {
            status = sella_err_errno(err, path, "read", errno);
            goto done;
        }
        XXH3_64bits_update(state, chunk, n > 0 ? (size_t)n : 0);
    }
    *hash = XXH3_64bits_digest(state);
done:
    free(chunk);
    XXH3_freeState(state);
    close(fd);
    return status;
}
