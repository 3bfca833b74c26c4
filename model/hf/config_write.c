/* Writes config.json for the models that remla makes. The family of the layout decides the keys. */
#include "model/hf/config.h"
#include "base/memory.h"
#include "model/hf/config_put.h"
#include "model/hf/family.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Prints numbers with 15 digits, so that 0.02 looks like that; if that would change a number, all of them
 * get 17. */
static char *config_text(const json_t *json)
{
    const size_t layout = JSON_INDENT(2);
    char *text = json_dumps(json, layout | JSON_REAL_PRECISION(15));
    json_t *again = text ? json_loads(text, 0, NULL) : NULL;
    const bool same = again && json_equal(json, again);
    json_decref(again);
    if (!same) {
        free(text);
        text = json_dumps(json, layout | JSON_REAL_PRECISION(17));
    }
    memory_check(text, "config.json");
    return strcat(memory_check(realloc(text, strlen(text) + 2), "config.json"), "\n");
}

char *config_converted(const model_config *source, const dims *d, config_layout layout, dtype storage)
{
    REQUIRE(source->d.kind == ATTENTION_GQA && d->kind == ATTENTION_MLA,
            "only a GQA model is converted, and only to an MLA model");
    json_t *json = family_of_layout(layout)->write(source, d, storage);
    char *text = config_text(json);
    json_decref(json);
    return text;
}

char *config_with_storage(const model_config *c, dtype storage)
{
    static const char *const keys[] = {"torch_dtype", "dtype"};
    json_t *json = memory_check(json_deep_copy(c->json), "config.json");
    const char *own = c->d.kind == ATTENTION_MLA ? family_of_layout(c->layout)->own_model_type : NULL;
    if (own) config_put_string(json, "model_type", own);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_object_get(json, keys[i])) config_put_storage(json, keys[i], storage);
    char *text = config_text(json);
    json_decref(json);
    return text;
}
