#include "train/commands/inspect.h"

status inspect_run(const char *folder, bool json, message *why)
{
    (void)json;
    return fail(why, ERR_INPUT, "%s: is a run", folder);
}
