/* Unicode's normal forms as in the library `tokenizers`, whose tables are of Unicode 9. */
#ifndef REMLA_DATA_TOKENIZER_NORMAL_FORM_H
#define REMLA_DATA_TOKENIZER_NORMAL_FORM_H
#include "data/tokenizer/text_buffer.h"

typedef enum normal_form { NFC, NFD, NFKC, NFKD, NUM_NORMAL_FORMS } normal_form;

const char *normal_form_name(normal_form form);
void normal_form_append(normal_form form, const char *text, int64_t bytes, text_buffer *out);

#endif
