/* serve_model_fixture.h - a small run with a language model to serve: tallrec on a copy of
 * tests/ref/tiny_llama, which a test may damage.
 *
 * Does:     served_make(shape) trains -> served_start(f, options) -> served_stop, served_start ...
 *           -> served_remove. The server finds the model in f->model.
 * Include after <cmocka.h>. */
#ifndef SELLA_TESTS_SERVE_MODEL_FIXTURE_H
#define SELLA_TESTS_SERVE_MODEL_FIXTURE_H

#include <sys/stat.h>

#include "base/log.h"
#include "http_client.h"
#include "methods_fixture.h"
#include "sella/serve.h"

typedef struct served {
    char *folder, *run, *model;
    sella_server *server;
    int port;
} served;

static inline void served_copy(const char *to, const char *name)
{
    char *from = sella_path_join(TINY_MODEL, name, NULL);
    sella_map map = {0};
    CHECK(sella_map_open(from, &map, err));
    free(scratch_file(to, name, map.data, map.size));
    sella_map_close(&map);
    free(from);
}

static inline served *served_make(const fixture_shape *shape)
{
    static const char *const set[] = {"stage1.batch=16", "stage1.epochs=1", NULL};
    served *f = calloc(1, sizeof *f);
    scratch_in_memory();
    f->folder = scratch_make();
    f->run = sella_path_join(f->folder, "run", NULL);
    f->model = sella_path_join(f->folder, "model", NULL);
    assert_int_equal(mkdir(f->model, 0700), 0);
    served_copy(f->model, "config.json");
    served_copy(f->model, "model.safetensors");
    served_copy(f->model, "tokenizer.json");
    char *dataset = sella_path_join(f->folder, "ds", NULL);
    fixture_dataset(dataset, shape);
    fixture_train_ok("tallrec", dataset, f->run, NULL, NULL, set);
    free(dataset);
    return f;
}

static inline void served_start(served *f, sella_serve_options options)
{
    options.run = f->run;
    options.model = f->model;
    options.threads = 1;
    CHECK(sella_serve_start(&options, &f->server, err));
    f->port = sella_serve_port(f->server);
}

static inline void served_stop(served *f)
{
    sella_serve_stop(f->server);
    f->server = NULL;
}

static inline void served_remove(served *f)
{
    served_stop(f);
    scratch_remove(f->folder);
    free(f->run);
    free(f->model);
    free(f);
}

/* Until nothing but the asking itself is under way. */
static inline void served_wait(const served *f)
{
    const double end = sella_now() + 10;
    while (http_metric(f->port, "\nsella_requests_under_way ") > 1) {
        assert_true(sella_now() < end);
        usleep(2000);
    }
}

#endif
