/* The commands of the program; train/main.c has their table. To add one: write train/cmd_NAME.c, declare
 * it here, add its row. */
#ifndef REMLA_TRAIN_COMMANDS_H
#define REMLA_TRAIN_COMMANDS_H
#include "base/comm.h"
#include "train/options.h"

enum { MAX_POSITIONALS = 2 };

/* The command line without its options, which are in `options`. The texts are main's. */
typedef struct command_line {
    const char *command;
    const char *positional[MAX_POSITIONALS]; /* as many as the command's row asks for; the others are NULL */
    int positionals;
    bool plan; /* --plan: say what it would take, and do nothing */
    bool json; /* --json: standard output is one JSON object, everything else goes to standard error */
} command_line;

/* Each returns when it is done or cannot go on; main prints `why` and exits with the status. MPI:
 * collective where c->size > 1; every rank returns the same status. */
status cmd_train(const command_line *line, options *o, const comm *c, message *why);
status cmd_eval(const command_line *line, options *o, const comm *c, message *why);
status cmd_convert(const command_line *line, options *o, const comm *c, message *why);
status cmd_inspect(const command_line *line, options *o, const comm *c, message *why);
status cmd_options(const command_line *line, options *o, const comm *c, message *why);

#endif
