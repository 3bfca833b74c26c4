/* The page at /, of serve/page.html. */
#ifndef REMLA_SERVE_PAGE_H
#define REMLA_SERVE_PAGE_H
#include "data/tokenizer/text_buffer.h"

/* Appends the page. */
void page_text(text_buffer *out);
/* Writes the value of its Content-Security-Policy: its own script and style, named by their hashes, and
 * requests to its own server; nothing else. */
enum { PAGE_POLICY_BYTES = 512 };
void page_policy(char out[PAGE_POLICY_BYTES]);

#endif
