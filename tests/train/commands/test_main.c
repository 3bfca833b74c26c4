/* The program itself: exit codes, what goes to standard output, and the one sentence on standard error. */
#include "base/file.h"
#include "tests/train/commands/program.h"
#include <string.h>

static int run(const char *arguments) { return program_run("", "%s", arguments); }

static void expect_text(const char *got, const char *part)
{
    if (!strstr(got, part)) fail_msg("expected \"%s\" in: %s", part, got);
}

/* One sentence on standard error, nothing on standard output. */
static void expect_refused(const char *arguments, int code, const char *sentence)
{
    const int got = run(arguments);
    if (got != code) fail_msg("remla %s: exit %d, expected %d: %s", arguments, got, code, err);
    expect_text(err, sentence);
    if (out[0] || strchr(err, '\n') != err + strlen(err) - 1)
        fail_msg("remla %s: more than one sentence: %s%s", arguments, out, err);
}

static void expect_printed(const char *arguments, const char *part)
{
    const int got = run(arguments);
    if (got != 0) fail_msg("remla %s: exit %d: %s", arguments, got, err);
    expect_text(out, part);
    assert_string_equal(err, "");
}

static void test_information(void **state)
{
    (void)state;
    expect_printed("--version", "remla " REMLA_VERSION "\n");
    expect_printed("version", "remla " REMLA_VERSION "\n");
    expect_printed("--help", "usage: remla COMMAND");
    expect_printed("help", "  convert ");
    expect_printed("help train", "usage: remla train CONFIG.yaml");
    expect_printed("train --help", "usage: remla train CONFIG.yaml");
    expect_printed("eval --help --json", "usage: remla eval MODEL");
    expect_printed("options", "| train.seq_len * | 4096 |");
}

static void test_no_command(void **state)
{
    (void)state;
    assert_int_equal(run(""), 2);
    assert_string_equal(out, "");
    expect_text(err, "usage: remla COMMAND");
}

static void test_usage_errors(void **state)
{
    (void)state;
    expect_refused("trian", 2, "remla: unknown command trian; did you mean train?");
    expect_refused("help evil", 2, "unknown command evil; did you mean eval?");
    expect_refused("data", 2, "remla: data needs a subcommand: import, tokenize, order, inspect, verify,");
    expect_refused("data --json", 2, "remla: data needs a subcommand: import, ");
    expect_refused("help data", 2, "data needs a subcommand: import, ");
    expect_refused("data nonsense", 2,
                   "remla: unknown command data nonsense; data needs a subcommand: import, ");
    expect_refused("eval", 2, "remla eval: found 0 of 1 arguments; usage: remla eval MODEL");
    expect_refused("convert SRC", 2, "found 1 of 2 arguments; usage: remla convert SRC DST");
    expect_refused("convert SRC DST MORE", 2, "MORE is one argument too many");
    expect_refused("options train.seq_len", 2, "train.seq_len is one argument too many");
    expect_refused("eval MODEL --jsno", 2, "unknown flag --jsno");
    expect_refused("eval MODEL val.tokns=3", 2,
                   "unknown option val.tokns (command line); did you mean val.tokens?");
    expect_refused("eval MODEL train.seq_len=0 --json", 2,
                   "train.seq_len=0 (command line): expected a whole number from 1");
    expect_refused("options optim.lr=nan", 2, "optim.lr=nan");
}

static void test_config(void **state)
{
    (void)state;
    char arguments[512];
    snprintf(arguments, sizeof arguments, "train %s", scratch_path("none.yaml"));
    expect_refused(arguments, 3, "none.yaml");
    snprintf(arguments, sizeof arguments, "train %s", scratch_text("bad.yaml", "train:\n  lr: 1\n"));
    expect_refused(arguments, 2, "bad.yaml:2: unknown option train.lr; did you mean optim.lr?");
    /* The file is read before the command line, which wins; both are checked. */
    snprintf(arguments, sizeof arguments, "train optim.lr=2 %s",
             scratch_text("good.yaml", "optim: {lr: 1}\n"));
    expect_refused(arguments, 2, "optim.lr=2 (command line)");
}

static void test_full_output(void **state)
{
    (void)state;
    char command[1024];
    const char *program = getenv("REMLA");
    snprintf(command, sizeof command, "'%s' options >/dev/full 2>%s", program, scratch_path("err"));
    const int result = system(command);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 3);
    slurp("err", err, sizeof err);
    expect_text(err, "standard output cannot be written");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_information),  cmocka_unit_test(test_no_command),
        cmocka_unit_test(test_usage_errors), cmocka_unit_test(test_config),
        cmocka_unit_test(test_full_output),
    };
    const char *program = getenv("REMLA");
    if (!program || !file_exists(program)) return SKIPPED_CODE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
