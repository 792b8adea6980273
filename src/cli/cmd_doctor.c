/* cmd_doctor.c - sella doctor: what this machine has, and what would be slow and why. */
#include <jansson.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/commands.h"
#include "sella/system.h"

static sella_status print_json(const sella_system *s, sella_err *err)
{
    json_t *advice = json_array();
    for (int i = 0; i < s->advice_count; i++) {
        json_array_append_new(advice, json_string(s->advice[i]));
    }
    json_t *object = json_object();
    json_object_set_new(object, "cpu", json_string(s->cpu));
    json_object_set_new(object, "features", json_string(s->features));
    json_object_set_new(object, "blas", json_string(s->blas));
    json_object_set_new(object, "threads", json_integer(s->threads));
    json_object_set_new(object, "cores", json_integer(s->cores));
    json_object_set_new(object, "cpus", json_integer(s->cpus));
    json_object_set_new(object, "load", s->load >= 0 ? sella_json_real(s->load) : json_null());
    json_object_set_new(object, "memory_total", json_integer((json_int_t)s->memory_total));
    json_object_set_new(object, "memory_available", json_integer((json_int_t)s->memory_available));
    json_object_set_new(object, "advice", advice);
    char *line = sella_json_line(object);
    json_decref(object);
    if (!line) {
        return sella_err_memory(err, "a report", 1);
    }
    puts(line);
    free(line);
    return SELLA_OK;
}

static sella_status run(const sella_args *args, const sella_cli *cli, sella_err *err)
{
    sella_system s;
    (void)args;
    sella_system_report(&s);
    if (cli->json) {
        return print_json(&s, err);
    }
    printf("processor  %s\n", s.cpu);
    printf("features   %s\n", s.features[0] ? s.features : "none of those that matter here");
    printf("BLAS       %s\n", s.blas);
    printf("threads    %d, on %d physical cores (%d logical processors)\n", s.threads, s.cores,
           s.cpus);
    printf("memory     %.1f GiB, %.1f GiB free\n", (double)s.memory_total / 0x1p30,
           (double)s.memory_available / 0x1p30);
    if (s.load >= 0) {
        printf("load       %.1f\n", s.load);
    }
    for (int i = 0; i < s.advice_count; i++) {
        printf("slow       %s\n", s.advice[i]);
    }
    if (s.advice_count == 0) {
        printf("slow       nothing found\n");
    }
    return SELLA_OK;
}

const sella_command sella_cmd_doctor = {
    .name = "doctor",
    .usage = "",
    .help = "Show processor features, BLAS, threads and memory, and what would be slow and why.",
    .run = run,
};
