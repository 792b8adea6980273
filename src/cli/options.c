/* options.c - parsing of and help from option arrays (cli/options.h). */
#include "cli/options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"

enum { NAMES_MAX = 128, LEFT = 26, COLUMNS = 100 };

static const sella_option common[] = {
    {"json", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "", "Print results as JSON, for machines.",
     false},
    {"quiet", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "",
     "No progress and no remarks; warnings and errors still appear.", false},
    {"verbose", 0, SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "", "More remarks.", false},
    {"threads", 0, SELLA_TYPE_INT, "N", "(physical cores)", 1, 1024, NULL, "",
     "Threads to compute with.", false},
    {"help", 'h', SELLA_TYPE_BOOL, NULL, NULL, 0, 0, NULL, "", "Print this help and stop.", false},
};
enum { COMMON_COUNT = sizeof common / sizeof *common };

/* The index-th option of a command: its own, then the common ones; NULL at the end. */
static const sella_option *option_at(const sella_command *command, int index)
{
    if (index < command->option_count) {
        return &command->option[index];
    }
    index -= command->option_count;
    return index < COMMON_COUNT ? &common[index] : NULL;
}

static const sella_option *option_by_name(const sella_command *command, const char *name,
                                          size_t length)
{
    const sella_option *option;
    for (int i = 0; (option = option_at(command, i)) != NULL; i++) {
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0) {
            return option;
        }
    }
    return NULL;
}

static const sella_option *option_by_letter(const sella_command *command, char letter)
{
    const sella_option *option;
    for (int i = 0; (option = option_at(command, i)) != NULL; i++) {
        if (option->letter && option->letter == letter) {
            return option;
        }
    }
    return NULL;
}

/* Does default_text stand for a value, or does it only describe one? */
static bool typed_default(const sella_option *option)
{
    return option->default_text && option->default_text[0] != '(';
}

static sella_status unknown_option(const sella_command *command, const char *name, size_t length,
                                   sella_err *err)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    const sella_option *option;
    for (int i = 0; count < NAMES_MAX && (option = option_at(command, i)) != NULL; i++) {
        names[count++] = option->name;
    }
    char shown[64];
    snprintf(shown, sizeof shown, "%.*s", (int)(length < 60 ? length : 60), name);
    int near = sella_text_nearest(shown, names, count);
    /* an abbreviation is not taken, but understood */
    for (int i = 0; near < 0 && length >= 2 && i < (int)count; i++) {
        near = strncmp(names[i], shown, strlen(shown)) == 0 ? i : -1;
    }
    return near >= 0 ? sella_err_set(err, SELLA_ARG, "unknown option --%s; did you mean --%s?",
                                     shown, names[near])
                     : sella_err_set(err, SELLA_ARG, "unknown option --%s", shown);
}

static sella_status check_value(const sella_option *option, const char *text, sella_err *err)
{
    char label[64];
    snprintf(label, sizeof label, "--%s", option->name);
    const sella_setting row = {label,       option->type,  NULL,         option->min,
                               option->max, option->words, option->unit, option->help};
    return sella_setting_check(&row, text, err) == SELLA_OK
               ? SELLA_OK
               : sella_err_prefix(err, SELLA_ARG, "wrong value");
}

/* Take the option at argv[*i], and its value. */
static sella_status take_option(const sella_command *command, int argc, char **argv, int *i,
                                sella_args *out, sella_err *err)
{
    const char *text = argv[*i], *value = NULL;
    const sella_option *option;
    if (text[1] == '-') {
        size_t length = strcspn(text + 2, "=");
        option = option_by_name(command, text + 2, length);
        if (!option) {
            return unknown_option(command, text + 2, length, err);
        }
        value = text[2 + length] == '=' ? text + 3 + length : NULL;
    } else {
        option = option_by_letter(command, text[1]);
        if (!option) {
            return sella_err_set(err, SELLA_ARG, "unknown option %.40s", text);
        }
        value = text[2] != '\0' ? text + 2 : NULL;
    }
    if (option->type == SELLA_TYPE_BOOL) {
        if (value) {
            return sella_err_set(err, SELLA_ARG, "option --%s takes no value", option->name);
        }
    } else {
        if (!value) {
            value = *i + 1 < argc ? argv[++*i] : NULL;
        }
        if (!value || (strncmp(value, "--", 2) == 0 &&
                       option_by_name(command, value + 2, strcspn(value + 2, "=")))) {
            return sella_err_set(err, SELLA_ARG, "option --%s needs a value: %s", option->name,
                                 option->metavar);
        }
        sella_status status = check_value(option, value, err);
        if (status != SELLA_OK) {
            return err ? (err->code = SELLA_ARG) : SELLA_ARG;
        }
    }
    out->given[out->given_count] = option;
    out->value[out->given_count++] = value;
    return SELLA_OK;
}

static sella_status check_positional(const sella_command *command, const sella_args *args,
                                     sella_err *err)
{
    if (args->positional_count > command->positional_max) {
        return sella_err_set(err, SELLA_ARG, "unexpected argument '%.80s'",
                             args->positional[command->positional_max]);
    }
    if (args->positional_count < command->positional_min) {
        return sella_err_set(err, SELLA_ARG, "an argument is missing; expected: sella %s %s",
                             command->name, command->usage);
    }
    return SELLA_OK;
}

sella_status sella_args_parse(const sella_command *command, int argc, char **argv, sella_args *out,
                              sella_err *err)
{
    size_t room = (size_t)argc + 1;
    *out = (sella_args){.command = command};
    out->positional = sella_alloc(room, sizeof *out->positional, "arguments", err);
    out->given = sella_alloc(room, sizeof *out->given, "arguments", err);
    out->value = sella_alloc(room, sizeof *out->value, "arguments", err);
    if (!out->positional || !out->given || !out->value) {
        return SELLA_MEMORY;
    }
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            out->want_help = true;
            return SELLA_OK;
        }
    }
    bool options = true;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            sella_status status = take_option(command, argc, argv, &i, out, err);
            if (status != SELLA_OK) {
                return status;
            }
        } else {
            out->positional[out->positional_count++] = argv[i];
        }
    }
    if (sella_args_flag(out, "quiet") && sella_args_flag(out, "verbose")) {
        return sella_err_set(err, SELLA_ARG, "--quiet and --verbose exclude each other");
    }
    return check_positional(command, out, err);
}

void sella_args_release(sella_args *args)
{
    free(args->positional);
    free(args->given);
    free(args->value);
    *args = (sella_args){0};
}

/* ---- values ---- */

/* Place of the last value given for a name, or -1; *option is the row. */
static int last_given(const sella_args *args, const char *name, const sella_option **option)
{
    *option = option_by_name(args->command, name, strlen(name));
    assert(*option); // a command asks only for what it declares
    int i = args->given_count - 1;
    while (i >= 0 && args->given[i] != *option) {
        i--;
    }
    return i;
}

/* The text of a value: given, or typed default, or NULL. */
static const char *value_text(const sella_args *args, const char *name)
{
    const sella_option *option;
    int i = last_given(args, name, &option);
    return i >= 0 ? args->value[i] : typed_default(option) ? option->default_text : NULL;
}

bool sella_args_given(const sella_args *args, const char *name)
{
    const sella_option *option;
    return last_given(args, name, &option) >= 0;
}

bool sella_args_flag(const sella_args *args, const char *name)
{
    return sella_args_given(args, name);
}

int64_t sella_args_int(const sella_args *args, const char *name)
{
    int64_t value = 0;
    const char *text = value_text(args, name);
    assert(text);
    sella_status status =
        text ? sella_parse_int(text, strlen(text), INT64_MIN, INT64_MAX, name, &value, NULL)
             : SELLA_ARG;
    assert(status == SELLA_OK); // was checked when it was parsed
    (void)status;
    return value;
}

double sella_args_real(const sella_args *args, const char *name)
{
    double value = 0;
    const char *text = value_text(args, name);
    assert(text);
    sella_status status =
        text ? sella_parse_real(text, strlen(text), -1e308, 1e308, name, &value, NULL) : SELLA_ARG;
    assert(status == SELLA_OK);
    (void)status;
    return value;
}

const char *sella_args_text(const sella_args *args, const char *name)
{
    return value_text(args, name);
}

int sella_args_list(const sella_args *args, const char *name, const char **out, int room)
{
    const sella_option *option;
    int count = 0;
    (void)last_given(args, name, &option);
    for (int i = 0; i < args->given_count; i++) {
        if (args->given[i] == option) {
            if (count < room) {
                out[count] = args->value[i];
            }
            count++;
        }
    }
    return count;
}

int sella_args_count(const sella_args *args, const char *name)
{
    return sella_args_list(args, name, NULL, 0);
}

/* ---- help ---- */

void sella_help_entry(FILE *out, const char *left, const char *text)
{
    int column = fprintf(out, "  %s", left);
    if (column > LEFT - 2) {
        fputc('\n', out);
        column = 0;
    }
    column += fprintf(out, "%*s", LEFT - column, "");
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > LEFT && column + 1 + (int)word > COLUMNS) {
            fprintf(out, "\n%*s", LEFT, "");
            column = LEFT;
        } else if (column > LEFT) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, word, out);
        column += (int)word;
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}

/* "Sentence. (words; 1 to 10 rows; default 3; may be repeated)" */
static void option_help(FILE *out, const sella_option *option)
{
    char left[128], text[1024], range[160] = "";
    char short_name[8] = "";
    if (option->letter) {
        snprintf(short_name, sizeof short_name, "-%c, ", option->letter);
    }
    snprintf(left, sizeof left, "%s--%s%s%s", short_name, option->name, option->metavar ? " " : "",
             option->metavar ? option->metavar : "");
    if (option->type == SELLA_TYPE_WORD) {
        snprintf(range, sizeof range, "%s", option->words);
    } else if ((option->type == SELLA_TYPE_INT || option->type == SELLA_TYPE_REAL) &&
               option->min < option->max) {
        snprintf(range, sizeof range, "%.15g to %.15g%s%s", option->min, option->max,
                 option->unit[0] ? " " : "", option->unit);
    } else if (option->unit[0]) {
        snprintf(range, sizeof range, "%s", option->unit);
    }
    size_t used = (size_t)snprintf(text, sizeof text, "%s", option->help);
    const char *open = " (";
    if (range[0] && used < sizeof text) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", open, range);
        open = "; ";
    }
    if (option->default_text && used < sizeof text) {
        size_t skip = typed_default(option) ? 0 : 1,
               length = strlen(option->default_text) - 2 * skip;
        used += (size_t)snprintf(text + used, sizeof text - used, "%sdefault %.*s", open,
                                 (int)length, option->default_text + skip);
        open = "; ";
    }
    if (option->repeated && used < sizeof text) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%smay be repeated", open);
        open = "; ";
    }
    if (open[0] == ';' && used < sizeof text) {
        snprintf(text + used, sizeof text - used, ")");
    }
    sella_help_entry(out, left, text);
}

void sella_command_help(const sella_command *command, FILE *out)
{
    fprintf(out, "Usage: sella %s%s%s [options]\n\n%s\n", command->name,
            command->usage[0] ? " " : "", command->usage, command->help);
    if (command->details) {
        fprintf(out, "\n%s", command->details);
    }
    if (command->option_count > 0) {
        fprintf(out, "\nOptions:\n");
        for (int i = 0; i < command->option_count; i++) {
            option_help(out, &command->option[i]);
        }
    }
    fprintf(out, "\nOptions of every command:\n");
    for (int i = 0; i < COMMON_COUNT; i++) {
        option_help(out, &common[i]);
    }
    if (command->more_help) {
        fputc('\n', out);
        command->more_help(out);
    }
}
