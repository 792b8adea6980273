/* test_serve_store.c - the feedback store: migration, duplicates, last words, a full disk, a killed
 * server; and feedback's way back to a data set. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/log.h"
#include "serve/store.h"
#include "serve_fixture.h"

/* --- SQLite itself, beside the code under test --- */

static void sql(const char *path, const char *statement)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *message = NULL;
    if (sqlite3_exec(db, statement, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", statement, message);
    }
    sqlite3_close(db);
}

/* The first column of the first row as text. */
static const char *ask(const char *path, const char *query)
{
    static char answer[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    snprintf(answer, sizeof answer, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return answer;
}

/* --- the store ------------------------------------------------------------ */

static int add(sella_store *store, const char *body)
{
    sella_feedback *feedback = NULL;
    sella_err err = {0};
    if (sella_feedback_parse(body, strlen(body), 77, &feedback, &err) != SELLA_OK ||
        sella_store_begin(store, NULL, &err) != SELLA_OK ||
        sella_store_add(store, feedback, 5, NULL, &err) != SELLA_OK ||
        sella_store_commit(store, NULL, &err) != SELLA_OK) {
        fail_msg("%s: %s", body, err.text);
    }
    const int stored = feedback->stored;
    assert_int_equal(feedback->stored + feedback->duplicates, feedback->count);
    sella_feedback_free(feedback);
    return stored;
}

static sella_status note(void *context, const sella_stored *row, sella_err *err)
{
    char *text = context;
    const size_t used = strlen(text);
    (void)err;
    snprintf(text + used, 512 - used, "%s:%s%c%lld ", row->user, row->item, row->label ? '+' : '-',
             (long long)row->time);
    return SELLA_OK;
}

static void keeps_last_words(void **state)
{
    (void)state;
    char *folder = scratch_make(), *path = sella_path_join(folder, "s.sqlite", NULL),
         text[512] = "";
    sella_store *store = NULL, *reader = NULL;
    assert_int_equal(sella_store_open(path, true, &store, NULL), SELLA_OK);
    assert_int_equal(sella_store_open(path, false, &reader, NULL), SELLA_OK);
    assert_int_equal(add(store, "{\"user\":\"a\",\"item\":1,\"label\":1,\"time\":30,\"id\":\"x\"}"),
                     1);
    /* the id was there: nothing changes */
    assert_int_equal(add(store, "{\"user\":\"a\",\"item\":1,\"label\":0,\"time\":30,\"id\":\"x\"}"),
                     0);
    assert_int_equal(add(store, "[{\"user\":\"a\",\"item\":2,\"label\":1,\"time\":20},{\"user\":"
                                "\"a\",\"item\":2,\"label\":true,\"time\":20},{\"user\":\"b\","
                                "\"item\":2,\"label\":0,\"time\":-5,\"id\":9}]"),
                     3);
    sella_store_user(reader, "a", note, text, NULL);
    assert_string_equal(text, "a:2+20 a:1+30 "); // oldest first, item 2 once
    assert_int_equal(add(store, "[{\"user\":\"a\",\"item\":1,\"label\":0,\"time\":29},{\"user\":"
                                "\"a\",\"item\":2,\"label\":0,\"time\":20}]"),
                     2);
    text[0] = '\0';
    sella_store_each(reader, note, text, NULL);
    /* an older word does not count, of equal times the later arrival */
    assert_string_equal(text, "a:2-20 a:1+30 b:2--5 ");
    assert_int_equal(
        add(store, "{\"user\":\"c\",\"item\":\"'; DROP TABLE event; --\",\"label\":1}"), 1);
    text[0] = '\0';
    sella_store_user(reader, "c", note, text, NULL);
    assert_string_equal(text, "c:'; DROP TABLE event; --+77 ");
    assert_string_equal(ask(path, "SELECT count(*) FROM event"), "7");
    assert_string_equal(ask(path, "PRAGMA journal_mode"), "wal");
    sella_store_close(reader);
    sella_store_close(store);
    scratch_remove(folder);
    free(path);
}

/* What a user's last words cost depends on the items, not on the events: a loop over the events
 * would read 40,000,000 here. */
static void reads_long_stories(void **state)
{
    (void)state;
    sella_err err = {0};
    char *folder = scratch_make(), said[512] = "";
    char *path = sella_path_join(folder, "s.sqlite", NULL);
    sella_store *store = NULL;
    assert_int_equal(sella_store_open(path, true, &store, &err), SELLA_OK);
    sql(path,
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 200001) INSERT "
        "INTO event (user, item, label, time, received) SELECT CASE v WHEN 5 THEN 't' WHEN 6 THEN "
        "'v' ELSE 'u' END, 'i' || (v % 3), v % 2, v / 2, 0 FROM n");
    const double start = sella_now();
    for (int i = 0; i < 200; i++) {
        said[0] = '\0';
        assert_int_equal(sella_store_user(store, "u", note, said, &err), SELLA_OK);
    }
    assert_true(sella_now() - start < 2);
    /* 199999, 200000 and 200001, of which two share a time: in the order of arrival */
    assert_string_equal(said, "u:i1+99999 u:i2-100000 u:i0+100000 ");
    said[0] = '\0';
    assert_int_equal(sella_store_user(store, "u0", note, said, &err), SELLA_OK);
    assert_string_equal(said, ""); // between 'u' and 'v'
    sella_store_close(store);
    free(path);
    scratch_remove(folder);
}

/* The first version's schema, written down here as it was. */
static void migrates_older_stores(void **state)
{
    (void)state;
    char *folder = scratch_make(), *path = sella_path_join(folder, "s.sqlite", NULL),
         text[512] = "";
    sella_store *store = NULL;
    sella_err err = {0};
    sql(path, "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, user "
              "TEXT NOT NULL, item TEXT NOT NULL, label INTEGER NOT NULL CHECK (label IN (0, 1)), "
              "time INTEGER NOT NULL, received INTEGER NOT NULL);CREATE INDEX event_user ON event "
              "(user, item, time, seq);INSERT INTO event VALUES (NULL, 'k', 'u', 'i', 1, 5, 6); "
              "PRAGMA application_id = 1399147617; PRAGMA user_version = 1");
    assert_int_equal(sella_store_open(path, false, &store, &err), SELLA_STATE);
    assert_non_null(strstr(err.text, "version 1"));
    assert_int_equal(sella_store_open(path, true, &store, &err), SELLA_OK);
    sella_store_user(store, "u", note, text, NULL);
    assert_string_equal(text, "u:i+5 ");
    assert_int_equal(add(store, "{\"user\":\"u\",\"item\":\"j\",\"label\":1,\"id\":\"k\"}"), 0);
    sella_store_close(store);
    assert_string_equal(ask(path, "PRAGMA user_version"), "2");
    sql(path, "PRAGMA user_version = 3");
    assert_int_equal(sella_store_open(path, true, &store, &err), SELLA_UNSUPPORTED);
    sql(path, "PRAGMA user_version = 0; PRAGMA application_id = 0");
    /* somebody's database, none of ours */
    assert_int_equal(sella_store_open(path, true, &store, &err), SELLA_FORMAT);
    free(path);
    static const char prose[] = "this is a text and no database, and it is long enough to be "
                                "looked at by SQLite: more than a hundred bytes";
    path = scratch_file(folder, "text.sqlite", prose, sizeof prose - 1);
    assert_int_equal(sella_store_open(path, true, &store, &err), SELLA_FORMAT);
    assert_true(scratch_holds(path, prose)); // left as it is
    free(path);
    path = sella_path_join(folder, "missing.sqlite", NULL);
    assert_int_equal(sella_store_open(path, false, &store, &err), SELLA_IO);
    assert_null(store);
    scratch_remove(folder);
    free(path);
}

/* --- through a server ------------------------------------------------------------ */

static void feedback(const serve_fixture *f, const char *body, const char *answer)
{
    http_reply reply;
    http_ask(f->port, "POST", "/v1/feedback", body, &reply);
    if (reply.status != 200 || strcmp(reply.body, answer) != 0) {
        fail_msg("%s: %d %s", body, reply.status, reply.body);
    }
    http_reply_release(&reply);
}

/* The item ids of an answer's list, joined. */
static const char *items_of(const http_reply *reply, const char *key)
{
    static char text[256];
    size_t index, used = 0;
    json_t *entry;
    text[0] = '\0';
    json_array_foreach (json_object_get(reply->json, key), index, entry) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s ",
                                 json_string_value(json_object_get(entry, "item")));
    }
    return text;
}

static void expect_items(const serve_fixture *f, const char *method, const char *target,
                         const char *body, const char *key, const char *want)
{
    http_reply reply;
    http_ask(f->port, method, target, body, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(items_of(&reply, key), want);
    http_reply_release(&reply);
}

#define STORED(n) "{\"stored\":" #n ",\"duplicates\":0}"

static void feedback_changes_the_next_answer(void **state)
{
    (void)state;
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){0});
    static const char best[] = "{\"user\":\"u1\"}";
    expect_items(f, "GET", "/v1/users/u1", NULL, "history", "1 4 "); // of train and valid
    expect_items(f, "POST", "/v1/recommend", best, "items", "3 5 2 ");
    feedback(f, "{\"user\":\"u1\",\"item\":3,\"label\":1,\"time\":100,\"id\":\"e1\"}", STORED(1));
    feedback(f, "{\"user\":\"u1\",\"item\":3,\"label\":1,\"time\":100,\"id\":\"e1\"}",
             "{\"stored\":0,\"duplicates\":1}");
    expect_items(f, "GET", "/v1/users/u1", NULL, "history", "1 4 3 ");
    expect_items(f, "POST", "/v1/recommend", best, "items", "5 2 ");
    feedback(f,
             "[{\"user\":\"u1\",\"item\":5,\"label\":0,\"time\":101},{\"user\":\"u1\",\"item\":"
             "\"no such\",\"label\":1,\"time\":101}]",
             STORED(2));
    expect_items(f, "POST", "/v1/recommend", best, "items", "2 ");
    expect_items(f, "GET", "/v1/users/u1", NULL, "disliked", "5 ");
    /* it was liked in training */
    feedback(f, "{\"user\":\"u1\",\"item\":1,\"label\":0,\"time\":102}", STORED(1));
    expect_items(f, "GET", "/v1/users/u1", NULL, "history", "4 3 ");
    expect_items(f, "POST", "/v1/recommend", best, "items", "2 ");
    feedback(f, "{\"user\":\"u1\",\"item\":5,\"label\":1,\"time\":103}", STORED(1)); // another mind
    expect_items(f, "GET", "/v1/users/u1", NULL, "history", "4 3 5 ");
    expect_items(f, "POST", "/v1/recommend", "{\"user\":\"u1\",\"exclude\":[2]}", "items", "");
    /* a given history is taken as it is */
    expect_items(f, "POST", "/v1/recommend", "{\"user\":\"u1\",\"history\":[]}", "items",
                 "1 3 5 2 4 ");
    expect_items(f, "GET", "/v1/users/nobody%20yet", NULL, "history", "");
    feedback(f, "{\"user\":\"nobody yet\",\"item\":2,\"label\":1,\"time\":1}", STORED(1));
    expect_items(f, "GET", "/v1/users/nobody%20yet", NULL, "history", "2 ");
    serve_stop(f); // and after a restart
    serve_start(f, (sella_serve_options){0});
    expect_items(f, "GET", "/v1/users/u1", NULL, "history", "4 3 5 ");
    expect_items(f, "GET", "/v1/items?query=epsilon", NULL, "items", "5 ");
    http_reply reply;
    http_ask(f->port, "GET", "/v1/users/u1", NULL, &reply);
    assert_int_equal(json_integer_value(json_object_get(
                         json_array_get(json_object_get(reply.json, "history"), 1), "time")),
                     100);
    http_reply_release(&reply);
    serve_remove(f);
}

static void refuses_bad_feedback(void **state)
{
    (void)state;
    serve_fixture *f = serve_make();
    serve_start(f, (sella_serve_options){0});
    static const char *const cases[][2] = {
        {"{}", "body.user: expected an id"},
        {"[]", "0 events"},
        {"3", "not valid JSON"},
        {"[3]", "body[0]: expected an object"},
        {"{\"user\":1,\"item\":2}", "body.label: expected 1"},
        {"{\"user\":1,\"item\":2,\"label\":2}", "body.label: expected 1"},
        {"{\"user\":1,\"item\":2,\"label\":1,\"time\":\"now\"}",
         "body.time: expected whole seconds"},
        {"{\"user\":1,\"item\":2,\"label\":1,\"time\":99999999999999}",
         "body.time: expected whole seconds"},
        {"[{\"user\":1,\"item\":2,\"label\":1},{\"user\":1,\"item\":2,\"lable\":1}]",
         "body[1]: unknown key 'lable'; did you mean 'label'?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_reply reply;
        http_ask(f->port, "POST", "/v1/feedback", cases[i][0], &reply);
        http_expect_problem(&reply, 400);
        if (strstr(json_string_value(json_object_get(reply.json, "detail")), cases[i][1]) == NULL) {
            fail_msg("%s: %s", cases[i][0], reply.body);
        }
        http_reply_release(&reply);
    }
    serve_stop(f);
    serve_start(f, (sella_serve_options){.no_store = 1});
    http_reply reply;
    http_ask(f->port, "POST", "/v1/feedback", "{\"user\":1,\"item\":2,\"label\":1}", &reply);
    http_expect_problem(&reply, 501);
    http_reply_release(&reply);
    expect_items(f, "POST", "/v1/recommend", "{\"user\":\"u1\"}", "items", "3 5 2 ");
    serve_remove(f);
}

/* A file size limit stands for the disk: writing fails, is refused, and works again when there is
 * room. */
static void acknowledges_nothing_that_is_not_stored(void **state)
{
    (void)state;
    serve_fixture *f = serve_make();
    struct rlimit limit, before;
    signal(SIGXFSZ, SIG_IGN);
    serve_start(f, (sella_serve_options){0});
    feedback(f, "{\"user\":\"u1\",\"item\":3,\"label\":1,\"id\":\"before\"}", STORED(1));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 3; i++) {
        http_reply reply;
        http_ask(f->port, "POST", "/v1/feedback",
                 "{\"user\":\"u1\",\"item\":5,\"label\":1,\"id\":\"during\"}", &reply);
        http_expect_problem(&reply, 503);
        http_reply_release(&reply);
    }
    expect_items(f, "POST", "/v1/recommend", "{\"user\":\"u1\"}", "items", "5 2 "); // answers go on
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    char *path = sella_path_join(f->run, "feedback.sqlite", NULL);
    assert_string_equal(ask(path, "SELECT group_concat(id) FROM event"), "before");
    feedback(f, "{\"user\":\"u1\",\"item\":5,\"label\":1,\"id\":\"during\"}", STORED(1));
    assert_string_equal(ask(path, "SELECT group_concat(id) FROM event"), "before,during");
    free(path);
    serve_remove(f);
}

static void becomes_a_data_set(void **state)
{
    (void)state;
    serve_fixture *f = serve_make();
    char *json = NULL;
    sella_err err = {0};
    serve_start(f, (sella_serve_options){0});
    feedback(f,
             "[{\"user\":\"u1\",\"item\":3,\"label\":1,\"time\":200},{\"user\":\"new\",\"item\":1,"
             "\"label\":1,\"time\":150},{\"user\":\"u1\",\"item\":3,\"label\":0,\"time\":300},{"
             "\"user\":\"new\",\"item\":\"unheard\",\"label\":1,\"time\":160},{\"user\":\"new\","
             "\"item\":2,\"label\":0,\"time\":170}]",
             STORED(5));
    char *store = sella_path_join(f->run, "feedback.sqlite", NULL),
         *old = sella_path_join(f->folder, "ds", NULL),
         *out = sella_path_join(f->folder, "grown", NULL),
         *alone = sella_path_join(f->folder, "alone", NULL);
    sella_export_options options = {.store = store, .dataset = old, .output = out};
    if (sella_export_feedback(&options, NULL, &json, &err) != SELLA_OK) { // while the server runs
        fail_msg("%s", err.text);
    }
    json_t *stats = json_loads(json, 0, NULL);
    assert_int_equal(json_integer_value(
                         json_object_get(json_object_get(stats, "rejected"), "item without title")),
                     1);
    json_decref(stats);
    free(json);
    sella_dataset *grown = NULL;
    assert_int_equal(sella_dataset_open(out, &grown, &err), SELLA_OK);
    assert_string_equal(grown->noun, "movie");
    assert_string_equal(grown->title[3], "Delta (1993)");
    int64_t rows = 0, last = 0;
    for (int s = 0; s < SELLA_SPLITS; s++) {
        rows += grown->split[s].rows;
        for (int64_t r = 0; r < grown->split[s].rows; r++) {
            const int32_t user = grown->split[s].user_n[r];
            if (strcmp(grown->user_id[user], "u1") == 0 && grown->split[s].time_n[r] == 300) {
                const int32_t *history;
                last++;
                assert_int_equal(grown->split[s].label_n[r], 0);
                /* 1 and 4 of the old rows */
                assert_int_equal(sella_dataset_history(grown, (sella_split_id)s, r, &history), 2);
                assert_string_equal(grown->item_id[grown->split[s].item_n[r]], "3");
            }
        }
    }
    assert_int_equal(rows, 10 + 3); // 7 of train, 3 of valid; the last words but the untitled one
    assert_int_equal(last, 1);
    sella_dataset_close(grown);
    for (int i = 0; i < 12; i++) { // enough for every split to have rows
        char body[96];
        snprintf(body, sizeof body, "{\"user\":\"v%d\",\"item\":%d,\"label\":%d,\"time\":%d}",
                 i % 3, i % 5 + 1, i % 2, 1000 + i);
        feedback(f, body, STORED(1));
    }
    options.dataset = NULL;
    options.output = alone;
    if (sella_export_feedback(&options, NULL, NULL, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(sella_dataset_open(alone, &grown, &err), SELLA_OK);
    /* as the serving run called it */
    assert_string_equal(grown->title[sella_dataset_find_item(grown, "5")], "\xc3\x89psilon (1994)");
    assert_int_equal(grown->split[0].rows + grown->split[1].rows + grown->split[2].rows, 3 + 12);
    sella_dataset_close(grown);
    options.output = out;
    /* not over what is there */
    assert_int_equal(sella_export_feedback(&options, NULL, NULL, &err), SELLA_STATE);
    free(store);
    free(old);
    free(out);
    free(alone);
    serve_remove(f);
}

/* --- SIGKILL under load ------------------------------------------------------------ */

enum { WRITERS = 4, ACKED_MAX = 20000 };

typedef struct writer {
    int port, round, number;
    int acked; /* events 0 .. acked-1 of this writer and round were acknowledged */
} writer;

static void *write_until_killed(void *user)
{
    writer *w = user;
    int fd = http_open(w->port, 10);
    for (int i = 0; fd >= 0 && i < ACKED_MAX; i++) {
        char body[160];
        http_reply reply;
        snprintf(body, sizeof body,
                 "{\"user\":\"w%d\",\"item\":%d,\"label\":1,\"time\":%d,\"id\":\"%d-%d-%d\"}",
                 w->number, i % 5 + 1, i, w->round, w->number, i);
        if (!http_write(fd, "POST", "/v1/feedback", "", body)) {
            break;
        }
        http_read(fd, false, &reply);
        const bool stored = reply.status == 200 && strcmp(reply.body, STORED(1)) == 0;
        http_reply_release(&reply);
        if (!stored) {
            break;
        }
        w->acked = i + 1;
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

/* The program itself, serving f->run with `store`; *port from its first line. */
static pid_t spawn(const serve_fixture *f, const char *program, const char *store, int *port)
{
    int out[2];
    char line[256] = "";
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        execl(program, program, "serve", f->run, "--port", "0", "--json", "--quiet", "--threads",
              "1", "--store", store, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *from = fdopen(out[0], "r");
    const bool said = fgets(line, sizeof line, from) != NULL;
    fclose(from);
    json_t *facts = said ? json_loads(line, 0, NULL) : NULL;
    *port = (int)json_integer_value(json_object_get(facts, "port"));
    json_decref(facts);
    return pid;
}

static void survives_being_killed(void **state)
{
    (void)state;
    const char *program = getenv("SELLA");
    if (program == NULL) {
        skip();
    }
    serve_fixture *f = serve_make();
    char *store = sella_path_join(f->folder, "kill.sqlite", NULL), query[200];
    int64_t total = 0;
    const int rounds = scratch_full() ? 50 : 3;
    for (int round = 0; round < rounds; round++) {
        pthread_t thread[WRITERS];
        writer writer_n[WRITERS];
        int port, status;
        pid_t pid = spawn(f, program, store, &port);
        assert_true(port > 0);
        for (int i = 0; i < WRITERS; i++) {
            writer_n[i] = (writer){.port = port, .round = round, .number = i};
            assert_int_equal(pthread_create(&thread[i], NULL, write_until_killed, &writer_n[i]), 0);
        }
        usleep((useconds_t)(100000 + 37000 * (round % 7)));
        assert_int_equal(kill(pid, SIGKILL), 0);
        waitpid(pid, &status, 0);
        for (int i = 0; i < WRITERS; i++) {
            pthread_join(thread[i], NULL);
            snprintf(query, sizeof query,
                     "SELECT count(*) FROM event WHERE id GLOB '%d-%d-*' AND time < %d", round, i,
                     writer_n[i].acked);
            /* every one, and none twice */
            assert_int_equal(strtol(ask(store, query), NULL, 10), writer_n[i].acked);
            total += writer_n[i].acked;
        }
        assert_string_equal(ask(store, "PRAGMA integrity_check"), "ok");
        assert_string_equal(ask(store, "SELECT count(*) - count(DISTINCT id) FROM event"), "0");
    }
    assert_true(total > rounds);
    free(store);
    serve_remove(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_last_words),
        cmocka_unit_test(reads_long_stories),
        cmocka_unit_test(migrates_older_stores),
        cmocka_unit_test(feedback_changes_the_next_answer),
        cmocka_unit_test(refuses_bad_feedback),
        cmocka_unit_test(acknowledges_nothing_that_is_not_stored),
        cmocka_unit_test(becomes_a_data_set),
        cmocka_unit_test(survives_being_killed),
    };
    scratch_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
