/* Regular expressions of a tokenizer.json. They are written for Oniguruma and matched by PCRE2: syntax that
 * the two interpret differently is refused when it is compiled. */
#ifndef REMLA_DATA_TOKENIZER_PATTERN_H
#define REMLA_DATA_TOKENIZER_PATTERN_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct pattern pattern; /* immutable: shared by threads */

/* `where` names the place in the file for messages. literal: the text itself, not an expression. */
status pattern_compile(pattern **out, const char *text, int64_t bytes, bool literal, const char *where,
                       message *why);
void pattern_free(pattern *p); /* NULL is fine */

/* Tells whether the pattern depends on general categories: then it must be matched in a text with twins
 * (data/tokenizer/unicode.h). */
bool pattern_has_classes(const pattern *p);

/* The state of one thread that matches. */
typedef struct pattern_work pattern_work;
pattern_work *pattern_work_new(void);
void pattern_work_free(pattern_work *w); /* NULL is fine */

/* Matches of one pattern in one text, left to right, as Oniguruma's iterator finds them: an empty match right
 * behind the last one does not count. The text is UTF-8. */
typedef struct pattern_search {
    const pattern *p;
    pattern_work *w;
    const char *text;
    int64_t bytes, from; /* from: the first place where the next match may begin */
    int64_t last_end;    /* of the match before; -1: none yet */
    int64_t start, end;  /* of the match */
} pattern_search;

pattern_search pattern_begin(const pattern *p, pattern_work *w, const char *text, int64_t bytes);
/* Finds the next match, [s->start, s->end); *found is false if there is none. ERR_INPUT when matching takes
 * more time or memory than the limits. */
status pattern_next(pattern_search *s, bool *found, message *why);

#endif
