/* store.c - the feedback store on SQLite (serve/store.h).
 *
 * Easy to get wrong: after SQLITE_FULL or an I/O error SQLite may have rolled back by itself, or
 * not: sqlite3_get_autocommit tells. An insert that does nothing for its conflict leaves
 * sqlite3_changes of the one before: total changes are compared.
 */
#include "serve/store.h"

#include <sqlite3.h>

#include "base/arena.h"

enum { APPLICATION = 0x53654c61, BUSY_MS = 5000 }; /* "SeLa" in the file's header */

struct sella_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *insert, *title, *user, *each;
};

/* Step v takes a store of version v to v + 1. Never edited, only added to. */
static const char *const steps[SELLA_STORE_VERSION] = {
    "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, user TEXT NOT "
    "NULL, item TEXT NOT NULL, label INTEGER NOT NULL CHECK (label IN (0, 1)), time INTEGER NOT "
    "NULL, received INTEGER NOT NULL);CREATE INDEX event_user ON event (user, item, time, seq);",
    "CREATE TABLE item (item TEXT PRIMARY KEY, title TEXT NOT NULL) WITHOUT ROWID;",
};

#define COLUMNS "e.user, e.item, i.title, e.label, e.time"
#define TITLE " LEFT JOIN item i ON i.item = e.item"

/* The last words of user ?1. From one item to the next that the user said something about, then
 * to the last event about it: two look-ups in the index for each item, however many events there
 * are. The walk ends with the NULL behind the last item, which no event has. */
static const char user_query[] =
    "WITH RECURSIVE about(item) AS (SELECT min(item) FROM event WHERE user = ?1 UNION ALL"
    " SELECT (SELECT min(item) FROM event WHERE user = ?1 AND item > about.item) FROM about"
    " WHERE item IS NOT NULL)"
    " SELECT " COLUMNS " FROM about JOIN event e ON e.seq = (SELECT seq FROM event"
    " WHERE user = ?1 AND item = about.item ORDER BY time DESC, seq DESC LIMIT 1)" TITLE
    " ORDER BY e.time, e.seq";

/* The last words of all users: one pass over the index, one look-up for each event. */
static const char each_query[] =
    "SELECT " COLUMNS " FROM event e" TITLE " WHERE e.seq = (SELECT l.seq FROM event l"
    " WHERE l.user = e.user AND l.item = e.item ORDER BY l.time DESC, l.seq DESC LIMIT 1)"
    " ORDER BY e.user, e.time, e.seq";

static sella_status failed(const sella_store *store, const char *verb, bool *full, sella_err *err)
{
    const int code = sqlite3_errcode(store->db) & 0xff;
    if (full != NULL) {
        *full = code == SQLITE_FULL;
    }
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
        return sella_err_set(err, SELLA_FORMAT, "%s: is no feedback store, or a damaged one: %s",
                             store->path, sqlite3_errmsg(store->db));
    }
    return sella_err_set(err, SELLA_IO, "%s: could not be %s: %s", store->path, verb,
                         sqlite3_errmsg(store->db));
}

static sella_status execute(sella_store *store, const char *sql, const char *verb, bool *full,
                            sella_err *err)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? SELLA_OK
               : failed(store, verb, full, err);
}

static sella_status pragma(sella_store *store, const char *name, int64_t *value, sella_err *err)
{
    char sql[64];
    sqlite3_stmt *statement = NULL;
    snprintf(sql, sizeof sql, "PRAGMA %s", name);
    const bool right = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) == SQLITE_OK &&
                       sqlite3_step(statement) == SQLITE_ROW;
    *value = right ? sqlite3_column_int64(statement, 0) : 0;
    sella_status status = right ? SELLA_OK : failed(store, "read", NULL, err);
    sqlite3_finalize(statement);
    return status;
}

/* What is there is ours and of a version that is known: *version, 0 for an empty file. */
static sella_status recognise(sella_store *store, int64_t *version, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t application = 0, tables = 0;
    SELLA_TRY(pragma(store, "application_id", &application, err));
    SELLA_TRY(pragma(store, "user_version", version, err));
    SELLA_TRY(pragma(store, "schema_version", &tables, err));
    if (application != APPLICATION && (application != 0 || *version != 0 || tables != 0)) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT,
                                "%s: is an SQLite database, but no feedback store of sella",
                                store->path));
    }
    if (*version > SELLA_STORE_VERSION || *version < 0) {
        SELLA_TRY(sella_err_set(err, SELLA_UNSUPPORTED,
                                "%s: has version %lld; this program knows versions up to %d",
                                store->path, (long long)*version, SELLA_STORE_VERSION));
    }
done:
    return status;
}

/* All missing steps in one transaction. */
static sella_status migrate(sella_store *store, sella_err *err)
{
    sella_status status = SELLA_OK;
    char sql[96];
    int64_t version = 0;
    SELLA_TRY(execute(store, "BEGIN IMMEDIATE", "written", NULL, err));
    /* under the lock: another process may have been quicker */
    SELLA_TRY(recognise(store, &version, err));
    for (int64_t v = version; v < SELLA_STORE_VERSION; v++) {
        SELLA_TRY(execute(store, steps[v], "migrated", NULL, err));
    }
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             APPLICATION, SELLA_STORE_VERSION);
    SELLA_TRY(execute(store, sql, "written", NULL, err));
done:
    if (status != SELLA_OK && !sqlite3_get_autocommit(store->db)) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

static sella_status prepare(sella_store *store, const char *sql, sqlite3_stmt **out, sella_err *err)
{
    return sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) == SQLITE_OK
               ? SELLA_OK
               : failed(store, "read", NULL, err);
}

static sella_status prepare_all(sella_store *store, bool write, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (write) {
        SELLA_TRY(prepare(store,
                          "INSERT INTO event (id, user, item, label, time, received) VALUES (?, ?, "
                          "?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                          &store->insert, err));
        SELLA_TRY(prepare(store,
                          "INSERT INTO item (item, title) VALUES (?, ?) ON CONFLICT (item) DO "
                          "UPDATE SET title = excluded.title WHERE title <> excluded.title",
                          &store->title, err));
    }
    SELLA_TRY(prepare(store, user_query, &store->user, err));
    SELLA_TRY(prepare(store, each_query, &store->each, err));
done:
    return status;
}

sella_status sella_store_open(const char *path, bool write, sella_store **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t version = 0;
    sella_store *store = sella_alloc(1, sizeof *store, "a store", err);
    *out = NULL;
    if (store == NULL || (store->path = strdup(path)) == NULL) {
        SELLA_TRY(sella_err_memory(err, "a store", strlen(path)));
    }
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK) {
        SELLA_TRY(store->db != NULL ? failed(store, "opened", NULL, err)
                                    : sella_err_memory(err, "a store", 0));
    }
    sqlite3_busy_timeout(store->db, BUSY_MS);
    SELLA_TRY(recognise(store, &version, err));
    if (write) {
        SELLA_TRY(execute(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", "opened",
                          NULL, err));
        if (version < SELLA_STORE_VERSION) {
            SELLA_TRY(migrate(store, err));
        }
    } else if (version == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_FORMAT, "%s: is no feedback store", path));
    } else if (version < SELLA_STORE_VERSION) {
        SELLA_TRY(
            sella_err_set(err, SELLA_STATE,
                          "%s: has version %lld; 'sella serve' migrates it to %d when it opens it",
                          path, (long long)version, SELLA_STORE_VERSION));
    }
    SELLA_TRY(prepare_all(store, write, err));
    *out = store;
    store = NULL;
done:
    sella_store_close(store);
    return status;
}

void sella_store_close(sella_store *store)
{
    if (store == NULL) {
        return;
    }
    sqlite3_finalize(store->insert);
    sqlite3_finalize(store->title);
    sqlite3_finalize(store->user);
    sqlite3_finalize(store->each);
    sqlite3_close(store->db);
    free(store->path);
    free(store);
}

static void roll_back(sella_store *store)
{
    if (!sqlite3_get_autocommit(store->db)) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

sella_status sella_store_begin(sella_store *store, bool *full, sella_err *err)
{
    return execute(store, "BEGIN IMMEDIATE", "written", full, err);
}

/* One run of a writing statement. */
static sella_status run(sella_store *store, sqlite3_stmt *statement, bool *full, sella_err *err)
{
    const int code = sqlite3_step(statement);
    sella_status status = code == SQLITE_DONE ? SELLA_OK : failed(store, "written", full, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (status != SELLA_OK) {
        roll_back(store);
    }
    return status;
}

sella_status sella_store_add(sella_store *store, sella_feedback *events, int64_t received,
                             bool *full, sella_err *err)
{
    events->stored = events->duplicates = 0;
    for (int i = 0; i < events->count; i++) {
        const sella_event *event = &events->event_n[i];
        const int before = sqlite3_total_changes(store->db);
        if (event->id != NULL) {
            sqlite3_bind_text(store->insert, 1, event->id, -1, SQLITE_STATIC);
        }
        sqlite3_bind_text(store->insert, 2, event->user, -1, SQLITE_STATIC);
        sqlite3_bind_text(store->insert, 3, event->item, -1, SQLITE_STATIC);
        sqlite3_bind_int(store->insert, 4, event->label);
        sqlite3_bind_int64(store->insert, 5, event->time);
        sqlite3_bind_int64(store->insert, 6, received);
        sella_status status = run(store, store->insert, full, err);
        if (status != SELLA_OK) {
            return status;
        }
        if (sqlite3_total_changes(store->db) != before) {
            events->stored++;
        } else {
            events->duplicates++;
        }
    }
    return SELLA_OK;
}

sella_status sella_store_title(sella_store *store, const char *item, const char *title, bool *full,
                               sella_err *err)
{
    sqlite3_bind_text(store->title, 1, item, -1, SQLITE_STATIC);
    sqlite3_bind_text(store->title, 2, title, -1, SQLITE_STATIC);
    return run(store, store->title, full, err);
}

sella_status sella_store_commit(sella_store *store, bool *full, sella_err *err)
{
    sella_status status = execute(store, "COMMIT", "written", full, err);
    if (status != SELLA_OK) {
        roll_back(store);
    }
    return status;
}

static sella_status walk(sella_store *store, sqlite3_stmt *statement,
                         sella_status (*each)(void *context, const sella_stored *row,
                                              sella_err *err),
                         void *context, sella_err *err)
{
    sella_status status = SELLA_OK;
    int code = SQLITE_DONE;
    while (status == SELLA_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const sella_stored row = {.user = (const char *)sqlite3_column_text(statement, 0),
                                  .item = (const char *)sqlite3_column_text(statement, 1),
                                  .title = (const char *)sqlite3_column_text(statement, 2),
                                  .label = sqlite3_column_int(statement, 3),
                                  .time = sqlite3_column_int64(statement, 4)};
        status = row.user != NULL && row.item != NULL ? each(context, &row, err)
                                                      : sella_err_memory(err, "a stored event", 0);
    }
    if (status == SELLA_OK && code != SQLITE_DONE) {
        status = failed(store, "read", NULL, err);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

sella_status sella_store_user(sella_store *store, const char *user,
                              sella_status (*each)(void *context, const sella_stored *row,
                                                   sella_err *err),
                              void *context, sella_err *err)
{
    sqlite3_bind_text(store->user, 1, user, -1, SQLITE_STATIC);
    return walk(store, store->user, each, context, err);
}

sella_status sella_store_each(sella_store *store,
                              sella_status (*each)(void *context, const sella_stored *row,
                                                   sella_err *err),
                              void *context, sella_err *err)
{
    return walk(store, store->each, each, context, err);
}

sella_status sella_store_count(sella_store *store, int64_t *events, sella_err *err)
{
    sqlite3_stmt *statement = NULL;
    sella_status status = SELLA_OK;
    SELLA_TRY(prepare(store, "SELECT count(*) FROM event", &statement, err));
    if (sqlite3_step(statement) != SQLITE_ROW) {
        SELLA_TRY(failed(store, "read", NULL, err));
    }
    *events = sqlite3_column_int64(statement, 0);
done:
    sqlite3_finalize(statement);
    return status;
}
