/* serve_fixture.h - a small run to serve. The method is itembias: its scores can be worked out by
 * hand, (likes + 5 m) / (rows + 5) with m the train mean.
 *
 * Include after <cmocka.h>. */
#ifndef SELLA_TESTS_SERVE_FIXTURE_H
#define SELLA_TESTS_SERVE_FIXTURE_H

#include <math.h>

#include "data_fixture.h"
#include "http_client.h"
#include "sella/serve.h"
#include "sella/train.h"

#define SERVE_HEADER "uid\tiid\tlabel\ttimestamp\tnot_cold\this\n"
/* 4 of 7 train rows are likes. */
#define SERVE_MEAN (4.0 / 7)
#define SERVE_ALPHA ((2 + 5 * SERVE_MEAN) / 8)
#define SERVE_BETA ((1 + 5 * SERVE_MEAN) / 7) /* and Delta: a tie */

typedef struct serve_fixture {
    char *folder;
    char *run;
    sella_server *server;
    int port;
} serve_fixture;

static inline void serve_import(const char *folder)
{
    static const char items[] =
        "iid\ttitle\n1\tAlpha (1990)\n2\tBeta (1991)\n3\tGamma; <script>alert(1)</script> "
        "(1992)\n4\tDelta (1993)\n5\t\xc3\x89psilon (1994)\n";
    static const char train[] = SERVE_HEADER
        "u1\t1\t1\t10\t1\t0\nu1\t2\t0\t11\t1\t0 1\nu2\t1\t1\t12\t1\t0\nu2\t2\t1\t13\t1\t0 "
        "1\nu3\t4\t0\t14\t1\t0\nu3\t1\t0\t15\t1\t0\nu2\t4\t1\t16\t1\t0 1 2\n";
    static const char valid[] =
        SERVE_HEADER "u1\t4\t1\t20\t1\t0 1\nu9\t1\t0\t21\t0\t0\nu2\t5\t1\t22\t0\t0 1 2 4\n";
    sella_err err = {0};
    put(folder, "in/items.tsv", items);
    put(folder, "in/train.tsv", train);
    put(folder, "in/valid.tsv", valid);
    if (import_into(folder, "in", "ds", (sella_import_options){.format = "split", .noun = "movie"},
                    &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
}

/* Data set and run in a folder of their own; no server yet. */
static inline serve_fixture *serve_make(void)
{
    serve_fixture *f = calloc(1, sizeof *f);
    sella_err err = {0};
    char *json = NULL;
    f->folder = scratch_make();
    serve_import(f->folder);
    char *dataset = sella_path_join(f->folder, "ds", NULL);
    f->run = sella_path_join(f->folder, "run", NULL);
    const sella_train_options options = {.method = "itembias", .dataset = dataset, .run = f->run};
    if (sella_train(&options, NULL, &json, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    free(json);
    free(dataset);
    return f;
}

static inline void serve_start(serve_fixture *f, sella_serve_options options)
{
    sella_err err = {0};
    options.run = f->run;
    options.threads = 1;
    if (sella_serve_start(&options, &f->server, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    f->port = sella_serve_port(f->server);
}

static inline void serve_stop(serve_fixture *f)
{
    sella_serve_stop(f->server);
    f->server = NULL;
}

static inline void serve_remove(serve_fixture *f)
{
    serve_stop(f);
    scratch_remove(f->folder);
    free(f->run);
    free(f);
}

#endif
