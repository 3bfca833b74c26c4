/* The table of families, in the order in which messages list them. Two families may share an architecture's
 * name (TransMLA writes DeepseekV3ForCausalLM too); then a key that only one of them has, its mark, decides.
 */
#include "model/hf/family.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

const family *const families[] = {
    &family_llama, &family_qwen2, &family_mistral, &family_transmla, &family_deepseek, NULL,
};

static bool has_architecture(const family *m, const char *name)
{
    for (int i = 0; i < FAMILY_VALUES && m->architectures[i]; i++)
        if (strcmp(m->architectures[i], name) == 0) return true;
    return false;
}

bool family_is_marked(const family *m, const json_t *json)
{
    return m->mark && json_object_get(json, m->mark);
}

const family *family_of(const char *name, const json_t *json)
{
    const family *found = NULL;
    for (const family *const *m = families; *m; m++) {
        if (!has_architecture(*m, name)) continue;
        if (family_is_marked(*m, json)) return *m;
        if (!found || !(*m)->mark) found = *m;
    }
    return found;
}

const family *family_of_layout(config_layout layout)
{
    const family *const *m = families;
    while (*m && !((*m)->write && (*m)->layout == layout)) m++;
    REQUIRE(*m, "no family is written in layout %d", layout);
    return *m;
}

bool family_latent_key(const char *key)
{
    for (const family *const *m = families; *m; m++)
        for (const char *const *k = (*m)->keys; k && *k && (*m)->attention == ATTENTION_MLA; k++)
            if (strcmp(*k, key) == 0) return true;
    return false;
}

/* Returns architecture number `index` of the whole table, each name counted once; NULL if there are fewer. */
static const char *architecture_at(int index)
{
    for (const family *const *m = families; *m; m++)
        for (int i = 0; i < FAMILY_VALUES && (*m)->architectures[i]; i++) {
            const char *name = (*m)->architectures[i];
            bool earlier = false;
            for (const family *const *e = families; e < m; e++) earlier |= has_architecture(*e, name);
            if (!earlier && index-- == 0) return name;
        }
    return NULL;
}

void family_list(char *text, size_t size)
{
    const char *name;
    size_t used = 0;
    *text = 0;
    for (int i = 0; (name = architecture_at(i)) && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i == 0                   ? ""
                                 : architecture_at(i + 1) ? ", "
                                                          : " and ",
                                 name);
}
