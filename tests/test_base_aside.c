/* test_base_aside.c - folders that appear when they are finished, and what killed writers leave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/aside.h"
#include "scratch_folder.h"

static char *in(const char *name)
{
    return sella_path_join(folder, name, NULL);
}

static void finish(const char *place)
{
    sella_err err = {0};
    sella_aside *aside = NULL;
    if (sella_aside_begin(place, "train", &aside, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    free(scratch_file(aside->path, "inside", "x", 1));
    assert_int_equal(sella_aside_publish(aside, &err), SELLA_OK);
}

static void publish(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_aside *aside = NULL;
    char *place = in("run"), *inside = in("run/inside"), *nested = in("a/b/run"),
         *empty = in("empty");
    assert_int_equal(sella_aside_begin(place, "train", &aside, &err), SELLA_OK);
    assert_true(sella_path_is_dir(aside->path));
    assert_false(sella_path_exists(place));
    char *path = strdup(aside->path);
    sella_aside_abandon(aside);
    assert_false(sella_path_exists(path));
    finish(place);
    assert_true(scratch_holds(inside, "x"));
    assert_int_equal(sella_aside_begin(place, "train", &aside, &err), SELLA_STATE); // not empty
    assert_null(aside);
    assert_int_equal(sella_aside_begin(inside, "train", &aside, &err), SELLA_STATE); // a file
    finish(nested);
    assert_int_equal(sella_dir_make(empty, &err), SELLA_OK);
    finish(empty);
    sella_aside_abandon(NULL);
    free(path), free(place), free(inside), free(nested), free(empty);
}

/* A link to an empty folder stays, and the folder behind it is filled. */
static void links(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_aside *aside = NULL;
    const struct {
        char *target, *link, *lost, *inside;
    } p = {in("disk/target"), in("link"), in("lost"), in("disk/target/inside")};
    char here[4096];
    assert_int_equal(sella_dir_make(p.target, &err), SELLA_OK);
    assert_int_equal(symlink("disk/target", p.link), 0);
    assert_int_equal(symlink("nowhere", p.lost), 0);
    finish(p.link);
    assert_true(scratch_holds(p.inside, "x"));
    assert_true(readlink(p.link, here, sizeof here) == (ssize_t)strlen("disk/target"));
    assert_int_equal(sella_aside_begin(p.lost, "train", &aside, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "is a link to nothing"));
    // the working folder cannot be replaced under the caller's feet
    char *empty = in("here");
    assert_int_equal(sella_dir_make(empty, &err), SELLA_OK);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(empty), 0);
    assert_int_equal(sella_aside_begin(".", "train", &aside, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "working folder"));
    assert_int_equal(chdir(here), 0);
    free(empty), free(p.target), free(p.link), free(p.lost), free(p.inside);
}

/* A child that has begun a folder and is killed, or lives until it is told. Returns its number. */
static pid_t begin_in_child(const char *place, int *tell)
{
    int up[2], down[2];
    char byte;
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    const pid_t child = fork();
    if (child == 0) {
        sella_aside *aside = NULL;
        close(down[1]);
        const sella_status status = sella_aside_begin(place, "train", &aside, NULL);
        _exit(status == SELLA_OK && write(up[1], "b", 1) == 1 && read(down[0], &byte, 1) == 0 ? 0
                                                                                              : 1);
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    close(up[0]), close(up[1]), close(down[0]);
    *tell = down[1];
    return child;
}

static char *left_by(const char *place, pid_t pid)
{
    char name[64];
    snprintf(name, sizeof name, ".train-%ld", (long)pid);
    char *path = malloc(strlen(place) + strlen(name) + 1);
    assert_non_null(path);
    memcpy(path, place, strlen(place));
    memcpy(path + strlen(place), name, strlen(name) + 1);
    return path;
}

static void leftovers(void **state)
{
    (void)state;
    int tell_dead, tell_alive, status;
    sella_err err = {0};
    char *place = in("swept");
    const pid_t dead = begin_in_child(place, &tell_dead),
                alive = begin_in_child(place, &tell_alive);
    char *of_dead = left_by(place, dead), *of_alive = left_by(place, alive);
    assert_int_equal(kill(dead, SIGKILL), 0);
    assert_int_equal(waitpid(dead, &status, 0), dead);
    assert_true(sella_path_is_dir(of_dead));
    // others that only look like it
    static const char *const kept[] = {"swept.train-", "swept.train-12x", "swept.train-012",
                                       "swept.import-1234567", "other.train-1234567"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        char *path = in(kept[i]);
        assert_int_equal(sella_dir_make(path, &err), SELLA_OK);
        free(path);
    }
    // the number of a dead process, and a lock that lives: a process of another container
    char *locked = left_by(place, 999999999);
    assert_int_equal(sella_dir_make(locked, &err), SELLA_OK);
    const int lock = open(locked, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    finish(place);
    assert_false(sella_path_exists(of_dead));
    assert_true(sella_path_is_dir(of_alive));
    assert_true(sella_path_is_dir(locked));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        char *path = in(kept[i]);
        assert_true(sella_path_is_dir(path));
        free(path);
    }
    close(lock), close(tell_dead), close(tell_alive);
    assert_int_equal(waitpid(alive, &status, 0), alive);
    assert_int_equal(status, 0);
    assert_int_equal(sella_path_remove(place, &err), SELLA_OK);
    finish(place);
    assert_false(sella_path_exists(of_alive)); // it is dead by now
    assert_false(sella_path_exists(locked));
    free(place), free(of_dead), free(of_alive), free(locked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(publish), cmocka_unit_test(links),
                                       cmocka_unit_test(leftovers)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
