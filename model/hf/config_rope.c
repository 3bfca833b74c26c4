/* Rotary positions are given in two ways, which may stand side by side and must then agree:
 *
 *     transformers 4   "rope_theta": 1e6, "rope_scaling": {"rope_type": "llama3", ...} or null
 *     transformers 5   "rope_parameters": {"rope_theta": 1e6, "rope_type": "llama3", ...}
 *
 * The object is the same apart from rope_theta, and one function reads both. */
#include "model/hf/config_rope.h"
#include "model/hf/config_put.h"
#include <jansson.h>
#include <string.h>

/* ---- reading ---- */

/* Reads rope_scaling, or rope_parameters, which has rope_theta inside. */
static status read_scaling(const config_file *f, const char *where, json_t *object, rope_settings *rope)
{
    static const char *const scale[] = {"factor", "low_freq_factor", "high_freq_factor",
                                        "original_max_position_embeddings"};
    double *const number[] = {&rope->factor, &rope->low_freq_factor, &rope->high_freq_factor,
                              &rope->original_max_position};
    char name[96];
    if (!json_is_object(object)) return config_wrong(f, where, object, "expected an object");
    const json_t *new_type = json_object_get(object, "rope_type"),
                 *old_type = json_object_get(object, "type");
    if (new_type && old_type && !json_equal(new_type, old_type))
        return config_wrong(f, where, object, "its rope_type and type differ");
    const json_t *type = new_type ? new_type : old_type;
    if (!type) {
        snprintf(name, sizeof name, "%s.rope_type", where);
        return config_missing(f, name);
    }
    const char *kind = json_string_value(type);
    if (!kind || (strcmp(kind, "default") != 0 && strcmp(kind, "llama3") != 0)) {
        snprintf(name, sizeof name, "%s.%s", where, new_type ? "rope_type" : "type");
        return config_wrong(f, name, type, "supported are \"default\" and \"llama3\"");
    }
    rope->llama3 = strcmp(kind, "llama3") == 0;
    for (int i = 0; rope->llama3 && i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", where, scale[i]);
        TRY(config_get_number(f, object, scale[i], name, 0, 1e9, number[i]));
    }
    if (rope->llama3 && !(rope->high_freq_factor > rope->low_freq_factor))
        return config_wrong(f, where, object, "its high_freq_factor must be above its low_freq_factor");

    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool known =
            strcmp(key, "rope_type") == 0 || strcmp(key, "type") == 0 || strcmp(key, "rope_theta") == 0;
        for (int i = 0; rope->llama3 && i < 4; i++) known = known || strcmp(key, scale[i]) == 0;
        snprintf(name, sizeof name, "%s.%.64s", where, key);
        if (strcmp(key, "partial_rotary_factor") == 0)
            TRY(config_check_only(f, name, value, "1.0"));
        else if (!known)
            return fail(f->why, ERR_INPUT, "%s: key '%s' is not one that remla knows for rope_type '%s'",
                        f->path, name, kind);
    }
    return OK;
}

static bool same_scaling(const rope_settings *a, const rope_settings *b)
{
    if (a->llama3 != b->llama3) return false;
    return !a->llama3 || (a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
                          a->high_freq_factor == b->high_freq_factor &&
                          a->original_max_position == b->original_max_position);
}

status config_rope_read(const config_file *f, rope_settings *rope)
{
    const double most = 1e15;
    const json_t *theta = config_get(f, "rope_theta");
    json_t *scaling = json_object_get(f->json, "rope_scaling"),
           *parameters = json_object_get(f->json, "rope_parameters");
    if (theta) TRY(config_get_number(f, f->json, "rope_theta", "rope_theta", 1, most, &rope->theta));
    if (scaling && !json_is_null(scaling)) TRY(read_scaling(f, "rope_scaling", scaling, rope));
    if (!parameters || json_is_null(parameters)) return theta ? OK : config_missing(f, "rope_theta");

    rope_settings newer = {0};
    TRY(read_scaling(f, "rope_parameters", parameters, &newer));
    const json_t *inner = json_object_get(parameters, "rope_theta");
    if (inner || !theta)
        TRY(config_get_number(f, parameters, "rope_theta", "rope_parameters.rope_theta", 1, most,
                              &newer.theta));
    if (inner && theta && newer.theta != rope->theta)
        return fail(f->why, ERR_INPUT, "%s: rope_theta is %g, but rope_parameters.rope_theta is %g", f->path,
                    rope->theta, newer.theta);
    if (scaling && !json_is_null(scaling) && !same_scaling(rope, &newer))
        return config_wrong(f, "rope_scaling", scaling, "but rope_parameters says otherwise");
    if (!inner) newer.theta = rope->theta;
    *rope = newer;
    return OK;
}

/* ---- writing ---- */

/* Makes an object for rope_scaling (null where frequencies are not scaled) or rope_parameters. */
static json_t *rope_object(const rope_settings *r)
{
    json_t *rope = json_object();
    config_put_string(rope, "rope_type", r->llama3 ? "llama3" : "default");
    if (r->llama3) {
        config_put(rope, "factor", json_real(r->factor));
        config_put(rope, "low_freq_factor", json_real(r->low_freq_factor));
        config_put(rope, "high_freq_factor", json_real(r->high_freq_factor));
        config_put_integer(rope, "original_max_position_embeddings", (int64_t)r->original_max_position);
    }
    return rope;
}

void config_rope_put(json_t *json, const rope_settings *r)
{
    config_put(json, "rope_theta", json_real(r->theta));
    config_put(json, "rope_scaling", r->llama3 ? rope_object(r) : json_null());
}

void config_rope_put_parameters(json_t *json, const rope_settings *r)
{
    json_t *parameters = rope_object(r);
    config_put(parameters, "rope_theta", json_real(r->theta));
    config_put(json, "rope_parameters", parameters);
}
