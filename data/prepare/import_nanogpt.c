/* Raw ids without a header, as nanoGPT's scripts write them. The user gives their width, and a look at the
 * first ids catches the wrong one. */
#include "data/prepare/import_reader.h"
#include <stddef.h>

static status open(import_source *s, const import_settings *settings, message *why)
{
    if (!settings->token_bytes)
        return fail(why, ERR_USAGE,
                    "%s: raw ids do not say how wide they are: give import.token_bytes=2 or 4", s->path);
    plain_ids *p = import_plain_state(s);
    TRY(import_plain_open(p, s->path, settings->token_bytes == 2 ? ID_U16 : ID_U32, 0, settings, why));
    import_plain_describe(s, p);
    return import_plain_look(p, why);
}

const import_reader import_nanogpt = {"nanogpt", NULL, open, import_plain_state_next,
                                      import_plain_state_close};
