/* The engine: what a request gets is, to the bit, what it gets alone from a decoder of its own, in any
 * company, at any size of passes and of the pool, with prompts that are kept and without. Log-probabilities
 * of a prompt are those of a plain pass. Requests are refused, cancelled and ended as engine.h says. */
#include "generate/engine.h"
#include "base/memory.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include "tests/support/random_weights.h"
#include "tests/support/scratch.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { V = 40, LONGEST = 300, REQUESTS = 24, MAX_PROMPT = 200 };

#define SHAPE .L = 2, .V = V, .C = 24, .F = 20, .norm_eps = 1e-5, .rope = {.theta = 100}
static const dims shapes[] = {
    {SHAPE, .kind = ATTENTION_GQA, .H = 6, .G = 2, .D = 8},
    {SHAPE, .kind = ATTENTION_MLA, .H = 3, .Dn = 8, .Dr = 4, .Dv = 6, .R = 10},
};

/* ---- what a request was told ---- */

typedef struct told {
    engine_event event;
    token_chance top[ENGINE_MAX_TOP];
} told;

typedef struct listener {
    told *told;
    int64_t count, capacity;
    int finished;
    engine *cancels; /* after so many tokens */
    int64_t after;
} listener;

static void listen(void *context, const engine_event *event)
{
    listener *l = context;
    l->told = array_reserve(l->told, &l->capacity, l->count + 1, sizeof *l->told);
    told *t = &l->told[l->count++];
    *t = (told){.event = *event};
    if (event->scored) memcpy(t->top, event->top, (size_t)event->tops * sizeof *t->top);
    l->finished += event->kind == EVENT_FINISHED;
    if (l->cancels && event->kind == EVENT_TOKEN && event->index + 1 == l->after)
        engine_cancel(l->cancels, event->request);
}

static void check_same(const listener *found, const listener *wanted, int number)
{
    assert_int_equal(found->count, wanted->count);
    for (int64_t i = 0; i < found->count; i++) {
        const engine_event *a = &found->told[i].event, *b = &wanted->told[i].event;
        if (a->kind != b->kind || a->choice != b->choice || a->index != b->index || a->token != b->token ||
            a->scored != b->scored || a->tops != b->tops || (a->scored && a->logprob != b->logprob) ||
            memcmp(found->told[i].top, wanted->told[i].top, sizeof found->told[i].top) != 0)
            fail_msg("request %d, event %lld: token %d with %.17g, alone %d with %.17g", number, (long long)i,
                     a->token, a->logprob, b->token, b->logprob);
        if (a->kind == EVENT_FINISHED) assert_int_equal(a->reason, b->reason);
    }
}

/* ---- requests of all kinds ---- */

typedef struct request {
    engine_request r;
    int32_t prompt[MAX_PROMPT];
} request;
static const int32_t ends[] = {3};

/* Prompts begin with one of two texts, which they follow for a while. */
static void draw_request(request *q, uint64_t seed)
{
    uint64_t same = seed % 2;
    q->r = engine_request_default();
    q->r.prompt = q->prompt;
    q->r.prompt_tokens = 1 + draw_below(&seed, draw_below(&seed, 3) ? 60 : MAX_PROMPT - 1);
    const int64_t follows = draw_below(&seed, q->r.prompt_tokens + 1);
    for (int64_t i = 0; i < q->r.prompt_tokens; i++)
        q->prompt[i] = (int32_t)(i < follows ? draw_below(&same, V) : draw_below(&seed, V));
    q->r.max_tokens = draw_below(&seed, 4) ? 1 + draw_below(&seed, 40) : draw_below(&seed, 2);
    q->r.choices = draw_below(&seed, 4) ? 1 : 2 + (int)draw_below(&seed, 2);
    q->r.top = (int)draw_below(&seed, 5) - 1;
    q->r.echo = draw_below(&seed, 2) == 0;
    if (draw_below(&seed, 2)) {
        q->r.sampling.temperature = 0.5 + (double)draw_below(&seed, 3);
        q->r.sampling.top_k = draw_below(&seed, 20);
        q->r.sampling.top_p = draw_below(&seed, 2) ? 1 : 0.8;
        q->r.sampling.seed = (uint64_t)draw_below(&seed, 1000);
    }
    if (draw_below(&seed, 3) == 0) q->r.sampling.repetition_penalty = 1.3;
    q->r.end = ends;
    q->r.ends = draw_below(&seed, 2) ? 1 : 0;
    q->r.listen = listen;
}

typedef struct setup {
    model m;
    decoder x;
} setup;

static void setup_init(setup *s, const dims *d)
{
    model_init(&s->m, d, ops_cpu_f32(), 1);
    random_weights(&s->m, 1, 1);
}

/* Runs requests from..to-1: all are there from the start, or, `apart`, one more for each pass. */
static void run(setup *s, const decoder_settings *pool, const engine_settings *set, const request *q,
                int count, bool apart, listener *l)
{
    message why;
    decoder_init(&s->x, &s->m, pool);
    engine *e = engine_new(&s->x, NULL, set);
    for (int i = 0; i < count || engine_busy(e);) {
        if (i < count) {
            engine_request r = q[i].r;
            uint64_t id;
            r.context = &l[i];
            if (engine_submit(e, &r, &id, &why) != OK) fail_msg("request %d: %s", i, why.text);
            i++;
        }
        if (apart || i == count) engine_step(e);
    }
    const engine_statistics n = engine_statistics_now(e);
    assert_int_equal(n.finished, count);
    assert_int_equal(n.running, 0);
    assert_int_equal(n.waiting, 0);
    engine_free(e);
    assert_int_equal(decoder_pages_free(&s->x), pool->positions / DECODER_PAGE);
    decoder_free(&s->x);
}

static void free_told(listener *l, int count)
{
    for (int i = 0; i < count; i++) free(l[i].told);
    memset(l, 0, (size_t)count * sizeof *l);
}

static void same_in_company(void **state)
{
    (void)state;
    static request q[REQUESTS];
    static listener alone[REQUESTS], together[REQUESTS];
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        setup s;
        setup_init(&s, &shapes[shape]);
        const decoder_settings lonely = {
            .rows = 512, .sequences = 3, .positions = 64 * 20, .longest = LONGEST, .materialise = true};
        const engine_settings set = {.running = 3, .queue = 100, .materialise_from = 70};
        for (int i = 0; i < REQUESTS; i++) {
            draw_request(&q[i], 77 * (uint64_t)i + 5);
            run(&s, &lonely, &set, &q[i], 1, false, &alone[i]);
        }
        const struct {
            decoder_settings pool;
            engine_settings set;
        } ways[] = {
            {{.rows = 512, .sequences = 60, .positions = 64 * 200, .longest = LONGEST, .materialise = true},
             {50, 100, 70}},
            {{.rows = 7, .sequences = 6, .positions = 64 * 14, .longest = LONGEST, .materialise = true},
             {5, 100, 70}},
            {{.rows = 33, .sequences = 12, .positions = 64 * 30, .longest = LONGEST, .materialise = true},
             {8, 100, 70}},
        };
        for (size_t way = 0; way < 2 * sizeof ways / sizeof *ways; way++) {
            run(&s, &ways[way / 2].pool, &ways[way / 2].set, q, REQUESTS, way % 2, together);
            for (int i = 0; i < REQUESTS; i++) check_same(&together[i], &alone[i], i);
            free_told(together, REQUESTS);
        }
        free_told(alone, REQUESTS);
        model_free(&s.m);
    }
}

/* Choices of a question, as lm-eval sends them: their common beginning is computed once, and what is said of
 * it is what a plain pass says. */
static void prompts_are_shared_and_scored(void **state)
{
    (void)state;
    enum { CHOICES = 4, COMMON = 80, LENGTH = 90 };
    setup s;
    setup_init(&s, &shapes[1]);
    static request q[CHOICES];
    static listener l[CHOICES];
    uint64_t seed = 9;
    message why;
    for (int64_t i = 0; i < LENGTH; i++)
        for (int k = 0; k < CHOICES; k++)
            q[k].prompt[i] = i < COMMON && k ? q[0].prompt[i] : (int32_t)draw_below(&seed, V);
    decoder_init(&s.x, &s.m,
                 &(decoder_settings){.rows = 512, .sequences = 8, .positions = 64 * 20, .longest = LONGEST});
    engine *e = engine_new(&s.x, NULL, &(engine_settings){.running = 4, .queue = 10});
    for (int k = 0; k < CHOICES; k++) {
        uint64_t id;
        q[k].r = engine_request_default();
        q[k].r.prompt = q[k].prompt, q[k].r.prompt_tokens = LENGTH, q[k].r.max_tokens = 1;
        q[k].r.top = 1, q[k].r.echo = true, q[k].r.listen = listen, q[k].r.context = &l[k];
        if (engine_submit(e, &q[k].r, &id, &why) != OK) fail_msg("%s", why.text);
    }
    while (engine_busy(e)) engine_step(e);
    const engine_statistics n = engine_statistics_now(e);
    assert_int_equal(n.passes, 2);
    assert_true(n.rows <= LENGTH + (CHOICES - 1) * (LENGTH - COMMON + 1));
    engine_free(e);
    for (int k = 0; k < CHOICES; k++) {
        int32_t rows[LENGTH], targets[LENGTH];
        token_score scores[LENGTH];
        const int sequence = decoder_open(&s.x);
        assert_true(
            decoder_forward(&s.x, &(span){.sequence = sequence, .tokens = q[k].prompt, .count = LENGTH}, 1));
        for (int i = 0; i < LENGTH; i++) rows[i] = i, targets[i] = i + 1 < LENGTH ? q[k].prompt[i + 1] : -1;
        decoder_scores(&s.x, rows, targets, LENGTH, scores);
        decoder_close(&s.x, sequence);
        assert_int_equal(l[k].count, LENGTH + 2); /* the prompt, a token, the end */
        assert_false(l[k].told[0].event.scored);
        for (int i = 1; i <= LENGTH; i++) {
            const told *t = &l[k].told[i];
            assert_true(t->event.scored);
            assert_int_equal(t->event.token, i < LENGTH ? q[k].prompt[i] : scores[i - 1].best);
            assert_true(t->event.logprob ==
                        (i < LENGTH ? scores[i - 1].logprob : scores[i - 1].best_logprob));
            assert_int_equal(t->top[0].token, scores[i - 1].best);
            assert_true(t->top[0].logprob == scores[i - 1].best_logprob);
        }
    }
    free_told(l, CHOICES);
    decoder_free(&s.x);
    model_free(&s.m);
}

/* Many questions at once, more than a pass takes: no context is computed twice (a few
 * tokens are, where a context is cut by a pass). */
static void questions_are_computed_once(void **state)
{
    (void)state;
    enum { QUESTIONS = 30, CHOICES = 4, CONTEXT = 40, LENGTH = 44 };
    setup s;
    setup_init(&s, &shapes[0]);
    static request q;
    static listener l[QUESTIONS * CHOICES];
    uint64_t seed = 4, id;
    message why;
    decoder_init(&s.x, &s.m,
                 &(decoder_settings){.rows = 100, .sequences = 24, .positions = 64 * 30, .longest = LONGEST});
    engine *e = engine_new(&s.x, NULL, &(engine_settings){.running = 20, .queue = QUESTIONS * CHOICES});
    for (int i = 0; i < QUESTIONS * CHOICES; i++) {
        for (int k = i % CHOICES ? CONTEXT : 0; k < LENGTH; k++) q.prompt[k] = (int32_t)draw_below(&seed, V);
        q.prompt[CONTEXT] = i % CHOICES; /* they differ there */
        q.r = engine_request_default();
        q.r.prompt = q.prompt, q.r.prompt_tokens = LENGTH, q.r.max_tokens = 1;
        q.r.top = 1, q.r.echo = true, q.r.listen = listen, q.r.context = &l[i];
        if (engine_submit(e, &q.r, &id, &why) != OK) fail_msg("%s", why.text);
    }
    while (engine_busy(e)) engine_step(e);
    const int64_t rows = engine_statistics_now(e).rows;
    const int64_t least = QUESTIONS * (LENGTH + (CHOICES - 1) * (LENGTH - CONTEXT + 1));
    if (rows > least + least / 20)
        fail_msg("%lld tokens were computed, %lld were to be", (long long)rows, (long long)least);
    engine_free(e);
    free_told(l, QUESTIONS * CHOICES);
    decoder_free(&s.x);
    model_free(&s.m);
}

/* A prompt that goes on behind what was generated for another, in both forms. */
static void next_turn(void **state)
{
    (void)state;
    enum { FIRST = 75, GENERATED = 20, MORE = 10 };
    for (int way = 0; way < 2; way++) {
        const engine_settings set = {.running = 1, .queue = 2, .materialise_from = way ? 70 : 0};
        const decoder_settings pool = {
            .rows = 512, .sequences = 4, .positions = 64 * 12, .longest = LONGEST, .materialise = true};
        setup s;
        setup_init(&s, &shapes[1]);
        static request q[2];
        static listener l[2], alone;
        uint64_t seed = 31;
        for (int i = 0; i < 2; i++) {
            q[i].r = engine_request_default();
            q[i].r.prompt = q[i].prompt, q[i].r.prompt_tokens = FIRST, q[i].r.max_tokens = GENERATED;
            q[i].r.top = 1, q[i].r.listen = listen;
        }
        for (int i = 0; i < FIRST; i++) q[0].prompt[i] = q[1].prompt[i] = (int32_t)draw_below(&seed, V);
        run(&s, &pool, &set, &q[0], 1, false, &l[0]);
        for (int i = 0; i < GENERATED; i++) q[1].prompt[FIRST + i] = l[0].told[i].event.token;
        for (int i = 0; i < MORE; i++) q[1].prompt[FIRST + GENERATED + i] = (int32_t)draw_below(&seed, V);
        q[1].r.prompt_tokens = FIRST + GENERATED + MORE;
        run(&s, &pool, &set, &q[1], 1, false, &alone);
        free_told(l, 2);
        run(&s, &pool, &set, q, 2, false, l);
        check_same(&l[1], &alone, way);
        /* what was generated is computed again where prompts have another form */
        assert_int_equal(l[1].told[l[1].count - 1].event.reused, way ? FIRST : FIRST + GENERATED - 1);
        free_told(l, 2);
        free_told(&alone, 1);
        model_free(&s.m);
    }
}

/* The likeliest tokens are in order, and their log-probabilities are those of the logits. */
static void likeliest_tokens(void **state)
{
    (void)state;
    setup s;
    setup_init(&s, &shapes[0]);
    static listener l;
    const int32_t prompt[] = {5, 6, 7};
    const engine_settings set = {.running = 1, .queue = 1};
    const decoder_settings pool = {.rows = 8, .sequences = 2, .positions = 64 * 2, .longest = 64};
    request q = {.r = engine_request_default()};
    q.r.prompt = prompt, q.r.prompt_tokens = 3, q.r.max_tokens = 1, q.r.top = 5, q.r.listen = listen;
    run(&s, &pool, &set, &q, 1, false, &l);
    decoder_init(&s.x, &s.m, &pool);
    float logits[V];
    const int sequence = decoder_open(&s.x);
    assert_true(decoder_forward(&s.x, &(span){.sequence = sequence, .tokens = prompt, .count = 3}, 1));
    decoder_logits(&s.x, &(int32_t){2}, 1, logits);
    double sum = 0;
    for (int i = 0; i < V; i++) sum += exp((double)logits[i]);
    const told *t = &l.told[0];
    assert_int_equal(t->event.tops, 5);
    assert_int_equal(t->top[0].token, t->event.token);
    assert_true(t->top[0].logprob == t->event.logprob);
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(t->top[i].logprob - ((double)logits[t->top[i].token] - log(sum))) < 1e-9);
        int above = 0;
        for (int j = 0; j < V; j++) above += logits[j] > logits[t->top[i].token];
        assert_int_equal(above, i);
    }
    free_told(&l, 1);
    decoder_free(&s.x);
    model_free(&s.m);
}

static void add_piece(void *context, const engine_event *event)
{
    if (event->kind == EVENT_TOKEN) text_buffer_append(context, event->piece, event->piece_bytes);
}

/* Every token is the first byte of a character: that of the last one is never finished, and is its piece. */
static void pieces_are_the_text(void **state)
{
    (void)state;
    setup s;
    setup_init(&s, &shapes[0]);
    char json[4000], *p = json + sprintf(json, "{\"decoder\": {\"type\": \"ByteLevel\"}, \"pre_tokenizer\": "
                                               "{\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", "
                                               "\"merges\": [], \"vocab\": {");
    for (int i = 0; i < V; i++) p += sprintf(p, "%s\"\\u%04x\": %d", i ? ", " : "", 0xc2 + i, i);
    sprintf(p, "}}}");
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, scratch_text("tokenizer.json", json), &why) != OK) fail_msg("%s", why.text);
    decoder_init(&s.x, &s.m, &(decoder_settings){.rows = 16, .sequences = 1, .positions = 64, .longest = 64});
    engine *e = engine_new(&s.x, t, &(engine_settings){.running = 1, .queue = 1});
    text_buffer pieces = {0};
    engine_request r = engine_request_default();
    uint64_t id;
    r.prompt = (const int32_t[]){1}, r.prompt_tokens = 1, r.max_tokens = 6;
    r.listen = add_piece, r.context = &pieces;
    if (engine_submit(e, &r, &id, &why) != OK) fail_msg("%s", why.text);
    while (engine_busy(e)) engine_step(e);
    assert_int_equal(pieces.bytes, 6 * 3); /* U+FFFD each */
    text_buffer_free(&pieces);
    engine_free(e);
    decoder_free(&s.x);
    tokenizer_close(t);
    model_free(&s.m);
}

static void cancelled(void **state)
{
    (void)state;
    setup s;
    setup_init(&s, &shapes[1]);
    static request q[3];
    static listener l[3];
    uint64_t id[3];
    message why;
    decoder_init(&s.x, &s.m,
                 &(decoder_settings){.rows = 16, .sequences = 4, .positions = 64 * 8, .longest = LONGEST});
    engine *e = engine_new(&s.x, NULL, &(engine_settings){.running = 2, .queue = 3});
    for (int i = 0; i < 3; i++) {
        draw_request(&q[i], 3);
        q[i].r.prompt_tokens = 20, q[i].r.max_tokens = 50, q[i].r.choices = 1, q[i].r.ends = 0,
        q[i].r.echo = false;
        q[i].prompt[0] = i;
        q[i].r.context = &l[i];
        if (engine_submit(e, &q[i].r, &id[i], &why) != OK) fail_msg("%s", why.text);
    }
    assert_int_equal(engine_submit(e, &q[0].r, &id[0], &why), ERR_DEVICE); /* the queue is full */
    while (engine_statistics_now(e).running < 2) engine_step(e);
    assert_false(engine_waits(e, id[1]));
    assert_true(engine_waits(e, id[2]));
    l[0].cancels = e, l[0].after = 4; /* by its listener */
    while (engine_statistics_now(e).generated_tokens < 10) engine_step(e);
    assert_true(engine_cancel(e, id[2])); /* waiting, or running since the first is gone */
    assert_int_equal(l[2].finished, 1);
    assert_false(engine_cancel(e, id[2]));
    while (engine_busy(e)) engine_step(e);
    assert_int_equal(l[0].told[l[0].count - 1].event.reason, FINISH_CANCELLED);
    assert_int_equal(l[0].told[l[0].count - 1].event.index, 4);
    assert_int_equal(l[1].told[l[1].count - 1].event.reason, FINISH_LENGTH);
    assert_int_equal(l[1].count, 51);
    assert_int_equal(l[2].told[l[2].count - 1].event.reason, FINISH_CANCELLED);
    assert_int_equal(engine_statistics_now(e).cancelled, 2);
    engine_free(e);
    free_told(l, 3);
    decoder_free(&s.x);
    model_free(&s.m);
}

static void refused(engine *e, engine_request r, const char *sentence)
{
    message why;
    uint64_t id;
    r.listen = listen;
    assert_int_equal(engine_submit(e, &r, &id, &why), ERR_USAGE);
    if (!strstr(why.text, sentence)) fail_msg("%s, expected: %s", why.text, sentence);
}

static void refusals(void **state)
{
    (void)state;
    setup s;
    setup_init(&s, &shapes[0]);
    static const int32_t prompt[LONGEST + 1], bad[] = {1, V};
    decoder_init(&s.x, &s.m,
                 &(decoder_settings){.rows = 16, .sequences = 4, .positions = 64 * 3, .longest = LONGEST});
    engine *e = engine_new(&s.x, NULL, &(engine_settings){.running = 2, .queue = 3});
    engine_request good = engine_request_default(), r;
    good.prompt = prompt, good.prompt_tokens = 10;
    r = good, r.prompt_tokens = 0;
    refused(e, r, "the prompt is empty");
    r = good, r.prompt_tokens = LONGEST + 1;
    refused(e, r, "more than the 300 of a sequence");
    r = good, r.prompt_tokens = 150, r.max_tokens = 150;
    refused(e, r, "take 320 positions of the cache over all choices; it has 192");
    r = good, r.choices = 3;
    refused(e, r, "3 choices are wanted; there can be 1 to 2");
    r = good, r.prompt = bad, r.prompt_tokens = 2;
    refused(e, r, "token 1 is 40; the model's are from 0 to 39");
    r = good, r.top = 21;
    refused(e, r, "there can be 0 to 20");
    r = good, r.sampling.top_p = 0;
    refused(e, r, "top_p is 0");
    r = good, r.stop = (const char *const[]){"x"}, r.stops = 1;
    refused(e, r, "need a tokenizer");
    assert_false(engine_busy(e));
    engine_free(e);
    decoder_free(&s.x);
    model_free(&s.m);
}

/* A model whose numbers are not finite ends its requests. */
static void not_finite(void **state)
{
    (void)state;
    setup s;
    setup_init(&s, &shapes[0]);
    enum { WAYS = 4 };
    static listener l[WAYS];
    static request q[WAYS];
    for (int i = 0; i < WAYS; i++) {
        q[i].r = engine_request_default();
        q[i].r.prompt = q[i].prompt, q[i].r.prompt_tokens = 3, q[i].r.listen = listen;
        q[i].r.sampling.temperature = i % 2;
        q[i].r.echo = i >= 2, q[i].r.top = i >= 2 ? i : -1;
    }
    tensor embedding = weights_param(&s.m.w, &s.m.table.param[0]);
    ((float *)embedding.data)[0] = NAN; /* of token 0, which the prompts are made of */
    run(&s, &(decoder_settings){.rows = 8, .sequences = 2, .positions = 128, .longest = 64},
        &(engine_settings){.running = 2, .queue = WAYS}, q, WAYS, false, l);
    for (int i = 0; i < WAYS; i++) { /* the first token of a prompt has no log-probability */
        assert_int_equal(l[i].count, i < 2 ? 1 : 2);
        assert_int_equal(l[i].told[l[i].count - 1].event.reason, FINISH_ERROR);
    }
    free_told(l, WAYS);
    model_free(&s.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_in_company),
                                       cmocka_unit_test(prompts_are_shared_and_scored),
                                       cmocka_unit_test(likeliest_tokens),
                                       cmocka_unit_test(next_turn),
                                       cmocka_unit_test(questions_are_computed_once),
                                       cmocka_unit_test(pieces_are_the_text),
                                       cmocka_unit_test(cancelled),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
