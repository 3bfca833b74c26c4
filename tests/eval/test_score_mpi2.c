/* Scores of many requests against the plain forward pass over each alone, for GQA and MLA; and the same bits
 * whatever the number of rows of a pass, the order of the requests and the number of ranks. The requests
 * share beginnings in every way: none, all but the last token, one the beginning of another, equal ones. A
 * failed check stops both ranks (REQUIRE), because the other would wait forever. */
#include "eval/score.h"
#include "base/memory.h"
#include "model/loss.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include "tests/support/random_weights.h"
#include "tests/support/small_dims.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REQUESTS = 120, LONGEST = 300 };

static const comm *world;
static int32_t tokens[REQUESTS][LONGEST];
static score_request request[REQUESTS];

static int64_t below(uint64_t *state, int64_t n) { return (int64_t)(draw_uniform(state) * (double)n); }

/* Each begins as an older one does, up to somewhere. */
static void make_requests(int64_t V)
{
    uint64_t state = 3;
    for (int i = 0; i < REQUESTS; i++) {
        const int64_t count = 2 + below(&state, i % 10 ? 60 : LONGEST - 2), like = i ? below(&state, i) : 0;
        int64_t same = i ? below(&state, request[like].count + 1) : 0;
        if (i % 7 == 3) same = request[like].count;
        if (same > count) same = count;
        memcpy(tokens[i], tokens[like], (size_t)same * sizeof **tokens);
        for (int64_t t = same; t < count; t++) tokens[i][t] = (int32_t)below(&state, V);
        request[i] = (score_request){tokens[i], count, 1 + below(&state, count - 1 < 12 ? count - 1 : 12)};
    }
}

static double alone(const model *m, const score_request *r)
{
    const int64_t T = r->count - 1;
    activations a;
    token_batch batch;
    double losses[LONGEST], sum = 0;
    activations_init(&a, &m->d, m->k, 1, T, FORWARD_ONLY, RECOMPUTE_NONE);
    token_batch_init(&batch, 1, T);
    for (int64_t t = 0; t < T; t++) {
        batch.tokens[t] = r->tokens[t];
        batch.targets[t] = r->tokens[t + 1];
        batch.first[t] = 0;
    }
    model_forward(m, &a, &batch);
    loss_zero(m, &a);
    loss_forward(m, &a, &batch);
    loss_of_tokens(m, &a, losses);
    for (int64_t t = T - r->scored; t < T; t++) sum -= losses[t];
    token_batch_free(&batch);
    activations_free(&a);
    return sum;
}

/* `fewer`: pages that the pool has less than the plan asks for. */
static void score(const model *m, const score_request *of, int64_t rows, int64_t fewer, const comm *c,
                  double *out, score_work *work)
{
    decoder x;
    score_plan *p = score_plan_new(of, REQUESTS, rows, c);
    decoder_settings settings = *score_plan_settings(p);
    settings.positions -= fewer * DECODER_PAGE;
    decoder_init(&x, m, &settings);
    const int64_t unused = decoder_pages_free(&x);
    for (int run = 0; run < 2; run++) score_run(p, &x, c, out, work, NULL, NULL); /* the second one alike */
    REQUIRE(decoder_pages_free(&x) == unused, "%lld of %lld pages are free",
            (long long)decoder_pages_free(&x), (long long)unused);
    decoder_free(&x);
    score_plan_free(p);
}

static void expect_same(const double *a, const double *b, const char *what)
{
    for (int i = 0; i < REQUESTS; i++)
        REQUIRE(!memcmp(&a[i], &b[i], sizeof a[i]), "%s: request %d: %.17g, then %.17g", what, i, a[i], b[i]);
}

static void check_model(const dims *d)
{
    model m;
    double one[REQUESTS], other[REQUESTS], turned[REQUESTS];
    score_request backwards[REQUESTS];
    score_work work;
    int64_t different = 0; /* tokens that no request before has */
    model_init(&m, d, ops_cpu_f32(), 1);
    random_weights(&m, 1, 1);
    make_requests(d->V);
    score(&m, request, 64, 0, comm_self(), one, &work);
    for (int i = 0; i < REQUESTS; i++) {
        const double want = alone(&m, &request[i]);
        REQUIRE(fabs(one[i] - want) <= 2e-5 * fabs(want) + 1e-5, "request %d: %.9g, alone %.9g", i, one[i],
                want);
        int64_t known = 0;
        for (int j = 0; j < i; j++) {
            int64_t n = 0;
            while (n < request[i].count - 1 && n < request[j].count - 1 && tokens[i][n] == tokens[j][n]) n++;
            if (n > known) known = n;
        }
        different += request[i].count - 1 - known;
    }
    REQUIRE(work.computed == different, "%lld tokens were computed, of %lld different ones",
            (long long)work.computed, (long long)different);
    REQUIRE(work.passes <= 2 * work.computed / 64, "%lld passes of 64 for %lld tokens",
            (long long)work.passes, (long long)work.computed);

    static const int64_t rows[] = {1, 7, 512};
    for (int i = 0; i < 3; i++) {
        score(&m, request, rows[i], 0, comm_self(), other, &work);
        expect_same(one, other, "rows");
    }
    for (int i = 0; i < REQUESTS; i++) backwards[i] = request[REQUESTS - 1 - i];
    score(&m, backwards, 50, 0, comm_self(), turned, &work);
    for (int i = 0; i < REQUESTS; i++) other[i] = turned[REQUESTS - 1 - i];
    expect_same(one, other, "order");
    score(&m, request, 33, 0, world, other, &work);
    expect_same(one, other, "ranks");

    /* A pool that holds one path: what begins alike is little, and all of it wants to begin at once. */
    for (int i = 0; i < REQUESTS; i++) {
        const int32_t begin[] = {i / 2 / 8 % 8, i / 2 % 8, i % 2};
        request[i] = (score_request){tokens[i], 70, 1};
        if (i % 2) memcpy(tokens[i], tokens[i - 1], sizeof tokens[i]);
        tokens[i][0] = begin[0];
        tokens[i][1] = begin[1];
        tokens[i][68] = begin[2];
    }
    score(&m, request, 512, 0, comm_self(), one, &work);
    score(&m, request, 512, 80 + 40 + 1, comm_self(), other, &work);
    expect_same(one, other, "a pool of one path");
    model_free(&m);
}

static void gqa(void **state)
{
    (void)state;
    const dims d = SMALL_GQA;
    check_model(&d);
}

static void mla(void **state)
{
    (void)state;
    const dims d = SMALL_MLA;
    check_model(&d);
}

int main(void)
{
    world = comm_start();
    const struct CMUnitTest tests[] = {cmocka_unit_test(gqa), cmocka_unit_test(mla)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}
