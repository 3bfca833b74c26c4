/* The questions of a task: read from FOLDER/TASK.jsonl or TASK.jsonl.gz, and made into contexts and
 * continuations by the task's recipe. */
#ifndef REMLA_EVAL_TASKS_QUESTION_H
#define REMLA_EVAL_TASKS_QUESTION_H
#include "eval/tasks/recipe.h"
#include "eval/tasks/template.h"

/* Each choice has a context and a continuation; contexts that are the same are one text. */
typedef struct question {
    int task;     /* index in the suite */
    int shots;    /* examples in the context */
    char *id;     /* the line's `id`, or its number among the lines of the task, from 0 */
    int64_t line; /* of the file, for messages */
    int choices, gold;
    char *context[MOST_CHOICES], *continuation[MOST_CHOICES];
} question;

typedef struct question_list {
    question *item;
    int64_t count, capacity;
} question_list;
void question_list_free(question_list *list);

/* The file of a task: the name with .jsonl, or .jsonl.gz. ERR_INPUT: there is neither. */
status question_file(char *path, const char *folder, const char *name, message *why);

/* Appends the task's questions: the first `limit` in the order of the file, of each group where the recipe
 * has groups (0: all), each with `shots` examples before it. ERR_INPUT names file, line and what is wrong.
 * ERR_USAGE: there are not as many examples. */
status question_list_read(question_list *list, const recipe *r, int task, const char *folder, int64_t limit,
                          int shots, message *why);

/* Characters (code points) of a continuation, without a space in front: what its score is divided by. */
int64_t question_characters(const char *continuation);

#endif
