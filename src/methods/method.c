/* method.c - the table of methods, and what the public headers tell about it (methods/method.h,
 * sella/train.h). */
#include <string.h>

#include "base/text.h"
#include "methods/method.h"
#include "sella/train.h"

// A method has a line in both tables, in the order of SPEC section 2.
static const sella_method *const method_table[] = {
    &sella_method_mf,
    &sella_method_lightgcn,
    &sella_method_sasrec,
    &sella_method_din,
    &sella_method_ctrl_din,
    &sella_method_zeroshot,
    &sella_method_prompt4nr,
    &sella_method_tallrec,
    &sella_method_personprompt,
    &sella_method_collm,
    &sella_method_binllm,
    &sella_method_sella,
    &sella_method_itembias,
    &sella_method_bias,
    NULL,
};
static const char *const method_name[] = {
    "mf",
    "lightgcn",
    "sasrec",
    "din",
    "ctrl-din",
    "zeroshot",
    "prompt4nr",
    "tallrec",
    "personprompt",
    "collm",
    "binllm",
    "sella",
    "itembias",
    "bias",
    NULL,
};
enum { METHODS = sizeof method_table / sizeof method_table[0] - 1 };
_Static_assert(METHODS == sizeof method_name / sizeof method_name[0] - 1,
               "a method has a line in both tables");

const sella_method *const *sella_methods(int *count)
{
    *count = METHODS;
    return method_table;
}

const sella_method *sella_method_find(const char *name)
{
    for (int i = 0; i < METHODS; i++) {
        if (strcmp(method_table[i]->name, name) == 0) {
            return method_table[i];
        }
    }
    return NULL;
}

sella_status sella_method_get(const char *name, const sella_method **out, sella_err *err)
{
    *out = sella_method_find(name);
    if (*out) {
        return SELLA_OK;
    }
    int nearest = sella_text_nearest(name, method_name, METHODS);
    const char *guess = nearest >= 0 ? method_name[nearest] : NULL;
    return guess ? sella_err_set(err, SELLA_ARG, "method '%s' is unknown; did you mean %s?", name,
                                 guess)
                 : sella_err_set(err, SELLA_ARG,
                                 "method '%s' is unknown; `sella help train` lists them", name);
}

const char *const *sella_method_names(void)
{
    return method_name;
}

const char *sella_method_help(const char *name)
{
    const sella_method *method = sella_method_find(name);
    return method ? method->help : NULL;
}

static const char *const type_name[] = {"integer", "number", "yes|no", "word", "text"};

int sella_setting_at(int index, sella_setting_info *out)
{
    size_t count;
    const sella_setting *table = sella_training_settings(&count);
    if (index < 0 || (size_t)index >= count) {
        return 0;
    }
    const sella_setting *row = &table[index];
    *out = (sella_setting_info){row->name,         type_name[row->type],
                                row->default_text, row->words ? row->words : "",
                                row->unit,         row->help};
    return 1;
}
