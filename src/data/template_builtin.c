/* template_builtin.c - the prompt templates that come with the program, as anyone could write them
 * (grammar: docs/formats.md).
 *
 * paper    contents and order of the paper's Figs 2, 3, 4 (the wording is ours): system text,
 *          history, soft tokens, target, answer.
 * compact  history first, then what is paid per candidate: 14 tokens on average on ML-1M with the
 *          SmolLM2 tokenizer.
 */
#include "data/template.h"

const char *const sella_template_names[] = {"paper", "compact", NULL};

const char *const sella_template_texts[] = {
    "sella-template 1\n"
    "# ChatML where the tokenizer has it; history, then soft tokens, then the candidate.\n"
    "start = \"{turn:system}Decide whether a person will like a {noun}. \"\n"
    "        \"Given are {noun}s that this person rated highly, and a candidate. Answer Yes or "
    "No.\\n\"\n"
    "        \"{turn:end}{turn:user}Rated highly:\\n\"\n"
    "start_slots = \"{turn:system}Decide whether a person will like a {noun}. \"\n"
    "              \"Given are {noun}s that this person rated highly, features of the person and "
    "of a candidate, and the candidate. \"\n"
    "              \"Answer Yes or No.\\n{turn:end}{turn:user}Rated highly:\\n\"\n"
    "history = \"{number}. {title}\\n\"\n"
    "empty = \"none\\n\"\n"
    "user = \"Feature of the person: {user}\\n\"\n"
    "item = \"Feature of the candidate: {item}\\n\"\n"
    "warm = \"Meaning of the candidate: {warm}\\n\"\n"
    "target = \"Candidate: {title}\\n\"\n"
    "end = \"{turn:end}{turn:assistant}\"\n"
    "yes = \"Yes\"\n"
    "no = \"No\"\n"
    "distil = \"{Noun}: {title}\"\n"
    "distil_eol = \"The {noun} \\\"{title}\\\" means in one word:\"\n",

    "sella-template 1\n"
    "# The history is shared by all candidates; a candidate costs its title and three tokens. "
    "Titles join with \"; \", which costs nothing.\n"
    "start = \"{Noun}s this person liked:\"\n"
    "history = \" {title};\"\n"
    "empty = \" none;\"\n"
    "user = \"{user}\"\n"
    "item = \"{item}\"\n"
    "warm = \"{warm}\"\n"
    "target = \" Like {title}? Answer:\"\n"
    "yes = \" Yes\"\n"
    "no = \" No\"\n"
    "distil = \"{Noun}: {title}\"\n"
    "distil_eol = \"The {noun} \\\"{title}\\\" means in one word:\"\n",
};
