/* Which programs load a model folder as the model that it is. */
#ifndef REMLA_TRAIN_CONVERSION_READERS_H
#define REMLA_TRAIN_CONVERSION_READERS_H
#include "model/hf/config.h"

/* Their names, and who loads it without an error and computes something else; NULL for a GQA model, whose
 * architecture says it. As read in transformers 5.24, vLLM 0.33 and SGLang 0.5.23. */
const char *readers_text(const model_config *c);
/* Prints them, and what vLLM's attention wants of the widths where they are others. Nothing for a GQA model.
 */
void readers_print(const model_config *c);

#endif
