/* training_settings.c - the one table of settings of training, and how presets, files and
 * assignments fill it (methods/method.h).
 *
 * The defaults of the table are those of `--preset default`; a method's own preset lists change
 * what differs.
 */
#include <string.h>

#include "methods/method.h"

// words of a number: its range as text, for help and docs
#define INT(name, value, min, max, unit, help)                                                     \
    {                                                                                              \
        name, SELLA_TYPE_INT, value, min, max, #min " to " #max, unit, help                        \
    }
#define REAL(name, value, min, max, unit, help)                                                    \
    {                                                                                              \
        name, SELLA_TYPE_REAL, value, min, max, #min " to " #max, unit, help                       \
    }
#define YESNO(name, value, help) {name, SELLA_TYPE_BOOL, value, 0, 0, NULL, "", help}
#define WORD(name, value, words, help) {name, SELLA_TYPE_WORD, value, 0, 0, words, "", help}
#define TEXT(name, value, help) {name, SELLA_TYPE_TEXT, value, 0, 0, NULL, "", help}

static const sella_setting training_table[] = {
    INT("train.rows", "0", 0, 1e12, "rows",
        "Train rows that the language-model stages see: a seeded sample, larger ones hold smaller "
        "ones; 0: all."),
    INT("train.run", "16", 1, 1e9, "rows",
        "A sample of train is drawn in runs of up to so many consecutive rows of one user: they "
        "share their history, which saves tokens, but their labels go together; 1: single rows."),
    INT("train.tokens", "1024", 16, 1048576, "tokens",
        "Tokens of one packed batch in training: what memory follows; a step accumulates as many "
        "batches as it needs."),
    WORD("train.cache_hidden", "auto", "auto|yes|no",
         "Keep what enters layer lora.first_layer on disk while a stage trains on prompts of "
         "tokens alone, and begin there from the second epoch on (the result is the same, the time "
         "is not); auto: with two epochs or more, when the disk has room."),
    INT("eval.rows", "0", 0, 1e12, "rows",
        "Rows of valid, one seeded sample (runs of up to 4 rows of one user), for selection in "
        "language-model stages and for predictions-valid.csv; 0: all."),
    INT("eval.tokens", "2048", 16, 1048576, "tokens",
        "Tokens of one packed batch in scoring and distillation."),
    REAL("budget.minutes", "0", 0, 1e6, "minutes",
         "Time for the whole run: turned into train.rows and eval.rows once, from a measured rate; "
         "0: no limit."),
    REAL("checkpoint.seconds", "60", 0, 1e6, "seconds",
         "Most work that a killed run loses; 0: a checkpoint after every step."),

    TEXT("template", "compact", "Prompt template: compact, paper, or the path of a template file."),
    WORD("history.window", "anchored", "sliding|anchored",
         "sliding: the last history.length titles; anchored: history.length to twice that, so that "
         "rows of a user share their prefix."),
    INT("history.length", "10", 1, 10000, "titles",
        "Titles that a prompt shows (anchored: at least, once there are as many)."),

    INT("lora.rank", "8", 1, 4096, "", "Rank of the adapters."),
    REAL("lora.alpha", "16", 1e-6, 1e6, "", "Scale of the adapters: alpha / rank."),
    REAL("lora.dropout", "0", 0, 0.95, "", "Dropout on the adapters' inputs while they train."),
    TEXT("lora.targets", "q_proj,v_proj",
         "Matrices with an adapter: a list of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
         "down_proj, or all."),
    WORD("lora.start", "stage1", "stage1|scratch",
         "Where the adapter of prompt4nr and binllm starts: from stage 1, or afresh without it."),
    INT("lora.first_layer", "0", 0, 100000, "",
        "Layers below this one have no adapter and are not trained."),

    REAL("stage1.lr", "2e-3", 0, 1, "", "Highest learning rate of stage 1 (AdamW)."),
    INT("stage1.epochs", "1", 0, 100000, "epochs", "Passes over the rows in stage 1."),
    INT("stage1.batch", "64", 1, 1000000, "rows",
        "Rows of one optimizer step of stage 1, about: a step takes whole trees."),
    WORD("stage1.schedule", "constant", "constant|linear|cosine",
         "How the learning rate of stage 1 falls after the warm-up."),
    REAL("stage1.warmup", "0.03", 0, 1, "share of the steps",
         "Steps of stage 1 in which the learning rate rises."),
    REAL("stage1.weight_decay", "0.01", 0, 100, "", "Decoupled weight decay of stage 1."),
    REAL("stage1.beta2", "0.999", 0, 0.999999, "", "Second moment's decay of stage 1's AdamW."),
    REAL("stage1.clip", "1", 0, 1e9, "",
         "Largest gradient norm of a step of stage 1; 0: no limit."),
    YESNO("stage1.share", "yes",
          "Compute equal prefixes of a user's rows once: a row's gradient is the same, the time is "
          "not, and a step takes whole trees of rows where it took single ones."),
    INT("stage1.tree_cap", "384", 0, 1048576, "tokens",
        "Tokens of one tree of rows; small trees mix more users into a step; 0: as many as a batch "
        "has."),
    YESNO("stage1.intercept", "yes",
          "Add a trained number, logit.bias, to the logit: it starts where the mean score meets "
          "the mean label."),
    WORD("stage1.teacher", "bias", "none|bias",
         "What stage 1 learns beside the labels: nothing, or the probabilities of the control "
         "`bias`, fitted on all rows of train."),
    REAL("stage1.teacher_weight", "0.8", 0, 1, "",
         "Share of the teacher in what stage 1 learns; the rest: labels."),
    YESNO("stage1.offset", "yes",
          "Add the user's bias of the control to the logit while stage 1 trains: titles need not "
          "explain who rates high."),
    YESNO("stage1.centre", "yes",
          "Give each packed batch an intercept of its own while stage 1 trains, so that steps do "
          "not follow the mean label of a few users."),
    INT("stage1.evaluate", "0", 0, 1000000000, "steps",
        "Score the valid sample every so many steps and keep the best adapter; 0: train to the "
        "end."),

    WORD("distil.items", "all", "all|needed",
         "Items that get a distilled vector: all, or those in the sampled train and valid rows and "
         "their shown histories."),
    WORD("distil.wording", "title", "title|eol",
         "Prompt of distillation: the noun and the title (Fig. 3), or one that asks for one word."),

    WORD("collab.model", "mf", "mf|lightgcn|sasrec|din",
         "The collaborative model that collm and sella build on."),
    INT("collab.width", "64", 1, 65536, "", "Width of collaborative vectors (d_C)."),
    YESNO("collab.bias", "yes", "User, item and global biases in the collaborative logit."),
    YESNO("collab.history", "yes",
          "Describe users by their history as well (the implicit part of SVD++): works for users "
          "never seen."),
    INT("collab.history_length", "50", 0, 1000000, "items",
        "Last positives that the history part, sasrec and din see; 0: all (sasrec, din: 1 to "
        "1024)."),
    REAL("collab.init", "0.01", 1e-9, 100, "",
         "Standard deviation of collaborative vectors at the start (din: Xavier's)."),
    WORD("collab.unseen", "history", "zero|mean|history",
         "Vector of a user never seen: zero, the mean of trained ones, or made from the history; "
         "items never trained: zero, else the mean."),
    WORD("collab.optimizer", "adam", "adam|sgd",
         "How mf trains: Adam in batches, or stochastic gradients with a rate for each row of the "
         "tables (fast; without collab.history)."),
    WORD("collab.start", "zero", "zero|bias",
         "Biases of a collaborative method at the start: zero, or those of the control `bias`, "
         "fitted to convergence before."),
    REAL("collab.dropout", "0.2", 0, 0.95, "",
         "Dropout of sasrec, on its input and on what each part of a block adds, and of din's top "
         "network."),
    REAL("collab.lr", "1e-3", 0, 10, "", "Learning rate of a collaborative method."),
    REAL("collab.weight_decay", "1e-4", 0, 100, "",
         "L2 of a collaborative method (adam: coupled; sgd: on rows as they come)."),
    INT("collab.batch", "1024", 1, 100000000, "rows",
        "Rows of one step of a collaborative method with adam."),
    INT("collab.epochs", "200", 0, 1000000, "epochs", "Most passes of a collaborative method."),
    INT("collab.min_epochs", "0", 0, 1000000, "epochs",
        "Passes of a collaborative method before it may stop early."),
    INT("collab.patience", "10", 0, 1000000, "epochs",
        "Epochs of a collaborative method without a better valid AUC before it stops; 0: never."),
    INT("lightgcn.layers", "2", 0, 16, "layers",
        "How often lightgcn spreads its vectors over the graph."),
    WORD("lightgcn.loss", "bce", "bce|bpr",
         "bce on the label of every row, or bpr: each positive row against one item that its user "
         "did not like."),
    INT("sasrec.blocks", "2", 1, 16, "blocks", "Blocks of self-attention."),
    INT("sasrec.heads", "1", 1, 4096, "heads", "Heads of each block; they divide collab.width."),
    INT("din.attention_1", "64", 1, 4096, "", "First hidden width of din's attention network."),
    INT("din.attention_2", "16", 1, 4096, "", "Second hidden width of din's attention network."),
    INT("din.top_1", "200", 1, 4096, "", "First hidden width of din's top network."),
    INT("din.top_2", "80", 1, 4096, "", "Second hidden width of din's top network."),
    REAL("din.hide", "0", 0, 1, "share of the rows",
         "Train rows whose user is taken away in a step, so that the network knows users never "
         "seen."),
    INT("ctrl.width", "128", 1, 4096, "",
        "Width that ctrl-din compares sample and text vectors in."),
    INT("ctrl.subspaces", "1", 1, 64, "",
        "Parts of that width: the likeness is the sum over parts of the best product with a part "
        "of the other vector; 1: the cosine."),
    REAL("ctrl.tau", "0.7", 1e-4, 1e4, "", "Temperature of ctrl-din's contrastive loss."),
    REAL("ctrl.lr", "1e-3", 0, 1, "", "Learning rate of ctrl-din's pre-training (AdamW)."),
    REAL("ctrl.warmup", "0.1", 0, 1, "share of the steps",
         "Steps of the pre-training in which the learning rate rises."),
    REAL("ctrl.weight_decay", "0.01", 0, 100, "", "Decoupled weight decay of the pre-training."),
    INT("ctrl.batch", "512", 1, 16384, "rows",
        "Rows of one step of the pre-training, told apart from each other."),
    INT("ctrl.epochs", "20", 0, 100000, "epochs",
        "Passes of the pre-training over the sampled rows."),

    WORD("stage2.loss", "bce", "bce|mse",
         "Recommendation loss of stage 2 (eq 6): bce on the logit, or mse as printed with its sign "
         "corrected."),
    REAL("stage2.lr", "3e-4", 0, 10, "", "Learning rate of stage 2 (Adam)."),
    REAL("stage2.weight_decay", "1e-4", 0, 100, "",
         "Coupled L2 of stage 2, not on the semantic table."),
    INT("stage2.batch", "1024", 1, 100000000, "rows", "Rows of one step of stage 2."),
    INT("stage2.epochs", "200", 0, 1000000, "epochs", "Most passes of stage 2."),
    INT("stage2.patience", "10", 0, 1000000, "epochs",
        "Epochs of stage 2 without a better valid AUC before it stops; 0: never."),
    WORD("stage2.start", "text", "zero|bias|text",
         "Biases at the start of stage 2: zero; those of the control `bias`, fitted to convergence "
         "before; or the same with items' biases drawn to what their distilled vectors say."),
    YESNO("stage2.text", "yes",
          "Add to the collaborative logit what the distilled vectors of history and item have in "
          "common, times one trained number."),
    REAL("align.weight", "0.01", 0, 1e6, "",
         "Weight of the alignment loss in stage 2 (lambda of eq 9)."),
    WORD("align.loss", "infonce", "infonce|rince",
         "Alignment loss (eq 8 with its logarithm; rince as the authors' code)."),
    WORD("align.direction", "one", "one|both",
         "one: semantic vectors look for collaborative ones; both: the mean of both directions."),
    WORD("align.negatives", "batch", "batch|all|matched",
         "What a pair is told from: unique items of the batch, all items, or other matched pairs "
         "(eq 8 as printed)."),
    REAL("align.tau", "0.2", 1e-4, 1e4, "", "Temperature of the alignment loss."),
    REAL("align.q", "0.01", 1e-6, 1, "", "q of rince."),
    REAL("align.lambda", "0.1", 1e-6, 1e6, "", "lambda of rince."),
    INT("proj.hidden", "256", 1, 1048576, "", "Hidden width of the collaborative projection."),
    WORD("proj.warm_init", "random", "random|identity", "How the warm projection starts."),
    YESNO("semantic.train", "yes",
          "Train the semantic table in stages 2 and 3; no: it stays as distilled."),

    INT("soft.tokens", "3", 1, 64, "tokens", "Soft tokens in each slot of prompt4nr."),
    REAL("soft.init", "0.02", 0, 100, "",
         "Standard deviation of the vectors of prompt4nr and personprompt at the start."),

    WORD("collm.train", "proj", "proj|proj+collab",
         "What collm trains with prompts: the projection, or the collaborative model too."),
    WORD("binllm.code", "bits", "bits|dotted",
         "How a code stands in the prompt of binllm: a 0 or 1 a bit, or a decimal number for every "
         "8 bits, joined by dots."),
    REAL("binllm.anneal", "0.001", 0, 1, "",
         "Codes of binllm take signs in training with a probability that begins at 0 and rises by "
         "this every 2 epochs."),

    REAL("stage3.lr", "2e-4", 0, 1, "",
         "Highest learning rate of stage 3 (AdamW): the stage that trains on prompts with "
         "features, in every method that has them."),
    INT("stage3.epochs", "1", 1, 100000, "epochs", "Passes over the rows in stage 3."),
    INT("stage3.steps", "-1", -1, 1000000000, "steps",
        "Steps of stage 3; -1: as many as the epochs have; 0: score before any training (Table "
        "6)."),
    INT("stage3.batch", "128", 1, 1000000, "rows", "Rows of one optimizer step of stage 3, about."),
    WORD("stage3.schedule", "cosine", "constant|linear|cosine",
         "How the learning rate of stage 3 falls after the warm-up."),
    REAL("stage3.warmup", "0", 0, 1, "share of the steps",
         "Steps of stage 3 in which the learning rate rises."),
    REAL("stage3.weight_decay", "0.01", 0, 100, "",
         "Decoupled weight decay of stage 3, not on the semantic table."),
    REAL("stage3.beta2", "0.999", 0, 0.999999, "", "Second moment's decay of stage 3's AdamW."),
    REAL("stage3.clip", "1", 0, 1e9, "",
         "Largest gradient norm of a step of stage 3; 0: no limit."),
    REAL("stage3.align_weight", "0", 0, 1e6, "", "Weight of the alignment loss in stage 3."),
    YESNO("stage3.match", "no",
          "Before its first step, shift and scale the last map of both projections so that soft "
          "tokens have the mean and the spread of token embeddings."),
    YESNO("stage3.dropout", "no",
          "Keep the dropout of the frozen adapter active while stage 3 trains (the authors' code "
          "does)."),
    WORD("stage3.residual", "bias", "no|bias|yes",
         "Added to the language model's logit: nothing; the biases alone, so that stage 3 learns "
         "what they leave; or the whole collaborative logit of stage 2."),
    REAL("stage3.gain", "0.5", 0, 1000, "",
         "Factor on the language model's logit beside the residual, trained as logit.gain; used "
         "with stage3.residual only."),
    REAL("stage3.gain_rows", "0", 0, 1e6, "rows",
         "K: the factor of an item with n rows of train is K / (n + K) of that, so that the text "
         "counts where ratings are few; 0: the same for all items."),
    INT("stage3.evaluate", "0", 0, 1000000000, "steps",
        "Score the valid sample every so many steps of stage 3 and keep the best; 0: train to the "
        "end."),
    WORD("ablation", "none", "none|w/o|proj|warm|ui|w-ui|ui-w",
         "What is removed: w/o alignment and warm token; proj: stage 2's projection; warm or ui: "
         "those tokens; w-ui, ui-w: joint training (that order)."),
    WORD("score", "model", "model|vectors",
         "What a score needs: the language model, or the collaborative and semantic vectors alone "
         "(preset fast)."),
};

const sella_setting *sella_training_settings(size_t *count)
{
    *count = sizeof training_table / sizeof training_table[0];
    return training_table;
}

static sella_status apply_preset(const sella_method *method, const char *preset,
                                 sella_settings *settings, sella_err *err)
{
    const char *const *list = NULL;
    if (strcmp(preset, "default") == 0) {
        list = method->preset_default;
    } else if (strcmp(preset, "paper") == 0) {
        list = method->preset_paper;
    } else if (strcmp(preset, "fast") == 0) {
        if (!method->preset_fast) {
            return sella_err_set(err, SELLA_ARG,
                                 "method %s has no preset fast; expected paper or default",
                                 method->name);
        }
        list = method->preset_fast;
    } else {
        return sella_err_set(err, SELLA_ARG,
                             "preset '%s' is unknown; expected paper, default or fast", preset);
    }
    for (; list && *list; list++) {
        sella_status status = sella_settings_assign(settings, *list, "preset", err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    return SELLA_OK;
}

sella_status sella_training_resolve(const sella_method *method, const char *preset,
                                    const char *config_path, const char *const *assignment,
                                    int count, sella_settings **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_settings *settings = NULL;
    size_t rows;
    const sella_setting *table = sella_training_settings(&rows);
    SELLA_TRY(sella_settings_new(table, rows, &settings, err));
    SELLA_TRY(apply_preset(method, preset ? preset : "default", settings, err));
    if (config_path) {
        SELLA_TRY(sella_settings_load(settings, config_path, err));
    }
    for (int i = 0; i < count; i++) {
        SELLA_TRY(sella_settings_assign(settings, assignment[i], "--set", err));
    }
done:
    if (status != SELLA_OK) {
        sella_settings_free(settings);
        settings = NULL;
    }
    *out = settings;
    return status;
}
