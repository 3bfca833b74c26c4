/* Reads keys of attention that several families have. A default of transformers' classes that would be a
 * guess about the shape is not taken. */
#include "model/hf/family/attention.h"
#include <jansson.h>
#include <string.h>

status attention_window_read(const config_file *f, dims *d, bool used)
{
    const json_t *value = config_get(f, "sliding_window");
    TRY(config_get_bool(f, "use_sliding_window", used, &used));
    if (value) {
        TRY(config_get_integer(f, "sliding_window", 1, INT32_MAX, &d->window));
        if (!used) d->window = 0;
    }
    const json_t *types = config_get(f, "layer_types");
    if (!types) return OK;
    if ((int64_t)json_array_size(types) != d->L)
        return config_wrong(f, "layer_types", types, "expected a list with one name for each layer");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type ||
            (strcmp(type, "full_attention") != 0 && !(d->window && strcmp(type, "sliding_attention") == 0)))
            return config_wrong(f, "layer_types", types,
                                "only \"full_attention\" is supported, and \"sliding_attention\" where "
                                "sliding_window is used");
    }
    return OK;
}

/* A missing key is an error: transformers would take a number that is right for one size of the family only.
 */
status attention_key_value_heads_read(const config_file *f, int64_t least, int64_t most, int64_t *out)
{
    if (config_get(f, "num_key_value_heads"))
        return config_get_integer(f, "num_key_value_heads", least, most, out);
    const char *type = json_string_value(config_get(f, "model_type"));
    return fail(f->why, ERR_INPUT,
                "%s: key 'num_key_value_heads' is missing; transformers would take %d for any %s model: add "
                "the model's own number to the file",
                f->path, f->family->key_value_heads, type);
}

status attention_grouped_read(const config_file *f, dims *d)
{
    TRY(attention_key_value_heads_read(f, 1, d->H, &d->G));
    if (d->H % d->G)
        return fail(f->why, ERR_INPUT,
                    "%s: num_attention_heads %lld is not a multiple of num_key_value_heads %lld", f->path,
                    (long long)d->H, (long long)d->G);
    if (config_get(f, "head_dim")) {
        TRY(config_get_integer(f, "head_dim", 2, MAX_HEAD_WIDTH, &d->D));
    } else {
        if (d->C % d->H)
            return fail(
                f->why, ERR_INPUT,
                "%s: head_dim is missing, and hidden_size %lld is not a multiple of num_attention_heads %lld",
                f->path, (long long)d->C, (long long)d->H);
        d->D = d->C / d->H;
    }
    if (d->D % 2)
        return fail(f->why, ERR_INPUT, "%s: head_dim is %lld, rotary positions need an even number", f->path,
                    (long long)d->D);
    return OK;
}

status attention_bias_check(const config_file *f, bool expected, const char *remedy)
{
    bool bias;
    TRY(config_get_bool(f, "attention_bias", expected, &bias));
    if (bias == expected) return OK;
    return config_wrong(f, "attention_bias", config_get(f, "attention_bias"), remedy);
}
