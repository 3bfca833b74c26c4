/* Reads each part of a checkpoint by itself, so that one damaged file does not hide the others, and then
 * verifies the whole in the order in which a run that goes on from it would. */
#include "train/checkpoint_report.h"
#include "base/file.h"
#include "base/json_text.h"
#include "train/checkpoint_parts.h"
#include "train/checkpoint_values.h"
#include "train/environment.h"
#include "train/state_files.h"
#include <dirent.h>
#include <jansson.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 20 };

static bool is_safetensors(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot, ".safetensors") == 0;
}

static void add_size(report_size *size, int64_t bytes)
{
    size->files++;
    size->bytes += bytes;
}

static void read_sizes(checkpoint_report *r, const char *folder)
{
    DIR *dir = opendir(folder);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_BYTES];
        message ignored;
        if (path_print(path, &ignored, "%s/%s", folder, entry->d_name) != OK || !file_exists(path)) continue;
        const int64_t bytes = file_bytes(path);
        add_size(&r->all, bytes);
        if (is_safetensors(entry->d_name))
            add_size(state_file_is(entry->d_name) ? &r->states : &r->weights, bytes);
    }
    if (dir) closedir(dir);
}

static void read_parts(checkpoint_report *r, const char *folder)
{
    char path[PATH_BYTES];
    message ignored;
    read_sizes(r, folder);
    options_init(&r->then);
    r->has_options = options_read_yaml(&r->then, path_join(path, folder, CHECKPOINT_OPTIONS), &ignored) == OK;
    if (r->has_options) r->has_state = checkpoint_state_read(folder, &r->then, &r->state, &ignored) == OK;
    r->has_config = config_read(&r->config, folder, &ignored) == OK;
    if (r->has_config) {
        param_table table;
        param_table_init(&table, &r->config.d);
        r->parameters = param_table_numel(&table);
        param_table_free(&table);
    }
    if (json_text_read(&r->environment, path_join(path, folder, ENVIRONMENT_FILE), FILE_LIMIT, &ignored) !=
        OK)
        r->environment = NULL;
}

static status verify(checkpoint_report *r, const char *folder, report_depth depth, message *why)
{
    model_config config;
    TRY(checkpoint_verify(folder, why));
    TRY(config_read(&config, folder, why));
    status s = checkpoint_tensors_check(folder, &config.d, why);
    if (s == OK && depth == REPORT_VALUES) s = checkpoint_values_check(folder, &config.d, &r->state, why);
    config_free(&config);
    return s;
}

void checkpoint_report_read(checkpoint_report *r, const char *folder, report_depth depth)
{
    *r = (checkpoint_report){.environment = NULL};
    read_parts(r, folder);
    if (verify(r, folder, depth, &r->damage) == OK) r->damage.text[0] = 0;
}

void checkpoint_report_free(checkpoint_report *r)
{
    options_free(&r->then);
    if (r->has_config) config_free(&r->config);
    json_decref(r->environment);
    *r = (checkpoint_report){.environment = NULL};
}
