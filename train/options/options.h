/* Options: `section.key=value` on the command line, or sections of keys in a YAML file.
 * train/options/options.def lists them all; a value knows where it came from, so that messages and
 * RUN/config.yaml can say it. Relative paths are relative to the current folder, also those in a file.
 * Nothing here is collective. */
#ifndef REMLA_TRAIN_OPTIONS_OPTIONS_H
#define REMLA_TRAIN_OPTIONS_OPTIONS_H
#include "base/file.h"
#include "train/options/words.h"
#include <stdio.h>

typedef struct option_list {
    char **item; /* owned */
    int count;
} option_list;

/* Names the word that stands in the place of a number. */
typedef enum option_word { OPTION_NUMBER, OPTION_AUTO, OPTION_NONE, OPTION_ALL } option_word;

/* A number, where word is OPTION_NUMBER, or a word. */
typedef struct option_whole {
    option_word word;
    int64_t number;
} option_whole;
typedef struct option_real {
    option_word word;
    double number;
} option_real;

/* The number, or `otherwise` for the word. */
static inline int64_t option_or(option_whole value, int64_t otherwise)
{
    return value.word == OPTION_NUMBER ? value.number : otherwise;
}
static inline double option_real_or(option_real value, double otherwise)
{
    return value.word == OPTION_NUMBER ? value.number : otherwise;
}
/* True at the steps that `every` names: its multiples, and none where it is a word. */
static inline bool option_due(option_whole every, int64_t step)
{
    return every.word == OPTION_NUMBER && step % every.number == 0;
}

typedef int64_t option_INT;
typedef option_whole option_INT_OR_AUTO, option_INT_OR_NONE, option_INT_OR_ALL, option_INT_OR_AUTO_OR_NONE;
typedef double option_REAL;
typedef option_real option_REAL_OR_AUTO;
typedef option_real option_REAL_OR_NONE;
typedef bool option_BOOL;
typedef char option_TEXT[PATH_BYTES];
typedef option_list option_LIST;

/* option_device_kind has OPTION_device_kind_cpu, ..._cuda and ..._auto: an enum of its own for each row of
 * words. Code that translates it to another folder's enum is a switch without a default, so that the compiler
 * names a word that was forgotten. */
#define ENUM(S_, N_, D_, W_, R_, HELP_)                                                                      \
    typedef enum option_##S_##_##N_{OPTION_WORDS(OPTION_##S_##_##N_##_, W_)} option_##S_##_##N_;
#include "train/options/options.def"

enum option_id {
#define OPT(T_, S_, N_, D_, L_, H_, R_, HELP_) OPTION_##S_##_##N_,
#define ENUM(S_, N_, D_, W_, R_, HELP_)        OPTION_##S_##_##N_,
#include "train/options/options.def"
    NUM_OPTIONS
};

/* o->train_seq_len is the option train.seq_len. */
typedef struct options {
#define OPT(T_, S_, N_, D_, L_, H_, R_, HELP_) option_##T_ S_##_##N_;
#define ENUM(S_, N_, D_, W_, R_, HELP_)        option_##S_##_##N_ S_##_##N_;
#include "train/options/options.def"
    option_TEXT file; /* that was read, or empty */
    /* Gives the place where each value was set: a line of `file`, OPTION_DEFAULT or OPTION_COMMAND_LINE. */
    int line[NUM_OPTIONS];
} options;
enum { OPTION_DEFAULT = 0, OPTION_COMMAND_LINE = -1 };

void options_init(options *o); /* the defaults */
void options_free(options *o);

/* Sets what the file says; once per `options`. null leaves the default. ERR_INPUT: the file cannot be read
 * or is not plain YAML. ERR_USAGE: an unknown or repeated key, a bad value. Messages name file and line. */
status options_read_yaml(options *o, const char *path, message *why);

/* Sets one option from "section.key=value"; a LIST's items are separated by commas. The later of two wins.
 * ERR_USAGE when it is not possible: the option then has its old value. */
status options_set(options *o, const char *assignment, message *why);

/* Returns whether a file or the command line has set the option "section.key", which must exist. */
bool option_is_set(const options *o, const char *key);

/* The table of all options in markdown: `remla options`, docs/options.md. */
void options_print_table(FILE *out);

/* All values as YAML that options_read_yaml reads back to the same values, with comments that say where each
 * came from. The caller frees. */
char *options_text(const options *o);
/* Writes that text. Durable. */
status options_write(const options *o, const char *path, message *why);

/* Checks that a run that began with `then` may go on with `now`: ERR_USAGE names the first SAME option that
 * differs. */
status options_same(const options *now, const options *then, message *why);

/* Hands every option of a training run that differs to `take`, with its values as texts. */
typedef void options_take(void *context, const char *key, const char *then, const char *now);
void options_compare(const options *now, const options *then, options_take *take, void *context);

#endif
