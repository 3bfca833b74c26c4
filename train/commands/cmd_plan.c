/* remla plan CONFIG.yaml [--ranks N] [--device h100|a100|cpu]: what a training run takes. Of the model it
 * needs the shape alone, of the data nothing. */
#include "base/log.h"
#include "base/machine.h"
#include "model/hf/config.h"
#include "train/commands/commands.h"
#include "train/feed_options.h"
#include "train/plan_print.h"
#include "train/training.h"
#include <stdio.h>
#include <string.h>

/* The folder with the shape: model.path, or, while that is not there, the same path beside the config file.
 */
static status find_model(char *folder, const options *o, const char *config, message *why)
{
    if (!o->model_path[0])
        return fail(why, ERR_USAGE, "model.path is not set: name the model folder to start from");
    TRY(path_print(folder, why, "%s", o->model_path));
    if (folder_exists(folder) || o->model_path[0] == '/') return OK;
    const char *slash = strrchr(config, '/');
    char beside[PATH_BYTES];
    if (!slash) return OK;
    TRY(path_print(beside, why, "%.*s/%s", (int)(slash - config), config, o->model_path));
    if (!folder_exists(beside)) return OK;
    log_line("model  %s is not there yet: its shape is that of %s", o->model_path, beside);
    return path_print(folder, why, "%s", beside);
}

/* Steps of the run; -1: neither the options nor the data say it. Packed data are counted as windows, which
 * needs no pack index. */
static int64_t steps_of(const options *o, const model_config *config)
{
    if (o->train_steps.word == OPTION_NUMBER) return o->train_steps.number;
    options windows = *o; /* borrows its lists */
    windows.data_packing = OPTION_data_packing_concat;
    feed data;
    message missing;
    if (feed_from_options(&data, &windows, config->d.V, config->eos, comm_self(), &missing) != OK) {
        log_line("data   %s", missing.text);
        return -1;
    }
    const int64_t steps = (int64_t)(feed_pass(&data) / (uint64_t)(o->train_batch_tokens / o->train_seq_len));
    feed_close(&data);
    return steps;
}

static const char *device_of(const command_line *line, const options *o)
{
    if (line->device) return line->device;
    return o->device_kind == OPTION_device_kind_cuda ? "h100" : "cpu";
}

/* The questions of eval.tasks decide how large their decoder is. They and the model's tokenizer may not be
 * there yet; options that training would refuse are refused. */
static status questions_open(benchmarks *b, plan_run *r, const model_config *config, message *why)
{
    const status s = benchmarks_open(b, r->o, config, comm_self(), why);
    if (s == OK)
        r->questions = benchmarks_decoder(b);
    else if (s != ERR_USAGE)
        log_line("eval   memory for eval.tasks is not counted: %s", why->text);
    return s == ERR_USAGE ? s : OK;
}

static status plan_run_open(plan_run *r, const command_line *line, const model_config *config, message *why)
{
    TRY(training_check(r->o, r->ranks, why));
    TRY(dims_check_length(&config->d, "train.seq_len", r->o->train_seq_len, why));
    TRY(machine_start(0, 1, why));
    TRY(plan_machine_find(&r->machine, device_of(line, r->o), r->ranks, why));
    r->d = &config->d;
    r->steps = steps_of(r->o, config);
    return OK;
}

static void print(const plan *p, const plan_run *r)
{
    log_line("plan   %s: %.1fM parameters, %lld layers, %s, on %d x %s, parallel.zero=%lld", r->o->model_path,
             (double)p->parameters / 1e6, (long long)r->d->L, r->d->kind == ATTENTION_MLA ? "MLA" : "GQA",
             r->ranks, r->machine.name, (long long)r->o->parallel_zero);
    plan_print(p, r);
}

status cmd_plan(const command_line *line, options *o, const comm *c, message *why)
{
    (void)c;
    char folder[PATH_BYTES];
    model_config config;
    TRY(find_model(folder, o, line->positional[0], why));
    TRY(config_read(&config, folder, why));
    plan_run r = {.o = o, .ranks = line->ranks ? (int)line->ranks : 1};
    benchmarks questions = {0};
    status s = plan_run_open(&r, line, &config, why);
    if (s == OK) s = questions_open(&questions, &r, &config, why);
    if (s == OK) {
        plan p;
        plan_make(&p, &r);
        (line->json ? plan_print_json : print)(&p, &r);
    }
    benchmarks_close(&questions);
    config_free(&config);
    return s;
}
