/* Puts keys into a config.json that is being written. jansson refuses a value that is NULL, so one check
 * covers the allocation of the value and that of its place. */
#include "model/hf/config_put.h"
#include "base/memory.h"
#include "base/status.h"
#include <jansson.h>

void config_put(json_t *json, const char *key, json_t *value)
{
    if (json_object_set_new(json, key, value) != 0) memory_failed("key %s of config.json", key);
}

void config_put_integer(json_t *json, const char *key, int64_t value)
{
    config_put(json, key, json_integer(value));
}

void config_put_bool(json_t *json, const char *key, bool value)
{
    config_put(json, key, json_boolean(value));
}

void config_put_string(json_t *json, const char *key, const char *value)
{
    config_put(json, key, json_string(value));
}

void config_put_storage(json_t *json, const char *key, dtype storage)
{
    REQUIRE(storage == F32 || storage == F16 || storage == BF16, "%s is no type of weight files",
            dtype_name(storage));
    config_put_string(json, key, storage == F32 ? "float32" : storage == F16 ? "float16" : "bfloat16");
}
