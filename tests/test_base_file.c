/* Files: mapping, atomic writing (also on a full disk), folders, fingerprints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch_folder.h"

/* Number of names in the scratch folder: shows what was left behind. */
static size_t entries(void)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(sella_dir_list(folder, &names, &count, NULL), SELLA_OK);
    sella_names_free(names, count);
    return count;
}

static void map(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_map m;
    char *path = scratch_file(folder, "a", "hello", 5),
         *empty = scratch_file(folder, "empty", "", 0);
    char *fifo = sella_path_join(folder, "fifo", NULL);
    assert_int_equal(sella_map_open(path, &m, &err), SELLA_OK);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    assert_string_equal(m.path, path);
    sella_map_close(&m);
    assert_int_equal(sella_map_open(empty, &m, &err), SELLA_OK);
    assert_int_equal(m.size, 0);
    assert_null(m.data);
    sella_map_close(&m);
    assert_int_equal(sella_map_open("no/such/file", &m, &err), SELLA_MISSING);
    assert_string_equal(err.text, "no/such/file: could not be opened: No such file or directory");
    assert_null(m.path);
    assert_int_equal(sella_map_open(folder, &m, &err), SELLA_IO);
    assert_non_null(strstr(err.text, "is a folder"));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(sella_map_open(fifo, &m, &err), SELLA_IO); // and does not hang
    int fd;
    assert_int_equal(sella_file_open(fifo, O_WRONLY | O_CREAT, &fd, &err), SELLA_IO);
    assert_non_null(strstr(err.text, "is a pipe or device; expected a file"));
    assert_int_equal(fd, -1);
    assert_int_equal(sella_file_open("/dev/null", O_WRONLY, &fd, &err), SELLA_IO);
    assert_int_equal(sella_append_line(fifo, "{}", &err), SELLA_IO);
    assert_int_equal(sella_write_file(fifo, "x", 1, &err), SELLA_IO); // nobody reads it
    free(path), free(empty), free(fifo);
}

static void write_and_replace(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_writer *w = NULL;
    char *path = scratch_file(folder, "b.txt", "old", 3);
    size_t before = entries();
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(sella_write_open(path, &w, &err), SELLA_OK);
    assert_int_equal(sella_write_bytes(w, "new ", 4, &err), SELLA_OK);
    assert_int_equal(sella_write_format(w, &err, "%d %.1f", 7, 0.5), SELLA_OK);
    assert_true(scratch_holds(path, "old")); // not before commit
    assert_int_equal(sella_write_commit(w, &err), SELLA_OK);
    assert_true(scratch_holds(path, "new 7 0.5"));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600); // a private file stays private
    assert_int_equal(sella_write_open(path, &w, &err), SELLA_OK);
    assert_int_equal(sella_write_bytes(w, "newer", 5, &err), SELLA_OK);
    sella_write_abandon(w);
    sella_write_abandon(NULL);
    assert_true(scratch_holds(path, "new 7 0.5"));
    assert_int_equal(entries(), before);
    free(path);
}

static void write_through_link(void **state)
{
    (void)state;
    char *path = scratch_file(folder, "real", "old", 3),
         *link = sella_path_join(folder, "link", NULL);
    struct stat info;
    assert_int_equal(symlink("real", link), 0);
    assert_int_equal(sella_write_file(link, "new", 3, NULL), SELLA_OK);
    assert_true(scratch_holds(path, "new"));
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    free(path), free(link);
}

static void write_failures(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_writer *w = NULL;
    assert_int_equal(sella_write_open("no/such/folder/x", &w, &err), SELLA_IO);
    assert_string_equal(err.text,
                        "no/such/folder/x: could not be written: its folder does not exist");
    assert_null(w);
    assert_int_equal(sella_write_file(folder, "x", 1, &err), SELLA_IO);
    assert_non_null(strstr(err.text, "Is a directory"));
    // A full device, which must stay a device.
    struct stat info;
    assert_int_equal(sella_write_file("/dev/full", "x", 1, &err), SELLA_IO);
    assert_string_equal(err.text, "/dev/full: could not be written: No space left on device");
    assert_int_equal(stat("/dev/full", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_int_equal(sella_write_file("/dev/null", "x", 1, &err), SELLA_OK);
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_int_equal(sella_append_line("/dev/full", "x", &err), SELLA_IO);
    assert_non_null(strstr(err.text, "is a pipe or device"));
}

/* In a child with a limit on file sizes: the disk is full after 100,000 bytes. Exit 0 when all is
 * as it should be. */
static int full_disk(const char *path, const char *lines)
{
    static char block[50000];
    const struct rlimit limit = {100000, 100000};
    sella_err err = {0};
    sella_writer *w = NULL;
    signal(SIGXFSZ, SIG_IGN);
    memset(block, 'x', sizeof block - 1);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || sella_write_open(path, &w, &err) != SELLA_OK) {
        return 1;
    }
    sella_status status = SELLA_OK;
    for (int i = 0; i < 20; i++) { // 1 MB: the buffer of the writer is smaller
        status = sella_write_bytes(w, block, sizeof block, &err);
    }
    if (status != SELLA_IO || !strstr(err.text, path)) {
        return 2;
    }
    err = (sella_err){0};
    if (sella_write_commit(w, &err) != SELLA_IO || !strstr(err.text, "File too large")) {
        return 3;
    }
    for (int i = 0; i < 2; i++) {
        if (sella_append_line(lines, block, &err) != SELLA_OK) {
            return 4;
        }
    }
    struct stat info; // 100,000 bytes are there: a further line does not fit, not even in part
    if (sella_append_line(lines, "x", &err) != SELLA_IO || stat(lines, &info) != 0 ||
        info.st_size != 100000) {
        return 5;
    }
    if (truncate(lines, 99990) != 0 ||
        sella_append_line(lines, "0123456789abcdef", &err) != SELLA_IO || stat(lines, &info) != 0 ||
        info.st_size != 99990) {
        return 6;
    }
    return 0;
}

static void full(void **state)
{
    (void)state;
    char *path = scratch_file(folder, "kept", "old", 3),
         *lines = sella_path_join(folder, "lines", NULL);
    size_t before = entries();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(full_disk(path, lines));
    }
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
    assert_true(scratch_holds(path, "old"));
    assert_int_equal(entries(), before + 1); // "lines" alone
    free(path), free(lines);
}

static void append(void **state)
{
    (void)state;
    char *path = sella_path_join(folder, "metrics.jsonl", NULL);
    assert_int_equal(sella_append_line(path, "{\"a\":1}", NULL), SELLA_OK);
    assert_int_equal(sella_append_line(path, "{\"a\":2}", NULL), SELLA_OK);
    assert_true(scratch_holds(path, "{\"a\":1}\n{\"a\":2}\n"));
    free(path);
}

static void join(void **state)
{
    (void)state;
    const struct {
        const char *a, *b, *c, *want;
    } cases[] = {{"a", "b", "c", "a/b/c"},
                 {"a/", "b", NULL, "a/b"},
                 {"/", "b", NULL, "/b"},
                 {"", "b", NULL, "b"},
                 {"a", "", NULL, "a"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = sella_path_join(cases[i].a, cases[i].b, cases[i].c, NULL);
        assert_string_equal(path, cases[i].want);
        free(path);
    }
}

static void folders(void **state)
{
    (void)state;
    sella_err err = {0};
    char **names = NULL;
    size_t count = 0;
    char *deep = sella_path_join(folder, "d/e//f/", NULL),
         *top = sella_path_join(folder, "d", NULL), *e = sella_path_join(folder, "d/e", NULL);
    assert_int_equal(sella_dir_make(deep, &err), SELLA_OK);
    assert_int_equal(sella_dir_make(deep, &err), SELLA_OK);
    assert_true(sella_path_is_dir(e));
    char *z = scratch_file(e, "z", "1", 1), *a = scratch_file(e, "a", "22", 2),
         *under = sella_path_join(z, "x", NULL);
    assert_int_equal(sella_dir_make(under, &err), SELLA_IO);
    assert_non_null(strstr(err.text, "is a file; expected a folder"));
    assert_int_equal(sella_dir_list(e, &names, &count, &err), SELLA_OK);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "f");
    assert_string_equal(names[2], "z");
    sella_names_free(names, count);
    assert_int_equal(sella_dir_list(deep, &names, &count, &err), SELLA_OK);
    assert_int_equal(count, 0);
    sella_names_free(names, count);
    assert_int_equal(sella_dir_list(a, &names, &count, &err), SELLA_IO);
    assert_null(names);
    // A link in a removed folder is removed, not what it points to.
    char *outside = scratch_file(folder, "outside", "x", 1),
         *link = sella_path_join(e, "link", NULL);
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(sella_path_remove(top, &err), SELLA_OK);
    assert_false(sella_path_exists(top));
    assert_true(sella_path_exists(outside));
    assert_int_equal(sella_path_remove(top, &err), SELLA_OK);
    free(deep), free(top), free(e), free(z), free(a), free(under), free(outside), free(link);
}

static void publish(void **state)
{
    (void)state;
    sella_err err = {0};
    char *tmp = sella_path_join(folder, "run.tmp", NULL),
         *run = sella_path_join(folder, "run", NULL);
    for (int round = 0; round < 2; round++) { // to a new name, then over an empty folder
        char *sub = sella_path_join(tmp, "sub", NULL);
        assert_int_equal(sella_dir_make(sub, &err), SELLA_OK);
        free(scratch_file(sub, "x", "x", 1));
        free(sub);
        if (round == 1) {
            assert_int_equal(sella_path_remove(run, &err), SELLA_OK);
            assert_int_equal(sella_dir_make(run, &err), SELLA_OK);
        }
        assert_int_equal(sella_dir_publish(tmp, run, &err), SELLA_OK);
        char *x = sella_path_join(run, "sub", "x", NULL);
        assert_true(scratch_holds(x, "x"));
        assert_false(sella_path_exists(tmp));
        free(x);
    }
    assert_int_equal(sella_dir_make(tmp, &err), SELLA_OK);
    assert_int_equal(sella_dir_publish(tmp, run, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "is not empty"));
    assert_int_equal(sella_path_remove(run, &err), SELLA_OK);
    free(scratch_file(folder, "run", "x", 1));
    assert_int_equal(sella_dir_publish(tmp, run, &err), SELLA_STATE);
    assert_int_equal(sella_dir_publish("no/such", run, &err), SELLA_MISSING);
    free(tmp), free(run);
}

/* Files that killed writers left are swept at every depth; names that only look like it stay. */
static void sweep(void **state)
{
    (void)state;
    sella_err err = {0};
    static const char *const left[] = {"p.csv.new-12-345", "sub/q.new-1-2", "sub/a.new-b.new-1-2"};
    static const char *const kept[] = {"p.csv", "p.new-1", "p.new-12-", "p.new-1-2.csv",
                                       "sub/new-1-2"};
    char *root = sella_path_join(folder, "sweep", NULL), *sub = sella_path_join(root, "sub", NULL);
    char *odd = sella_path_join(root, "d.new-1-2", NULL);
    assert_int_equal(sella_dir_make(sub, &err), SELLA_OK);
    assert_int_equal(sella_dir_make(odd, &err), SELLA_OK); // no writer makes a folder
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        free(scratch_file(root, left[i], "x", 1));
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        free(scratch_file(root, kept[i], "x", 1));
    }
    assert_int_equal(sella_dir_sweep(root, &err), SELLA_OK);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        char *path = sella_path_join(root, left[i], NULL);
        assert_false(sella_path_exists(path));
        free(path);
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        char *path = sella_path_join(root, kept[i], NULL);
        assert_true(sella_path_exists(path));
        free(path);
    }
    assert_true(sella_path_is_dir(odd));
    assert_int_equal(sella_path_remove(root, &err), SELLA_OK);
    assert_int_equal(sella_dir_sweep(root, &err), SELLA_MISSING);
    free(root), free(sub), free(odd);
}

/* Trying a place tells what writing there would, and changes nothing. */
static void write_try(void **state)
{
    (void)state;
    sella_err err = {0};
    char *path = scratch_file(folder, "tried", "old", 3),
         *new = sella_path_join(folder, "untried", NULL);
    const size_t before = entries();
    assert_int_equal(sella_write_try(path, &err), SELLA_OK);
    assert_true(scratch_holds(path, "old"));
    assert_int_equal(sella_write_try(new, &err), SELLA_OK);
    assert_false(sella_path_exists(new));
    assert_int_equal(entries(), before);
    assert_int_equal(sella_write_try("no/such/file", &err), SELLA_IO);
    assert_string_equal(err.text, "no/such/file: could not be written: its folder does not exist");
    assert_int_equal(sella_write_try(folder, &err), SELLA_IO);
    assert_int_equal(sella_write_try("/dev/null", &err), SELLA_OK);
    assert_int_equal(sella_path_remove(path, &err), SELLA_OK);
    free(path), free(new);
}

static void hash(void **state)
{
    (void)state;
    // XXH3_64bits of "" and of "a", from the reference implementation (xxhsum -H3).
    uint64_t h = 0;
    assert_true(sella_hash_bytes("", 0, 0) == 0x2d06800538d394c2);
    assert_true(sella_hash_bytes("a", 1, 0) == 0xe6c632b61e964e1f);
    assert_true(sella_hash_bytes("a", 1, 1) != sella_hash_bytes("a", 1, 0));
    char *path = scratch_file(folder, "h", "a", 1), *copy = sella_path_join(folder, "h2", NULL);
    assert_int_equal(sella_file_copy(path, copy, NULL), SELLA_OK);
    assert_int_equal(sella_hash_file(copy, &h, NULL), SELLA_OK);
    assert_true(h == 0xe6c632b61e964e1f);
    assert_int_equal(sella_hash_file("no/such", &h, NULL), SELLA_MISSING);
    enum { LONG = (2 << 20) + 321 }; // read in pieces
    char *bytes = malloc(LONG);
    for (size_t i = 0; i < LONG; i++) {
        bytes[i] = (char)(i * 31 + i / 977);
    }
    char *large = scratch_file(folder, "h3", bytes, LONG);
    assert_int_equal(sella_hash_file(large, &h, NULL), SELLA_OK);
    assert_true(h == sella_hash_bytes(bytes, LONG, 0));
    char *nothing = scratch_file(folder, "h4", "", 0);
    assert_int_equal(sella_hash_file(nothing, &h, NULL), SELLA_OK);
    assert_true(h == 0x2d06800538d394c2);
    assert_int_equal(sella_hash_file(folder, &h, NULL), SELLA_IO);
    free(bytes), free(large), free(nothing);
    assert_int_equal(sella_file_copy("no/such", copy, NULL), SELLA_MISSING);
    free(path), free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(map),
                                       cmocka_unit_test(write_and_replace),
                                       cmocka_unit_test(write_through_link),
                                       cmocka_unit_test(write_failures),
                                       cmocka_unit_test(full),
                                       cmocka_unit_test(append),
                                       cmocka_unit_test(join),
                                       cmocka_unit_test(folders),
                                       cmocka_unit_test(publish),
                                       cmocka_unit_test(hash),
                                       cmocka_unit_test(sweep),
                                       cmocka_unit_test(write_try)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
