/* published.c - the printed figures (engine/published.h). */
#include "engine/published.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

sella_known sella_known_data(int64_t train_users, int64_t items)
{
    return train_users == 740 && items == 3255      ? SELLA_KNOWN_ML1M
           : train_users == 22854 && items == 34153 ? SELLA_KNOWN_BOOK
                                                    : SELLA_KNOWN_NONE;
}

const char *sella_known_name(sella_known data)
{
    return data == SELLA_KNOWN_ML1M   ? "MovieLens-1M"
           : data == SELLA_KNOWN_BOOK ? "Amazon-Book"
                                      : "";
}

#define NONE {{NAN, NAN}, {NAN, NAN}}

/* ML-1M first, then Book; {AUC, UAUC}. */
static const sella_published published[] = {
    {"mf", {{.6473, .6264}, {.6949, .5366}}, {{.6482, .6361}, {.7134, .5565}}},
    {"lightgcn", {{.6139, .6276}, {.7011, .5528}}, {{.5959, .6499}, {.7103, .5639}}},
    {"sasrec", {{.7058, .6818}, {.6721, .5597}}, {{.7078, .6884}, {.6887, .5714}}},
    {"din", {{.7138, .6595}, {.8102, .5986}}, {{.7166, .6459}, {.8163, .6145}}},
    {"zeroshot", {{.5718, .5145}, {.6791, .5546}}, {{.5320, .5268}, {.4820, .4856}}},
    {"prompt4nr", {{.7191, .6839}, {.8177, .6733}}, {{.7071, .6739}, {.7224, .5881}}},
    {"tallrec", {{.7268, .6989}, {.8358, .6921}}, {{.7097, .6818}, {.7375, .5983}}},
    {"ctrl-din", {{.7155, .6681}, {.8122, .6177}}, {{.7159, .6492}, {.8202, .5996}}},
    {"personprompt", {{.7223, .6991}, {.8141, .6730}}, {{.7214, .6563}, {.7273, .5956}}},
    {"collm", {{.7357, .7179}, {.8391, .6957}}, {{.7295, .6875}, {.8109, .6225}}},
    {"binllm", {{.7417, .7239}, {.8429, .7073}}, NONE},
    {"sella", {{.7606, .7464}, {.8837, .7459}}, NONE},
    {"sella-wo", {{.7357, .7179}, {.8391, .6957}}, NONE},
    {"sella-proj", {{.7511, .7333}, {.8424, .7225}}, NONE},
    {"sella-warm", {{.7521, .7371}, {.8764, .7444}}, NONE},
    {"sella-ui", {{.7305, .7076}, {.8417, .7186}}, NONE},
    {"sella-w-ui", {{.7576, .7458}, {.8625, .7350}}, NONE},
    {"sella-ui-w", {{.7539, .7410}, {.8797, .7403}}, NONE},
};

const sella_published *sella_published_find(const char *key)
{
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (strcmp(published[i].key, key) == 0) {
            return &published[i];
        }
    }
    return NULL;
}

const int64_t sella_published_counts[SELLA_KNOWN][5] = {{33891, 10401, 7331, 839, 3256},
                                                        {727468, 25747, 25747, 22967, 34154}};
const double sella_published_zeroshot[2][3] = {{.6791, .6602, .7604}, {.5546, .5507, .5643}};
const double sella_published_step0[SELLA_KNOWN][3] = {{.7421, .7393, .7283}, {.8450, .8319, .8158}};

const char sella_published_caveats[] =
    "<h3>How to read the published figures</h3>\n<ul>\n"
    "<li>They are of the <b>test</b> rows, one seed, with backbones of 7 billion weights (Qwen2-7B "
    "in the SeLLa-Rec paper, Vicuna-7B in CoLLM's).</li>\n"
    "<li>UAUC on MovieLens-1M test is a mean over 224 users, 51 of them on cold rows: differences "
    "below about .01 from one seed mean nothing.</li>\n"
    "<li>The evaluator in the SeLLa-Rec authors' public code pairs answers with rows by searching "
    "the tokens of a whole batch; a title that begins with &ldquo;Yes&rdquo; or &ldquo;No&rdquo; "
    "shifts the rest of the batch. A simulation on the test rows of MovieLens-1M moves AUC by "
    "about +.004 and UAUC by about +.04. It also leaves out rows without history and evaluates on "
    "test while training. Its language-model rows are therefore not clean targets.</li>\n"
    "<li>The published MF has no biases. <code>bias</code>, user and item biases alone, is the "
    "control to beat: on MovieLens-1M valid AUC .742, UAUC .689.</li>\n"
    "<li>Users and items of the published Table 2 are the largest id + 1, so one more than there "
    "are.</li>\n</ul>\n";
