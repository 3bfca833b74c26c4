/* A training run from options to weights, and the step. Loss and gradient are those of the mean over all
 * counted targets of the global batch, whatever the number of ranks and micro-batches: every rank adds up
 * gradients of summed losses, and the division by the global count happens once, in the update. */
#include "train/training.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stop.h"
#include "data/tokenizer_check.h"
#include "eval/open.h"
#include "model/hf/model_files.h"
#include "train/feed_options.h"
#include "train/option_words.h"
#include "train/slices_read.h"
#include "train/gradients_file.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------------------------------------- */

/* batch_tokens must be a whole number of micro-batches on every rank. */
static status batch_arithmetic(const options *o, int ranks, message *why)
{
    const int64_t unit = o->train_seq_len * o->train_micro_batch * ranks;
    if (o->train_batch_tokens % unit == 0) return OK;
    const int64_t below = o->train_batch_tokens / unit * unit, above = below + unit;
    char near[80];
    if (below > 0)
        snprintf(near, sizeof near, "%lld or %lld", (long long)below, (long long)above);
    else
        snprintf(near, sizeof near, "%lld", (long long)above);
    return fail(why, ERR_USAGE,
                "train.batch_tokens=%lld is not a multiple of train.seq_len * train.micro_batch * ranks = "
                "%lld * %lld * %d = %lld; the nearest values that are: %s",
                (long long)o->train_batch_tokens, (long long)o->train_seq_len,
                (long long)o->train_micro_batch, ranks, (long long)unit, near);
}

/* Blocks of a power of two of micro-batches are what ranks can share out. */
static status sums_check(const options *o, int ranks, message *why)
{
    if (o->parallel_sum != OPTION_parallel_sum_exact || (ranks & (ranks - 1)) == 0) return OK;
    return fail(why, ERR_USAGE,
                "parallel.sum=exact with %d ranks: it takes 1, 2, 4, 8 or another power of 2; "
                "parallel.sum=fast takes any number",
                ranks);
}

status training_check(const options *o, int ranks, message *why)
{
    TRY(batch_arithmetic(o, ranks, why));
    return sums_check(o, ranks, why);
}

static status held_out_open(training *t, message *why)
{
    const options *o = t->o;
    if (!o->data_val.count) return OK;
    return feed_held_out_from_options(&t->held_out, o, o->train_seq_len, t->config.d.V, o->model_path, why);
}

static status sources_check(const training *t, message *why)
{
    for (int i = 0; i < t->data.sources; i++)
        TRY(tokenizer_check(&t->data.source[i], "data.train", t->o->model_path, why));
    return OK;
}

static void schedule_open(training *t)
{
    const options *o = t->o;
    t->steps = o->train_steps.word == OPTION_AUTO ? (int64_t)(feed_pass(&t->data) / (uint64_t)t->sequences)
                                                  : o->train_steps.number;
    t->rate = (schedule){.kind = schedule_kind_of(o->optim_schedule),
                         .rate = o->optim_lr,
                         .min_rate = o->optim_min_lr,
                         .warmup = option_or(o->optim_warmup, (3 * t->steps + 99) / 100),
                         .steps = t->steps};
}

/* Weights, gradients and the optimizer's state. */
static void parameters_open(training *t)
{
    const options *o = t->o;
    const comm *const tensors = compute_ranks(&t->backend, t->c);
    const shards_settings set = shards_settings_of(o, t->c->size);
    t->opt = (optimizer){.beta1 = o->optim_beta1,
                         .beta2 = o->optim_beta2,
                         .eps = o->optim_eps,
                         .decay = o->optim_weight_decay};
    t->parameters_arena = (arena){.name = "weights and gradients", .device = t->backend.device};
    t->optimizer_arena = (arena){.name = "optimizer", .device = t->backend.device};
    t->offload_arena = (arena){.name = "states", .device = t->backend.device, .pinned = true};
    const bool offload = o->optim_offload && t->backend.device;
    if (offload) t->opt.offload = &t->offload_arena;
    if (o->optim_offload && !offload) log_line("optim.offload: moments are in the host's memory anyway");
    shards_reserve(&t->parameters, t->m.k, tensors, &t->m.table, &set, &t->parameters_arena);
    optimizer_reserve(&t->opt, t->c, &t->parameters, &t->optimizer_arena);
    if (offload)
        log_line("optim.offload: %.1f MiB of states in the host's memory, %.1f MiB on the device",
                 (double)t->offload_arena.size / 1048576, (double)t->optimizer_arena.size / 1048576);
    t->m.units = shards_weights(&t->parameters);
}

/* What can fail, on any rank by itself. */
static status open_alone(training *t, message *why)
{
    const options *o = t->o;
    if (!o->model_path[0])
        return fail(why, ERR_USAGE, "model.path is not set: name the model folder to start from");
    TRY(training_check(o, t->c->size, why));
    TRY(model_folder_read(&t->config, o->model_path, why));
    return dims_check_length(&t->config.d, "train.seq_len", o->train_seq_len, why);
}

/* MPI: collective. */
static status data_open(training *t, message *why)
{
    const options *o = t->o;
    TRY(feed_from_options(&t->data, o, t->config.d.V, t->config.eos, t->c, why));
    TRY_ALL(t->c, sources_check(t, why), why);
    TRY_ALL(t->c, held_out_open(t, why), why);
    const comm *asked = o->parallel_zero == 3 ? comm_self() : t->c; /* a pass needs all ranks */
    TRY_ALL(t->c, benchmarks_open(&t->questions, o, &t->config, asked, why), why);
    t->sequences = o->train_batch_tokens / o->train_seq_len;
    schedule_open(t);
    if (t->steps) return OK;
    return fail(
        why, ERR_INPUT,
        "data.train holds %llu samples of %lld tokens before one comes again, fewer than the %lld of one "
        "step: lower train.batch_tokens or set train.steps",
        (unsigned long long)feed_pass(&t->data), (long long)o->train_seq_len, (long long)t->sequences);
}

/* Reads this rank's samples of the step that begins at `position`. The ranks take its micro-batches in turn.
 * Runs on the loader's thread. */
static status step_read(const void *context, token_batch *b, int64_t position, message *why)
{
    const training *t = context;
    const int64_t B = t->o->train_micro_batch;
    for (int64_t row = 0; row < b->sequences; row += B) {
        token_batch micro = token_batch_view(b, row, B);
        TRY(feed_read(&t->data, (uint64_t)(position + row * t->c->size + t->c->rank * B), &micro, why));
    }
    return OK;
}

/* Reads the masters that the run starts from, as far as this rank updates them. */
static status masters_read(training *t, message *why)
{
    model_reader r;
    TRY(model_reader_open(&r, t->o->model_path, &t->m.table, t->m.k, why));
    const value_source files = value_source_model(&r.files, &t->m.table);
    const status s = slices_read(&t->opt, STATE_MASTER, &files, why);
    model_reader_close(&r);
    return s;
}

status training_open(training *t, const options *o, const comm *c, message *why)
{
    *t = (training){.o = o, .c = c};
    TRY_ALL(c, open_alone(t, why), why);
    TRY(data_open(t, why));
    const compute_settings wanted = compute_settings_of(o);
    const ops *k;
    TRY(compute_start(&t->backend, &wanted, &t->config.d, o->train_micro_batch, o->train_seq_len, c, &k,
                      why));
    /* A run that begins; one that goes on knows its place only with its checkpoint. */
    t->loader = loader_start(step_read, t, t->sequences / t->c->size, t->o->train_seq_len, 0);
    t->environment = environment_now(o, k, c);
    model_init_bare(&t->m, &t->config.d, k);
    parameters_open(t);
    activations_init(&t->acts, &t->config.d, k, o->train_micro_batch, o->train_seq_len, FORWARD_AND_BACKWARD,
                     recompute_of(o->train_recompute));
    benchmarks_start(&t->questions, &t->m);
    TRY_ALL(c, masters_read(t, why), why);
    optimizer_masters_set(&t->opt);
    t->state = (checkpoint_state){.fingerprint = feed_fingerprint(&t->data, true)};
    stragglers_init(&t->slow, c->size);
    t->told = memory_new(1 + 2 * (int64_t)c->size, sizeof *t->told, "what %d ranks tell", c->size);
    t->writer = checkpoint_writer_open(&t->opt, &t->config, o, t->environment, c);
    rank_check_start(t);
    return OK;
}

void training_close(training *t)
{
    loader_stop(t->loader);
    checkpoint_writer_close(t->writer);
    benchmarks_close(&t->questions);
    if (t->m.k) {
        optimizer_free(&t->opt);
        shards_free(&t->parameters);
        arena_release(&t->offload_arena);
        arena_release(&t->optimizer_arena);
        arena_release(&t->parameters_arena);
        activations_free(&t->acts);
        model_free(&t->m);
    }
    compute_close(&t->backend);
    feed_close(&t->data);
    dataset_close(&t->held_out);
    config_free(&t->config);
    json_decref(t->environment);
    stragglers_free(&t->slow);
    free(t->told);
    *t = (training){0};
}

/* ---- a step -------------------------------------------------------------------------------------------- */

static status step_batch(training *t, const token_batch **batch, double *waited, message *why)
{
    const int64_t next = t->state.step + 1 < t->steps ? t->state.position + t->sequences : -1;
    return loader_next(t->loader, t->state.position, next, batch, waited, why);
}

/* Notes where this rank is, for the sentences in which ranks are missed. */
static void phase(const training *t, const char *what)
{
    die_place("step %lld, %s", (long long)t->state.step + 1, what);
}

/* Forward and backward over this rank's micro-batches. A unit's gradient is summed over the ranks as soon as
 * it is complete. */
static void forward_backward(training *t, const token_batch *batch)
{
    const int64_t B = t->acts.B;
    optimizer_begin(&t->opt);
    for (int64_t i = 0; i * B < batch->sequences; i++) {
        const token_batch micro = token_batch_view(batch, i * B, B);
        const units sums = shards_gradients(&t->parameters, i);
        tensor loss = optimizer_loss(&t->opt, i);
        model_train(&t->m, &t->acts, &sums, &micro, &loss);
    }
}

/* Tells all ranks what each has seen in this step: a signal, and how long it took, where the last step stands
 * for this one, which is not over. A sentence names ranks that are slow. */
static void tell(training *t, double waited, step_result *r)
{
    const int ranks = t->c->size;
    int64_t *const signal = t->told, *const own = signal + 1, *const data = own + ranks, longest = 0;
    memset(t->told, 0, sizeof *t->told * (size_t)(1 + 2 * ranks));
    *signal = stop_requested();
    own[t->c->rank] = t->own;
    data[t->c->rank] = (int64_t)(waited * 1e9);
    comm_max_i64(t->c, t->told, 1 + 2 * ranks);
    for (int i = 0; i < ranks; i++) longest = data[i] > longest ? data[i] : longest;
    r->signal = (int)*signal;
    r->data_wait = 1e-9 * (double)longest;
    message news;
    if (stragglers_step(&t->slow, own, data, t->c, &news))
        log_warning("step %lld: %s", (long long)t->state.step + 1, news.text);
}

/* The loss and the norm of the step. A device is waited for here, and nowhere before. */
static void read_result(training *t, double mean, step_result *r)
{
    const double start = clock_seconds();
    r->loss = optimizer_loss_sum(&t->opt) * mean;
    r->grad_norm = optimizer_norm(&t->opt);
    r->skipped = !isfinite(r->loss) || !isfinite(r->grad_norm);
    r->device_wait = clock_seconds() - start;
}

static status take_step(training *t, step_result *r, message *why)
{
    const token_batch *batch;
    double waited = 0;
    phase(t, "data");
    if (comm_agree(t->c, step_batch(t, &batch, &waited, why), why) != OK) return ERR_DATA;
    phase(t, "check of the ranks");
    TRY(rank_check_step(t, batch, why));
    phase(t, "forward and backward");
    forward_backward(t, batch);
    phase(t, "sums");

    double targets = (double)token_batch_counted(batch); /* of all ranks, now */
    comm_wait(t->c, comm_sum_f64(t->c, &targets, 1));
    tell(t, waited, r);
    if (!(targets > 0))
        return fail(why, ERR_DATA,
                    "step %lld: no target of its %lld windows counts (data.document_mask=true and documents "
                    "of one token?)",
                    (long long)t->state.step + 1, (long long)t->sequences);

    const double mean = 1 / targets;
    r->rate = schedule_rate(&t->rate, t->state.step + 1);
    optimizer_clip(&t->opt, mean, option_real_or(t->o->optim_clip, 0));
    if (t->o->debug_dump_gradients[0] && !t->gradients_dumped) {
        TRY(gradients_file_write(t->o->debug_dump_gradients, &t->opt, mean, t->c, why));
        t->gradients_dumped = true;
    }
    phase(t, "check of the ranks");
    TRY(rank_check_update(t, why));
    phase(t, "update");
    optimizer_update(&t->opt, r->rate, t->state.step + 1);
    read_result(t, mean, r);
    t->state.step++;
    t->state.position += t->sequences;
    t->state.tokens += t->sequences * t->acts.T;
    return OK;
}

/* Between steps one rank may write or read for as long as it takes. */
static void wait_at_most(const training *t, double seconds)
{
    comm_limit(t->c, seconds);
    if (t->parameters.c != t->c) comm_limit(t->parameters.c, seconds);
    loader_limit(t->loader, seconds, t->c->size == 1);
}

status training_step(training *t, step_result *r, message *why)
{
    const double start = clock_seconds(), waited = comm_seconds_waited(t->c);
    *r = (step_result){0};
    wait_at_most(t, option_real_or(t->o->parallel_timeout, patience_limit(&t->patience)));
    const status s = take_step(t, r, why);
    wait_at_most(t, 0);
    const double seconds = clock_seconds() - start;
    patience_step(&t->patience, seconds);
    checkpoint_writer_prepare(t->writer);
    t->own = (int64_t)(1e9 * (seconds - (comm_seconds_waited(t->c) - waited) - r->device_wait));
    return s;
}
