/* test_formats_npy.c - arrays written by numpy are read, ours are what numpy writes, damaged ones
 * are refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/npy.h"
#include "formats_room.h"
#include "fuzz/mutate.h"

static float value(int64_t k)
{
    return (float)(k * 37 % 101 - 50) / 8.0f;
}

static void reads_what_numpy_wrote(void **state)
{
    (void)state;
    sella_npy a;
    sella_err err = {0};
    assert_int_equal(sella_npy_open("tests/ref/formats_f32.npy", SELLA_NPY_F32, &a, &err),
                     SELLA_OK);
    assert_int_equal(a.rank, 2);
    assert_int_equal(a.shape[0], 3);
    assert_int_equal(a.shape[1], 4);
    assert_int_equal((uintptr_t)a.data % 64, 0);
    for (int k = 0; k < 12; k++) {
        assert_true(((const float *)a.data)[k] == value(k));
    }
    sella_npy_close(&a);
    assert_int_equal(sella_npy_open("tests/ref/formats_i64.npy", SELLA_NPY_I64, &a, &err),
                     SELLA_OK);
    assert_int_equal(a.rank, 1);
    assert_int_equal(a.shape[0], 5);
    assert_int_equal(a.shape[1], 1);
    for (int k = 0; k < 5; k++) {
        assert_int_equal(((const int64_t *)a.data)[k], k - 2);
    }
    sella_npy_close(&a);
    assert_int_equal(sella_npy_open("tests/ref/formats_u8.npy", SELLA_NPY_U8, &a, &err), SELLA_OK);
    assert_int_equal(((const uint8_t *)a.data)[5], 5);
    sella_npy_close(&a);
    assert_int_equal(sella_npy_open("tests/ref/formats_i32.npy", SELLA_NPY_I32, &a, &err),
                     SELLA_OK);
    assert_int_equal(((const int32_t *)a.data)[5], 5000);
    sella_npy_close(&a);
    assert_int_equal(sella_npy_open("tests/ref/formats_f64.npy", SELLA_NPY_F64, &a, &err),
                     SELLA_OK);
    assert_true(((const double *)a.data)[3] == (double)value(3));
    sella_npy_close(&a);
}

static void writes_the_bytes_that_numpy_writes(void **state)
{
    (void)state;
    static const struct {
        const char *fixture;
        sella_npy_type type;
        int64_t rows, cols;
    } cases[] = {
        {"tests/ref/formats_f32.npy", SELLA_NPY_F32, 3, 4},
        {"tests/ref/formats_i64.npy", SELLA_NPY_I64, 5, 0},
        {"tests/ref/formats_u8.npy", SELLA_NPY_U8, 6, 0},
        {"tests/ref/formats_i32.npy", SELLA_NPY_I32, 2, 3},
        {"tests/ref/formats_f64.npy", SELLA_NPY_F64, 2, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_npy a;
        sella_map want, got;
        sella_err err = {0};
        assert_int_equal(sella_npy_open(cases[i].fixture, cases[i].type, &a, &err), SELLA_OK);
        const char *path = room_path("copy.npy");
        assert_int_equal(
            sella_npy_write(path, cases[i].type, a.data, cases[i].rows, cases[i].cols, &err),
            SELLA_OK);
        assert_int_equal(sella_map_open(cases[i].fixture, &want, &err), SELLA_OK);
        assert_int_equal(sella_map_open(path, &got, &err), SELLA_OK);
        assert_int_equal(got.size, want.size);
        assert_memory_equal(got.data, want.data, want.size);
        sella_map_close(&want);
        sella_map_close(&got);
        sella_npy_close(&a);
    }
}

static void empty_arrays_round_trip(void **state)
{
    (void)state;
    sella_npy a;
    sella_err err = {0};
    const char *path = room_path("empty.npy");
    assert_int_equal(sella_npy_write(path, SELLA_NPY_F32, NULL, 0, 8, &err), SELLA_OK);
    assert_int_equal(sella_npy_open(path, SELLA_NPY_F32, &a, &err), SELLA_OK);
    assert_int_equal(a.rank, 2);
    assert_int_equal(a.shape[0], 0);
    assert_int_equal(a.shape[1], 8);
    sella_npy_close(&a);
    assert_int_equal(sella_npy_write(path, SELLA_NPY_F32, NULL, INT64_MAX, 8, &err), SELLA_ARG);
}

/* Headers padded to 16 bytes, as numpy before 1.14 wrote them, and to no alignment at all, as
 * others do. */
static void any_alignment(void **state)
{
    (void)state;
    static const char header[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }";
    static const double values[] = {1.5, -2.25, 1e300};
    for (size_t total = 10 + sizeof header; total < 10 + sizeof header + 64; total++) {
        uint8_t file[256];
        sella_npy a;
        sella_err err = {0};
        memcpy(file, "\x93NUMPY\x01\x00", 8);
        memset(file + 10, ' ', total - 10);
        memcpy(file + 10, header, sizeof header - 1);
        file[total - 1] = '\n';
        file[8] = (uint8_t)(total - 10);
        file[9] = 0;
        memcpy(file + total, values, sizeof values);
        const char *path = room_write("aligned.npy", file, total + sizeof values);
        assert_int_equal(sella_npy_open(path, SELLA_NPY_F64, &a, &err), SELLA_OK);
        assert_int_equal((uintptr_t)a.data % sizeof(double), 0);
        assert_memory_equal(a.data, values, sizeof values);
        sella_npy_close(&a);
    }
}

static void refuses(const char *header, size_t data_bytes, sella_status status, const char *part)
{
    uint8_t file[512] = {0};
    sella_npy a;
    sella_err err = {0};
    size_t n = strlen(header), total = (10 + n + 1 + 63) / 64 * 64;
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    memset(file + 10, ' ', total - 10);
    memcpy(file + 10, header, n);
    file[8] = (uint8_t)(total - 10);
    const char *path = room_write("bad.npy", file, total + data_bytes);
    assert_int_equal(sella_npy_open(path, SELLA_NPY_F32, &a, &err), status);
    room_says(&err, part);
    assert_null(a.data);
    sella_npy_close(&a);
}

static void damaged_headers_are_named(void **state)
{
    (void)state;
    refuses("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", 16, SELLA_SHAPE, "'<f8'");
    refuses("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, SELLA_SHAPE, "'>f4'");
    refuses("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", 8, SELLA_SHAPE,
            "Fortran");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7, SELLA_FORMAT,
            "7 bytes follow");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9, SELLA_FORMAT,
            "9 bytes follow");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 0,
            SELLA_FORMAT, "0 bytes follow");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8,
            SELLA_FORMAT, "99999999999999999999");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }", 8, SELLA_FORMAT,
            "npy header");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4, SELLA_SHAPE,
            "no dimensions");
    refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", 8, SELLA_FORMAT, "expected");
    refuses("{'descr': '<f4', 'shape': (2,), }", 8, SELLA_FORMAT, "fortran_order");
    refuses("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8,
            SELLA_FORMAT, "once");
    refuses("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, SELLA_FORMAT,
            "quotes");
    refuses("", 8, SELLA_FORMAT, "dictionary");
    sella_npy a;
    sella_err err = {0};
    assert_int_equal(sella_npy_open("tests/ref/formats_fortran.npy", SELLA_NPY_F32, &a, &err),
                     SELLA_SHAPE);
    assert_int_equal(sella_npy_open("tests/ref/formats_cube.npy", SELLA_NPY_F32, &a, &err),
                     SELLA_SHAPE);
    assert_int_equal(sella_npy_open("tests/ref/formats_dump.py", SELLA_NPY_F32, &a, &err),
                     SELLA_FORMAT);
    assert_int_equal(sella_npy_open(room_write("none.npy", "", 0), SELLA_NPY_F32, &a, &err),
                     SELLA_FORMAT);
    assert_int_equal(sella_npy_open(room_write("v2.npy", "\x93NUMPY\x02\x00\x76\x00\x00\x00", 12),
                                    SELLA_NPY_F32, &a, &err),
                     SELLA_UNSUPPORTED);
}

/* How many copies were opened and how many refused. */
typedef struct tally {
    int opened, refused;
} tally;

static void open_mutant(const uint8_t *data, size_t bytes, void *user)
{
    tally *t = user;
    sella_npy a;
    sella_err err = {0};
    if (sella_npy_open(room_write("mutant.npy", data, bytes), SELLA_NPY_F32, &a, &err) ==
        SELLA_OK) {
        volatile float sum = 0;
        for (int64_t k = 0; k < a.shape[0] * a.shape[1]; k++) {
            sum += ((const float *)a.data)[k];
        }
        t->opened++;
    } else {
        room_says(&err, "");
        assert_true(err.text[0] != '\0');
        t->refused++;
    }
    sella_npy_close(&a);
}

static void mutations_never_crash(void **state)
{
    (void)state;
    sella_map good;
    tally t = {0};
    assert_int_equal(sella_map_open("tests/ref/formats_f32.npy", &good, NULL), SELLA_OK);
    mutate_run(good.data, good.size, mutate_rounds(3000, 300000), open_mutant, &t);
    assert_true(t.opened > 0 && t.refused > 0);
    sella_map_close(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_numpy_wrote),
        cmocka_unit_test(writes_the_bytes_that_numpy_writes),
        cmocka_unit_test(empty_arrays_round_trip),
        cmocka_unit_test(damaged_headers_are_named),
        cmocka_unit_test(any_alignment),
        cmocka_unit_test(mutations_never_crash),
    };
    return cmocka_run_group_tests(tests, room_make, room_remove);
}
