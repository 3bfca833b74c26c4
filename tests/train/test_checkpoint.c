/* Saving and loading with a real model: what was saved comes back, and other values are refused even when
 * every file matches its manifest. */
#include "base/file.h"
#include "model/hf/safetensors.h"
#include "optim/fingerprints.h"
#include "tests/support/scratch.h"
#include "train/checkpoint_parts.h"
#include "train/manifest.h"
#include "train/training.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

static message why;
static options o;
static training t;
static char run[PATH_BYTES], folder[PATH_BYTES];
static checkpoint_state saved;

static void good(status s)
{
    if (s != OK) fail_msg("%s", why.text);
}

static void set(const char *format, const char *value)
{
    char text[PATH_BYTES + 64];
    snprintf(text, sizeof text, format, value);
    good(options_set(&o, text, &why));
}

static const char *inside(const char *name)
{
    static char path[4][PATH_BYTES];
    static int turn;
    return path_join(path[turn++ % 4], folder, name);
}

static status save_as(const checkpoint_state *state)
{
    checkpoint_progress p;
    TRY(checkpoint_begin(t.writer, run, state, &why));
    return checkpoint_poll(t.writer, true, &p, &why);
}

/* Two steps of the golden model on the CPU, and their checkpoint. */
static int save(void **state)
{
    (void)state;
    char golden[PATH_BYTES], path[PATH_BYTES];
    const char *source = getenv("REMLA_SOURCE");
    path_join(golden, source ? source : ".", "tests/golden");
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    options_init(&o);
    set("model.path=%s", path_join(path, golden, "mla"));
    set("data.train=%s", path_join(path, golden, "train.ds"));
    set("device.kind=%s", "cpu");
    set("train.seq_len=%s", "32");
    set("train.batch_tokens=%s", "256");
    set("train.micro_batch=%s", "2");
    good(training_open(&t, &o, comm_self(), &why));
    step_result r;
    for (int i = 0; i < 2; i++) good(training_step(&t, &r, &why));
    saved = t.state;
    good(checkpoint_clean(run, &why));
    good(save_as(&t.state));
    checkpoint_folder(folder, run, 2);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    training_close(&t);
    options_free(&o);
    return 0;
}

static status load(checkpoint_state *at) { return checkpoint_load(folder, &t.m, &t.opt, at, &o, &why); }

static void test_comes_back(void **state)
{
    (void)state;
    step_result r;
    checkpoint_state at;
    good(checkpoint_verify(folder, &why));
    const uint64_t before = fingerprint_weights(&t.opt);
    good(training_step(&t, &r, &why));
    good(load(&at));
    t.state = at;
    assert_true(fingerprint_weights(&t.opt) == before);
    assert_true(at.step == 2 && at.position == 16 && at.tokens == 512);
    assert_true(at.fingerprint == saved.fingerprint && at.hashed && at.ranks == 1 && at.micro_batch == 2);
    assert_true(at.weights == before && at.masters == before); /* weights are their own masters here */
}

/* Writes the manifest of the files as they are now, as a user would who edits a checkpoint in good faith. */
static void sign(void)
{
    static const char *const names[] = {"config.json", "options.yaml", "state.json", "model.safetensors",
                                        "optim-00000.safetensors"};
    written_files list = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        uint64_t hash;
        int64_t bytes;
        good(file_hash(inside(names[i]), &hash, &bytes, &why));
        written_add(&list, names[i], bytes, hash);
    }
    good(manifest_write(folder, &list, &why));
    written_free(&list);
    good(checkpoint_verify(folder, &why));
}

static char *read_all(const char *name, int64_t *bytes)
{
    char *text;
    good(file_read_text(inside(name), 1 << 24, &text, bytes, &why));
    return text;
}

static void write_all(const char *name, const char *data, int64_t bytes)
{
    good(file_write(inside(name), data, bytes, NULL, &why));
}

static void expect_refused(const char *name, const char *sentence)
{
    checkpoint_state at;
    sign();
    const status s = load(&at);
    if (s != ERR_INPUT || !strstr(why.text, sentence))
        fail_msg("%s: %d, no \"%s\" in: %s", name, s, sentence, s == OK ? "" : why.text);
}

/* The same tensors in another order: two layers exchanged, values and shapes all plausible. */
static void exchange(const char *name, const char *first, const char *second, const char *sentence)
{
    int64_t bytes;
    char *was = read_all(name, &bytes), *now = malloc((size_t)bytes);
    assert_non_null(now);
    memcpy(now, was, (size_t)bytes);
    safetensors s;
    good(safetensors_open(&s, inside(name), &why));
    const safetensors_entry *a = safetensors_find(&s, first), *b = safetensors_find(&s, second);
    assert_true(a && b && a->bytes == b->bytes);
    memcpy(now + a->begin, was + b->begin, (size_t)a->bytes);
    memcpy(now + b->begin, was + a->begin, (size_t)a->bytes);
    safetensors_close(&s);
    assert_memory_not_equal(was, now, (size_t)bytes);
    write_all(name, now, bytes);
    expect_refused(name, sentence);
    write_all(name, was, bytes);
    free(was);
    free(now);
}

static void test_other_values(void **state)
{
    (void)state;
    exchange("model.safetensors", "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight",
             "the masters that were read have the fingerprint ");
    exchange("optim-00000.safetensors", "m.model.layers.0.mlp.up_proj.weight",
             "m.model.layers.1.mlp.up_proj.weight", "the moments that were read have the fingerprint ");
    exchange("optim-00000.safetensors", "m.model.norm.weight", "v.model.norm.weight",
             "the moments that were read have the fingerprint ");
    checkpoint_state at;
    sign();
    good(load(&at));
}

/* Checkpoints from before states had hashes, ranks and threads, and from when they had other hashes. */
static void test_without_hashes(void **state)
{
    (void)state;
    static const char *const rest[] = {
        "", ", \"weights_xxh3_64\": \"0123456789abcdef\", "
            "\"moments_xxh3_64\": \"fedcba9876543210\", \"ranks\": 2, \"threads\": 3"};
    int64_t bytes;
    char *was = read_all("state.json", &bytes), now[512];
    for (int i = 0; i < 2; i++) {
        snprintf(now, sizeof now,
                 "{\"step\": 2, \"position\": 16, \"tokens\": 512, \"data_fingerprint\": \"%016" PRIx64
                 "\"%s}",
                 saved.fingerprint, rest[i]);
        write_all("state.json", now, (int64_t)strlen(now));
        sign();
        checkpoint_state at;
        good(load(&at));
        assert_true(at.step == 2 && !at.hashed && at.ranks == 2 * i && at.threads == 3 * i);
        good(training_resume(&t, folder, &why));
    }
    write_all("state.json", was, bytes);
    free(was);
    sign();
}

/* A bit of a file that changes on the way to the disk: the next sync of a file whose path holds `flip_in`
 * inverts one in its middle. */
static const char *flip_in;

int fsync(int fd)
{
    char link[64], path[PATH_BYTES] = "", byte;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    struct stat s;
    if (flip_in && readlink(link, path, sizeof path - 1) > 0 && strstr(path, flip_in)) {
        const int file = open(path, O_RDWR);
        assert_true(file >= 0 && fstat(file, &s) == 0 && pread(file, &byte, 1, s.st_size / 2) == 1);
        byte ^= 1;
        assert_int_equal(pwrite(file, &byte, 1, s.st_size / 2), 1);
        close(file);
        flip_in = NULL;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* Nobody reads weights back that were written. A bit that has changed on the way to the disk shows when the
 * checkpoint is looked at, for its hashes are of what was in memory; in a small file, which is read, it may
 * be the save that fails. */
static void test_flipped_on_the_way(void **state)
{
    (void)state;
    static const char *const files[] = {"model.safetensors", "optim-00000", "config.json",
                                        "options.yaml",      "state.json",  "MANIFEST.json"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        flip_in = files[i];
        status s = save_as(&saved); /* reads options and state again, and may see it itself */
        assert_null(flip_in);
        if (s == OK) s = checkpoint_verify(folder, &why);
        if (s == OK || !strstr(why.text, files[i])) fail_msg("%s: %d: %s", files[i], s, why.text);
    }
    good(save_as(&saved));
    good(checkpoint_verify(folder, &why));
}

/* A file in the way of a save is reported before anything is written, and stays. */
static void test_in_the_way(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    checkpoint_state at = saved;
    at.step = 3;
    checkpoint_folder(path, run, 3);
    good(file_write(path, "mine", 4, NULL, &why));
    assert_int_equal(save_as(&at), ERR_INPUT);
    assert_non_null(strstr(why.text, "is in the way of the checkpoint of step 3"));
    assert_int_equal(file_bytes(path), 4);
    checkpoint_temporary(path, run, 3);
    assert_false(folder_exists(path));
}

/* A state that loading would refuse is not saved. */
static void test_wrong_state(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    checkpoint_state at = saved;
    at.step = 4;
    assert_int_equal(save_as(&at), ERR_INPUT);
    assert_non_null(strstr(why.text, "position is 16, but 4 steps of 8 sequences are 32"));
    checkpoint_folder(path, run, 4);
    assert_false(folder_exists(path));
    checkpoint_temporary(path, run, 4);
    assert_false(folder_exists(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),     cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_without_hashes), cmocka_unit_test(test_in_the_way),
        cmocka_unit_test(test_wrong_state),    cmocka_unit_test(test_flipped_on_the_way),
    };
    return cmocka_run_group_tests(tests, save, stop);
}
