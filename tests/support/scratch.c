/* A folder of its own under /tmp for each test program; the process that made it removes it at its end. */
#include "tests/support/scratch.h"
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static pid_t owner; /* children of a test that forks leave the folder alone */

static void remove_folder(void)
{
    message why;
    if (getpid() == owner && folder_remove(folder, &why) != OK) fprintf(stderr, "%s\n", why.text);
}

static void stop(const char *what)
{
    perror(what);
    exit(1);
}

const char *scratch_path(const char *name)
{
    static char path[16][256];
    static int turn;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/remla-test-XXXXXX");
        if (!mkdtemp(folder)) stop(folder);
        owner = getpid();
        atexit(remove_folder);
    }
    char *out = path[turn++ % 16];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

const char *scratch_write(const char *name, const void *data, int64_t bytes)
{
    const char *path = scratch_path(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, (size_t)bytes, file) != (size_t)bytes || fclose(file) != 0) stop(path);
    return path;
}

const char *scratch_text(const char *name, const char *text)
{
    return scratch_write(name, text, (int64_t)strlen(text));
}

const char *scratch_shard(const char *name, int token_bytes, const uint32_t *token, int64_t tokens,
                          const uint64_t *end, int num_ends)
{
    char other[128], text[128];
    char *raw = malloc((size_t)(tokens * token_bytes) + 1);
    if (!raw) stop(name);
    for (int64_t i = 0; i < tokens; i++)
        memcpy(raw + i * token_bytes, &token[i], (size_t)token_bytes); /* little-endian */
    const char *path = scratch_write(name, raw, tokens * token_bytes);
    free(raw);
    snprintf(other, sizeof other, "%s.metadata", name);
    snprintf(text, sizeof text, "tokenizer.json|%d\n%lld\n%lld", token_bytes, (long long)tokens,
             (long long)tokens);
    scratch_text(other, text);
    snprintf(other, sizeof other, "%s.index", name);
    if (num_ends) scratch_write(other, end, 8 * num_ends);
    return path;
}

const char *fixture_path(const char *name)
{
    static char path[1024];
    const char *source = getenv("REMLA_SOURCE");
    snprintf(path, sizeof path, "%s/../shared/fixtures/%s", source ? source : ".", name);
    return access(path, R_OK) == 0 ? path : NULL;
}
