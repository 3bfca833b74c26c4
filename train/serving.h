/* A model that `remla serve` serves, from its folder to its engine. */
#ifndef REMLA_TRAIN_SERVING_H
#define REMLA_TRAIN_SERVING_H
#include "eval/open.h"
#include "generate/chat_text.h"
#include "generate/engine.h"
#include "serve/prompt.h"
#include "train/options/options.h"

typedef struct serving {
    loaded_model x;
    tokenizer *tokenizer;
    chat_template *chat; /* NULL: none */
    int32_t end[END_TOKENS];
    engine *engine;      /* from serving_start on */
    served_model as;     /* what requests need to know of it; borrows the above */
    int64_t cache_bytes; /* of the decoder, on its device */
} serving;

/* Reads and checks what the folder has; takes no memory for weights. The caller ends with serving_close,
 * whatever the status. `s` must not move from here on. */
status serving_open(serving *s, const char *folder, const options *o, message *why);
/* Opens the device, loads the weights, makes an engine that may be given `capacity` requests. */
status serving_start(serving *s, const options *o, int64_t capacity, const comm *c, message *why);
void serving_close(serving *s); /* or one of zeros */

#endif
