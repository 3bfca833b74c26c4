/* `held` is always the longest end of the text so far that begins some stop string. */
#include "generate/stop_strings.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

void stop_strings_init(stop_strings *s, const char *const *text, int count)
{
    *s = (stop_strings){.count = count};
    s->text = memory_new(count, sizeof *s->text, "stop strings");
    s->bytes = memory_new(count, sizeof *s->bytes, "stop strings");
    for (int i = 0; i < count; i++) {
        s->text[i] = memory_check(strdup(text[i]), "stop strings");
        s->bytes[i] = (int64_t)strlen(text[i]);
    }
}

void stop_strings_free(stop_strings *s)
{
    for (int i = 0; i < s->count; i++) free(s->text[i]);
    free(s->text);
    free(s->bytes);
    text_buffer_free(&s->held);
    *s = (stop_strings){0};
}

/* Whether the text from `at` on is a stop string, or, if `beginning`, ends within one. */
static bool matches(const stop_strings *s, int i, int64_t at, bool beginning)
{
    const int64_t there = s->held.bytes - at;
    if (beginning ? there >= s->bytes[i] : there < s->bytes[i]) return false;
    return !memcmp(s->held.text + at, s->text[i], (size_t)(beginning ? there : s->bytes[i]));
}

static int found_at(const stop_strings *s, int64_t at, bool beginning)
{
    for (int i = 0; i < s->count; i++)
        if (matches(s, i, at, beginning)) return i;
    return -1;
}

static void release(stop_strings *s, int64_t bytes, text_buffer *out)
{
    if (!bytes) return;
    text_buffer_append(out, s->held.text, bytes);
    memmove(s->held.text, s->held.text + bytes, (size_t)(s->held.bytes - bytes));
    s->held.bytes -= bytes;
}

/* Releases what is before the first stop string. `more`: text may come, and what could be the beginning of
 * one stays. */
static int advance(stop_strings *s, bool more, text_buffer *out)
{
    int64_t at = 0;
    for (; at < s->held.bytes; at++) {
        const int stop = found_at(s, at, false);
        if (stop >= 0) {
            release(s, at, out);
            s->held.bytes = 0;
            return stop;
        }
        if (more && found_at(s, at, true) >= 0) break;
    }
    release(s, at, out);
    return -1;
}

int stop_strings_push(stop_strings *s, const char *piece, int64_t bytes, text_buffer *out)
{
    text_buffer_append(&s->held, piece, bytes);
    return advance(s, true, out);
}

int stop_strings_end(stop_strings *s, text_buffer *out) { return advance(s, false, out); }
