/* The section `eval`. Where it says auto, an option of the section `train` that was used for it before still
 * counts if the user has set it, and a line says so. */
#include "train/eval_options.h"
#include "base/log.h"

static void say_old_name(const char *command, const char *name)
{
    log_line("%s reads train.%s: its name is now eval.%s", command, name, name);
}

named_length eval_length(const options *o, const char *command, named_length otherwise)
{
    if (o->eval_seq_len.word == OPTION_NUMBER) return (named_length){o->eval_seq_len.number, "eval.seq_len"};
    if (!option_is_set(o, "train.seq_len")) return otherwise;
    say_old_name(command, "seq_len");
    return (named_length){o->train_seq_len, "train.seq_len"};
}

int64_t eval_micro_batch(const options *o)
{
    if (o->eval_micro_batch.word == OPTION_NUMBER) return o->eval_micro_batch.number;
    if (!option_is_set(o, "train.micro_batch")) return 1;
    say_old_name("eval", "micro_batch");
    return o->train_micro_batch;
}

status eval_style(task_style *style, const options *o, const char *flag, message *why)
{
    const char *name = flag ? flag : o->eval_style;
    if (task_style_find(name, style)) return OK;
    return fail(why, ERR_USAGE, "%s%.100s: there are transmla and lm-eval",
                flag ? "--style " : "eval.style=", name);
}

suite_model eval_suite_model(const char *folder, const model_config *config)
{
    return (suite_model){folder, config->d.V, encode_window(config->positions, config->d.window)};
}
