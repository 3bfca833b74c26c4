/* Which differences between two environments can change numbers. Threads of a CPU cannot: no sum of the
 * program depends on their number. Nor can what training does not compute with: OpenBLAS, MPI, the host. */
#include "base/memory.h"
#include "train/environment.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Whose numbers it can change. */
typedef enum reach { OF_BOTH, OF_CPU, OF_GPU } reach;

static const struct fact {
    const char *key, *name; /* the name: in sentences */
    reach reach;
} facts[] = {
    {"remla", "remla", OF_BOTH},
    {"git", "sources of remla", OF_BOTH},
    {"compiler", "compiler", OF_BOTH},
    {"flags", "compiler flags", OF_BOTH},
    {"libc", "libc", OF_BOTH}, /* exponentials, sines */
    {"cpu", "CPU", OF_CPU},
    {"onednn", "oneDNN", OF_CPU},
    {"onednn_isa", "oneDNN's instructions", OF_CPU},
    {"gpu", "GPU", OF_GPU},
    {"driver", "driver", OF_GPU},
    {"cuda", "CUDA", OF_GPU},
    {"cublas", "cuBLAS", OF_GPU},
    {"cudnn", "cuDNN", OF_GPU},
    {"nccl", "NCCL", OF_GPU},
    {"storage", "device.storage", OF_GPU},
    {"attention", "attention", OF_GPU},
};

static void add(json_t *to, const char *name, json_t *then, json_t *now)
{
    json_array_append_new(
        to, memory_check(json_pack("{s:s, s:O, s:O}", "name", name, "then", then, "now", now), "changes"));
}

/* True when oneDNN computes the same: its single-precision products are the same with each of the names that
 * begin with avx512_core, but for AMX. */
static bool same_products(const char *a, const char *b)
{
    static const char core[] = "avx512_core";
    const size_t n = sizeof core - 1;
    return strncmp(a, core, n) == 0 && strncmp(b, core, n) == 0 && strcmp(a + n, "_amx") != 0 &&
           strcmp(b + n, "_amx") != 0;
}

static bool same(const char *key, const json_t *then, const json_t *now)
{
    if (json_equal(then, now)) return true;
    return strcmp(key, "onednn_isa") == 0 && json_is_string(then) && json_is_string(now) &&
           same_products(json_string_value(then), json_string_value(now));
}

static void compare_facts(json_t *to, const json_t *then, const json_t *now)
{
    const bool gpu = json_object_get(now, "gpu");
    for (const struct fact *f = facts; f < facts + sizeof facts / sizeof facts[0]; f++) {
        json_t *a = json_object_get(then, f->key), *b = json_object_get(now, f->key);
        if (a && b && (f->reach == OF_BOTH || (f->reach == OF_GPU) == gpu) && !same(f->key, a, b))
            add(to, f->name, a, b);
    }
}

/* From a CPU to a GPU or back everything else is another matter, too. */
static bool compare_devices(json_t *to, const json_t *then, const json_t *now)
{
    json_t *a = json_object_get(then, "gpu"), *b = json_object_get(now, "gpu"),
           *was = json_object_get(then, "device"), *is_now = json_object_get(now, "device");
    const bool other = was && is_now && !a != !b;
    if (other) add(to, "device", a ? a : was, b ? b : is_now);
    return other;
}

static bool is(const json_t *environment, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(environment, key));
    return value && strcmp(value, text) == 0;
}

/* A sum's rounding depends on its parts: one that is cut otherwise than before gives other bits. Pairwise
 * sums are cut by micro-batches alone; the others by ranks, and by the micro-batches of a rank from stage 2
 * on. */
static void compare_sums(json_t *to, const json_t *then, const json_t *now)
{
    static const struct {
        const char *key, *name;
    } parts[] = {{"sum", "parallel.sum"},
                 {"ranks", "ranks"},
                 {"micro_batch", "train.micro_batch"},
                 {"stage", "parallel.zero"}};
    const bool pairwise = is(then, "sum", "exact") && is(now, "sum", "exact");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        json_t *a = json_object_get(then, parts[i].key), *b = json_object_get(now, parts[i].key);
        const bool stage = strcmp(parts[i].key, "stage") == 0,
                   cut = !pairwise || (strcmp(parts[i].key, "ranks") != 0 && !stage),
                   matters = !stage || (json_integer_value(a) >= 2) != (json_integer_value(b) >= 2);
        if (a && b && cut && matters && !json_equal(a, b)) add(to, parts[i].name, a, b);
    }
}

json_t *environment_compare(const json_t *then, const json_t *now, bool *sums)
{
    json_t *changes = memory_check(json_array(), "changes"), *a = json_object_get(then, "reduce_type"),
           *b = json_object_get(now, "reduce_type");
    if (!compare_devices(changes, then, now)) compare_facts(changes, then, now);
    if (a && b && !json_equal(a, b)) add(changes, "parallel.reduce_type", a, b);
    *sums = json_array_size(changes) == 0;
    compare_sums(changes, then, now);
    return changes;
}

/* A number or a text, as a text prints it. */
static void print_value(FILE *out, const json_t *value)
{
    if (json_is_string(value))
        fputs(json_string_value(value), out);
    else
        fprintf(out, "%lld", (long long)json_integer_value(value));
}

char *environment_changes_text(const json_t *changes)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = memory_check(open_memstream(&text, &bytes), "what has changed");
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *one = json_array_get(changes, i);
        fprintf(out, "%s%s ", i ? ", " : "", json_string_value(json_object_get(one, "name")));
        print_value(out, json_object_get(one, "then"));
        fputs(" -> ", out);
        print_value(out, json_object_get(one, "now"));
    }
    if (fclose(out)) memory_failed("what has changed");
    return text;
}
