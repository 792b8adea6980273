/* gnuplot.c - files for gnuplot, and running it (eval/gnuplot.h). */
#include "eval/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

extern char **environ;

enum { SECONDS_MOST = 120 };

static const char look[] =
    "set encoding utf8\n"
    "set datafile separator comma\n"
    "set datafile columnheaders\n"
    "set border 3 lw 0.6 lc rgb '#555555'\n"
    "set tics nomirror scale 0.5 textcolor rgb '#333333'\n"
    "set grid ytics lw 0.4 lc rgb '#cccccc'\n"
    "set key noenhanced samplen 1.5\n"
    "c1 = 0x0072b2; c2 = 0xe69f00; c3 = 0x009e73; c4 = 0xcc79a7\n"
    "c5 = 0x56b4e9; c6 = 0xd55e00; c7 = 0x8a8a00; c8 = 0x555555\n";

sella_status sella_plot_init(sella_plot *plot, const char *dir, const char *name, int width,
                             int height, sella_err *err)
{
    *plot = (sella_plot){.dir = dir, .name = name, .width = width, .height = height};
    return sella_text_format(&plot->script, err,
                             "# gnuplot %s.gp draws %s.svg from %s.csv\n"
                             "set terminal svg size %d,%d dynamic noenhanced font 'sans-serif,13'\n"
                             "set output '%s.svg'\n%s",
                             name, name, name, width, height, name, look);
}

void sella_plot_release(sella_plot *plot)
{
    sella_text_release(&plot->csv);
    sella_text_release(&plot->script);
}

sella_status sella_plot_field(sella_plot *plot, const char *text, char after, sella_err *err)
{
    const bool quoted = strpbrk(text, ",\"\r\n\t #'\\") || text[0] == '\0';
    sella_status status = quoted ? sella_text_append(&plot->csv, "\"", 1, err) : SELLA_OK;
    for (const char *c = text; *c && status == SELLA_OK; c++) {
        const unsigned char byte = (unsigned char)*c;
        if (byte == '"') {
            status = sella_text_append(&plot->csv, "''", 2, err);
        } else if (byte == '\\') {
            /* U+2216: gnuplot reads \n as a line break */
            status = sella_text_append(&plot->csv, "\xe2\x88\x96", 3, err);
        } else {
            status = sella_text_append(&plot->csv, byte < 32 || byte == 127 ? " " : c, 1, err);
        }
    }
    if (status == SELLA_OK && quoted) {
        status = sella_text_append(&plot->csv, "\"", 1, err);
    }
    return status == SELLA_OK ? sella_text_append(&plot->csv, &after, 1, err) : status;
}

sella_status sella_plot_real(sella_plot *plot, double value, char after, sella_err *err)
{
    return isfinite(value) ? sella_text_format(&plot->csv, err, "%.7g%c", value, after)
                           : sella_text_append(&plot->csv, &after, 1, err);
}

sella_status sella_plot_quote(sella_plot *plot, const char *text, sella_err *err)
{
    sella_status status = sella_text_append(&plot->script, "'", 1, err);
    for (const char *c = text; *c && status == SELLA_OK; c++) {
        const unsigned char byte = (unsigned char)*c;
        status = byte == '\''
                     ? sella_text_append(&plot->script, "''", 2, err)
                     : sella_text_append(&plot->script, byte < 32 || byte == 127 ? " " : c, 1, err);
    }
    return status == SELLA_OK ? sella_text_append(&plot->script, "'", 1, err) : status;
}

/* ---- the other program ---- */

/* What it says on standard error until it ends, the first room - 1 bytes; killed when it takes too
 * long. */
static bool listen_to(int fd, pid_t child, char *said, size_t room)
{
    const double end = sella_now() + SECONDS_MOST;
    size_t have = 0;
    char buffer[512];
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const double left = end - sella_now();
        const int ready = left > 0 ? poll(&wait, 1, (int)(1000 * left) + 1) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            kill(child, SIGKILL);
            said[have] = '\0';
            return false;
        }
        const ssize_t got = read(fd, buffer, sizeof buffer);
        if (got <= 0) {
            said[have] = '\0';
            return true;
        }
        const size_t take = (size_t)got < room - 1 - have ? (size_t)got : room - 1 - have;
        memcpy(said + have, buffer, take);
        have += take;
    }
}

static int start(const char *dir, char *script, int said, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    char program[] = "gnuplot";
    char *argv[] = {program, script, NULL};
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0) {
        return result;
    }
    result = posix_spawn_file_actions_addchdir_np(&actions, dir);
    result =
        result ? result : posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    result =
        result ? result : posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    result = result ? result : posix_spawn_file_actions_adddup2(&actions, said, 2);
    result = result ? result : posix_spawnp(child, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

static sella_status run(const sella_plot *plot, bool *drawn, sella_err *err)
{
    int pipe_fd[2], exit_status = 0;
    pid_t child = 0;
    char said[600] = "", script[128];
    snprintf(script, sizeof script, "%s.gp", plot->name);
    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        return sella_err_set(err, SELLA_IO, "no pipe for gnuplot: %s", strerror(errno));
    }
    const int failed = start(plot->dir, script, pipe_fd[1], &child);
    close(pipe_fd[1]);
    if (failed) {
        close(pipe_fd[0]);
        *drawn = false;
        return failed == ENOENT
                   ? SELLA_OK
                   : sella_err_set(err, SELLA_IO, "gnuplot did not start: %s", strerror(failed));
    }
    const bool in_time = listen_to(pipe_fd[0], child, said, sizeof said);
    close(pipe_fd[0]);
    while (waitpid(child, &exit_status, 0) < 0 && errno == EINTR) {
    }
    *drawn = in_time && WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0;
    if (*drawn) {
        return SELLA_OK;
    }
    return in_time ? sella_err_set(err, SELLA_IO, "gnuplot failed on %s/%s: %s", plot->dir, script,
                                   said)
                   : sella_err_set(err, SELLA_IO, "gnuplot took more than %d s for %s/%s",
                                   SECONDS_MOST, plot->dir, script);
}

static sella_status save(const sella_plot *plot, const char *ending, const sella_text *text,
                         sella_err *err)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s", plot->name, ending);
    char *path = sella_path_join(plot->dir, name, NULL);
    if (!path) {
        return sella_err_memory(err, "a path", strlen(plot->dir));
    }
    const sella_status status =
        text ? sella_write_file(path, text->data ? text->data : "", text->size, err)
             : sella_path_remove(path, err);
    free(path);
    return status;
}

sella_status sella_plot_draw(const sella_plot *plot, bool *drawn, sella_err *err)
{
    sella_status status = SELLA_OK;
    *drawn = false;
    SELLA_TRY(sella_dir_make(plot->dir, err));
    SELLA_TRY(save(plot, ".csv", &plot->csv, err));
    SELLA_TRY(save(plot, ".gp", &plot->script, err));
    SELLA_TRY(save(plot, ".svg", NULL, err)); // an older picture of other data must not stay
    status = run(plot, drawn, err);
    if (status != SELLA_OK) {
        save(plot, ".svg", NULL, NULL);
    }
done:
    return status;
}
