/* The option parser, its help, and the talk on standard error. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/options.c"
#include "cli/terminal.c"
#include "base/log.h"

static const sella_option options[] = {
    {"output", 'o', SELLA_TYPE_TEXT, "DIR", NULL, 0, 0, NULL, "", "Folder to write.", false},
    {"count", 'k', SELLA_TYPE_INT, "N", "10", 1, 1000, NULL, "items", "How many.", false},
    {"rate", 0, SELLA_TYPE_REAL, "X", "0.5", 0, 1, NULL, "", "A rate.", false},
    {"split", 0, SELLA_TYPE_WORD, "NAME", "test", 0, 0, "train|valid|test", "", "Which split.",
     false},
    {"set", 0, SELLA_TYPE_TEXT, "KEY=VALUE", NULL, 0, 0, NULL, "", "Set a value.", true},
    {"rows", 0, SELLA_TYPE_INT, "N", "(all rows)", 1, 1e9, NULL, "rows", "Rows to use.", false},
    {"resume", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "", "Go on.", false},
};
static const sella_command command = {.name = "try",
                                      .usage = "A [B]",
                                      .help = "Try it.",
                                      .details = "More words.\n",
                                      .option = options,
                                      .option_count = 7,
                                      .positional_min = 1,
                                      .positional_max = 2};

static sella_status parse_line(const char *const *words, sella_args *args, sella_err *err)
{
    char *argv[32];
    int argc = 0;
    while (words[argc]) {
        argv[argc] = (char *)(uintptr_t)words[argc];
        argc++;
    }
    return sella_args_parse(&command, argc, argv, args, err);
}

static void values(void **state)
{
    (void)state;
    sella_args args;
    sella_err err = {0};
    const char *const words[] = {"a",        "-o",     "dir",  "--count=7",   "--set",
                                 "x=1",      "--rate", "0.25", "--set=y=--2", "-k9",
                                 "--resume", "--",     "--b",  NULL};
    const char *list[4];
    if (parse_line(words, &args, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(args.positional_count, 2);
    assert_string_equal(args.positional[0], "a");
    assert_string_equal(args.positional[1], "--b");
    assert_string_equal(sella_args_text(&args, "output"), "dir");
    assert_int_equal(sella_args_int(&args, "count"), 9); // the last one counts
    assert_true(sella_args_real(&args, "rate") == 0.25);
    assert_string_equal(sella_args_text(&args, "split"), "test");
    assert_false(sella_args_given(&args, "split"));
    assert_true(sella_args_flag(&args, "resume"));
    assert_false(sella_args_flag(&args, "json"));
    assert_false(sella_args_given(&args, "rows"));
    assert_null(sella_args_text(&args, "rows"));
    assert_int_equal(sella_args_count(&args, "set"), 2);
    assert_int_equal(sella_args_list(&args, "set", list, 4), 2);
    assert_string_equal(list[0], "x=1");
    assert_string_equal(list[1], "y=--2");
    sella_args_release(&args);
    const char *const minus[] = {"-", "--rate", ".5", NULL}; // standard input is an argument
    assert_int_equal(parse_line(minus, &args, &err), SELLA_OK);
    assert_string_equal(args.positional[0], "-");
    assert_int_equal(sella_args_int(&args, "count"), 10);
    sella_args_release(&args);
    const char *const wants_help[] = {"--nonsense", "--help", NULL};
    assert_int_equal(parse_line(wants_help, &args, &err), SELLA_OK);
    assert_true(args.want_help);
    sella_args_release(&args);
}

static void mistakes(void **state)
{
    (void)state;
    const struct {
        const char *words[5];
        const char *sentence;
    } cases[] = {
        {{"a", "--coutn", "3"}, "unknown option --coutn; did you mean --count?"},
        {{"a", "--cou=3"}, "unknown option --cou; did you mean --count?"}, // no abbreviations
        {{"a", "--temperature=3"}, "unknown option --temperature"},
        {{"a", "-x"}, "unknown option -x"},
        {{"a", "--count"}, "option --count needs a value: N"},
        {{"a", "--output", "--resume"}, "option --output needs a value: DIR"},
        {{"a", "--resume=yes"}, "option --resume takes no value"},
        {{"a", "--count", "3x"}, "wrong value: --count '3x' is not a whole number"},
        {{"a", "--count", "0"}, "wrong value: --count 0 is outside 1 to 1000"},
        {{"a", "--rate", "nan"}, "wrong value: --rate 'nan' is not a number"},
        {{"a", "--split", "tests"}, "wrong value: --split 'tests' is not one of train|valid|test"},
        {{"a", "--set", "\xff"}, "wrong value: --set '?' is not UTF-8"},
        {{"a", "--quiet", "--verbose"}, "--quiet and --verbose exclude each other"},
        {{"a", "b", "c"}, "unexpected argument 'c'"},
        {{NULL}, "an argument is missing; expected: sella try A [B]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sella_args args;
        sella_err err = {0};
        assert_int_equal(parse_line(cases[i].words, &args, &err), SELLA_ARG);
        assert_string_equal(err.text, cases[i].sentence);
        assert_int_equal(err.code, SELLA_ARG);
        sella_args_release(&args);
        assert_int_equal(parse_line(cases[i].words, &args, NULL), SELLA_ARG);
        sella_args_release(&args);
    }
}

static void help(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    sella_command_help(&command, out);
    fclose(out);
    const char *want =
        "Usage: sella try A [B] [options]\n\nTry it.\n\nMore words.\n\nOptions:\n"
        "  -o, --output DIR        Folder to write.\n"
        "  -k, --count N           How many. (1 to 1000 items; default 10)\n"
        "  --rate X                A rate. (0 to 1; default 0.5)\n"
        "  --split NAME            Which split. (train|valid|test; default test)\n"
        "  --set KEY=VALUE         Set a value. (may be repeated)\n"
        "  --rows N                Rows to use. (1 to 1000000000 rows; default all rows)\n"
        "  --resume                Go on.\n\nOptions of every command:\n";
    assert_int_equal(strncmp(text, want, strlen(want)), 0);
    free(text);
}

/* What a terminal prints for a call. */
static char *heard;
static size_t heard_bytes;
static FILE *memory(void)
{
    return open_memstream(&heard, &heard_bytes);
}

static void said(FILE *out, const char *want)
{
    fclose(out);
    assert_string_equal(heard, want);
    free(heard);
    heard = NULL;
}

static void lines(void **state)
{
    (void)state;
    const struct {
        bool quiet, verbose;
        const char *want;
    } cases[] = {{false, false, "info\nwarning: warn\n"},
                 {true, false, "warning: warn\n"},
                 {false, true, "debug\ninfo\nwarning: warn\n"}};
    for (int i = 0; i < 3; i++) {
        sella_terminal t;
        FILE *out = memory();
        sella_terminal_init(&t, out, cases[i].quiet, cases[i].verbose);
        sella_say(&t.talk, SELLA_LEVEL_DEBUG, "debug");
        sella_say(&t.talk, SELLA_LEVEL_INFO, "info");
        sella_say(&t.talk, SELLA_LEVEL_WARN, "warn");
        sella_terminal_end(&t);
        said(out, cases[i].want);
    }
}

static void plain_progress(void **state)
{
    (void)state;
    sella_terminal t;
    FILE *out = memory();
    sella_terminal_init(&t, out, false, false);
    assert_false(t.live);
    sella_progress_report r = {
        .what = "stage 1", .unit = "rows", .done = 0, .total = 200, .rate = 20, .eta_seconds = 10};
    for (int i = 0; i < 100; i++) { // within ten seconds: silence
        r.done = i;
        t.talk.progress(t.talk.user, &r);
    }
    t.last -= PLAIN_SECONDS; // as if they had passed
    r.note = "loss 0.653";
    t.talk.progress(t.talk.user, &r);
    t.talk.progress(t.talk.user, &r);
    r = (sella_progress_report){.what = "stage 1",
                                .unit = "rows",
                                .done = 200,
                                .total = 200,
                                .rate = 1234.5,
                                .finished = 1};
    t.talk.progress(t.talk.user, &r);
    r = (sella_progress_report){.what = "read",
                                .unit = "lines",
                                .done = 7,
                                .rate = 0.0123,
                                .eta_seconds = -1,
                                .finished = 1};
    t.talk.progress(t.talk.user, &r);
    sella_terminal_end(&t);
    said(out, "stage 1: 99 of 200 rows (49 %), 20 rows/s, 10 s left, loss 0.653\n"
              "stage 1: 200 of 200 rows (100 %), 1234 rows/s\n"
              "read: 7 lines, 0.0123 lines/s\n");
    out = memory();
    sella_terminal_init(&t, out, true, false);
    t.talk.progress(t.talk.user, &r);
    said(out, "");
}

static void bar(void **state)
{
    (void)state;
    sella_terminal t;
    FILE *out = memory();
    sella_terminal_init(&t, out, false, false);
    t.live = true; // a memory stream has no width: 80 columns
    sella_progress_report r = {
        .what = "fit", .unit = "rows", .done = 50, .total = 100, .rate = 5, .eta_seconds = 10};
    t.talk.progress(t.talk.user, &r);
    t.talk.progress(t.talk.user, &r); // too soon: not redrawn
    sella_say(&t.talk, SELLA_LEVEL_INFO, "a line");
    t.last -= LIVE_SECONDS;
    r.note = "loss 0.65 and so";
    t.talk.progress(t.talk.user, &r);
    t.last -= LIVE_SECONDS;
    r.note = "a note that is far too long for the rest of this line of eighty columns";
    t.talk.progress(t.talk.user, &r);
    sella_terminal_end(&t);
    said(out, "\r\x1b[Kfit [############............] 50 of 100 rows (50 %), 5 rows/s, 10 s left"
              "\r\x1b[Ka line\n"
              "\r\x1b[Kfit [######......] 50 of 100 rows (50 %), 5 rows/s, 10 s left, loss 0.65 "
              "and so" /* 79 columns: the bar gives way */
              "\r\x1b[Kfit 50 of 100 rows (50 %), 5 rows/s, 10 s left, a note that is far too "
              "long for\n" /* 79 columns without a bar */);
}

static void durations(void **state)
{
    (void)state;
    const struct {
        double seconds;
        const char *want;
    } cases[] = {{0, "0 s"},         {34.4, "34 s"},    {99, "99 s"},
                 {725, "12:05 min"}, {11220, "3:07 h"}, {-1, "0 s"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        sella_duration_text(cases[i].seconds, text, sizeof text);
        assert_string_equal(text, cases[i].want);
    }
}

static void stopping(void **state)
{
    (void)state;
    sella_terminal t;
    sella_terminal_init(&t, stderr, false, false);
    assert_false(sella_stop_wanted(&t.talk));
    sella_stop_on_signal();
    raise(SIGINT);
    assert_true(sella_stop_wanted(&t.talk));
    stops = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),    cmocka_unit_test(mistakes),       cmocka_unit_test(help),
        cmocka_unit_test(lines),     cmocka_unit_test(plain_progress), cmocka_unit_test(bar),
        cmocka_unit_test(durations), cmocka_unit_test(stopping)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
