#include "train/gradients.h"
#include "model/hf/safetensors.h"
#include "train/unit_file.h"
#include <stdlib.h>

status gradients_write(const char *path, const param_table *table, optimizer *o, double scale, const comm *c,
                       message *why)
{
    static const optim_part parts[] = {OPTIM_GRAD};
    static const char *const prefixes[] = {""};
    return unit_file_write(path, table, o, parts, prefixes, 1, scale, c, NULL, NULL, why);
}
