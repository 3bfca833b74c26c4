/* How a task makes prompts of its questions: a few templates. Seven tasks are built in, each in two styles; a
 * user's NAME.yaml beside NAME.jsonl is read into the same type (docs/EVALUATION.md). */
#ifndef REMLA_EVAL_TASKS_RECIPE_H
#define REMLA_EVAL_TASKS_RECIPE_H
#include "base/file.h"
#include <stdbool.h>

/* Whose prompts, and whose way from texts to tokens (eval/tasks/encode.h): those of TransMLA's evaluation by
 * lighteval, or of lm-evaluation-harness. */
typedef enum task_style { STYLE_TRANSMLA, STYLE_LM_EVAL } task_style;
const char *task_style_name(task_style style);
/* false: no style has this name. */
bool task_style_find(const char *name, task_style *style);

/* Texts are templates (eval/tasks/template.h) where it says so. */
typedef struct recipe {
    const char *name;
    const char *split;   /* of the questions; empty: all lines are questions */
    const char *choices; /* the field that is a list of them, or the fields that are one each: "sol1,sol2" */
    const char *header;  /* template; begins the prompt */
    const char *context; /* template; may name the choice: then there is a context for each */
    const char *filter;  /* chain of filters for the context as a whole */
    const char *continuation; /* template; what is scored. A space in front separates it, and is not counted
                                 in its length */
    const char *separator;    /* behind each example */
    const char *examples;     /* split of the examples that --shots puts before a question; empty: none */
    const char *group;        /* field: --limit counts in each group, examples are of the question's group */
    bool norm;                /* acc_norm, by characters, is given and is the main score; else acc alone */
    char **owned;             /* texts that a file brought */
    int owned_count;
} recipe;

/* The built-in tasks: NULL past the end. */
const char *recipe_built_in(int i);

/* Finds the task: a built-in one, or FOLDER/NAME.yaml. ERR_USAGE: there is none, with the nearest name;
 * ERR_INPUT: the file is malformed. The caller frees. */
status recipe_find(recipe *r, const char *name, task_style style, const char *folder, message *why);
void recipe_free(recipe *r);

#endif
