/* TemplateProcessing: {"single": [{"SpecialToken": {"id": "<s>", ..}}, {"Sequence": ..}], ..} */
#include "data/tokenizer/post_processor.h"
#include <jansson.h>
#include <string.h>

const char *post_processor_first(const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    if (type && !strcmp(type, "Sequence")) {
        const json_t *all = json_object_get(value, "processors");
        for (size_t i = 0; i < json_array_size(all); i++) {
            const json_t *step = json_array_get(all, i);
            const char *step_type = json_string_value(json_object_get(step, "type"));
            if (step_type && strcmp(step_type, "Sequence") != 0 && post_processor_first(step))
                return post_processor_first(step);
        }
    }
    if (!type || strcmp(type, "TemplateProcessing") != 0) return NULL;
    const json_t *first = json_array_get(json_object_get(value, "single"), 0);
    return json_string_value(json_object_get(json_object_get(first, "SpecialToken"), "id"));
}
