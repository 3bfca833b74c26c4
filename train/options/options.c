/* The options: defaults and assignments. A default is a text in the table and goes through the same parser
 * as what a user writes, so that the table, the struct and the documentation cannot disagree. */
#include "train/options/options.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "train/options/options_table.h"
#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { FREE, SAME };

/* The types of options.def. */
#define TYPE_AND_WORDS_INT                 TYPE_INT, NULL
#define TYPE_AND_WORDS_INT_OR_AUTO         TYPE_INT_OR_WORD, "auto"
#define TYPE_AND_WORDS_INT_OR_NONE         TYPE_INT_OR_WORD, "none"
#define TYPE_AND_WORDS_INT_OR_ALL          TYPE_INT_OR_WORD, "all"
#define TYPE_AND_WORDS_INT_OR_AUTO_OR_NONE TYPE_INT_OR_WORD, "auto, none"
#define TYPE_AND_WORDS_REAL                TYPE_REAL, NULL
#define TYPE_AND_WORDS_REAL_OR_AUTO        TYPE_REAL_OR_WORD, "auto"
#define TYPE_AND_WORDS_REAL_OR_NONE        TYPE_REAL_OR_WORD, "none"
#define TYPE_AND_WORDS_BOOL                TYPE_BOOL, NULL
#define TYPE_AND_WORDS_TEXT                TYPE_TEXT, NULL
#define TYPE_AND_WORDS_LIST                TYPE_LIST, NULL
#define TEXT_OF(...)                       #__VA_ARGS__

/* Parameters end in underscores: one that shared its name with a member used in the expansion would
 * rewrite it. */
const option_row option_table[NUM_OPTIONS] = {
#define OPT(T_, S_, N_, D_, L_, H_, R_, HELP_)                                                               \
    {#S_, #N_, #D_, TYPE_AND_WORDS_##T_, #L_, #H_, R_, HELP_, offsetof(options, S_##_##N_)},
#define ENUM(S_, N_, D_, W_, R_, HELP_)                                                                      \
    {#S_, #N_, #D_, TYPE_ENUM, TEXT_OF W_, NULL, NULL, R_, HELP_, offsetof(options, S_##_##N_)},
#include "train/options/options.def"
};

#define ENUM(S_, N_, D_, W_, R_, HELP_)                                                                      \
    _Static_assert(sizeof(option_##S_##_##N_) == sizeof(option_ENUM), "an enum of another size");
#include "train/options/options.def"

const char *const option_old_numbers[NUM_OPTIONS] = {
#define OLD_NUMBER(S_, N_, NUMBER_) [OPTION_##S_##_##N_] = #NUMBER_,
#include "train/options/options.def"
};

const char *const option_word_names[] = {
    [OPTION_NUMBER] = "a number", [OPTION_AUTO] = "auto", [OPTION_NONE] = "none", [OPTION_ALL] = "all"};

const option_section option_sections[] = {
#define SECTION(S_, HELP_) {#S_, HELP_},
#include "train/options/options.def"
};
const int num_option_sections = sizeof option_sections / sizeof option_sections[0];

static const struct alias {
    const char *section, *name;
    int id;
} aliases[] = {
#define ALIAS(S_, N_, OF_S_, OF_N_) {#S_, #N_, OPTION_##OF_S_##_##OF_N_},
#include "train/options/options.def"
};

/* ---- keys ---------------------------------------------------------------------------------------------- */

int option_find(const char *section, const char *name)
{
    for (int i = 0; i < NUM_OPTIONS; i++)
        if (!strcmp(option_table[i].section, section) && !strcmp(option_table[i].name, name)) return i;
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (!strcmp(aliases[i].section, section) && !strcmp(aliases[i].name, name)) return aliases[i].id;
    return -1;
}

/* A wrong section is forgiven more easily than a wrong name: train.lr means optim.lr. */
const char *option_nearest(const char *section, const char *name)
{
    static char key[64];
    int best = -1, best_cost = 0;
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const int wrong = edit_distance(section, option_table[i].section);
        const int cost = 2 * edit_distance(name, option_table[i].name) + (wrong < 3 ? wrong : 3);
        if (best >= 0 && cost >= best_cost) continue;
        best = i;
        best_cost = cost;
    }
    snprintf(key, sizeof key, "%s.%s", option_table[best].section, option_table[best].name);
    return key;
}

const char *option_place(const options *o, int line, char *buffer)
{
    if (line == OPTION_DEFAULT)
        snprintf(buffer, PLACE_BYTES, "default");
    else if (line == OPTION_COMMAND_LINE)
        snprintf(buffer, PLACE_BYTES, "command line");
    else
        snprintf(buffer, PLACE_BYTES, "%s:%d", o->file, line);
    return buffer;
}

bool option_is_set(const options *o, const char *key)
{
    char section[32];
    const char *dot = strchr(key, '.');
    REQUIRE(dot && dot - key < (int)sizeof section, "%s is not a key", key);
    snprintf(section, sizeof section, "%.*s", (int)(dot - key), key);
    const int id = option_find(section, dot + 1);
    REQUIRE(id >= 0, "there is no option %s", key);
    return o->line[id] != OPTION_DEFAULT;
}

/* ---- values -------------------------------------------------------------------------------------------- */

const char *option_range(const option_row *row, bool sentence, char *buffer)
{
    const char *whole = sentence ? "a whole number from " : "", *real = sentence ? "a number from " : "";
    switch (row->type) {
    case TYPE_INT:
        snprintf(buffer, RANGE_BYTES, "%s%s to %s", whole, row->low, row->high);
        break;
    case TYPE_INT_OR_WORD:
        snprintf(buffer, RANGE_BYTES, "%s, or %s%s to %s", row->words, whole, row->low, row->high);
        break;
    case TYPE_REAL:
        snprintf(buffer, RANGE_BYTES, "%s%s to %s", real, row->low, row->high);
        break;
    case TYPE_REAL_OR_WORD:
        snprintf(buffer, RANGE_BYTES, "%s, or %s%s to %s", row->words, real, row->low, row->high);
        break;
    case TYPE_BOOL:
        snprintf(buffer, RANGE_BYTES, "true or false");
        break;
    case TYPE_TEXT:
        snprintf(buffer, RANGE_BYTES, sentence ? "one text" : "text");
        break;
    case TYPE_LIST:
        snprintf(buffer, RANGE_BYTES, sentence ? "texts" : "one or more texts");
        break;
    case TYPE_ENUM:
        snprintf(buffer, RANGE_BYTES, "%s%s", sentence ? "one of " : "", row->words);
        break;
    }
    return buffer;
}

/* Plain decimal, so that a suffix or a fraction is never cut off silently. */
static bool parse_int(const char *text, int64_t *value)
{
    const char *digits = text + (text[0] == '-');
    if (!digits[0] || digits[strspn(digits, "0123456789")]) return false;
    errno = 0;
    *value = strtoll(text, NULL, 10);
    return errno == 0;
}

static bool parse_int_in(const option_row *row, const char *text, int64_t *value)
{
    int64_t low, high;
    REQUIRE(parse_int(row->low, &low) && parse_int(row->high, &high), "range of %s.%s", row->section,
            row->name);
    return parse_int(text, value) && *value >= low && *value <= high;
}

/* strtod would also take nan, inf, hexadecimal and white space. */
static bool parse_real_in(const option_row *row, const char *text, double *value)
{
    char *end;
    if (!text[0] || text[strspn(text, "0123456789+-.eE")]) return false;
    *value = strtod(text, &end);
    return !*end && *value >= strtod(row->low, NULL) && *value <= strtod(row->high, NULL);
}

/* The place of a word in the row's list. */
static bool parse_place(const option_row *row, const char *text, option_ENUM *value)
{
    const size_t length = strlen(text);
    option_ENUM place = 0;
    for (const char *word = row->words; *word; place++) {
        const size_t n = strcspn(word, ",");
        if (n == length && !strncmp(word, text, n)) {
            *value = place;
            return true;
        }
        word += n + strspn(word + n, ", ");
    }
    return false;
}

/* A word that the row has in place of a number. */
static bool parse_word(const option_row *row, const char *text, option_word *value)
{
    option_ENUM place;
    if (!parse_place(row, text, &place)) return false;
    for (option_word word = OPTION_AUTO; word <= OPTION_ALL; word++)
        if (!strcmp(text, option_word_names[word])) *value = word;
    return true;
}

static const char *old_number(const option_row *row) { return option_old_numbers[row - option_table]; }

/* What the old number stands for: with just one word the list is the word. */
static option_word only_word(const option_row *row)
{
    option_word word = OPTION_NUMBER;
    REQUIRE(parse_word(row, row->words, &word), "old number of %s.%s", row->section, row->name);
    return word;
}

static bool parse_whole_or_word(const option_row *row, const char *text, option_whole *value)
{
    const char *old = old_number(row);
    int64_t number, then;
    *value = (option_whole){0};
    if (parse_word(row, text, &value->word) || parse_int_in(row, text, &value->number)) return true;
    *value = (option_whole){0};
    if (!old || !parse_int(old, &then) || !parse_int(text, &number) || number != then) return false;
    value->word = only_word(row);
    return true;
}

static bool parse_real_or_word(const option_row *row, const char *text, option_real *value)
{
    const char *old = old_number(row);
    *value = (option_real){0};
    if (parse_word(row, text, &value->word)) return true;
    if (!parse_real_in(row, text, &value->number)) return false;
    if (old && value->number == strtod(old, NULL)) *value = (option_real){.word = only_word(row)};
    return true;
}

static bool parse_bool(const char *text, bool *value)
{
    *value = !strcmp(text, "true");
    return *value || !strcmp(text, "false");
}

/* Types whose value is a number or a word; false leaves the option as it was. */
static bool set_value(options *o, const option_row *row, const char *text)
{
    int64_t whole;
    option_whole whole_or_word;
    double real;
    option_real real_or_word;
    option_ENUM place;
    bool truth;
    void *to = (char *)o + row->at;
    switch (row->type) {
    case TYPE_INT:
        if (!parse_int_in(row, text, &whole)) return false;
        *(option_INT *)to = whole;
        return true;
    case TYPE_INT_OR_WORD:
        if (!parse_whole_or_word(row, text, &whole_or_word)) return false;
        *(option_whole *)to = whole_or_word;
        return true;
    case TYPE_REAL:
        if (!parse_real_in(row, text, &real)) return false;
        *(option_REAL *)to = real;
        return true;
    case TYPE_REAL_OR_WORD:
        if (!parse_real_or_word(row, text, &real_or_word)) return false;
        *(option_real *)to = real_or_word;
        return true;
    case TYPE_BOOL:
        if (!parse_bool(text, &truth)) return false;
        *(option_BOOL *)to = truth;
        return true;
    case TYPE_ENUM:
        if (!parse_place(row, text, &place)) return false;
        *(option_ENUM *)to = place;
        return true;
    case TYPE_TEXT:
    case TYPE_LIST:
        break;
    }
    REQUIRE(false, "%s.%s is not a number or a word", row->section, row->name);
    return false;
}

status option_text_check(const char *what, const char *text, message *why)
{
    if (strlen(text) >= PATH_BYTES)
        return fail(why, ERR_USAGE, "%s: the text is %zu bytes long, more than %d", what, strlen(text),
                    PATH_BYTES - 1);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return fail(why, ERR_USAGE, "%s: the text has a control character (code %d) at byte %d", what, *c,
                        (int)(c - text) + 1);
    json_t *utf8 = json_string(text); /* NULL when it is not */
    if (!utf8) return fail(why, ERR_USAGE, "%s: the text is not UTF-8", what);
    json_decref(utf8);
    return OK;
}

static void list_free(option_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->item[i]);
    free(list->item);
    *list = (option_list){0};
}

static void list_set(option_list *list, char *const *text, int count)
{
    option_list fresh = {.item = memory_new(count + 1, sizeof *fresh.item, "texts"), .count = count};
    for (int i = 0; i < count; i++) fresh.item[i] = memory_check(strdup(text[i]), "a text");
    list_free(list);
    *list = fresh;
}

static status set_texts(options *o, const option_row *row, char *const *text, int count, const char *what,
                        message *why)
{
    for (int i = 0; i < count; i++) TRY(option_text_check(what, text[i], why));
    if (row->type == TYPE_TEXT) {
        memcpy((char *)o + row->at, text[0], strlen(text[0]) + 1);
        return OK;
    }
    if (count == 1 && !text[0][0]) count = 0; /* data.val= takes the list back */
    for (int i = 0; i < count; i++)
        if (!text[i][0]) return fail(why, ERR_USAGE, "%s: item %d of %d is empty", what, i + 1, count);
    list_set((option_list *)((char *)o + row->at), text, count);
    return OK;
}

status option_assign(options *o, int id, char *const *text, int count, int line, message *why)
{
    const option_row *row = &option_table[id];
    char place[PLACE_BYTES], range[RANGE_BYTES], what[PLACE_BYTES + 64];
    option_place(o, line, place);
    snprintf(what, sizeof what, "%s.%s (%s)", row->section, row->name, place);
    if (row->type != TYPE_LIST && count != 1)
        return fail(why, ERR_USAGE, "%s: found a list of %d, expected %s", what, count,
                    option_range(row, true, range));
    if (row->type == TYPE_TEXT || row->type == TYPE_LIST)
        TRY(set_texts(o, row, text, count, what, why));
    else if (!set_value(o, row, text[0]))
        return fail(why, ERR_USAGE, "%s.%s=%.100s (%s): expected %s", row->section, row->name, text[0], place,
                    option_range(row, true, range));
    o->line[id] = line;
    return OK;
}

/* ---- from outside -------------------------------------------------------------------------------------- */

void options_init(options *o)
{
    memset(o, 0, sizeof *o);
    for (int i = 0; i < NUM_OPTIONS; i++) {
        message why = {""};
        char *text = (char *)option_table[i].initial;
        REQUIRE(option_assign(o, i, &text, 1, OPTION_DEFAULT, &why) == OK, "default: %s", why.text);
    }
}

void options_free(options *o)
{
    for (int i = 0; i < NUM_OPTIONS; i++)
        if (option_table[i].type == TYPE_LIST) list_free((option_list *)((char *)o + option_table[i].at));
}

/* The items between commas. Cuts `text` up. The caller frees the array, not the items. */
static char **split(char *text, int *count)
{
    *count = 1;
    for (const char *c = text; *c; c++) *count += *c == ',';
    char **item = memory_new(*count, sizeof *item, "texts");
    for (int i = 0; i < *count; i++) item[i] = strsep(&text, ",");
    return item;
}

static status set_key(options *o, const char *section, const char *name, char *value, message *why)
{
    const int id = option_find(section, name);
    if (id < 0)
        return fail(why, ERR_USAGE,
                    "unknown option %.100s.%.100s (command line); did you mean %s? `remla options` lists all",
                    section, name, option_nearest(section, name));
    if (option_table[id].type != TYPE_LIST) return option_assign(o, id, &value, 1, OPTION_COMMAND_LINE, why);
    int count;
    char **item = split(value, &count);
    const status s = option_assign(o, id, item, count, OPTION_COMMAND_LINE, why);
    free(item);
    return s;
}

status options_set(options *o, const char *assignment, message *why)
{
    char *text = memory_check(strdup(assignment), "an option");
    char *value = text, *name = strsep(&value, "="), *section = strsep(&name, ".");
    const status s = value && name ? set_key(o, section, name, value, why)
                                   : fail(why, ERR_USAGE, "%.200s: expected section.key=value", assignment);
    free(text);
    return s;
}
