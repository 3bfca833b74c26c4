/* A model folder to compute with. It is opened in two steps, so that a command can look at all its inputs
 * before the first of them takes memory or a device: a wrong name is said at once, not after minutes. */
#include "eval/open.h"
#include "model/hf/model_files.h"

status model_folder_read(model_config *config, const char *folder, message *why)
{
    TRY(config_read(config, folder, why));
    const status s = model_check(folder, &config->d, why);
    if (s != OK) config_free(config);
    return s;
}

status loaded_model_open(loaded_model *x, const char *folder, const char *key, int64_t T, message *why)
{
    *x = (loaded_model){.folder = folder, .T = T};
    TRY(model_folder_read(&x->config, folder, why));
    return dims_check_length(&x->config.d, key, T, why);
}

status loaded_model_start(loaded_model *x, const compute_settings *wanted, int64_t B, const comm *c,
                          message *why)
{
    const dims *d = &x->config.d;
    const ops *k;
    TRY(compute_start(&x->on, wanted, d, B, x->T, c, &k, why));
    model_init(&x->m, d, k, 1);
    activations_init(&x->acts, d, k, B, x->T, FORWARD_ONLY);
    return comm_agree(c, model_load(x->folder, &x->m.table, &x->m.w, k, why), why);
}

void loaded_model_close(loaded_model *x)
{
    if (x->m.k) {
        activations_free(&x->acts);
        model_free(&x->m);
    }
    compute_close(&x->on);
    config_free(&x->config);
    *x = (loaded_model){0};
}
