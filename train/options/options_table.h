/* The table of options at run time: what reading YAML and printing share with options.c. Private to these. */
#ifndef REMLA_TRAIN_OPTIONS_OPTIONS_TABLE_H
#define REMLA_TRAIN_OPTIONS_OPTIONS_TABLE_H
#include "train/options/options.h"

typedef enum option_type {
    TYPE_INT,
    TYPE_INT_OR_WORD,
    TYPE_REAL,
    TYPE_REAL_OR_WORD,
    TYPE_BOOL,
    TYPE_ENUM,
    TYPE_TEXT,
    TYPE_LIST
} option_type;

typedef struct option_row {
    const char *section, *name;
    const char *initial; /* the default, as one would write it */
    option_type type;
    const char *words;      /* "auto, none": that may be given, in the order of their enum; NULL: no words */
    const char *low, *high; /* as written in options.def */
    bool same;              /* must not change on resume */
    const char *help;
    size_t at; /* of the value in `options` */
} option_row;
extern const option_row option_table[NUM_OPTIONS];
/* The number that is read as the row's only word, as written in options.def; NULL: the row has none. */
extern const char *const option_old_numbers[NUM_OPTIONS];
extern const char *const option_word_names[]; /* of option_word */
/* Stands for the enum of any row of words: its value is written through this type. */
typedef unsigned option_ENUM;

typedef struct option_section {
    const char *name, *help;
} option_section;
extern const option_section option_sections[];
extern const int num_option_sections;

/* The option of a key, also by an alias; -1 when there is none. */
int option_find(const char *section, const char *name);
/* "train.seq_len": what an unknown key may have meant. Borrowed. */
const char *option_nearest(const char *section, const char *name);

/* Sets option `id` from texts: one, but for a LIST. `line` is where they stand (options.line). ERR_USAGE
 * names key, value, place and what is allowed; the option then has its old value. */
status option_assign(options *o, int id, char *const *text, int count, int line, message *why);

/* "lr.yaml:12", "command line" or "default". Returns `buffer`. */
enum { PLACE_BYTES = PATH_BYTES + 16 };
const char *option_place(const options *o, int line, char *buffer);

/* ERR_USAGE when a text cannot be kept: too long, not UTF-8, control characters. `what` names it. */
status option_text_check(const char *what, const char *text, message *why);

/* Describes what a value may be: "a whole number from 1 to 65536" in sentences, "1 to 65536" in tables.
 * Returns `buffer`. */
enum { RANGE_BYTES = 256 };
const char *option_range(const option_row *row, bool sentence, char *buffer);

#endif
