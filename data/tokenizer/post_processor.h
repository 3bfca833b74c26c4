/* The post-processor of a tokenizer.json: which token it puts before a text. */
#ifndef REMLA_DATA_TOKENIZER_POST_PROCESSOR_H
#define REMLA_DATA_TOKENIZER_POST_PROCESSOR_H

typedef struct json_t json_t;

/* value: that of the key "post_processor", or NULL. Returns the token, as the file spells it, that a
 * TemplateProcessing, alone or in a Sequence, puts before a single text; NULL: none. Borrowed. */
const char *post_processor_first(const json_t *value);

#endif
