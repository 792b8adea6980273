/* zeroshot.c - the language model as it is: nothing is trained, the run holds the template and the
 * figures. */
#include "methods/lm_scorer.h"
#include "methods/method.h"
#include "methods/sella/stages.h"

static sella_status zeroshot_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lm lm = {0};
    SELLA_TRY(sella_lm_save_template(job->run, err));
    // the label words are single tokens of this model, or it is said now
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, 0, false, &lm, err));
done:
    sella_lm_release(&lm);
    return status;
}

static sella_status zeroshot_open(const sella_run *run, sella_backbone *backbone,
                                  sella_scorer **out, sella_err *err)
{
    const sella_lm_scorer_options options = {.gain = 1};
    return sella_lm_scorer_open(run, backbone, &options, out, err);
}

static const char *const paper[] = {"template=paper", "history.window=sliding", NULL};

const sella_method sella_method_zeroshot = {
    .name = "zeroshot",
    .help = "the language model as it is: the prompt's Yes against No, nothing trained",
    .needs_model = true,
    .untrained = true,
    .preset_paper = paper,
    .estimate = sella_titles_estimate,
    .train = zeroshot_train,
    .open = zeroshot_open,
};
