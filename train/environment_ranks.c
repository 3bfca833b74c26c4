/* Ranks on unlike machines compute unlike bits from the same numbers. Then it matters which rank has which
 * samples, and what they compute cannot be compared. */
#include "base/memory.h"
#include "train/environment.h"
#include <jansson.h>
#include <stdlib.h>

enum { MOST = 1 << 14 };

/* `first`: the environment of rank 0. */
static status like_first(const char *first, const json_t *mine, const comm *c, message *why)
{
    bool sums;
    json_t *then = json_loads(first, 0, NULL), *changes = environment_compare(then, mine, &sums);
    const bool same = json_array_size(changes) == 0;
    char *text = environment_changes_text(changes);
    json_decref(changes);
    json_decref(then);
    const status s = same ? OK
                          : fail(why, ERR_INPUT, "rank %d on %.100s is not like rank 0: %.700s", c->rank,
                                 comm_host(c, c->rank), text);
    free(text);
    return s;
}

status environment_same(const json_t *mine, const comm *c, message *why)
{
    if (c->size == 1) return OK;
    char *first = memory_new(MOST, 1, "the environment of rank 0");
    REQUIRE(json_dumpb(mine, first, MOST - 1, JSON_COMPACT) < MOST, "an environment of more than %d bytes",
            MOST);
    comm_broadcast(c, first, MOST, 0);
    const status s = comm_agree(c, like_first(first, mine, c, why), why);
    free(first);
    return s;
}
