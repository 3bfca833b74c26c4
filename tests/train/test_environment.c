/* Which differences of two environments can change numbers: each row says what has changed, and what a run
 * that goes on must name. */
#include "train/environment.h"
#include "base/machine.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char cpu[] =
    "{'remla': '0.1', 'git': 'a1', 'compiler': '12.2.0', 'flags': '-O3', 'libc': '2.36', 'host': 'h', "
    "'started': 'then', 'folder': '/x', 'machine': 'm', 'device': 'CPU', 'cpu': 'Zen', "
    "'onednn': '2.6.3', 'onednn_isa': 'avx512_core', 'openblas': '0.3.21', 'openblas_cpu': 'Zen', "
    "'mpi': 'Open MPI', 'ranks': 2, 'threads_per_rank': 4, 'storage': 'f32', 'micro_batch': 2, "
    "'stage': 1, 'sum': 'fast', 'reduce_type': 'f32'}";
static const char gpu[] =
    "{'remla': '0.1', 'compiler': '12.2.0', 'flags': '-O3', 'libc': '2.36', 'device': 'H100, 79 GiB', "
    "'cpu': 'Zen', 'onednn': '2.6.3', 'onednn_isa': 'avx2', 'gpu': 'H100, sm_90', 'driver': '580', "
    "'cuda': '13.0', 'cublas': '13.0.0', 'attention': 'cudnn', 'cudnn': '9.19.0', 'nccl': '2.28.9', "
    "'storage': 'bf16', 'ranks': 2, 'micro_batch': 2, 'stage': 1, 'sum': 'fast', 'reduce_type': 'f32'}";

/* JSON with ' for ". */
static json_t *parse(const char *text)
{
    char *json = strdup(text);
    for (char *p = json; *p; p++)
        if (*p == '\'') *p = '"';
    json_t *value = json_loads(json, 0, NULL);
    assert_non_null(value);
    free(json);
    return value;
}

/* "NAME, NAME", what environment_compare names. */
static const char *names(const json_t *then, const json_t *now, bool *sums)
{
    static char text[512];
    size_t used = 0;
    json_t *changes = environment_compare(then, now, sums);
    text[0] = 0;
    for (size_t i = 0; i < json_array_size(changes); i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "",
                                 json_string_value(json_object_get(json_array_get(changes, i), "name")));
    json_decref(changes);
    return text;
}

/* From `base` with `before` to `base` with `after`. */
static void expect(const char *base, const char *before, const char *after, const char *want, bool want_sums)
{
    json_t *then = parse(base), *now = parse(base);
    json_object_update_new(then, parse(before));
    json_object_update_new(now, parse(after));
    bool sums;
    assert_string_equal(names(then, now, &sums), want);
    if (want[0]) assert_int_equal(sums, want_sums);
    json_decref(then);
    json_decref(now);
}

static void test_cpu(void **state)
{
    (void)state;
    expect(cpu, "{}", "{}", "", true);
    expect(cpu, "{}",
           "{'threads_per_rank': 1, 'host': 'g', 'started': 'now', 'folder': '/y', 'machine': 'n', "
           "'openblas': '0.3.30', "
           "'openblas_cpu': 'Haswell', 'mpi': 'MPICH'}",
           "", true);
    expect(cpu, "{}", "{'remla': '0.2', 'git': 'b2'}", "remla, sources of remla", false);
    expect(cpu, "{}", "{'compiler': '13', 'flags': '-O2', 'libc': '2.41'}", "compiler, compiler flags, libc",
           false);
    expect(cpu, "{}", "{'cpu': 'Xeon', 'onednn': '3.5.0', 'onednn_isa': 'avx2'}",
           "CPU, oneDNN, oneDNN's instructions", false);
    expect(cpu, "{}", "{'onednn_isa': 'avx512_core_bf16'}", "", true);
    expect(cpu, "{'onednn_isa': 'avx512_core_amx'}", "{}", "oneDNN's instructions", false);
    /* What one of them does not say is not compared. */
    expect("{'ranks': 1}", "{'git': 'a'}", "{'cpu': 'Xeon'}", "", true);
}

static void test_gpu(void **state)
{
    (void)state;
    expect(gpu, "{}", "{'cpu': 'Xeon', 'onednn': '3', 'onednn_isa': 'sse41'}", "", true);
    expect(gpu, "{}",
           "{'gpu': 'A100, sm_80', 'driver': '590', 'cuda': '13.1', 'cublas': '13.1.0', 'cudnn': '9.20.0', "
           "'nccl': '2.29.0'}",
           "GPU, driver, CUDA, cuBLAS, cuDNN, NCCL", false);
    expect(gpu, "{}", "{'storage': 'f32', 'attention': 'flash'}", "device.storage, attention", false);
    json_t *then = parse(cpu), *now = parse(gpu);
    bool sums;
    assert_string_equal(names(then, now, &sums), "device");
    assert_string_equal(names(now, then, &sums), "device");
    json_decref(then);
    json_decref(now);
}

static void test_sums(void **state)
{
    (void)state;
    expect(cpu, "{}", "{'ranks': 1}", "ranks", true);
    expect(cpu, "{}", "{'ranks': 4, 'micro_batch': 1}", "ranks, train.micro_batch", true);
    expect(cpu, "{}", "{'stage': 0}", "", true);
    expect(cpu, "{}", "{'stage': 2}", "parallel.zero", true);
    expect(cpu, "{'stage': 3}", "{'stage': 2}", "", true);
    expect(cpu, "{}", "{'sum': 'exact'}", "parallel.sum", true);
    expect(cpu, "{'sum': 'exact'}", "{'sum': 'exact', 'ranks': 8, 'stage': 3}", "", true);
    expect(cpu, "{'sum': 'exact'}", "{'sum': 'exact', 'micro_batch': 1}", "train.micro_batch", true);
    expect(cpu, "{}", "{'reduce_type': 'bf16'}", "parallel.reduce_type", false);
    expect(cpu, "{}", "{'libc': '2.41', 'ranks': 1}", "libc, ranks", false);
}

/* What is written is read back, and this program is like itself. */
static void test_written(void **state)
{
    (void)state;
    message why;
    options o;
    bool sums;
    char folder[PATH_BYTES], path[PATH_BYTES];
    assert_int_equal(machine_start(0, 1, &why), OK);
    options_init(&o);
    snprintf(folder, sizeof folder, "%s", scratch_path("checkpoint"));
    assert_int_equal(folder_make(folder, &why), OK);
    json_t *now = environment_now(&o, ops_cpu_f32(), comm_self());
    assert_int_equal(environment_write(folder, now, NULL, &why), OK);
    assert_int_equal(options_write(&o, path_join(path, folder, "options.yaml"), &why), OK);
    json_t *then = environment_of(folder, 1);
    assert_string_equal(names(then, now, &sums), "");
    static const char *const keys[] = {"remla", "compiler",         "flags",      "libc",
                                       "cpu",   "onednn",           "onednn_isa", "openblas",
                                       "ranks", "threads_per_rank", "storage",    "sum"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(then, keys[i])) fail_msg("env.json has no %s", keys[i]);
    json_decref(then);
    json_decref(now);

    /* A checkpoint from before there was env.json: the order of sums is known all the same. */
    assert_int_equal(remove(path_join(path, folder, ENVIRONMENT_FILE)), 0);
    o.train_micro_batch++;
    o.parallel_reduce_type = OPTION_parallel_reduce_type_bf16;
    then = environment_of(folder, 3);
    now = environment_now(&o, ops_cpu_f32(), comm_self());
    assert_string_equal(names(then, now, &sums), "parallel.reduce_type, ranks, train.micro_batch");
    json_decref(then);
    then = environment_of(folder, 0);
    assert_string_equal(names(then, now, &sums), "parallel.reduce_type, train.micro_batch");
    json_decref(then);
    json_decref(now);
    options_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpu), cmocka_unit_test(test_gpu),
                                       cmocka_unit_test(test_sums), cmocka_unit_test(test_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
