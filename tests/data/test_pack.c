/* Packed samples against what they are defined to be: TransMLA's against a Python implementation of its
 * preprocessing (tests/golden/make_pack.py), best fit against a search through all samples, and both by
 * following every token. A pack index that is damaged or hostile is refused. */
#include "data/dataset.h"
#include "tests/support/draw.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <cmocka.h>

enum { MOST_TOKENS = 1 << 20, MOST_DOCUMENTS = 20000, EOS = 0 };

static uint64_t state;
static uint32_t draw(uint32_t n) { return draw_below(&state, n); }

/* ---- a shard in memory and on disk --------------------------------------------------------------------- */

static uint32_t token[MOST_TOKENS];
static uint64_t document_end[MOST_DOCUMENTS];
static int64_t tokens, documents;

static int64_t start_of(int64_t d) { return d ? (int64_t)document_end[d - 1] : 0; }

static const char *write_shard(const char *name)
{
    return scratch_shard(name, 4, token, tokens, document_end, (int)documents);
}

/* Token i has id i+1, so that a sample tells where its tokens come from. */
static void number_tokens(void)
{
    for (int64_t i = 0; i < tokens; i++) token[i] = (uint32_t)i + 1;
}

/* Mostly short documents, some many times T. */
static void make_documents(int64_t count, uint32_t most, uint64_t seed)
{
    state = seed;
    tokens = 0;
    documents = count;
    for (int64_t d = 0; d < count; d++) {
        tokens += 1 + draw(most) + (draw(20) == 0 ? draw(10 * most) : 0);
        document_end[d] = (uint64_t)tokens;
    }
    assert_true(tokens <= MOST_TOKENS);
    number_tokens();
}

static dataset_form form_of(packing how, int64_t T, bool mask)
{
    return (dataset_form){.T = T, .vocabulary = ANY_TOKEN, .document_mask = mask, .packing = how, .eos = EOS};
}

static dataset open_set(const char *path, packing how, int64_t T, bool mask)
{
    dataset d;
    message why = {""};
    const dataset_form form = form_of(how, T, mask);
    if (dataset_open(&d, "data.train", &path, 1, &form, &why) != OK) fail_msg("%s", why.text);
    return d;
}

/* Returns how many of its targets count. */
static int64_t read_sample(const dataset *d, int64_t i, token_batch *b)
{
    message why = {""};
    if (dataset_read(d, i, b, 0, &why) != OK) fail_msg("%s", why.text);
    return token_batch_counted(b);
}

/* ---- TransMLA ------------------------------------------------------------------------------------------ */

/* As tests/golden/make_pack.py has it. */
static void make_golden_shard(void)
{
    state = 12345;
    tokens = 0;
    documents = 2300;
    for (int64_t d = 0; d < documents; d++) {
        int64_t length = 1 + draw(9);
        if (d % 97 == 0) length += draw(300);
        for (int64_t i = 0; i < length; i++) token[tokens++] = 1 + draw(999);
        if (d % 5 != 3) token[tokens - 1] = EOS;
        if (d % 11 == 7 && length > 1) token[tokens - 2] = EOS;
        document_end[d] = (uint64_t)tokens;
    }
}

static uint64_t fnv(uint64_t h, const int32_t *values, int64_t count)
{
    for (int64_t i = 0; i < 4 * count; i++) h = (h ^ ((const unsigned char *)values)[i]) * 0x100000001b3u;
    return h;
}

static void test_transmla_golden(void **ctx)
{
    (void)ctx;
    enum { T = 64 };
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/pack.txt", getenv("REMLA_SOURCE"));
    FILE *golden = fopen(path, "r");
    if (!golden) fail_msg("%s cannot be opened", path);
    make_golden_shard();
    dataset d = open_set(write_shard("golden.ds"), PACKING_TRANSMLA, T, true);
    unsigned long long want;
    token_batch b;
    token_batch_init(&b, 1, T);
    int64_t i = 0;
    for (; fscanf(golden, "%llx", &want) == 1; i++) {
        assert_true(i < d.samples);
        read_sample(&d, i, &b);
        if (fnv(fnv(fnv(0xcbf29ce484222325u, b.tokens, T), b.targets, T), b.first, T) != want)
            fail_msg("sample %d is another than TransMLA's", (int)i);
    }
    assert_int_equal(i, d.samples);
    token_batch_free(&b);
    fclose(golden);
    dataset_close(&d);
}

/* Follows the text through the samples: every token of it is an input once, in order; a chunk of a document
 * that goes on is full; EOS comes behind every chunk and is a target; a chunk that would have fitted into the
 * sample before it begins a batch. */
static void follow_transmla(int64_t T, bool mask)
{
    dataset d = open_set(write_shard("t.ds"), PACKING_TRANSMLA, T, mask);
    token_batch b;
    token_batch_init(&b, 1, T);
    const int32_t *inputs = b.tokens, *targets = b.targets, *first = b.first;
    int64_t next = 0, document = 0, counted = 0, want_counted = 0, space = 0, chunks = 0;
    for (int64_t i = 0; i < d.samples; i++) {
        counted += read_sample(&d, i, &b);
        int64_t t = 0;
        while (t < T && inputs[t] != EOS) {
            const int64_t start = t;
            while (next == (int64_t)document_end[document]) document++;
            for (; inputs[t] != EOS; t++, next++) {
                assert_int_equal(inputs[t], next + 1);
                assert_int_equal(targets[t], inputs[t + 1]);
                assert_int_equal(first[t], mask ? start : 0);
                assert_true(t + 1 < T && next < (int64_t)document_end[document]);
            }
            assert_int_equal(targets[t], -1);
            assert_int_equal(first[t++], mask ? start : 0);
            assert_true(next == (int64_t)document_end[document] || t - start == T);
            if (start == 0) assert_true(t > space || document % 1024 == 0);
            want_counted += t - start - 1;
            chunks++;
        }
        assert_true(t > 0);
        space = T - t;
        for (int64_t pad = t; t < T; t++) {
            assert_int_equal(inputs[t], EOS);
            assert_int_equal(targets[t], -1);
            assert_int_equal(first[t], mask ? pad : 0);
        }
    }
    assert_int_equal(next, tokens);
    assert_int_equal(counted, want_counted);
    assert_int_equal(d.pack->pieces, chunks);
    token_batch_free(&b);
    dataset_close(&d);
}

static void test_transmla(void **ctx)
{
    (void)ctx;
    static const int64_t lengths[] = {2, 3, 16, 100, 1000};
    for (int k = 0; k < 5; k++) {
        make_documents(3000, 24, (uint64_t)k);
        follow_transmla(lengths[k], k % 2);
    }
}

/* ---- best fit ------------------------------------------------------------------------------------------ */

typedef struct open_sample {
    int64_t space, touched;
} open_sample;

/* What is left of a document of n tokens after its full pieces. */
static int64_t rest_of(int64_t d, int64_t T) { return ((int64_t)document_end[d] - start_of(d) - 1) % T; }

/* The samples of one scope by trying all of them: want_sample[d] is where document d's rest goes. Returns the
 * number of the next scope's first. */
static int64_t search_scope(int64_t scope, int64_t T, int64_t number, int64_t *want_sample)
{
    static open_sample sample[8192];
    const int64_t end = scope + 8192 < documents ? scope + 8192 : documents;
    for (int64_t d = scope; d < end; d++) number += ((int64_t)document_end[d] - start_of(d) - 1) / T;
    int64_t samples = 0, turn = 0;
    for (int64_t length = T - 1; length > 0; length--)
        for (int64_t d = scope; d < end; d++) {
            if (rest_of(d, T) != length) continue;
            int64_t best = -1;
            for (int64_t i = 0; i < samples; i++) {
                if (sample[i].space < length) continue;
                if (best < 0 || sample[i].space < sample[best].space ||
                    (sample[i].space == sample[best].space && sample[i].touched > sample[best].touched))
                    best = i;
            }
            if (best < 0) sample[best = samples++] = (open_sample){.space = T};
            sample[best].space -= length;
            sample[best].touched = ++turn;
            want_sample[d] = number + best;
        }
    return number + samples;
}

static int64_t document_of(int64_t at)
{
    int64_t d = 0, high = documents - 1;
    while (d < high) {
        const int64_t middle = (d + high) / 2;
        if ((int64_t)document_end[middle] > at)
            high = middle;
        else
            d = middle + 1;
    }
    return d;
}

/* One piece of a sample, which begins at position `start`; returns its end. */
static int64_t follow_piece(const dataset *set, int64_t i, int64_t start, const int32_t *inputs,
                            const int32_t *targets, const int32_t *first, unsigned char *seen,
                            const int64_t *want_sample)
{
    const int64_t T = set->T, from = inputs[start] - 1, d = document_of(from);
    const int64_t offset = from - start_of(d), last = (int64_t)document_end[d] - 1;
    assert_int_equal(offset % T, 0);
    const int64_t length = last - from < T ? last - from : T;
    for (int64_t t = start; t < start + length; t++) {
        assert_int_equal(inputs[t], from + t - start + 1);
        assert_int_equal(targets[t], inputs[t] + 1);
        assert_int_equal(first[t], set->document_mask ? start : 0);
        assert_int_equal(seen[inputs[t] - 1]++, 0);
    }
    if (length < T) assert_int_equal(i, want_sample[d]);
    return start + length;
}

static void follow_best_fit(int64_t T, bool mask)
{
    dataset d = open_set(write_shard("b.ds"), PACKING_BEST_FIT, T, mask);
    token_batch b;
    token_batch_init(&b, 1, T);
    const int32_t *inputs = b.tokens, *targets = b.targets, *first = b.first;
    unsigned char *seen = calloc((size_t)tokens, 1);
    static int64_t want_sample[MOST_DOCUMENTS];
    int64_t counted = 0, number = 0;
    for (int64_t scope = 0; scope < documents; scope += 8192)
        number = search_scope(scope, T, number, want_sample);
    assert_int_equal(d.samples, number);
    for (int64_t i = 0; i < d.samples; i++) {
        counted += read_sample(&d, i, &b);
        int64_t t = 0;
        while (t < T && inputs[t]) t = follow_piece(&d, i, t, inputs, targets, first, seen, want_sample);
        assert_true(t > 0);
        for (int64_t pad = t; t < T; t++) {
            assert_int_equal(inputs[t], 0);
            assert_int_equal(targets[t], -1);
            assert_int_equal(first[t], mask ? pad : 0);
        }
    }
    for (int64_t k = 0; k < documents; k++)
        for (int64_t i = start_of(k); i < (int64_t)document_end[k]; i++)
            assert_int_equal(seen[i], i + 1 < (int64_t)document_end[k]); /* all but the last */
    assert_int_equal(counted, tokens - documents);
    free(seen);
    token_batch_free(&b);
    dataset_close(&d);
}

static void test_best_fit(void **ctx)
{
    (void)ctx;
    static const int64_t lengths[] = {1, 2, 16, 63, 64, 65, 400};
    for (int k = 0; k < 7; k++) {
        make_documents(1500, 24, (uint64_t)k + 10);
        follow_best_fit(lengths[k], k % 2);
    }
    make_documents(8192 + 700, 12, 20); /* more than one scope */
    follow_best_fit(24, true);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static void test_used_again(void **ctx)
{
    (void)ctx;
    make_documents(50, 24, 30);
    const char *path = write_shard("again.ds");
    for (packing how = PACKING_TRANSMLA; how <= PACKING_BEST_FIT; how++) {
        struct stat before, after;
        dataset d = open_set(path, how, 16, true);
        assert_int_equal(stat(d.pack->path, &before), 0);
        const uint64_t fingerprint = dataset_fingerprint(&d, true);
        dataset_close(&d);
        d = open_set(path, how, 16, true);
        assert_int_equal(stat(d.pack->path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_true(fingerprint == dataset_fingerprint(&d, true));
        /* Made again it has the same bytes. */
        const uint64_t hash = d.pack->hash;
        assert_int_equal(unlink(d.pack->path), 0);
        dataset_close(&d);
        d = open_set(path, how, 16, true);
        assert_true(d.pack->hash == hash && fingerprint == dataset_fingerprint(&d, true));
        dataset_close(&d);
        d = open_set(path, how, 17, true);
        assert_true(d.pack->hash != hash && fingerprint != dataset_fingerprint(&d, true));
        dataset_close(&d);
    }
}

static void test_elsewhere(void **ctx)
{
    (void)ctx;
    make_documents(50, 24, 31);
    dataset_form form = form_of(PACKING_BEST_FIT, 16, true);
    form.pack_folder = scratch_path("indexes/inside");
    dataset d;
    message why = {""};
    const char *path = write_shard("elsewhere.ds");
    if (dataset_open(&d, "data.train", &path, 1, &form, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(strncmp(d.pack->path, form.pack_folder, strlen(form.pack_folder)), 0);
    dataset_close(&d);
    form.pack_folder = path; /* not a folder */
    assert_int_equal(dataset_open(&d, "data.train", &path, 1, &form, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "elsewhere.ds"));
}

static void expect_no_sample(packing how, const char *part)
{
    dataset d;
    message why = {""};
    const dataset_form form = form_of(how, 16, true);
    const char *path = write_shard("nothing.ds");
    assert_int_equal(dataset_open(&d, "data.train", &path, 1, &form, &why), ERR_INPUT);
    if (!strstr(why.text, part)) fail_msg("expected \"%s\" in: %s", part, why.text);
}

static void test_no_text(void **ctx)
{
    (void)ctx;
    tokens = documents = 3;
    for (int i = 0; i < 3; i++) token[i] = EOS, document_end[i] = (uint64_t)i + 1;
    expect_no_sample(PACKING_TRANSMLA, "nothing.ds: no sample can be made of its 3 documents");
    expect_no_sample(PACKING_BEST_FIT, "nothing.ds: no sample can be made of its 3 documents");
}

/* The bytes of an index, its shard and rule. */
static unsigned char *index_bytes;
static int64_t index_count;
static shard index_shard;
static pack_rule index_rule;

static void load_index(packing how)
{
    make_documents(12, 24, 40);
    dataset d = open_set(write_shard("hostile.ds"), how, 16, true);
    message why = {""};
    char *text;
    assert_int_equal(file_read_text(d.pack->path, 1 << 20, &text, &index_count, &why), OK);
    index_bytes = (unsigned char *)text;
    assert_int_equal(shard_open(&index_shard, d.shard->path, &why), OK);
    index_rule = d.pack->rule;
    dataset_close(&d);
}

static void drop_index(void)
{
    free(index_bytes);
    shard_close(&index_shard);
}

static status check(int64_t count, message *why)
{
    pack p;
    return pack_check(&p, "hostile.pack", index_bytes, count, &index_shard, &index_rule, why);
}

static void expect_refused(int64_t count, const char *part)
{
    message why = {""};
    assert_int_equal(check(count, &why), ERR_INPUT);
    if (!strstr(why.text, "hostile.pack: ") || !strstr(why.text, part))
        fail_msg("expected \"%s\" in: %s", part, why.text);
}

static void test_damage(void **ctx)
{
    (void)ctx;
    message why = {""};
    for (packing how = PACKING_TRANSMLA; how <= PACKING_BEST_FIT; how++) {
        load_index(how);
        assert_int_equal(check(index_count, &why), OK);
        for (int64_t i = 0; i < index_count; i++)
            for (int bit = 0; bit < 8; bit += 7) {
                index_bytes[i] ^= (unsigned char)(1 << bit);
                assert_int_equal(check(index_count, &why), ERR_INPUT);
                index_bytes[i] ^= (unsigned char)(1 << bit);
            }
        for (int64_t count = 0; count < index_count; count++) assert_int_equal(check(count, &why), ERR_INPUT);
        assert_int_equal(check(index_count, &why), OK);
        drop_index();
    }
}

static uint64_t get(int64_t at)
{
    uint64_t value;
    memcpy(&value, index_bytes + at, 8);
    return value;
}

/* Changes `bytes` of the file and gives it the hash that it then has. */
static void expect_hostile(int64_t at, uint64_t value, size_t bytes, const char *part)
{
    unsigned char before[8], hash_before[8];
    memcpy(before, index_bytes + at, bytes);
    memcpy(hash_before, index_bytes + 56, 8);
    memcpy(index_bytes + at, &value, bytes);
    XXH3_state_t *h = XXH3_createState();
    XXH3_64bits_reset(h);
    XXH3_64bits_update(h, index_bytes, 56);
    XXH3_64bits_update(h, index_bytes + 64, (size_t)index_count - 64);
    const uint64_t hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    memcpy(index_bytes + 56, &hash, 8);
    expect_refused(index_count, part);
    memcpy(index_bytes + 56, hash_before, 8);
    memcpy(index_bytes + at, before, bytes);
}

static void test_hostile(void **ctx)
{
    (void)ctx;
    for (packing how = PACKING_TRANSMLA; how <= PACKING_BEST_FIT; how++) {
        load_index(how);
        const uint64_t samples = get(40), pieces = get(48);
        const int64_t first = 64, from = first + 8 * (int64_t)(samples + 1),
                      length = from + 8 * (int64_t)pieces;
        assert_int_equal(index_count, length + 4 * (int64_t)pieces);
        const char *const pieces_of = "is not pieces of documents that fit into 16 positions";
        expect_refused(63, "has 63 bytes, a pack index has at least 64");
        expect_hostile(0, 0x58, 1, "is not a pack index");
        expect_hostile(8, 2, 4, "version 2");
        expect_hostile(12, 3 - (uint64_t)how, 4, "another shard, length or way of packing");
        expect_hostile(16, 17, 8, "another shard, length or way of packing");
        expect_hostile(24, 5, 8, "another shard, length or way of packing");
        expect_hostile(32, 5, 8, "another shard, length or way of packing");
        expect_hostile(40, 0, 8, "lists 0 samples");
        expect_hostile(40, UINT64_MAX, 8, "lists 18446744073709551615 samples");
        expect_hostile(40, pieces + 1, 8, "lists");
        expect_hostile(48, UINT64_MAX / 20 + 2, 8, "lists");
        expect_hostile(48, pieces + 1, 8, "bytes, not those of");
        expect_hostile(40, samples - 1, 8, "bytes, not those of");
        expect_hostile(first, 1, 8, "do not begin at the first piece");
        expect_hostile(from - 8, pieces - 1, 8, "do not begin at the first piece");
        expect_hostile(first + 8, 0, 8, pieces_of);
        expect_hostile(first + 8, pieces + 1, 8, pieces_of);
        expect_hostile(first + 8, UINT64_MAX, 8, pieces_of);
        expect_hostile(from, (uint64_t)tokens, 8, pieces_of);
        expect_hostile(from, UINT64_MAX, 8, pieces_of);
        expect_hostile(from, (uint64_t)document_end[0] - 1, 8, pieces_of); /* into the next document */
        expect_hostile(length, 0, 4, pieces_of);
        expect_hostile(length, 17, 4, pieces_of);
        expect_hostile(length, UINT32_MAX, 4, pieces_of);
        drop_index();
    }
}

/* Cut short behind our back. */
static void test_changed_in_use(void **ctx)
{
    (void)ctx;
    make_documents(50, 24, 50);
    dataset d = open_set(write_shard("changed.ds"), PACKING_BEST_FIT, 16, true);
    message why = {""};
    token_batch b;
    token_batch_init(&b, 1, 16);
    assert_int_equal(truncate(d.pack->path, 64 + 8), 0);
    assert_int_equal(dataset_read(&d, 0, &b, 0, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, ".pack: ends at byte 72"));
    FILE *out = fopen(d.pack->path, "wb");
    for (int i = 0; i < 4096; i++) fputc(0xff, out);
    fclose(out);
    assert_int_equal(dataset_read(&d, 0, &b, 0, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, ".pack: has changed since it was opened"));
    token_batch_free(&b);
    dataset_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transmla_golden), cmocka_unit_test(test_transmla),
        cmocka_unit_test(test_best_fit),        cmocka_unit_test(test_used_again),
        cmocka_unit_test(test_elsewhere),       cmocka_unit_test(test_no_text),
        cmocka_unit_test(test_damage),          cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_changed_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
