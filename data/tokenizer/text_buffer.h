/* Growing texts and lists of ids. */
#ifndef REMLA_DATA_TOKENIZER_TEXT_BUFFER_H
#define REMLA_DATA_TOKENIZER_TEXT_BUFFER_H
#include "base/array.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct json_t json_t;

/* Ids that grow. Starts as {0}; the caller frees it. */
typedef struct token_list {
    uint32_t *id;
    int64_t count, capacity;
} token_list;
void token_list_free(token_list *list);
/* Makes a JSON array of the ids; the caller owns it. */
json_t *token_list_json(const token_list *list);

/* Bytes that grow, not zero-terminated. Starts as {0}; the caller frees it. */
typedef struct text_buffer {
    char *text;
    int64_t bytes, capacity;
} text_buffer;
void text_buffer_free(text_buffer *buffer);

/* Reserves `bytes` more at the end and returns their address; the caller fills them and adds to
 * buffer->bytes. */
char *text_buffer_reserve(text_buffer *buffer, int64_t bytes);
void text_buffer_append(text_buffer *buffer, const char *text, int64_t bytes);
/* Appends what printf would print. */
void text_buffer_print(text_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends the text with every `from` (not empty) replaced by `to`. Returns false, with a part appended, if
 * the buffer would come to hold more than `most` bytes. */
bool text_buffer_replace(text_buffer *buffer, const char *text, int64_t bytes, const text_buffer *from,
                         const text_buffer *to, int64_t most);

/* Upper bound of the size of a text of `bytes` bytes after the steps of a normalizer or decoder. Without it a
 * few replacements in a tokenizer.json, each of a letter by two, could fill any memory. U+FDFA, which grows
 * elevenfold, and signs replaced by words stay far below. */
enum { TEXT_GROWTH = 16, TEXT_GROWTH_MORE = 256 };
static inline int64_t text_buffer_growth_limit(int64_t bytes)
{
    return TEXT_GROWTH * bytes + TEXT_GROWTH_MORE;
}

static inline void token_list_add(token_list *list, uint32_t id)
{
    list->id = array_reserve(list->id, &list->capacity, list->count + 1, sizeof *list->id);
    list->id[list->count++] = id;
}

#endif
