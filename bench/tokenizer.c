/* bench/tokenizer MODEL TEXT.jsonl [ROUNDS]: encodes the documents of a file of JSON strings on one core,
 * ROUNDS times (3), and prints megabytes of text per second of the fastest round (CPU time of this thread, so
 * that a busy machine counts less) as JSON. bench/peer_tokenizers.py does the same with PyPI `tokenizers`;
 * bench/compare_tokenizer.sh runs both. */
#include "base/memory.h"
#include "data/tokenizer/tokenizer.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct document {
    char *text;
    int64_t bytes;
} document;

static document *read_documents(const char *path, int64_t *count)
{
    FILE *file = fopen(path, "r");
    if (!file) die(ERR_INPUT, "%s cannot be read", path);
    document *d = NULL;
    char *line = NULL;
    size_t capacity = 0;
    for (*count = 0; getline(&line, &capacity, file) >= 0; ++*count) {
        json_t *text = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        d = memory_check(realloc(d, sizeof *d * (size_t)(*count + 1)), "the documents");
        if (!json_is_string(text))
            die(ERR_INPUT, "%s: line %lld is not a JSON string", path, (long long)*count + 1);
        d[*count].bytes = (int64_t)json_string_length(text);
        d[*count].text = memory_new(d[*count].bytes + 1, 1, "the documents");
        memcpy(d[*count].text, json_string_value(text), (size_t)d[*count].bytes);
        json_decref(text);
    }
    free(line);
    fclose(file);
    return d;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Makes a new work area each time, so that every round begins with an empty cache. */
static double encode_all(const tokenizer *t, const document *d, int64_t count, int64_t *tokens)
{
    message why;
    token_list ids = {0};
    tokenizer_work *work = tokenizer_work_new(t);
    const double began = seconds();
    *tokens = 0;
    for (int64_t i = 0; i < count; i++) {
        ids.count = 0;
        if (tokenizer_encode(work, d[i].text, d[i].bytes, &ids, &why) != OK) die(ERR_INPUT, "%s", why.text);
        *tokens += ids.count;
    }
    const double taken = seconds() - began;
    tokenizer_work_free(work);
    token_list_free(&ids);
    return taken;
}

int main(int argc, char **argv)
{
    message why;
    tokenizer *t;
    if (argc < 3) die(ERR_USAGE, "usage: tokenizer MODEL TEXT.jsonl [ROUNDS]");
    const int rounds = argc > 3 ? atoi(argv[3]) : 3;
    if (tokenizer_open(&t, argv[1], &why) != OK) die(ERR_INPUT, "%s", why.text);
    int64_t count, tokens = 0, bytes = 0;
    document *d = read_documents(argv[2], &count);
    for (int64_t i = 0; i < count; i++) bytes += d[i].bytes;
    double best = 0;
    for (int i = 0; i < rounds; i++) {
        const double taken = encode_all(t, d, count, &tokens);
        if (i == 0 || taken < best) best = taken;
    }
    printf(
        "{\"program\": \"remla\", \"documents\": %lld, \"bytes\": %lld, \"tokens\": %lld, \"mb_s\": %.2f}\n",
        (long long)count, (long long)bytes, (long long)tokens, (double)bytes / best / 1e6);
    for (int64_t i = 0; i < count; i++) free(d[i].text);
    free(d);
    tokenizer_close(t);
    return 0;
}
