/* Loads checkpoints whose states were cut by any number of ranks, with the ranks that run the test, in every
 * stage. What must come back is what the optimizer had before. */
#ifndef REMLA_TESTS_LOAD_TRIAL_H
#define REMLA_TESTS_LOAD_TRIAL_H
#include "base/machine.h"
#include "base/memory.h"
#include "model/hf/model_files.h"
#include "optim/fingerprints.h"
#include "tests/support/scratch.h"
#include "tests/train/golden_run.h"
#include "train/checkpoint_parts.h"
#include "train/checkpoint_report.h"
#include "train/manifest.h"
#include "train/state_files.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char *kind = "cpu"; /* device.kind */
static const comm *world;
static char run[PATH_BYTES], folder[PATH_BYTES]; /* of the checkpoint that was saved last */
static checkpoint_state saved;

enum { PARTS = 3 };
static const optim_part parts[PARTS] = {OPTIM_M, OPTIM_V, OPTIM_MASTER};

/* ---- values -------------------------------------------------------------------------------------------- */

/* All values, gathered: (PARTS) of the units one after another, with padding. */
static float *all_values(void)
{
    const int num_units = t.parameters.table->num_units;
    int64_t all = 0, at = 0;
    for (int u = 0; u < num_units; u++) all += PARTS * shards_padded(&t.parameters, u);
    float *values = memory_new(all, sizeof *values, "the values of a run");
    for (int i = 0; i < PARTS; i++)
        for (int u = 0; u < num_units; at += shards_padded(&t.parameters, u++))
            optimizer_gather(&t.opt, parts[i], u, values + at);
    return values;
}

/* Where the values of a unit begin. */
static int64_t place(int part, int unit)
{
    int64_t at = 0, all = 0;
    for (int u = 0; u < t.parameters.table->num_units; u++) {
        if (u < unit) at += shards_padded(&t.parameters, u);
        all += shards_padded(&t.parameters, u);
    }
    return part * all + at;
}

static void expect_values(const float *want, const char *what)
{
    float *got = all_values();
    for (int64_t i = 0; i < place(PARTS, 0); i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s, stage %lld, rank %d: value %lld is %.9g, was %.9g", what,
                     (long long)o.parallel_zero, world->rank, (long long)i, (double)got[i], (double)want[i]);
    free(got);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static bool is_file(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static void remove_files(const char *prefix)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_BYTES];
        if (is_file(entry->d_name, prefix)) good(folder_remove(path_join(path, folder, entry->d_name), &why));
    }
    closedir(dir);
}

/* Writes the manifest of the files as they are now, as a user would who edits a checkpoint in good faith. */
static void sign(void)
{
    written_files list = {0};
    remove_files("MANIFEST.json");
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_BYTES];
        uint64_t hash;
        int64_t bytes;
        if (entry->d_name[0] == '.') continue;
        good(file_hash(path_join(path, folder, entry->d_name), &hash, &bytes, &why));
        written_add(&list, entry->d_name, bytes, hash);
    }
    closedir(dir);
    good(manifest_write(folder, &list, &why));
    written_free(&list);
    good(checkpoint_verify(folder, &why));
}

/* What is wrong with the files. */
typedef enum fault { NO_FAULT, DROPPED, EXCHANGED } fault;

/* The file of rank `rank` of `ranks`. Dropped: its last tensor is not there. Exchanged: the first two pieces
 * of one size have each other's values, as if ranks had been mixed up. */
static void write_states(const float *values, int rank, int ranks, bool masters, fault f)
{
    char path[PATH_BYTES], name[STATE_FILE_NAME];
    int count, from = -1, to = -1;
    uint64_t hash;
    int64_t bytes;
    safetensors_writer w;
    state_tensor *list = state_tensors(t.parameters.table, rank, ranks, masters, &count);
    safetensors_spec *spec = memory_new(count, sizeof *spec, "names");
    for (int i = 0; i < count; i++) spec[i] = state_tensor_spec(&list[i]);
    for (int i = 0; i < count && f == EXCHANGED; i++)
        for (int j = i + 1; j < count && from < 0; j++)
            if (list[i].part == list[j].part && list[i].count == list[j].count) from = i, to = j;
    if (f == DROPPED && rank == ranks - 1) count--;
    good(safetensors_create(&w, path_join(path, folder, state_file_name(name, rank)), spec, count, &why));
    for (int i = 0; i < count; i++) {
        const state_tensor *x = &list[i == from ? to : i == to ? from : i];
        const int64_t at = place(x->part == OPTIM_MASTER ? 2 : x->part == OPTIM_V, x->of->unit);
        good(safetensors_append(&w, values + at + x->of->offset + x->from, x->count, &why));
    }
    good(safetensors_finish(&w, &hash, &bytes, &why));
    free(spec);
    free(list);
}

static void write_model(const float *values, dtype type)
{
    model_writer w;
    const param_table *const table = t.parameters.table;
    remove_files("model");
    good(model_writer_open(&w, folder, table, ops_cpu_f32(), type, INT64_C(1) << 14,
                           &why)); /* several files */
    for (int u = 0; u < table->num_units; u++) {
        const tensor flat = tensor_of((float *)values + place(2, u), F32, "unit", 1, &table->unit_numel[u]);
        good(model_writer_unit(&w, u, &flat, &why));
    }
    good(model_writer_finish(&w, &why));
}

/* Replaces the files of the checkpoint by those that `ranks` ranks would write. On rank 0; the others wait.
 */
static void rewrite(const float *values, int ranks, dtype model_type, bool masters, fault f)
{
    if (world->rank == 0) {
        remove_files("optim-");
        write_model(values, model_type);
        for (int r = 0; r < ranks; r++) write_states(values, r, ranks, masters, f);
        sign();
    }
    good(comm_agree(world, OK, &why));
}

/* ---- the trial ----------------------------------------------------------------------------------------- */

static void open_run(int stage)
{
    golden_options("mla");
    set("device.kind=%s", kind);
    set("optim.offload=%s", stage == 1 ? "true" : "false"); /* of a device: states stay on the host */
    set("train.batch_tokens=128");
    set("train.micro_batch=1");
    set("parallel.zero=%d", stage);
    good(training_open(&t, &o, world, &why));
}

static void save(void)
{
    checkpoint_progress p;
    saved = t.state;
    good(checkpoint_begin(t.writer, run, &t.state, &why));
    good(checkpoint_poll(t.writer, true, &p, &why));
    checkpoint_folder(folder, run, t.state.step);
}

/* Two steps and their checkpoint. */
static void save_run(void)
{
    step_result r;
    golden_new_run(run, world);
    for (int i = 0; i < 2; i++) good(training_step(&t, &r, &why));
    save();
}

/* Every value has to come from the files. */
static void spoil(void)
{
    for (int u = 0; u < t.parameters.table->num_units; u++) {
        const int64_t count = shards_part(&t.parameters, u);
        float *own = memory_new(count, sizeof *own, "a part of a unit");
        for (int64_t i = 0; i < count; i++) own[i] = (float)(i % 7 + 1);
        for (int i = 0; i < PARTS; i++) optimizer_set(&t.opt, parts[i], u, own);
        free(own);
    }
    optimizer_masters_set(&t.opt);
}

static status load(void)
{
    checkpoint_state at;
    spoil();
    const status s = checkpoint_load(folder, &t.m, &t.opt, &at, &o, &why);
    if (s == OK) t.state = at;
    return s;
}

static void expect_loaded(const float *want, const char *what)
{
    if (load() != OK) fail_msg("%s: %s", what, why.text);
    expect_values(want, what);
    assert_int_equal(t.state.step, 2);
}

static void expect_refused(const char *sentence)
{
    const status s = load();
    if (s != ERR_INPUT || !strstr(why.text, sentence))
        fail_msg("rank %d: %d, no \"%s\" in: %s", world->rank, s, sentence, s == OK ? "" : why.text);
    t.state = saved;
}

/* What `remla inspect` says of it; "": it is whole. */
static void expect_report(const char *sentence)
{
    checkpoint_report r;
    if (world->rank != 0) return;
    checkpoint_report_read(&r, folder, REPORT_VALUES);
    if (sentence[0] ? !strstr(r.damage.text, sentence) : r.damage.text[0])
        fail_msg("no \"%s\" in: %s", sentence, r.damage.text);
    checkpoint_report_free(&r);
}

static void test_stages(void **state)
{
    (void)state;
    for (int stage = 0; stage < 4; stage++) {
        open_run(stage);
        save_run();
        float *values = all_values();
        const uint64_t fingerprint = fingerprint_weights(&t.opt);
        expect_loaded(values, "as it was saved");
        static const int writers[] = {1, 2, 3, 4, 16};
        for (int i = 0; i < 5; i++) {
            char what[40];
            snprintf(what, sizeof what, "from %d ranks", writers[i]);
            rewrite(values, writers[i], i % 2 ? BF16 : F32, i % 2, NO_FAULT);
            expect_report("");
            expect_loaded(values, what);
            assert_true(fingerprint_weights(&t.opt) == fingerprint);
        }
        free(values);
        golden_close();
    }
}

/* Every file matches its manifest here. */
static void test_refused(void **state)
{
    (void)state;
    for (int stage = 0; stage < 4; stage += 3) {
        open_run(stage);
        save_run();
        float *values = all_values();
        rewrite(values, 4, F32, false, DROPPED);
        expect_report("is in none of its optim-*.safetensors");
        expect_refused("is in none of its optim-*.safetensors");
        rewrite(values, 4, F32, false, EXCHANGED);
        expect_report("the moments that were read have the fingerprint ");
        expect_refused("the moments that were read have the fingerprint ");
        rewrite(values, 4, BF16, true, EXCHANGED);
        expect_report("the moments that were read have the fingerprint ");
        rewrite(values, 1, BF16, false, NO_FAULT);
        expect_report("the masters that were read have the fingerprint ");
        expect_refused("has no master weights: its optim-*.safetensors hold none, and tensor '");
        rewrite(values, 3, F32, false, NO_FAULT);
        expect_loaded(values, "after what was refused");
        free(values);
        golden_close();
    }
}

/* A reader that leaves out a moment, or puts this rank's part of a unit elsewhere, is found by what lies in
 * memory. */
static void test_wrong_reader(void **state)
{
    (void)state;
    open_run(world->size > 1 ? 2 : 0);
    save_run();
    checkpoint_state at;
    good(checkpoint_load(folder, &t.m, &t.opt, &at, &o, &why));
    good(checkpoint_same_values(folder, &t.opt, &at, &why));
    float *values = all_values();
    for (int part = 0; part < PARTS; part++)
        for (int u = 0; u < t.parameters.table->num_units; u++) {
            float *const own = values + place(part, u) + shards_before(&t.parameters, u);
            int wrong = u % world->size; /* one rank alone; one that has more than padding */
            while (wrong * shards_part(&t.parameters, u) >= t.parameters.table->unit_numel[u]) wrong--;
            float *const nothing = memory_new(shards_part(&t.parameters, u), sizeof *nothing, "zeros");
            const bool mine = world->rank == wrong;
            if (mine) optimizer_set(&t.opt, parts[part], u, nothing);
            if (checkpoint_same_values(folder, &t.opt, &at, &why) != ERR_INPUT)
                fail_msg("part %d of unit %d is zero on rank %d, and nobody sees it", part, u, wrong);
            if (mine) optimizer_set(&t.opt, parts[part], u, own);
            free(nothing);
        }
    good(checkpoint_same_values(folder, &t.opt, &at, &why));
    free(values);
    golden_close();
}

/* The last byte of the largest file of a step's checkpoint. */
static void damage(int64_t step)
{
    char path[PATH_BYTES], largest[PATH_BYTES] = "", byte;
    checkpoint_folder(folder, run, step);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        path_join(path, folder, entry->d_name);
        if (is_file(entry->d_name, "optim-") && file_bytes(path) >= file_bytes(largest))
            snprintf(largest, sizeof largest, "%s", path);
    }
    closedir(dir);
    const int fd = open(largest, O_RDWR);
    const int64_t at = file_bytes(largest) - 1;
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void expect_newest(int64_t step, const char *sentence)
{
    char got[PATH_BYTES], want[PATH_BYTES];
    good(comm_agree(world, OK, &why)); /* the files are as they will be */
    const status s = checkpoint_newest(run, world, got, &why);
    checkpoint_folder(want, run, step);
    if (sentence ? s != ERR_INPUT || !strstr(why.text, sentence) : s != OK || strcmp(got, want) != 0)
        fail_msg("rank %d: %d, %s", world->rank, s, s == OK ? got : why.text);
}

/* All ranks pass over what one of them finds damaged. */
static void test_newest(void **state)
{
    (void)state;
    open_run(0);
    golden_new_run(run, world);
    step_result r;
    char none[PATH_BYTES];
    good(checkpoint_newest(run, world, none, &why));
    assert_string_equal(none, "");
    for (int i = 0; i < 3; i++) {
        good(training_step(&t, &r, &why));
        save();
    }
    expect_newest(3, NULL);
    for (int64_t step = 3; step > 0; step--) {
        if (world->rank == 0) damage(step);
        expect_newest(step - 1, step > 1 ? NULL : "none of its 3 checkpoints is whole; the oldest: ");
    }
    golden_close();
}

static int load_trial(int ranks)
{
    world = comm_start();
    if (world->size != ranks) return 77;
    REQUIRE(machine_start(world->local_rank, world->local_size, &why) == OK, "%s", why.text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_wrong_reader),
        cmocka_unit_test(test_newest),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}

#endif
