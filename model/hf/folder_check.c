/* Recognises common mistakes in place of a model folder: a name on the hub, a GGUF file, a run's folder, an
 * adapter, weights as pickles. Only names and the first bytes of a file are looked at. Each message says how
 * to make a model folder of it. */
#include "model/hf/folder_check.h"
#include "base/file.h"
#include "base/nearest.h"
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The format of paths in these messages; a longer one is cut. */
#define PATH_ "%.300s"

static bool has(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    return file_exists(path_join(path, folder, name));
}

/* Finds the last path, in alphabetic order, that FOLDER/pattern matches; false when there is none. */
static bool last_match(char *out, const char *folder, const char *pattern)
{
    char path[PATH_BYTES];
    const char *const patterns[] = {path_join(path, folder, pattern)};
    path_list found;
    message ignored;
    if (path_list_expand(&found, patterns, 1, &ignored) != OK) return false;
    snprintf(out, PATH_BYTES, "%s", found.path[found.count - 1]);
    path_list_free(&found);
    return true;
}

/* Tells whether a path looks like OWNER/NAME on the hub: letters, digits, '-', '_' and '.'. */
static bool hub_name(const char *path)
{
    const char *slash = strchr(path, '/');
    if (!slash || slash == path || !slash[1] || strchr(slash + 1, '/') || path[0] == '.') return false;
    for (const char *p = path; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/-_.", *p)) return false;
    return true;
}

static bool is_gguf(const char *path)
{
    char magic[4] = "";
    int fd;
    int64_t bytes;
    message ignored;
    if (file_open(path, &fd, &bytes, &ignored) != OK) return false;
    const bool read = file_read_at(fd, path, magic, sizeof magic, 0, &ignored) == OK;
    close(fd);
    return read && memcmp(magic, "GGUF", sizeof magic) == 0;
}

static status refuse_gguf(const char *path, message *why)
{
    return fail(
        why, ERR_INPUT,
        PATH_
        ": is a GGUF file; make a model folder of it, if it is a llama: scripts/gguf_to_folder.py " PATH_
        " DIR",
        path, path);
}

/* The folder beside `path` whose name is nearest to that of `path`; "" when none is near. */
static void nearest_folder(const char *path, char *out)
{
    char parent[PATH_BYTES], near[PATH_BYTES];
    message ignored;
    const char *name = path_base(path);
    const int half = (int)strlen(name) / 2;
    int least = half < 3 ? half : 3; /* a name of more mistakes is another name */
    out[0] = 0;
    if (path_print(parent, &ignored, "%.*s", (int)(name - path), path) != OK) return;
    DIR *dir = opendir(parent[0] ? parent : ".");
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        const int distance = edit_distance(name, entry->d_name);
        if (entry->d_name[0] == '.' || distance > least ||
            path_print(near, &ignored, "%s%s", parent, entry->d_name) != OK || !folder_exists(near))
            continue;
        least = distance - 1;
        strcpy(out, near);
    }
    if (dir) closedir(dir);
}

status folder_missing(const char *path, const char *expected, message *why)
{
    char near[PATH_BYTES];
    nearest_folder(path, near);
    if (near[0])
        return fail(why, ERR_INPUT, PATH_ ": there is no such folder; did you mean " PATH_ "?", path, near);
    return fail(why, ERR_INPUT, PATH_ ": there is no such folder, expected %s", path, expected);
}

static bool has_near(const char *path)
{
    char near[PATH_BYTES];
    nearest_folder(path, near);
    return near[0];
}

static status check_absent(const char *path, message *why)
{
    if (hub_name(path) && !has_near(path))
        return fail(why, ERR_INPUT,
                    PATH_
                    ": there is no such folder; if it is a name on the Hugging Face hub: hf download " PATH_
                    " --local-dir DIR, then give DIR",
                    path, path);
    return folder_missing(path, "that of a model", why);
}

/* Refuses the folder of a training run, and names its newest checkpoint, which is a model folder. */
static status check_run(const char *path, message *why)
{
    char newest[PATH_BYTES];
    if (has(path, "config.json") || !last_match(newest, path, "checkpoints/step-*[0-9]/config.json"))
        return OK;
    *strrchr(newest, '/') = 0;
    return fail(why, ERR_INPUT, PATH_ ": is the folder of a training run; its newest model is " PATH_, path,
                newest);
}

status model_path_check(const char *path, message *why)
{
    if (file_exists(path)) return is_gguf(path) ? refuse_gguf(path, why) : OK;
    if (!folder_exists(path)) return check_absent(path, why);
    return check_run(path, why);
}

static status check_weights(const char *path, message *why)
{
    char gguf[PATH_BYTES];
    if (has(path, "model.safetensors") || has(path, "model.safetensors.index.json")) return OK;
    if (has(path, "adapter_config.json"))
        return fail(
            why, ERR_INPUT,
            PATH_ ": holds an adapter (adapter_config.json), not a model; merge it into its base first, in "
                  "Python: peft.AutoPeftModelForCausalLM.from_pretrained(\"" PATH_
                  "\").merge_and_unload().save_pretrained(\"DIR\"), then give DIR with the tokenizer's files",
            path, path);
    if (has(path, "pytorch_model.bin") || has(path, "pytorch_model.bin.index.json"))
        return fail(
            why, ERR_INPUT,
            PATH_
            ": holds pytorch_model.bin, expected *.safetensors; convert it, in Python: "
            "transformers.AutoModelForCausalLM.from_pretrained(\"" PATH_
            "\", torch_dtype=\"auto\").save_pretrained(\"DIR\", safe_serialization=True), then give DIR "
            "with the tokenizer's files",
            path, path);
    return last_match(gguf, path, "*.gguf") ? refuse_gguf(gguf, why) : OK;
}

status model_folder_check(const char *path, message *why)
{
    TRY(model_path_check(path, why));
    if (file_exists(path))
        return fail(why, ERR_INPUT,
                    PATH_ ": is a file, expected a model folder: one with config.json and *.safetensors",
                    path);
    return check_weights(path, why);
}
