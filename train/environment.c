/* Asks everything that decides numbers which one it is. A key that does not apply is left out: a CPU has no
 * cuBLAS, and without several ranks there is no NCCL. */
#include "train/environment.h"
#include "base/device.h"
#include "base/json_text.h"
#include "base/machine.h"
#include "base/memory.h"
#include "kernels/versions.h"
#include "train/checkpoint.h"
#include "train/option_words.h"
#include <gnu/libc-version.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FILE_LIMIT = 1 << 20 };

#ifdef __clang__
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

extern const char program_git_id[]; /* scripts/git_id.cmake makes it */

static void add_text(json_t *to, const char *key, const char *text)
{
    if (text && text[0]) json_object_set_new(to, key, json_text_string(text));
}

/* 13040 is CUDA 13.4. */
static void add_cuda_version(json_t *to, const char *key, int version)
{
    char text[40];
    snprintf(text, sizeof text, "%d.%d", version / 1000, version % 1000 / 10);
    add_text(to, key, text);
}

/* 130401 is cuBLAS 13.4.1; 0: none. */
static void add_version(json_t *to, const char *key, int64_t version)
{
    char text[40];
    snprintf(text, sizeof text, "%lld.%lld.%lld", (long long)(version / 10000),
             (long long)(version / 100 % 100), (long long)(version % 100));
    if (version > 0) add_text(to, key, text);
}

/* The process's own, the same in all that it writes. */
static const char *started(void)
{
    static char date[40];
    if (date[0]) return date;
    const time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return date;
}

static void add_program(json_t *to)
{
    add_text(to, "remla", REMLA_VERSION);
    add_text(to, "git", program_git_id);
    add_text(to, "compiler", COMPILER);
    add_text(to, "flags", REMLA_FLAGS);
    add_text(to, "libc", gnu_get_libc_version());
}

static void add_host(json_t *to, const ops *k, const comm *c)
{
    char host[256] = "?", folder[PATH_BYTES];
    blas_versions blas;
    gethostname(host, sizeof host - 1);
    blas_versions_read(&blas);
    add_text(to, "host", host);
    add_text(to, "started", started());
    add_text(to, "folder", getcwd(folder, sizeof folder));
    add_text(to, "machine", machine_text());
    add_text(to, "device", k->device ? device_text(k->device) : "CPU");
    add_text(to, "cpu", machine_cpu());
    add_text(to, "onednn", blas.onednn);
    add_text(to, "onednn_isa", blas.onednn_isa);
    add_text(to, "openblas", blas.openblas);
    add_text(to, "openblas_cpu", blas.openblas_cpu);
    add_text(to, "mpi", comm_library());
    json_object_set_new(to, "ranks", json_integer(c->size));
    json_object_set_new(to, "threads_per_rank", json_integer(machine_threads()));
}

static void add_device(json_t *to, const ops *k)
{
    device_versions v;
    device_versions_read(k->device, &v);
    add_text(to, "gpu", v.gpu);
    add_text(to, "driver", v.driver);
    add_cuda_version(to, "driver_cuda", v.driver_cuda);
    add_cuda_version(to, "cuda", v.runtime);
    add_version(to, "cublas", gpu_cublas_version());
    add_text(to, "attention", k->attention);
    if (k->attention && !strcmp(k->attention, "cudnn")) add_version(to, "cudnn", gpu_cudnn_version());
    add_version(to, "nccl", comm_nccl_version());
}

static void add_sums(json_t *to, const options *o, int ranks)
{
    const shards_settings set = shards_settings_of(o, ranks);
    json_object_set_new(to, "micro_batch", json_integer(o->train_micro_batch));
    json_object_set_new(to, "stage", json_integer(set.stage));
    add_text(to, "sum", set.how.pairwise ? "exact" : "fast");
    add_text(to, "reduce_type", set.how.sent == BF16 ? "bf16" : "f32");
}

json_t *environment_now(const options *o, const ops *k, const comm *c)
{
    json_t *all = memory_check(json_object(), "env.json");
    add_program(all);
    add_host(all, k, c);
    if (k->device) add_device(all, k);
    add_text(all, "storage", dtype_name(k->act));
    add_sums(all, o, c->size);
    return all;
}

json_t *environment_of(const char *checkpoint, int64_t ranks)
{
    char path[PATH_BYTES];
    json_t *all = NULL;
    options then;
    message ignored; /* the manifest guards these files; what cannot be read is not known */
    if (json_text_read(&all, path_join(path, checkpoint, ENVIRONMENT_FILE), FILE_LIMIT, &ignored) != OK)
        all = memory_check(json_object(), "env.json");
    options_init(&then);
    if (options_read_yaml(&then, path_join(path, checkpoint, CHECKPOINT_OPTIONS), &ignored) == OK)
        add_sums(all, &then, 1);
    options_free(&then);
    if (ranks) json_object_set_new(all, "ranks", json_integer(ranks));
    return all;
}

status environment_write(const char *folder, json_t *environment, written_files *written, message *why)
{
    char path[PATH_BYTES];
    return json_text_write(json_incref(environment), JSON_INDENT(2),
                           path_join(path, folder, ENVIRONMENT_FILE), written, why);
}
