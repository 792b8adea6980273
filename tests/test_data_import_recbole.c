/* test_data_import_recbole.c - RecBole's atomic files: headers with types, titles, labels, what is
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/text.h"
#include "data_fixture.h"
#include "fuzz/mutate.h"

static const char good_inter[] =
    "user_id:token\titem_id:token\trating:float\ttimestamp:"
    "float\n196\t242\t3\t881250949\n186\t302\t3.5\t891717742.0\n22\t377\t1\t878887116\n"
    "196\t302\t5\t881250950\n196\t242\t4\t881250951\n";
static const char good_item[] = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:"
                                "token_seq\n302\tL.A. Confidential\t1997\tCrime Thriller\n"
                                "1\tNever \"rated\"\t1995\t\n242\t\"Great\" "
                                "Kolya\t1996\tComedy\n377\tHeavyweights\t1994\tChildren's\n";
static const sella_import_options most = {.format = "recbole", .fractions = {0.8, 0.2, 0}};

static sella_status import_recbole(const char *folder, sella_import_options options, sella_err *err)
{
    const char *in[] = {"x.inter", "x.item"};
    return import_files(folder, in, 2, "ds", options, NULL, err);
}

/* The same rows as csv with a catalogue give the same data set. */
static void inter_and_item(void **state)
{
    (void)state;
    sella_err err;
    char *folder = scratch_make(), *out = sella_path_join(folder, "csv", NULL),
         *in = sella_path_join(folder, "log.csv", NULL);
    char *items = sella_path_join(folder, "items.csv", NULL);
    put(folder, "x.inter", good_inter);
    put(folder, "x.item", good_item);
    put(folder, "log.csv",
        "user,item,rating,time\n196,242,3,881250949\n186,302,3.5,891717742\n22,377,1,"
        "878887116\n196,302,5,881250950\n196,242,4,881250951\n");
    put(folder, "items.csv",
        "item,title\n302,L.A. Confidential\n1,\"Never \"\"rated\"\"\"\n242,\"\"\"Great\"\" "
        "Kolya\"\n377,Heavyweights\n");
    const char *inputs[] = {in};
    sella_import_options csv = {.format = "csv",
                                .inputs = inputs,
                                .input_count = 1,
                                .output = out,
                                .items = items,
                                .fractions = {0.8, 0.2, 0}};
    assert_int_equal(sella_import(&csv, NULL, NULL, &err), SELLA_OK);
    if (import_recbole(folder, most, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    sella_dataset *want = open_in(folder, "csv"), *got = open_in(folder, "ds");
    assert_string_equal(got->checksum, want->checksum);
    assert_int_equal(got->items, 4); // the catalogue, in its order
    assert_string_equal(got->item_id[1], "1");
    assert_string_equal(got->title[2], "\"Great\" Kolya"); // quotes are text in these files
    sella_dataset_close(want);
    sella_dataset_close(got);
    free(in);
    free(items);
    free(out);
    scratch_remove(folder);
}

/* Titles in .inter itself, a label instead of a rating, names mapped. */
static void one_file_and_labels(void **state)
{
    (void)state;
    static const struct {
        const char *text, *columns;
    } cases[] = {
        {"item_id:token\tuser_id:token\tlabel:float\ttimestamp:float\ttitle:token_seq\na\tu\t1."
         "0\t1\tA\nb\tu\t0\t2\tB\na\tv\t1\t3\tA\n",
         NULL},
        {"item_id:token\tuser_id:token\trating:float\tclick:float\tstart:token\ttitle:token_"
         "seq\na\tu\t1\t1.0\t1970-01-01 00:00:01\tA\nb\tu\t5\t0.0\t1970-01-01 "
         "00:00:02\tB\na\tv\t0\t1\t1970-01-01 00:00:03\tA\n",
         "label=click,time=start"},
        {"business_id:token\tuser_id:token\tstars:float\tdate:float\tname:token_seq\tvector:float_"
         "seq\na\tu\t5\t1\tA\t1 2\nb\tu\t1\t2\tB\t\na\tv\t4\t3\tA\t0\n",
         NULL},
    };
    char checksum[17] = "";
    sella_err err;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char *folder = scratch_make();
        sella_import_options options = {
            .format = "recbole", .fractions = {1, 0, 0}, .columns = cases[c].columns};
        put(folder, "x.inter", cases[c].text);
        if (import_into(folder, "x.inter", "ds", options, &err) != SELLA_OK) {
            fail_msg("%zu: %s", c, err.text);
        }
        sella_dataset *d = open_in(folder, "ds");
        assert_int_equal(d->split[0].rows, 3);
        assert_true(d->split[0].label_n[0] == 1 && d->split[0].label_n[1] == 0 &&
                    d->split[0].label_n[2] == 1);
        if (c > 0) {
            assert_string_equal(d->checksum, checksum);
        }
        memcpy(checksum, d->checksum, sizeof checksum);
        sella_dataset_close(d);
        scratch_remove(folder);
    }
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *inter, *item, *says;
    } cases[] = {
        {"user_id:token\titem_id:int\trating:float\ttimestamp:float\n", good_item,
         "x.inter:1: column 'item_id:int' has the type 'int'; expected name:type with token, "
         "token_seq, float or float_seq"},
        {"user_id\titem_id:token\n", good_item,
         "x.inter:1: column 'user_id' has no type; expected name:type"},
        {"user_id:token:\titem_id:token\n", good_item, "has the type ''"},
        {"user_id:TOKEN\titem_id:token\n", good_item, "has the type 'TOKEN'"},
        {":token\titem_id:token\n", good_item, "x.inter:1: column 1 has a type and no name"},
        {"a:token\ta:float\n", good_item, "x.inter:1: two columns are named 'a'"},
        {"user_id:token,item_id:token,rating:float\n", good_item,
         "no column for item (see --columns): "},
        {"user_id:token\titem_id:token\ttimestamp:float\nu\ta\t1\n", good_item,
         "no column 'rating' nor 'label', so that every row would be a like and no method could "
         "tell one row from another"},
        {"user_id:token\titem_id:token\trating:float\nu\ta\t1\n", good_item,
         "no column for time (see --columns): "},
        {"item_id:token\trating:float\ttimestamp:float\n", good_item, "no column for user"},
        {"user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t242\tx\t1\n", good_item,
         "x.inter:2: rating 'x' is not a number"},
        {"user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t242\t5\n", good_item,
         "x.inter:2: the record has 3 fields; expected 4"},
        {"user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t242\t5\t\n", good_item,
         "x.inter:2: time '' is neither"},
        {"user_id:token\titem_id:token\tlabel:float\ttimestamp:float\nu\t242\t0.5\t1\n", good_item,
         "x.inter:2: label '0.5' is not a whole number"},
        {"user_id:token\titem_id:token\tlabel:float\ttimestamp:float\nu\t999\t1\t1\n", good_item,
         "item '999' was rated and has no title"},
        {good_inter, "item_id:token\tclass:token_seq\n242\tx\n",
         "no column for title (see --columns): "},
        {good_inter, "item_id:token\ttitle:text\n242\tx\n",
         "x.item:1: column 'title:text' has the type 'text'"},
        {good_inter, "item_id:token\ttitle:token_seq\n242\t\n", "x.item:2: the title has 0 bytes"},
        {good_inter, "", "x.item: is empty"},
        {"", good_item, "x.inter: is empty"},
    };
    sella_err err;
    char *folder = scratch_make();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        put(folder, "x.inter", cases[c].inter);
        put(folder, "x.item", cases[c].item);
        if (import_recbole(folder, most, &err) == SELLA_OK) {
            fail_msg("case %zu was accepted", c);
        }
        assert_says(err, cases[c].says);
    }
    put(folder, "x.inter", good_inter);
    put(folder, "x.item", good_item);
    assert_int_equal(import_into(folder, "x.inter", "ds", most, &err), SELLA_FORMAT);
    assert_says(
        err, "x.inter:1: there is no column for titles; give the .item file as the second input");
    const char *three[] = {"x.inter", "x.item", "x.item"};
    assert_int_equal(import_files(folder, three, 3, "ds", most, NULL, &err), SELLA_ARG);
    sella_import_options options = most;
    options.items = "x.item";
    assert_int_equal(import_recbole(folder, options, &err), SELLA_ARG);
    options = most;
    options.columns = "title=release_year";
    assert_int_equal(import_recbole(folder, options, &err), SELLA_OK);
    sella_dataset *d = open_in(folder, "ds");
    assert_string_equal(d->title[0], "1997");
    sella_dataset_close(d);
    // Bad rows are counted.
    sella_text text = {0};
    char *json = NULL;
    const char *in[] = {"x.inter", "x.item"};
    sella_text_format(&text, NULL,
                      "%s1\t242\tnan\t5\n1\t242\t5\n\t242\t5\t5\n1\t999\t5\t881250951\n",
                      good_inter);
    put(folder, "x.inter", text.data);
    options = most;
    options.skip_bad = 1;
    assert_int_equal(import_files(folder, in, 2, "ds", options, &json, &err), SELLA_OK);
    assert_non_null(strstr(
        json, "\"rejected\":{\"rating\":1,\"record\":1,\"user id\":1,\"item without title\":1}"));
    free(json);
    sella_text_release(&text);
    scratch_remove(folder);
}

typedef struct damage {
    const char *folder, *file;
} damage;

static void import_damaged(const uint8_t *data, size_t bytes, void *user)
{
    const damage *d = user;
    sella_err err;
    sella_import_options options = most;
    options.skip_bad = 1;
    put_bytes(d->folder, d->file, data, bytes);
    if (import_recbole(d->folder, options, &err) == SELLA_OK) {
        sella_dataset_close(open_in(d->folder, "ds"));
    }
}

static void damaged_files(void **state)
{
    (void)state;
    char *folder = scratch_make();
    damage inter = {folder, "x.inter"}, item = {folder, "x.item"};
    put(folder, "x.item", good_item);
    mutate_run(good_inter, sizeof good_inter - 1, mutate_rounds(400, 20000), import_damaged,
               &inter);
    put(folder, "x.inter", good_inter);
    mutate_run(good_item, sizeof good_item - 1, mutate_rounds(400, 20000), import_damaged, &item);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inter_and_item),
        cmocka_unit_test(one_file_and_labels),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(damaged_files),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
