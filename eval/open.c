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

status loaded_model_open(loaded_model *x, const char *folder, message *why)
{
    *x = (loaded_model){.folder = folder};
    return model_folder_read(&x->config, folder, why);
}

status loaded_model_length(loaded_model *x, const char *key, int64_t T, message *why)
{
    TRY(dims_check_length(&x->config.d, key, T, why));
    x->T = T;
    return OK;
}

/* Opens the device and makes room for the weights; B and T are those for which its attention is chosen. */
static status start(loaded_model *x, const compute_settings *wanted, int64_t B, int64_t T, const comm *c,
                    message *why)
{
    const ops *k;
    TRY(compute_start(&x->on, wanted, &x->config.d, B, T, c, &k, why));
    model_init(&x->m, &x->config.d, k, 1);
    return OK;
}

/* Reads the weights, which takes longest: all memory is reserved before. */
static status load(loaded_model *x, const comm *c, message *why)
{
    return comm_agree(c, model_load(x->folder, &x->m.table, &x->m.w, x->m.k, why), why);
}

status loaded_model_start(loaded_model *x, const compute_settings *wanted, int64_t B, const comm *c,
                          message *why)
{
    REQUIRE(x->T >= 1, "no length was checked");
    TRY(start(x, wanted, B, x->T, c, why));
    activations_init(&x->acts, &x->config.d, x->m.k, B, x->T, FORWARD_ONLY, RECOMPUTE_NONE);
    return load(x, c, why);
}

status loaded_model_decode(loaded_model *x, const compute_settings *wanted, const decoder_settings *settings,
                           const comm *c, message *why)
{
    REQUIRE(settings->longest <= x->T, "sequences of %lld tokens, of %lld that were checked",
            (long long)settings->longest, (long long)x->T);
    TRY(start(x, wanted, 1, settings->rows, c, why));
    decoder_init(&x->decode, &x->m, settings);
    return load(x, c, why);
}

void loaded_model_close(loaded_model *x)
{
    if (x->m.k) {
        decoder_free(&x->decode);
        activations_free(&x->acts);
        model_free(&x->m);
    }
    compute_close(&x->on);
    config_free(&x->config);
    *x = (loaded_model){0};
}
