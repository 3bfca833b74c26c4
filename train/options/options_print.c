/* Options as text: the table for people, the YAML of a run, and the comparison on resume, which compares
 * what would be written. */
#include "base/memory.h"
#include "base/written.h"
#include "train/options/options_table.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* With the fewest digits that give the same bits, and always with a point: without one, YAML's other
 * readers see a text. */
static void print_real(FILE *out, double value)
{
    char text[40];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && digits++ < 17);
    const size_t mantissa = strcspn(text, "e");
    fprintf(out, "%.*s%s%s", (int)mantissa, text, memchr(text, '.', mantissa) ? "" : ".0", text + mantissa);
}

/* In quotes: JSON's are YAML's as well. */
static void print_text(FILE *out, const char *text)
{
    json_t *json = json_string(text);
    REQUIRE(json, "a text that is not UTF-8");
    char *quoted = memory_check(json_dumps(json, JSON_ENCODE_ANY), "a text");
    fputs(quoted, out);
    free(quoted);
    json_decref(json);
}

static void print_value(FILE *out, const options *o, const option_row *row)
{
    const void *value = (const char *)o + row->at;
    switch (row->type) {
    case TYPE_INT:
        fprintf(out, "%lld", (long long)*(const option_INT *)value);
        break;
    case TYPE_INT_OR_WORD: {
        const option_whole *whole = value;
        if (whole->word == OPTION_NUMBER)
            fprintf(out, "%lld", (long long)whole->number);
        else
            fputs(option_word_names[whole->word], out);
        break;
    }
    case TYPE_REAL:
        print_real(out, *(const option_REAL *)value);
        break;
    case TYPE_REAL_OR_WORD: {
        const option_real *real = value;
        if (real->word == OPTION_NUMBER)
            print_real(out, real->number);
        else
            fputs(option_word_names[real->word], out);
        break;
    }
    case TYPE_BOOL:
        fputs(*(const option_BOOL *)value ? "true" : "false", out);
        break;
    case TYPE_TEXT:
        print_text(out, value);
        break;
    case TYPE_ENUM: {
        const char *word = row->words;
        for (option_ENUM i = *(const option_ENUM *)value; i > 0; i--) word = strchr(word, ',') + 2;
        fprintf(out, "%.*s", (int)strcspn(word, ","), word);
        break;
    }
    case TYPE_LIST: {
        const option_list *list = value;
        fputc('[', out);
        for (int i = 0; i < list->count; i++) {
            if (i) fputs(", ", out);
            print_text(out, list->item[i]);
        }
        fputc(']', out);
        break;
    }
    }
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static bool in_section(const option_row *row, const option_section *s)
{
    return !strcmp(row->section, s->name);
}

static void print_old_numbers(FILE *out)
{
    const char *before = "\nNumbers that stood for the word of an option in older files are still read:";
    for (int i = 0; i < NUM_OPTIONS; i++) {
        if (!option_old_numbers[i]) continue;
        fprintf(out, "%s %s.%s=%s", before, option_table[i].section, option_table[i].name,
                option_old_numbers[i]);
        before = ",";
    }
    fputs(".\n", out);
}

void options_print_table(FILE *out)
{
    char range[RANGE_BYTES];
    fputs(
        "# Options\n\n"
        "Written by `remla options`. On the command line an option is `section.key=value`; in the file that\n"
        "`remla train` reads, sections hold keys:\n"
        "\n    data:\n      train: [\"shards/*.ds\", more.ds]\n    optim:\n      lr: 1.0e-4\n\n"
        "The command line wins over the file, the later of two on the command line over the earlier. Items "
        "of\n"
        "a list are separated by commas on the command line; `null` in the file means the default. Relative\n"
        "paths are relative to the current folder. Options with a * must not change when a run goes on.\n"
        "\n"
        "The word `auto` stands for what follows from other options, the model or the data; it never changes "
        "an\n"
        "option that has a value.\n",
        out);
    print_old_numbers(out);
    for (const option_section *s = option_sections; s < option_sections + num_option_sections; s++) {
        fprintf(out, "\n## %s: %s\n\n| key | default | range | meaning |\n| --- | --- | --- | --- |\n",
                s->name, s->help);
        for (const option_row *row = option_table; row < option_table + NUM_OPTIONS; row++) {
            if (!in_section(row, s)) continue;
            fprintf(out, "| %s.%s%s | %s | %s | %s |\n", row->section, row->name, row->same ? " *" : "",
                    row->initial, option_range(row, false, range), row->help);
        }
    }
}

/* ---- the file of a run --------------------------------------------------------------------------------- */

static void print_yaml(FILE *out, const options *o)
{
    char place[PLACE_BYTES];
    fprintf(out, "# remla %s: every option of the run, and where its value came from\n", REMLA_VERSION);
    for (const option_section *s = option_sections; s < option_sections + num_option_sections; s++) {
        fprintf(out, "%s:\n", s->name);
        for (int i = 0; i < NUM_OPTIONS; i++) {
            if (!in_section(&option_table[i], s)) continue;
            fprintf(out, "  %s: ", option_table[i].name);
            print_value(out, o, &option_table[i]);
            fprintf(out, "  # %s\n", option_place(o, o->line[i], place));
        }
    }
}

char *options_text(const options *o)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = memory_check(open_memstream(&text, &bytes), "the options' text");
    print_yaml(out, o);
    if (fclose(out)) memory_failed("the options' text");
    return text;
}

status options_write(const options *o, const char *path, message *why)
{
    char *text = options_text(o);
    const status s = written_text(NULL, path, text, why);
    free(text);
    return s;
}

/* ---- on resume ----------------------------------------------------------------------------------------- */

/* The caller frees. */
static char *value_text(const options *o, const option_row *row)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = memory_check(open_memstream(&text, &bytes), "an option's text");
    print_value(out, o, row);
    if (fclose(out)) memory_failed("an option's text");
    return text;
}

status options_same(const options *now, const options *then, message *why)
{
    status s = OK;
    for (int i = 0; i < NUM_OPTIONS && s == OK; i++) {
        const option_row *row = &option_table[i];
        if (!row->same) continue;
        char *a = value_text(now, row), *b = value_text(then, row), place[PLACE_BYTES],
             place_then[PLACE_BYTES];
        if (strcmp(a, b) != 0)
            s = fail(why, ERR_USAGE,
                     "%s.%s is %s (%s), but the run began with %s (%s): it cannot change when a run goes on",
                     row->section, row->name, a, option_place(now, now->line[i], place), b,
                     option_place(then, then->line[i], place_then));
        free(a);
        free(b);
    }
    return s;
}

/* Sections of other commands, whose defaults may change from version to version. */
static bool for_training(const char *section)
{
    static const char *const others[] = {"eval", "convert", "calib", "import", "tokenize"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(section, others[i]) == 0) return false;
    return true;
}

void options_compare(const options *now, const options *then, options_take *take, void *context)
{
    for (const option_row *row = option_table; row < option_table + NUM_OPTIONS; row++) {
        if (!for_training(row->section)) continue;
        char *a = value_text(then, row), *b = value_text(now, row);
        char key[80];
        snprintf(key, sizeof key, "%s.%s", row->section, row->name);
        if (strcmp(a, b) != 0) take(context, key, a, b);
        free(a);
        free(b);
    }
}
