/* Saves checkpoints with the ranks that run the test, in every stage and with both types of model files,
 * while training goes on. What is in the files must be what the optimizer had when the checkpoint was begun.
 * Then disks that fail on one rank. */
#ifndef REMLA_TESTS_SAVE_TRIAL_H
#define REMLA_TESTS_SAVE_TRIAL_H
#include "base/machine.h"
#include "base/memory.h"
#include "base/memory_available.h"
#include "model/hf/halves.h"
#include "model/hf/safetensors.h"
#include "optim/fingerprints.h"
#include "tests/support/scratch.h"
#include "tests/train/golden_run.h"
#include "train/checkpoint_parts.h"
#include "train/state_files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

static const char *kind = "cpu"; /* device.kind */
static const comm *world;
static char run[PATH_BYTES];

/* ---- a disk and a memory that do as they are told ------------------------------------------------------ */

static bool little_memory; /* less than a copy takes */

int64_t memory_available_bytes(void) { return little_memory ? 80000 : INT64_C(1) << 34; }

static int reserve_error;     /* of this rank's next reservation; 0: it succeeds */
static const char *sync_name; /* syncs of files whose path holds it fail */
static int syncs_failed;

int fallocate(int fd, int mode, off_t from, off_t bytes)
{
    if (reserve_error) {
        errno = reserve_error;
        reserve_error = 0;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, from, bytes);
}

int fsync(int fd)
{
    char link[64], path[PATH_BYTES] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (sync_name && readlink(link, path, sizeof path - 1) > 0 && strstr(path, sync_name)) {
        syncs_failed++;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

static void open_run(int stage, const char *storage)
{
    golden_options("mla");
    set("device.kind=%s", kind);
    set("optim.offload=%s", stage == 1 ? "true" : "false"); /* of a device: states stay on the host */
    set("train.batch_tokens=256");
    set("train.micro_batch=2");
    set("parallel.zero=%d", stage);
    set("checkpoint.weights=%s", storage);
    good(training_open(&t, &o, world, &why));
    golden_new_run(run, world);
}

static void step(void)
{
    step_result r;
    good(training_step(&t, &r, &why));
}

/* ---- what is in the files ------------------------------------------------------------------------------ */

/* A part of the model, gathered: units one after another, without padding. */
static float *values_of(optim_part part)
{
    const param_table *const table = t.parameters.table;
    float *values = memory_new(param_table_numel(table), sizeof *values, "values"),
          *unit =
              memory_new(shards_padded(&t.parameters, shards_largest(&t.parameters)), sizeof *unit, "unit");
    for (int u = 0; u < table->num_units; u++) {
        optimizer_gather(&t.opt, part, u, unit);
        memcpy(values + param_table_before(table, u), unit, sizeof *unit * (size_t)table->unit_numel[u]);
    }
    free(unit);
    return values;
}

/* Reads the pieces of a part from all state files. Each element must be there once. */
static float *stored_states(const char *folder, optim_part part)
{
    const param_table *const table = t.parameters.table;
    float *values = memory_new(param_table_numel(table), sizeof *values, "values");
    int64_t elements = 0;
    for (int rank = 0; rank < world->size; rank++) {
        char path[PATH_BYTES], name[STATE_FILE_NAME];
        safetensors s;
        good(safetensors_open(&s, path_join(path, folder, state_file_name(name, rank)), &why));
        for (int i = 0; i < s.count; i++) {
            const char *prefix = state_prefix(part), *of = s.entry[i].name + strlen(prefix);
            if (strncmp(s.entry[i].name, prefix, strlen(prefix)) != 0) continue;
            char plain[PATH_BYTES];
            snprintf(plain, sizeof plain, "%s", of);
            char *bracket = strchr(plain, '[');
            const int64_t from = bracket ? strtoll(bracket + 1, NULL, 10) : 0;
            if (bracket) *bracket = 0;
            const param *p = param_find(table, plain);
            assert_non_null(p);
            const int64_t count = s.entry[i].bytes / (int64_t)sizeof(float);
            assert_true(s.entry[i].type == F32 && from + count <= p->numel);
            assert_true(bracket ? count < p->numel : safetensors_has_shape(&s.entry[i], p->rank, p->dim));
            good(safetensors_read(&s, &s.entry[i], 0, count,
                                  values + param_table_before(table, p->unit) + p->offset + from, &why));
            elements += count;
        }
        safetensors_close(&s);
    }
    assert_int_equal(elements, param_table_numel(table));
    return values;
}

static float *stored_weights(const char *folder, dtype type)
{
    const param_table *const table = t.parameters.table;
    float *values = memory_new(param_table_numel(table), sizeof *values, "values");
    safetensors s;
    good(safetensors_open(&s, folder, &why));
    assert_true(s.num_files >= world->size && s.count == table->count);
    for (int i = 0; i < table->count; i++) {
        const param *p = &table->param[i];
        const safetensors_entry *e = safetensors_find(&s, p->name);
        assert_true(e && e->type == type && safetensors_has_shape(e, p->rank, p->dim));
        good(safetensors_read(&s, e, 0, p->numel, values + param_table_before(table, p->unit) + p->offset,
                              &why));
    }
    safetensors_close(&s);
    return values;
}

static void same(const float *got, const float *want, const char *what)
{
    for (int64_t i = 0; i < param_table_numel(t.parameters.table); i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s, stage %lld, rank %d: element %lld is %.9g, was %.9g", what,
                     (long long)o.parallel_zero, world->rank, (long long)i, (double)got[i], (double)want[i]);
}

/* Bytes of the files with tensors. */
static int64_t tensor_bytes(const char *folder)
{
    int64_t sum = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_BYTES];
        const char *end = strstr(entry->d_name, ".safetensors");
        if (end && !end[strlen(".safetensors")]) sum += file_bytes(path_join(path, folder, entry->d_name));
    }
    closedir(dir);
    return sum;
}

/* ---- saving while training goes on --------------------------------------------------------------------- */

/* Takes a step more while the checkpoint is written, so that what is not copied shows. */
static void check_save(dtype type)
{
    static const char *const names[] = {"m", "v", "masters"};
    static const optim_part parts[] = {OPTIM_M, OPTIM_V, OPTIM_MASTER};
    float *was[3];
    char folder[PATH_BYTES];
    checkpoint_progress p;
    for (int i = 0; i < 3; i++) was[i] = values_of(parts[i]);
    const uint64_t passes = fingerprint_weights(&t.opt), masters = fingerprint_states(&t.opt, OPTIM_MASTER),
                   moments = fingerprint_states(&t.opt, OPTIM_M) + fingerprint_states(&t.opt, OPTIM_V);
    checkpoint_folder(folder, run, t.state.step);
    good(checkpoint_begin(t.writer, run, &t.state, &why));
    assert_false(world->rank == 0 && folder_exists(folder));
    step();
    do good(checkpoint_poll(t.writer, false, &p, &why));
    while (p.running);
    assert_int_equal(p.step, t.state.step - 1);
    assert_true(p.weights == passes && p.seconds > 0);
    good(checkpoint_verify(folder, &why));
    assert_int_equal(tensor_bytes(folder), checkpoint_bytes(t.parameters.table, world->size, type));
    checkpoint_state state;
    good(checkpoint_state_read(folder, &o, &state, &why));
    assert_true(state.step == p.step && state.ranks == world->size && state.hashed);
    assert_true(state.weights == passes && state.masters == masters && state.moments == moments);
    for (int i = 0; i < 2 + (type != F32); i++) {
        float *is = stored_states(folder, parts[i]);
        same(is, was[i], names[i]);
        free(is);
    }
    if (type != F32) assert_true(halves_round(was[2], param_table_numel(t.parameters.table), type) < 0);
    float *is = stored_weights(folder, type);
    same(is, was[2], "weights");
    free(is);
    for (int i = 0; i < 3; i++) free(was[i]);
}

static void check_stage(int stage, dtype type)
{
    open_run(stage, type == F32 ? "f32" : "bf16");
    step();
    check_save(type);
    step();
    check_save(type); /* in the memory of the first */
    golden_close();
}

static void test_stages(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) check_stage(i % 4, i < 4 ? F32 : BF16);
}

/* Copies go through a few chunks. */
static void test_little_memory(void **state)
{
    (void)state;
    little_memory = true;
    check_stage(0, F32);
    check_stage(3, BF16);
    little_memory = false;
}

/* ---- disks that fail ----------------------------------------------------------------------------------- */

/* The checkpoint of the current step cannot be written. Nothing is left of it, and that of `good_step` is as
 * it was. */
static void check_refused(bool at_once, const char *sentence, int64_t good_step)
{
    char folder[PATH_BYTES];
    checkpoint_progress p = {.running = true};
    status s = checkpoint_begin(t.writer, run, &t.state, &why);
    assert_true(at_once == (s != OK));
    while (s == OK && p.running) s = checkpoint_poll(t.writer, false, &p, &why);
    if (s != ERR_INPUT || (!at_once && p.running) || !strstr(why.text, sentence))
        fail_msg("rank %d: %d, no \"%s\" in: %s", world->rank, s, sentence, s == OK ? "" : why.text);
    good(comm_agree(world, OK, &why)); /* rank 0 has removed it */
    checkpoint_temporary(folder, run, t.state.step);
    assert_false(folder_exists(folder));
    checkpoint_folder(folder, run, t.state.step);
    assert_false(folder_exists(folder));
    checkpoint_folder(folder, run, good_step);
    good(checkpoint_verify(folder, &why));
    good(comm_agree(world, OK, &why)); /* all have looked */
}

static void save(void)
{
    checkpoint_progress p;
    good(checkpoint_begin(t.writer, run, &t.state, &why));
    good(checkpoint_poll(t.writer, true, &p, &why));
    assert_int_equal(p.step, t.state.step);
}

/* The last rank's disk is full before anything is copied, or over quota. */
static void test_no_room(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EDQUOT};
    open_run(0, "auto");
    save();
    step();
    for (int i = 0; i < 2; i++) {
        if (world->rank == world->size - 1) reserve_error = errors[i];
        check_refused(true, strerror(errors[i]), 0);
    }
    save();
    golden_close();
}

/* A file system that cannot reserve is no failure. */
static void test_cannot_reserve(void **state)
{
    (void)state;
    open_run(0, "auto");
    reserve_error = EOPNOTSUPP;
    save();
    golden_close();
}

/* A sync that fails is final: the file is not synced again. In turn a file of the last rank, of which the
 * other ranks hear, and one that rank 0 writes when all have written. */
static void test_no_sync(void **state)
{
    (void)state;
    char last[STATE_FILE_NAME];
    const char *const names[] = {state_file_name(last, world->size - 1), "config.json", "state.json",
                                 "MANIFEST.json"};
    open_run(0, "auto");
    save();
    step();
    for (int i = 0; i < 4; i++) {
        syncs_failed = 0;
        sync_name = names[i];
        check_refused(false, strerror(EIO), 0);
        int64_t failed = syncs_failed;
        comm_max_i64(world, &failed, 1);
        assert_int_equal(failed, 1);
        sync_name = NULL;
    }
    save();
    golden_close();
}

static int save_trial(int ranks)
{
    world = comm_start();
    if (world->size != ranks) return 77;
    REQUIRE(machine_start(world->local_rank, world->local_size, &why) == OK, "%s", why.text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),  cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_no_room), cmocka_unit_test(test_cannot_reserve),
        cmocka_unit_test(test_no_sync),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}

#endif
