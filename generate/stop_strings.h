/* Finds texts that end what is generated, wherever tokens are cut. Text that could be the beginning of one is
 * held back, and no other. */
#ifndef REMLA_GENERATE_STOP_STRINGS_H
#define REMLA_GENERATE_STOP_STRINGS_H
#include "data/tokenizer/text_buffer.h"

typedef struct stop_strings {
    char **text; /* (count), owned; not empty */
    int64_t *bytes;
    int count;
    text_buffer held;
} stop_strings;

/* Copies them. count may be 0: then everything goes through. */
void stop_strings_init(stop_strings *s, const char *const *text, int count);
void stop_strings_free(stop_strings *s); /* or one of zeros */

/* Appends to `out` what may be shown after this piece of text. Returns the number of the stop string that was
 * found, the one that begins first (of several there the first of the list): `out` then has what is before
 * it, and nothing may follow. -1: none was found yet. */
int stop_strings_push(stop_strings *s, const char *piece, int64_t bytes, text_buffer *out);
/* Says that no more text comes: appends what is held back, as above. Returns as above, for the text may end
 * while a longer stop string could still come. */
int stop_strings_end(stop_strings *s, text_buffer *out);

#endif
