/* bench/data SHARD FOLDER [TOKENS]: writes the ids of a shard, over and over up to TOKENS (20 million), with
 * 4 bytes each, into FOLDER/bench.ds and bench.ds.zst, and reads them window by window, in their order and at
 * random. Prints one JSON object. Seconds are of the processor; files are in the system's cache. */
#include "base/memory.h"
#include "data/shards/shard.h"
#include "data/shards/shard_writer.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WINDOW = 4096, RANDOM_WINDOWS = 2000 };

/* CPU time of this thread, which other processes disturb less than wall time. */
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void check(status s, const message *why)
{
    if (s != OK) die(s, "%s", why->text);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static double write_copy(const char *path, const uint32_t *ids, int64_t count, int64_t tokens)
{
    message why;
    shard_writer *w;
    shard_summary summary;
    const shard_identity id = {.token_bytes = 4, .vocabulary = -1, .eos = -1, .bos = -1, .pad = -1};
    const double start = cpu_seconds();
    check(shard_writer_create(&w, path, &id, &why), &why);
    for (int64_t at = 0; at < tokens; at += count) {
        check(shard_writer_append(w, ids, count < tokens - at ? count : tokens - at, &why), &why);
        check(shard_writer_end_document(w, &why), &why);
    }
    check(shard_writer_finish(w, &summary, &why), &why);
    return cpu_seconds() - start;
}

static uint32_t *read_ids(const char *path, int64_t *count)
{
    message why;
    shard s;
    check(shard_open(&s, path, &why), &why);
    *count = s.tokens;
    int32_t *ids = memory_new(s.tokens, sizeof *ids, "ids");
    check(shard_read(&s, 0, s.tokens, (int64_t)1 << 32, ids, &why), &why);
    shard_close(&s);
    return (uint32_t *)ids;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

typedef struct speed {
    double sequential; /* tokens per second */
    double random_ms;  /* per window */
} speed;

static speed measure(const char *path)
{
    message why;
    shard s;
    static int32_t ids[WINDOW];
    check(shard_open(&s, path, &why), &why);
    double start = cpu_seconds();
    for (int64_t at = 0; at + WINDOW <= s.tokens; at += WINDOW)
        check(shard_read(&s, at, WINDOW, (int64_t)1 << 32, ids, &why), &why);
    speed v = {.sequential = (double)(s.tokens / WINDOW * WINDOW) / (cpu_seconds() - start)};
    start = cpu_seconds();
    for (uint64_t i = 0; i < RANDOM_WINDOWS; i++) {
        const int64_t at = (int64_t)(i * 0x9e3779b97f4a7c15u % (uint64_t)(s.tokens - WINDOW));
        check(shard_read(&s, at, WINDOW, (int64_t)1 << 32, ids, &why), &why);
    }
    v.random_ms = 1e3 * (cpu_seconds() - start) / RANDOM_WINDOWS;
    shard_close(&s);
    return v;
}

int main(int argc, char **argv)
{
    if (argc < 3) die(ERR_USAGE, "usage: bench/data SHARD FOLDER [TOKENS]");
    const int64_t tokens = argc > 3 ? atoll(argv[3]) : 20000000;
    if (tokens < 10 * WINDOW) die(ERR_USAGE, "at least %d tokens", 10 * WINDOW);
    char raw[PATH_BYTES], packed[PATH_BYTES];
    int64_t count;
    uint32_t *ids = read_ids(argv[1], &count);
    path_join(raw, argv[2], "bench.ds");
    path_join(packed, argv[2], "bench.ds.zst");
    const double raw_seconds = write_copy(raw, ids, count, tokens),
                 packed_seconds = write_copy(packed, ids, count, tokens);
    free(ids);
    const speed plain = measure(raw), zst = measure(packed);
    printf(
        "{\"tokens\": %lld, \"ratio\": %.4g, \"write_ds_tok_s\": %.4g, \"write_zst_tok_s\": %.4g, "
        "\"read_ds_tok_s\": %.4g, \"read_zst_tok_s\": %.4g, \"random_ds_ms\": %.4g, \"random_zst_ms\": %.4g, "
        "\"peak_rss_mib\": %.4g}\n",
        (long long)tokens, (double)file_bytes(raw) / (double)file_bytes(packed), (double)tokens / raw_seconds,
        (double)tokens / packed_seconds, plain.sequential, zst.sequential, plain.random_ms, zst.random_ms,
        (double)memory_peak_bytes() / 1048576.0);
    return 0;
}
