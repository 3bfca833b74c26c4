/* The commands of the program; train/commands/main.c has their table. To add one: write
 * train/commands/cmd_NAME.c, declare it here, add its row. */
#ifndef REMLA_TRAIN_COMMANDS_COMMANDS_H
#define REMLA_TRAIN_COMMANDS_COMMANDS_H
#include "base/comm.h"
#include "train/options/options.h"

/* The command line without its options, which are in `options`. The texts are main's. */
typedef struct command_line {
    const char *command;
    char **positional; /* as many as the command's row says, then a NULL */
    int positionals;
    uint64_t from, count; /* --from P --count N: a range of positions; 0 and 1 when not given */
    bool plan;            /* --plan: say what it would take, and do nothing */
    const char *tasks, *style, *samples; /* --tasks T,.. --style S --samples FILE; NULL when not given */
    uint64_t limit, shots;               /* --limit N --shots K; 0 when not given */
    uint64_t ranks;                      /* --ranks N; 0 when not given */
    const char *device;                  /* --device NAME; NULL when not given */
    bool json; /* --json: standard output is one JSON object, everything else goes to standard error */
} command_line;

/* Each returns when it is done or cannot go on; main prints `why` and exits with the status. MPI:
 * collective where c->size > 1; every rank returns the same status. */
status cmd_train(const command_line *line, options *o, const comm *c, message *why);
status cmd_eval(const command_line *line, options *o, const comm *c, message *why);
status cmd_eval_tasks(const command_line *line, options *o, const comm *c, message *why); /* eval --tasks */
status cmd_convert(const command_line *line, options *o, const comm *c, message *why);
status cmd_export(const command_line *line, options *o, const comm *c, message *why);
status cmd_generate(const command_line *line, options *o, const comm *c, message *why);
status cmd_serve(const command_line *line, options *o, const comm *c, message *why);
status cmd_plan(const command_line *line, options *o, const comm *c, message *why);
status cmd_inspect(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_import(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_order(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_inspect(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_verify(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_encode(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_decode(const command_line *line, options *o, const comm *c, message *why);
status cmd_options(const command_line *line, options *o, const comm *c, message *why);
status cmd_data_tokenize(const command_line *line, options *o, const comm *c, message *why);

#endif
