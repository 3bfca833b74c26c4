/* remla options: every option as a table; docs/options.md is its output. */
#include "train/commands/commands.h"

status cmd_options(const command_line *line, options *o, const comm *c, message *why)
{
    (void)line, (void)o, (void)c, (void)why; /* the table is the same for everybody */
    options_print_table(stdout);
    return OK;
}
