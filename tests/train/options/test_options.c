/* Options: the frozen list of keys with their defaults, what a user may write and what not, and that
 * everything printed can be read back. */
#include "train/options/options.h"
#include "tests/support/scratch.h"
#include "base/nearest.h"
#include "train/options/options_table.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect_text(const char *got, const char *part)
{
    if (!strstr(got, part)) fail_msg("expected \"%s\" in: %s", part, got);
}

static void set(options *o, const char *assignment)
{
    message why = {""};
    if (options_set(o, assignment, &why) != OK) fail_msg("%s", why.text);
}

static void read_text(options *o, const char *yaml)
{
    message why = {""};
    if (options_read_yaml(o, scratch_text("read.yaml", yaml), &why) != OK) fail_msg("%s", why.text);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

/* A new option, or another default, is a decision: it shows here. */
static void test_frozen(void **state)
{
    (void)state;
    static const char *const want[] = {
        "model.path=",
        "data.train=",
        "data.val=",
        "data.document_mask=true",
        "data.packing=concat",
        "data.eos=auto",
        "data.pack_index=",
        "data.window=none",
        "train.out=",
        "train.steps=auto",
        "train.seq_len=4096",
        "train.batch_tokens=262144",
        "train.micro_batch=1",
        "train.rollbacks=2",
        "train.seed=42",
        "train.resume=auto",
        "train.stop_after=none",
        "train.recompute=light",
        "parallel.zero=1",
        "parallel.sum=fast",
        "parallel.reduce_type=f32",
        "parallel.check=100",
        "parallel.timeout=auto",
        "optim.lr=2e-5",
        "optim.min_lr=0",
        "optim.warmup=auto",
        "optim.schedule=cosine",
        "optim.beta1=0.9",
        "optim.beta2=0.999",
        "optim.eps=1e-8",
        "optim.weight_decay=0.01",
        "optim.clip=1.0",
        "optim.offload=false",
        "eval.seq_len=auto",
        "eval.micro_batch=auto",
        "eval.data=",
        "eval.base=",
        "eval.tasks=",
        "eval.style=transmla",
        "eval.every=none",
        "eval.limit=all",
        "eval.rows=512",
        "val.every=none",
        "val.tokens=all",
        "checkpoint.every=100",
        "checkpoint.keep=2",
        "checkpoint.weights=auto",
        "checkpoint.keep_best=true",
        "export.dtype=auto",
        "export.average=1",
        "device.kind=auto",
        "device.storage=bf16",
        "device.attention=auto",
        "decode.cache=f32",
        "decode.rows=512",
        "decode.positions=auto",
        "decode.sequences=32",
        "generate.max_tokens=256",
        "generate.temperature=0",
        "generate.top_k=all",
        "generate.top_p=1",
        "generate.min_p=0",
        "generate.repetition_penalty=1",
        "generate.seed=0",
        "generate.stop=",
        "generate.chat=auto",
        "generate.system=",
        "generate.bos=auto",
        "serve.host=127.0.0.1",
        "serve.port=8000",
        "serve.key=",
        "serve.base=",
        "serve.context=auto",
        "serve.max_tokens=1024",
        "serve.bos=auto",
        "serve.queue=512",
        "serve.patience=300",
        "serve.duration=3600",
        "serve.connections=256",
        "serve.max_body=8388608",
        "serve.timeout=60",
        "serve.grace=30",
        "serve.origins=",
        "debug.dump_gradients=",
        "convert.qk_rope_head_dim=64",
        "convert.kv_lora_rank=512",
        "convert.q_lora_rank=auto",
        "convert.freqfold=auto",
        "convert.method=auto",
        "convert.balance=auto",
        "convert.latent_norm=false",
        "convert.dtype=source",
        "convert.layout=auto",
        "calib.data=",
        "calib.tokens=all",
        "calib.seq_len=256",
        "import.format=auto",
        "import.token_bytes=auto",
        "import.model=",
        "import.eos=auto",
        "import.vocabulary=auto",
        "import.column=",
        "tokenize.model=",
        "tokenize.out=",
        "tokenize.column=text",
        "tokenize.eos=auto",
        "tokenize.shard_tokens=100000000",
        "tokenize.compress=true",
    };
    assert_int_equal(NUM_OPTIONS, sizeof want / sizeof want[0]);
    for (int i = 0; i < NUM_OPTIONS; i++) {
        char line[200];
        snprintf(line, sizeof line, "%s.%s=%s", option_table[i].section, option_table[i].name,
                 option_table[i].initial);
        assert_string_equal(line, want[i]);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    options o;
    options_init(&o);
    assert_int_equal(o.train_seq_len, 4096);
    assert_int_equal(o.train_batch_tokens, 262144);
    assert_int_equal(o.optim_warmup.word, OPTION_AUTO);
    assert_true(o.optim_lr == 2e-5 && o.optim_min_lr == 0 && o.optim_eps == 1e-8);
    assert_true(o.optim_clip.word == OPTION_NUMBER && o.optim_clip.number == 1);
    assert_true(o.data_document_mask && !o.convert_latent_norm);
    assert_int_equal(o.val_tokens.word, OPTION_ALL);
    assert_int_equal(o.data_train.count, 0);
    assert_string_equal(o.model_path, "");
    assert_string_equal(o.train_resume, "auto");
    assert_false(option_is_set(&o, "train.seq_len"));
    options_free(&o);
}

/* Of a row of words, each is the enumerator of its name. */
static void test_enums(void **state)
{
    (void)state;
    options o;
    options_init(&o);
    assert_int_equal(o.device_kind, OPTION_device_kind_auto);
    set(&o, "device.kind=cpu");
    assert_int_equal(o.device_kind, OPTION_device_kind_cpu);
    set(&o, "device.kind=cuda");
    assert_int_equal(o.device_kind, OPTION_device_kind_cuda);
    set(&o, "optim.schedule=one_minus_sqrt");
    assert_int_equal(o.optim_schedule, OPTION_optim_schedule_one_minus_sqrt);
    set(&o, "optim.schedule=cosine");
    assert_int_equal(o.optim_schedule, OPTION_optim_schedule_cosine);
    set(&o, "import.token_bytes=4");
    assert_int_equal(o.import_token_bytes, OPTION_import_token_bytes_4);
    set(&o, "import.format=mds");
    assert_int_equal(o.import_format, OPTION_import_format_mds);
    options_free(&o);
}

static const option_whole *whole_at(const options *o, int id)
{
    return (const option_whole *)((const char *)o + option_table[id].at);
}

/* Words in the place of numbers, and the numbers that stood for them before there were words: 0, or -1 where
 * 0 is a number like others. optim.clip has one too; options that never had one refuse (test_refusals). */
static const struct {
    int id;
    const char *old, *now;
    option_word word;
} words[] = {
    {OPTION_data_eos, "data.eos=-1", "data.eos=auto", OPTION_AUTO},
    {OPTION_data_window, "data.window=0", "data.window=none", OPTION_NONE},
    {OPTION_train_steps, "train.steps=0", "train.steps=auto", OPTION_AUTO},
    {OPTION_train_stop_after, "train.stop_after=0", "train.stop_after=none", OPTION_NONE},
    {OPTION_optim_warmup, "optim.warmup=-1", "optim.warmup=auto", OPTION_AUTO},
    {OPTION_val_every, "val.every=0", "val.every=none", OPTION_NONE},
    {OPTION_val_tokens, "val.tokens=0", "val.tokens=all", OPTION_ALL},
    {OPTION_checkpoint_every, "checkpoint.every=0", "checkpoint.every=none", OPTION_NONE},
    {OPTION_convert_q_lora_rank, "convert.q_lora_rank=0", "convert.q_lora_rank=auto", OPTION_AUTO},
    {OPTION_calib_tokens, "calib.tokens=0", "calib.tokens=all", OPTION_ALL},
    {OPTION_import_eos, "import.eos=-1", "import.eos=auto", OPTION_AUTO},
    {OPTION_import_vocabulary, "import.vocabulary=0", "import.vocabulary=auto", OPTION_AUTO},
};
enum { NUM_WORDS = sizeof words / sizeof *words };

static void test_words(void **state)
{
    (void)state;
    options o;
    options_init(&o);
    for (size_t i = 0; i < NUM_WORDS; i++) {
        const option_whole *value = whole_at(&o, words[i].id);
        char number[64];
        snprintf(number, sizeof number, "%.*s=7", (int)strcspn(words[i].old, "="), words[i].old);
        for (int old = 0; old < 2; old++) {
            set(&o, number);
            assert_true(value->word == OPTION_NUMBER && value->number == 7);
            assert_int_equal(option_or(*value, 3), 7);
            set(&o, old ? words[i].old : words[i].now);
            assert_int_equal(value->word, words[i].word);
            assert_int_equal(option_or(*value, 3), 3);
        }
    }
    /* 0 is a number where the range begins with it. */
    set(&o, "optim.warmup=0");
    assert_true(o.optim_warmup.word == OPTION_NUMBER && o.optim_warmup.number == 0);
    set(&o, "tokenize.eos=0");
    assert_true(o.tokenize_eos.word == OPTION_NUMBER && o.tokenize_eos.number == 0);
    set(&o, "tokenize.eos=none");
    assert_int_equal(o.tokenize_eos.word, OPTION_NONE);
    set(&o, "tokenize.eos=auto");
    assert_int_equal(o.tokenize_eos.word, OPTION_AUTO);
    set(&o, "optim.clip=none");
    assert_int_equal(o.optim_clip.word, OPTION_NONE);
    set(&o, "optim.clip=0.5");
    assert_true(o.optim_clip.word == OPTION_NUMBER && option_real_or(o.optim_clip, 7) == 0.5);
    set(&o, "optim.clip=0.0");
    assert_true(o.optim_clip.word == OPTION_NONE && option_real_or(o.optim_clip, 7) == 7);
    int old = 0;
    for (int i = 0; i < NUM_OPTIONS; i++) old += option_old_numbers[i] != NULL;
    assert_int_equal(old, NUM_WORDS + 1); /* and optim.clip: a new option has no old number */
    options_free(&o);
}

/* A file that a run left before there were words: the run goes on, and nothing has changed. What is written
 * now has the words. */
static void test_old_file(void **state)
{
    (void)state;
    static const char old[] = "data: {eos: -1, window: 0}\ntrain: {steps: 0, stop_after: 0}\n"
                              "optim: {warmup: -1, clip: 0.0}\nval: {every: 0, tokens: 0}\n"
                              "checkpoint: {every: 0}\nconvert: {q_lora_rank: 0}\ncalib: {tokens: 0}\n"
                              "import: {eos: -1, vocabulary: 0}\ntokenize: {eos: \"auto\"}\n";
    options then, now;
    message why = {""};
    options_init(&then);
    options_init(&now);
    read_text(&then, old);
    set(&now, "optim.clip=none");
    set(&now, "checkpoint.every=none");
    for (int i = 0; i < NUM_OPTIONS; i++) then.line[i] = now.line[i] = OPTION_DEFAULT;
    if (options_same(&now, &then, &why) != OK) fail_msg("%s", why.text);
    char *a = options_text(&then), *b = options_text(&now);
    assert_string_equal(a, b);
    expect_text(a, "  warmup: auto  #");
    expect_text(a, "  clip: none  #");
    expect_text(a, "  tokens: all  #");
    free(a);
    free(b);
    set(&now, "data.window=4");
    assert_int_equal(options_same(&now, &then, &why), ERR_USAGE);
    expect_text(why.text, "data.window is 4 (command line), but the run began with none (default)");
    options_free(&now);
    options_free(&then);
}

/* ---- the command line ---------------------------------------------------------------------------------- */

static void test_command_line(void **state)
{
    (void)state;
    options o;
    options_init(&o);
    set(&o, "train.seed=9223372036854775807");
    assert_true(o.train_seed == INT64_MAX);
    set(&o, "optim.warmup=-1");
    set(&o, "optim.lr=5.0e-4");
    set(&o, "optim.lr=1e-3");
    assert_true(o.optim_lr == 1e-3); /* the later wins */
    set(&o, "data.document_mask=false");
    assert_false(o.data_document_mask);
    set(&o, "convert.freqfold=4");
    assert_int_equal(o.convert_freqfold.number, 4);
    set(&o, "convert.freqfold=auto");
    assert_int_equal(o.convert_freqfold.word, OPTION_AUTO);
    set(&o, "model.path=a=b.c");
    assert_string_equal(o.model_path, "a=b.c");
    set(&o, "data.train=a.ds,shards/*.ds");
    assert_int_equal(o.data_train.count, 2);
    assert_string_equal(o.data_train.item[0], "a.ds");
    assert_string_equal(o.data_train.item[1], "shards/*.ds");
    set(&o, "data.train=");
    assert_int_equal(o.data_train.count, 0);
    set(&o, "val.data=held-out.ds"); /* data.val by its other name */
    assert_int_equal(o.data_val.count, 1);
    assert_true(option_is_set(&o, "data.val") && option_is_set(&o, "val.data") &&
                !option_is_set(&o, "val.every"));
    options_free(&o);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *assignment, *expect;
    } cases[] = {
        {"optim.lr=banana", "optim.lr=banana (command line): expected a number from 0 to 1"},
        {"optim.lr=nan", "optim.lr=nan"},
        {"optim.lr=inf", "optim.lr=inf"},
        {"optim.lr=-inf", "optim.lr=-inf"},
        {"optim.lr=0x1p-3", "optim.lr=0x1p-3"},
        {"optim.lr=1e-3x", "optim.lr=1e-3x"},
        {"optim.lr= 1e-3", "expected a number"},
        {"optim.lr=", "expected a number"},
        {"optim.lr=1e999", "from 0 to 1"},
        {"optim.lr=1e", "from 0 to 1"},
        {"optim.lr=1.5", "from 0 to 1"},
        {"optim.lr=-1e-9", "from 0 to 1"},
        {"optim.eps=0", "from 1e-20 to 1"},
        {"train.seq_len=2.5", "expected a whole number from 1 to 1048576"},
        {"train.seq_len=1e3", "expected a whole number"},
        {"train.seq_len=4k", "expected a whole number"},
        {"train.seq_len=4_096", "expected a whole number"},
        {"train.seq_len=+4", "expected a whole number"},
        {"train.seq_len=-", "expected a whole number"},
        {"train.seq_len=0", "train.seq_len=0 (command line): expected a whole number from 1 to 1048576"},
        {"train.seq_len=1048577", "expected a whole number"},
        {"train.seed=9223372036854775808", "expected a whole number"},
        {"train.seed=18446744073709551617", "expected a whole number"},
        {"data.document_mask=yes", "data.document_mask=yes (command line): expected true or false"},
        {"data.document_mask=True", "expected true or false"},
        {"optim.schedule=cos", "expected one of cosine, linear, constant, one_minus_sqrt"},
        {"optim.schedule=", "expected one of"},
        {"optim.schedule=cosine, linear", "expected one of"},
        {"convert.freqfold=-1", "expected auto, or a whole number from 1 to 4096"},
        {"convert.freqfold=0", "expected auto, or a whole number from 1 to 4096"},
        {"eval.seq_len=0",
         "eval.seq_len=0 (command line): expected auto, or a whole number from 1 to 1048576"},
        {"eval.micro_batch=0", "expected auto, or a whole number from 1 to 65536"},
        {"val.every=-1", "expected none, or a whole number from 1 to 1000000000000"},
        {"convert.freqfold=none", "expected auto, or"},
        {"convert.freqfold=4097", "expected auto, or"},
        {"optim.warmup=-2", "expected auto, or a whole number from 0 to 1000000000000"},
        {"train.steps=-1", "expected auto, or a whole number from 1 to 1000000000000"},
        {"train.steps=all", "expected auto, or"},
        {"val.tokens=", "expected all, or a whole number"},
        {"optim.clip=auto", "expected none, or a number from 0 to 1000000"},
        {"optim.clip=-1", "expected none, or a number from 0 to 1000000"},
        {"tokenize.eos=-1", "expected auto, none, or a whole number from 0 to 2147483646"},
        {"tokenize.eos=auto, none", "expected auto, none, or"},
        {"tokenize.eos=a number", "expected auto, none, or"},
        {"convert.freqfold=best", "expected auto"},
        {"data.train=a.ds,,b.ds", "data.train (command line): item 2 of 3 is empty"},
        {"model.path=a\nb", "control character (code 10) at byte 2"},
        {"model.path=\xff", "not UTF-8"},
        {"train.sep_len=3", "unknown option train.sep_len (command line); did you mean train.seq_len?"},
        {"train.lr=3", "did you mean optim.lr?"},
        {"trian.seq_len=3", "did you mean train.seq_len?"},
        {"data.train_=3", "did you mean data.train?"},
        {"x", "x: expected section.key=value"},
        {"seq_len=3", "expected section.key=value"},
        {"=", "expected section.key=value"},
        {".=", "unknown option ."},
        {"train.=1", "unknown option train."},
    };
    options o;
    options_init(&o);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        message why = {""};
        if (options_set(&o, cases[i].assignment, &why) != ERR_USAGE)
            fail_msg("%s was not refused", cases[i].assignment);
        expect_text(why.text, cases[i].expect);
    }
    for (int i = 0; i < NUM_OPTIONS; i++)
        assert_int_equal(o.line[i], OPTION_DEFAULT); /* a refused value changes nothing */
    assert_true(o.optim_lr == 2e-5 && o.train_seq_len == 4096 && o.train_seed == 42 && o.data_document_mask);
    options_free(&o);
}

static void test_long_texts(void **state)
{
    (void)state;
    char assignment[PATH_BYTES + 32];
    message why = {""};
    options o;
    options_init(&o);
    memset(assignment, 'a', sizeof assignment);
    memcpy(assignment, "train.out=", 10);
    assignment[10 + PATH_BYTES - 1] = 0;
    set(&o, assignment);
    assert_int_equal(strlen(o.train_out), PATH_BYTES - 1);
    assignment[10 + PATH_BYTES - 1] = 'a';
    assignment[10 + PATH_BYTES] = 0;
    assert_int_equal(options_set(&o, assignment, &why), ERR_USAGE);
    expect_text(why.text, "1024 bytes long, more than 1023");
    options_free(&o);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_int_equal(edit_distance("train", "train"), 0);
    assert_int_equal(edit_distance("trian", "train"), 1);
    assert_int_equal(edit_distance("tran", "train"), 1);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    assert_int_equal(edit_distance("", "abc"), 3);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void test_yaml(void **state)
{
    (void)state;
    options o;
    options_init(&o);
    read_text(&o, "# a run\n"
                  "model: {path: models/llama}\n"
                  "data:\n"
                  "  train: [\"a,b.ds\", c.ds]\n"
                  "  val: held out.ds\n"
                  "train:\n"
                  "  out: \"null\"\n"
                  "  seq_len: 512  # tokens\n"
                  "  steps: null\n"
                  "  stop_after:\n"
                  "optim:\n"
                  "  lr: 1e-4\n"
                  "  schedule: 'linear'\n"
                  "calib:\n"
                  "  data:\n"
                  "    - one.ds\n"
                  "    - two.ds\n"
                  "checkpoint:\n");
    assert_string_equal(o.model_path, "models/llama");
    assert_int_equal(o.data_train.count, 2);
    assert_string_equal(o.data_train.item[0], "a,b.ds"); /* commas separate on the command line only */
    assert_int_equal(o.data_val.count, 1);
    assert_string_equal(o.data_val.item[0], "held out.ds");
    assert_string_equal(o.train_out, "null");
    assert_int_equal(o.train_seq_len, 512);
    assert_true(o.optim_lr == 1e-4);
    assert_int_equal(o.optim_schedule, OPTION_optim_schedule_linear);
    assert_int_equal(o.calib_data.count, 2);
    assert_int_equal(o.line[OPTION_train_seq_len], 8);
    assert_int_equal(o.line[OPTION_calib_data], 16);
    assert_false(option_is_set(&o, "train.steps") || option_is_set(&o, "train.stop_after"));
    set(&o, "train.seq_len=64"); /* the command line wins */
    assert_int_equal(o.train_seq_len, 64);
    assert_int_equal(o.line[OPTION_train_seq_len], OPTION_COMMAND_LINE);
    options_free(&o);
}

/* A weight is kept as it is written on the command line. */
static void test_weights(void **state)
{
    (void)state;
    options o, back;
    message why = {""};
    options_init(&o);
    read_text(&o, "data:\n  train:\n    - {path: \"web, more/*.ds\", weight: 0.70}\n"
                  "    - weight: 3\n      path: b.ds\n    - c.ds:5\n");
    assert_int_equal(o.data_train.count, 3);
    assert_string_equal(o.data_train.item[0], "web, more/*.ds:0.70");
    assert_string_equal(o.data_train.item[1], "b.ds:3");
    assert_string_equal(o.data_train.item[2], "c.ds:5");
    assert_int_equal(options_write(&o, scratch_path("weights.yaml"), &why), OK);
    options_init(&back);
    assert_int_equal(options_read_yaml(&back, scratch_path("weights.yaml"), &why), OK);
    for (int i = 0; i < 3; i++) assert_string_equal(back.data_train.item[i], o.data_train.item[i]);
    options_free(&back);
    options_free(&o);
}

static void test_empty_yaml(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     "# nothing\n", "---\n",      "null\n",
                                        "{}\n", "train:\n",    "train: {}\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        options o;
        options_init(&o);
        read_text(&o, texts[i]);
        assert_false(option_is_set(&o, "train.seq_len"));
        options_free(&o);
    }
}

static void test_yaml_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *expect;
        status want;
    } cases[] = {
        {"train:\n  seq_len: 0\n", "train.seq_len=0 (FILE:2): expected a whole number from 1 to 1048576",
         ERR_USAGE},
        {"train:\n  seq_len: [1, 2]\n", "train.seq_len (FILE:2): found a list of 2", ERR_USAGE},
        {"train:\n  seq_len: []\n", "found a list of 0", ERR_USAGE},
        {"train:\n  sep_len: 1\n", "FILE:2: unknown option train.sep_len; did you mean train.seq_len?",
         ERR_USAGE},
        {"\ntrian:\n  seq_len: 1\n", "FILE:2: unknown section trian; did you mean train?", ERR_USAGE},
        {"train:\n  steps: 1\n  seed: 1\n  steps: 1\n", "FILE:4: train.steps is set a second time",
         ERR_USAGE},
        {"train:\n  steps:\n  steps: 1\n", "FILE:3: train.steps is set a second time", ERR_USAGE},
        {"data: {val: a.ds}\nval: {data: b.ds}\n", "FILE:2: val.data is set a second time", ERR_USAGE},
        {"train: {steps: 1}\noptim:\ntrain: {seed: 1}\n", "FILE:3: the section train appears a second time",
         ERR_USAGE},
        {"data:\n  train: [a.ds, \"\"]\n", "item 2 of 2 is empty", ERR_USAGE},
        {"data:\n  train: \"a\\u0001b\"\n", "control character (code 1)", ERR_USAGE},
        {"data:\n  train: [a.ds, null]\n", "FILE:2:17: found null, expected a text", ERR_INPUT},
        {"data:\n  train: [[a.ds]]\n", "FILE:2:11: found a nested value, expected a text", ERR_INPUT},
        {"data:\n  train: [{path: a.ds}]\n", "FILE:2:22: found the end, expected both path and weight",
         ERR_INPUT},
        {"data:\n  train: [{weight: 1}]\n", "FILE:2:21: found the end, expected both", ERR_INPUT},
        {"data:\n  train: [{path: a.ds, weight: 1, path: b.ds}]\n", "found path again, expected it once",
         ERR_INPUT},
        {"data:\n  train: [{path: a.ds, wait: 1}]\n", "found another key, expected path or weight",
         ERR_INPUT},
        {"data:\n  train: [{path: a.ds, weight: 1e3}]\n", "found 1e3, expected a weight like 3 or 0.25",
         ERR_INPUT},
        {"data:\n  train: [{path: a.ds, weight: -1}]\n", "found -1, expected a weight", ERR_INPUT},
        {"data:\n  train: [{path: a.ds, weight: [1]}]\n", "found no value, expected a text", ERR_INPUT},
        {"data:\n  train: [{path: a.ds, weight: null}]\n", "found no value, expected a text", ERR_INPUT},
        {"data:\n  val: [{path: a.ds, weight: 1}]\n", "FILE:2:9: found a nested value", ERR_INPUT},
        {"data:\n  train: {a: b}\n", "FILE:2:10: found keys inside a key", ERR_INPUT},
        {"train: 3\n", "FILE:1:8: found a value, expected the keys of the section", ERR_INPUT},
        {"train: [steps]\n", "FILE:1:8: found a value, expected the keys of the section", ERR_INPUT},
        {"- train\n", "FILE:1:1: found a value, expected sections of keys", ERR_INPUT},
        {"train\n", "FILE:1:1: found a value, expected sections of keys", ERR_INPUT},
        {"[a]: 1\n", "found a nested key, expected the name of a section", ERR_INPUT},
        {"train: {[a]: 1}\n", "found a nested key, expected the name of a key", ERR_INPUT},
        {"train: &t {steps: 1}\n", "FILE:1:8: found an anchor (&)", ERR_INPUT},
        {"train: {steps: &s 1, seed: *s}\n", "FILE:1:16: found an anchor (&)", ERR_INPUT},
        {"train: *t\n", "FILE:1:8: found an alias (*)", ERR_INPUT},
        {"train: {steps: !!int 1}\n", "FILE:1:16: found a tag (!)", ERR_INPUT},
        {"train: {steps: 1}\n---\ntrain: {}\n", "FILE:2:1: found a second document, expected one", ERR_INPUT},
        {"train:\n  steps: 1\n seed: 2\n", "FILE:3:2: not valid YAML", ERR_INPUT},
        {"train: {steps: 1\n", "FILE:2:1: not valid YAML", ERR_INPUT},
        {"train:\n\tsteps: 1\n", "FILE:2:1: not valid YAML", ERR_INPUT},
        {"train: \"open\n", "not valid YAML", ERR_INPUT},
        {"train:\n  out: \xff\n", "FILE:2:8: not valid YAML", ERR_INPUT},
        {"train:\n  out: \"a\\0b\"\n", "FILE:2:8: found a text with a zero byte", ERR_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options o;
        message why = {""};
        char expect[512] = "";
        const char *path = scratch_text("bad.yaml", cases[i].yaml), *file = strstr(cases[i].expect, "FILE");
        if (file)
            snprintf(expect, sizeof expect, "%.*s%s%s", (int)(file - cases[i].expect), cases[i].expect, path,
                     file + 4);
        else
            snprintf(expect, sizeof expect, "%s", cases[i].expect);
        options_init(&o);
        const status got = options_read_yaml(&o, path, &why);
        if (got != cases[i].want) fail_msg("status %d for:\n%s(%s)", got, cases[i].yaml, why.text);
        expect_text(why.text, expect);
        options_free(&o);
    }
}

static void test_missing_file(void **state)
{
    (void)state;
    options o;
    message why = {""};
    options_init(&o);
    assert_int_equal(options_read_yaml(&o, scratch_path("none.yaml"), &why), ERR_INPUT);
    expect_text(why.text, "none.yaml");
    options_free(&o);
}

/* Every prefix of a good file, and the file with any one byte replaced, is read or refused, never more
 * (the sanitizer build looks on). */
static void test_damaged_yaml(void **state)
{
    (void)state;
    static const char good[] =
        "data:\n  train: [\"a.ds\", b.ds]\noptim: {lr: 1e-4, schedule: linear}\ntrain:\n  steps: null\n";
    static const char bytes[] = {0, '\n', '\t', '"', '&', '*', '!', '[', '{', ':', '#', '\x80'};
    char text[sizeof good];
    for (size_t cut = 0; cut < 2 * sizeof good; cut++)
        for (size_t b = 0; b < (cut < sizeof good ? sizeof bytes : 1); b++) {
            options o;
            message why = {""};
            memcpy(text, good, sizeof good);
            if (cut < sizeof good) text[cut] = bytes[b];
            const int64_t length = (int64_t)(cut < sizeof good ? sizeof good - 1 : cut - sizeof good);
            options_init(&o);
            const status s = options_read_yaml(&o, scratch_write("damaged.yaml", text, length), &why);
            assert_true(s == OK || ((s == ERR_USAGE || s == ERR_INPUT) && why.text[0]));
            options_free(&o);
        }
}

/* ---- what is printed ----------------------------------------------------------------------------------- */

static void expect_equal_values(const options *a, const options *b)
{
    static const size_t sizes[] = {
        [TYPE_INT] = sizeof(option_INT),   [TYPE_INT_OR_WORD] = sizeof(option_whole),
        [TYPE_REAL] = sizeof(option_REAL), [TYPE_REAL_OR_WORD] = sizeof(option_real),
        [TYPE_BOOL] = sizeof(option_BOOL), [TYPE_ENUM] = sizeof(option_ENUM)};
    for (const option_row *row = option_table; row < option_table + NUM_OPTIONS; row++) {
        const void *x = (const char *)a + row->at, *y = (const char *)b + row->at;
        if (row->type == TYPE_TEXT) {
            assert_string_equal(x, y);
        } else if (row->type == TYPE_LIST) {
            const option_list *p = x, *q = y;
            assert_int_equal(p->count, q->count);
            for (int i = 0; i < p->count; i++) assert_string_equal(p->item[i], q->item[i]);
        } else if (memcmp(x, y, sizes[row->type]) != 0) {
            fail_msg("%s.%s differs", row->section, row->name);
        }
    }
}

static void test_write_and_read_back(void **state)
{
    (void)state;
    options o, back;
    message why = {""};
    options_init(&o);
    read_text(&o, "train: {seq_len: 77, out: \"a \\\"b\\\" \\\\ # c: \xc3\xa9\"}\n");
    set(&o, "optim.lr=0.1234567890123456789");
    set(&o, "optim.eps=3e-9");
    set(&o, "optim.beta2=0.95");
    set(&o, "optim.schedule=one_minus_sqrt");
    set(&o, "convert.freqfold=8");
    set(&o, "optim.clip=none");
    set(&o, "tokenize.eos=none");
    set(&o, "data.document_mask=false");
    set(&o, "data.train=a b.ds,- c,null,'d',#e,\xe6\x97\xa5.ds");
    set(&o, "train.resume=~");
    const char *path = scratch_path("resolved.yaml");
    assert_int_equal(options_write(&o, path, &why), OK);
    options_init(&back);
    if (options_read_yaml(&back, path, &why) != OK) fail_msg("%s", why.text);
    expect_equal_values(&o, &back);
    char *text;
    int64_t bytes;
    assert_int_equal(file_read_text(path, 1 << 20, &text, &bytes, &why), OK);
    expect_text(text, "  seed: 42  # default\n");
    expect_text(text, "  lr: 0.12345678901234568  # command line\n");
    expect_text(text, "  eps: 3.0e-09  # command line\n");
    expect_text(text, "  freqfold: 8  # command line\n");
    expect_text(text, "  seq_len: 77  # /");
    expect_text(text, "read.yaml:1\n");
    expect_text(text, "  val: []  # default\n");
    free(text);
    options_free(&o);
    options_free(&back);
}

static void test_same(void **state)
{
    (void)state;
    options now, then;
    message why = {""};
    options_init(&now);
    options_init(&then);
    set(&now, "optim.lr=1e-3"); /* free to change */
    set(&now, "data.train=elsewhere.ds");
    set(&now, "train.seed=42");
    assert_int_equal(options_same(&now, &then, &why), OK);
    set(&now, "data.document_mask=false");
    assert_int_equal(options_same(&now, &then, &why), ERR_USAGE);
    expect_text(why.text,
                "data.document_mask is false (command line), but the run began with true (default)");
    set(&now, "data.document_mask=true");
    static const char *const keys[] = {"train.seq_len=64", "train.batch_tokens=64", "train.seed=1"};
    for (int i = 0; i < 3; i++) {
        options other;
        options_init(&other);
        set(&other, keys[i]);
        assert_int_equal(options_same(&other, &then, &why), ERR_USAGE);
        assert_memory_equal(why.text, keys[i], strcspn(keys[i], "="));
        options_free(&other);
    }
    options_free(&now);
    options_free(&then);
}

/* docs/options.md is `remla options > docs/options.md`. */
static void test_documentation(void **state)
{
    (void)state;
    char path[PATH_BYTES], *want, *got = NULL;
    int64_t bytes;
    size_t printed;
    message why = {""};
    const char *source = getenv("REMLA_SOURCE");
    if (!source) skip();
    FILE *out = open_memstream(&got, &printed);
    assert_non_null(out);
    options_print_table(out);
    fclose(out);
    if (file_read_text(path_join(path, source, "docs/options.md"), 1 << 20, &want, &bytes, &why) != OK)
        fail_msg("%s", why.text);
    if (strcmp(want, got) != 0) fail_msg("docs/options.md is not what `remla options` prints: write it anew");
    free(want);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen),        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_enums),         cmocka_unit_test(test_words),
        cmocka_unit_test(test_old_file),      cmocka_unit_test(test_command_line),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_nearest),       cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_empty_yaml),    cmocka_unit_test(test_weights),
        cmocka_unit_test(test_yaml_refusals), cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_damaged_yaml),  cmocka_unit_test(test_write_and_read_back),
        cmocka_unit_test(test_same),          cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
