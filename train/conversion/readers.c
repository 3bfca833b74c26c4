/* Who loads a converted folder as the model that it is. Each program was read in its source: what its own
 * class does with tied heads, biases and scaled frequencies decides. */
#include "train/conversion/readers.h"
#include "base/log.h"
#include <jansson.h>
#include <string.h>

/* What vLLM's MLA attention is compiled for: numbers of a token in the cache (R+Dr), and widths of a head. */
static const int64_t cache_widths[] = {320, 512, 576};
static const int64_t head_widths[][3] = {{128, 64, 128}, {64, 64, 128}, {192, 64, 256}, {256, 0, 256}};

const char *readers_text(const model_config *c)
{
    const dims *d = &c->d;
    if (d->kind == ATTENTION_GQA) return NULL;
    if (c->layout == LAYOUT_TRANSMLA) {
        const char *type = json_string_value(json_object_get(c->json, "model_type"));
        return type && strcmp(type, TRANSMLA_MODEL_TYPE) == 0
                   ? "TransMLA's own code and remla; transformers refuses it (convert.layout=deepseek is for "
                     "everybody)"
                   : "TransMLA's own code and remla; transformers, vLLM and SGLang load another model, "
                     "without "
                     "an error";
    }
    if (d->rope.llama3)
        return "transformers, and vLLM with --model-impl transformers; vLLM's and SGLang's own classes "
               "compute "
               "other frequencies, without an error";
    if (d->o_bias)
        return "transformers, and vLLM with --model-impl transformers; vLLM's and SGLang's own classes leave "
               "out "
               "its biases, without an error";
    if (d->tied)
        return "transformers, SGLang; vLLM's own class wants lm_head.weight and answers nonsense without it, "
               "without an error";
    return "transformers, vLLM, SGLang";
}

static bool vllm_takes(const dims *d)
{
    bool cache = false, heads = false;
    for (size_t i = 0; i < sizeof cache_widths / sizeof *cache_widths; i++)
        cache = cache || d->R + d->Dr == cache_widths[i];
    for (size_t i = 0; i < sizeof head_widths / sizeof *head_widths; i++)
        heads =
            heads || (d->Dn == head_widths[i][0] && d->Dr == head_widths[i][1] && d->Dv == head_widths[i][2]);
    return cache && heads;
}

void readers_print(const model_config *c)
{
    const char *readers = readers_text(c);
    if (!readers) return;
    const dims *d = &c->d;
    if (c->layout == LAYOUT_DEEPSEEK && !vllm_takes(d))
        log_line(
            "vLLM's attention on GPUs takes kv_lora_rank + qk_rope_head_dim of 320, 512 or 576, and heads of "
            "128+64, 64+64 or 192+64 with values of 128, 128 or 256; here they are %lld, and %lld+%lld with "
            "%lld",
            (long long)(d->R + d->Dr), (long long)d->Dn, (long long)d->Dr, (long long)d->Dv);
    log_line("read by: %s", readers);
}
