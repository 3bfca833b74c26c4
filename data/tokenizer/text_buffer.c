/* Growing texts and lists. */
#include "data/tokenizer/text_buffer.h"
#include "base/memory.h"
#include "base/status.h"
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *text_buffer_reserve(text_buffer *buffer, int64_t bytes)
{
    int64_t need; /* one more, so that an empty text has an address too */
    if (__builtin_add_overflow(buffer->bytes + 1, bytes, &need)) memory_failed("a text");
    buffer->text = array_reserve(buffer->text, &buffer->capacity, need, 1);
    return buffer->text + buffer->bytes;
}

void text_buffer_append(text_buffer *buffer, const char *text, int64_t bytes)
{
    if (!bytes) return;
    memcpy(text_buffer_reserve(buffer, bytes), text, (size_t)bytes);
    buffer->bytes += bytes;
}

void text_buffer_print(text_buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int bytes = vsnprintf(NULL, 0, format, arguments);
    REQUIRE(bytes >= 0, "a text cannot be printed by \"%s\"", format);
    vsnprintf(text_buffer_reserve(buffer, bytes), (size_t)bytes + 1, format, again); /* reserves one more */
    buffer->bytes += bytes;
    va_end(again);
    va_end(arguments);
}

bool text_buffer_replace(text_buffer *buffer, const char *text, int64_t bytes, const text_buffer *from,
                         const text_buffer *to, int64_t most)
{
    for (const char *end = text + bytes, *hit; text < end; text = hit + from->bytes) {
        hit = memmem(text, (size_t)(end - text), from->text, (size_t)from->bytes);
        const int64_t before = (hit ? hit : end) - text;
        if (before + (hit ? to->bytes : 0) > most - buffer->bytes) return false;
        text_buffer_append(buffer, text, before);
        if (!hit) break;
        text_buffer_append(buffer, to->text, to->bytes);
    }
    return true;
}

void text_buffer_free(text_buffer *buffer)
{
    free(buffer->text);
    *buffer = (text_buffer){0};
}

void token_list_free(token_list *list)
{
    free(list->id);
    *list = (token_list){0};
}

json_t *token_list_json(const token_list *list)
{
    json_t *ids = json_array();
    for (int64_t i = 0; i < list->count; i++) json_array_append_new(ids, json_integer(list->id[i]));
    return ids;
}
