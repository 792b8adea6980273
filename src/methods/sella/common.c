/* common.c - what the stages share: seeds, soft tokens of ablations, records
 * (methods/sella/stages.h). */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

sella_slot_set sella_ablation_slots(const sella_settings *settings)
{
    const char *ablation = sella_settings_text(settings, "ablation");
    if (strcmp(ablation, "w/o") == 0 || strcmp(ablation, "warm") == 0) {
        return SELLA_SLOT_SET_USER_ITEM;
    }
    return strcmp(ablation, "ui") == 0 ? 1u << SELLA_SLOT_WARM : SELLA_SLOT_SET_ALL;
}

sella_status sella_stage_bias(const sella_run *run, const char *file, float *bias, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    sella_param_table *const tables[] = {&table};
    char *path = sella_run_file(run, file);
    sella_param_table_init(&table);
    *bias = 0;
    if (!path) {
        return sella_err_memory(err, "a path", strlen(file));
    }
    if (sella_settings_bool(run->settings, "stage1.intercept")) {
        SELLA_TRY(sella_param_add(&table, "logit.bias", 1, 0, err));
        SELLA_TRY(sella_tensors_read(path, tables, 1, err));
        *bias = table.param[0].data[0];
    }
done:
    sella_param_table_release(&table);
    free(path);
    return status;
}

uint64_t sella_stage_seed(const sella_run *run, const char *stage)
{
    return sella_hash_bytes(stage, strlen(stage), run->seed);
}

json_t *sella_stage_record_new(const char *stage, double seconds)
{
    return json_pack("{s:s, s:o, s:[], s:[]}", "stage", stage, "seconds", sella_json_real(seconds),
                     "trained", "frozen");
}

void sella_stage_record_name(json_t *record, bool trained, const char *name)
{
    json_array_append_new(json_object_get(record, trained ? "trained" : "frozen"),
                          json_string(name));
}

void sella_stage_record_table(json_t *record, const sella_param_table *table)
{
    for (int i = 0; i < table->count; i++) {
        sella_stage_record_name(record, table->param[i].trainable, table->param[i].name);
    }
}
