/* The program: finds the command in its table, reads the options, brings up what the command computes on,
 * calls it, and turns what it returns into one sentence and an exit code. */
#include "base/comm.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "train/commands/commands.h"
#include "base/nearest.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef status (*command_function)(const command_line *line, options *o, const comm *c, message *why);

/* LOGS: what it prints is its log, which RUN/train.log has too, and no result. */
enum { TAKES_PLAN = 1, TAKES_RANGE = 2, LOGS = 4 };
enum { ANY = 1 << 20 }; /* number of positionals */

/* The name may be two words: `remla data order`. */
typedef struct command {
    const char *name;
    command_function run;
    bool computes;   /* needs the ranks and the machine */
    int flags;       /* beside --json and --help: TAKES_..., LOGS */
    bool config;     /* its first positional is a file of options */
    int least, most; /* positionals */
    const char *usage, *help;
    const char *sections; /* of options that it reads */
} command;

static status print_help(const command_line *line, options *o, const comm *c, message *why);
static status print_version(const command_line *line, options *o, const comm *c, message *why);

/* To add a command: a row here and train/commands/cmd_NAME.c. */
static const command commands[] = {
    {"convert", cmd_convert, true, TAKES_PLAN, false, 2, 2,
     "SRC DST calib.data=SHARDS [section.key=value ...] [--plan]",
     "turn a GQA model folder into an MLA model folder", "convert calib data val eval.seq_len"},
    {"train", cmd_train, true, LOGS, true, 1, 1, "CONFIG.yaml [section.key=value ...]",
     "train a model on token shards, or go on from its newest checkpoint",
     "model data train optim val checkpoint device debug"},
    {"eval", cmd_eval, true, 0, false, 1, 1, "MODEL data.val=SHARDS [section.key=value ...] [--json]",
     "loss and perplexity of a model folder or checkpoint", "data val eval device"},
    {"inspect", cmd_inspect, false, 0, false, 1, 1, "FOLDER [--json]",
     "what a model folder holds, and how well it was converted", NULL},
    {"data import", cmd_data_import, true, 0, false, 2, 2, "SRC DST.ds.zst [import.key=value ...] [--json]",
     "turn a token file of datatrove, llm.c, Megatron, nanoGPT or MosaicML Streaming into a shard", "import"},
    {"data tokenize", cmd_data_tokenize, true, 0, false, 1, ANY,
     "TEXT... tokenize.model=FOLDER tokenize.out=FOLDER [section.key=value ...] [--json]",
     "make token shards of text files", "tokenize"},
    {"data order", cmd_data_order, false, TAKES_RANGE, true, 1, 1,
     "CONFIG.yaml [--from P] [--count N] [section.key=value ...]",
     "print which samples a training run reads at positions P to P+N-1",
     "data train.seq_len train.seed model.path"},
    {"data inspect", cmd_data_inspect, false, 0, false, 1, ANY,
     "FILE|FOLDER... [tokenize.model=FOLDER] [--json]",
     "what token shards hold, and token files of other programs", "tokenize.model"},
    {"data verify", cmd_data_verify, false, 0, false, 1, ANY, "SHARD|FOLDER|dataset.json... [--json]",
     "read shards whole: every hash, every token; names the first damage", NULL},
    {"data encode", cmd_data_encode, false, 0, false, 1, 1, "MODEL",
     "token ids of texts: a JSON string per line in, a JSON array per line out", NULL},
    {"data decode", cmd_data_decode, false, 0, false, 1, 1, "MODEL",
     "texts of token ids: a JSON array per line in, a JSON string per line out", NULL},
    {"options", cmd_options, false, 0, false, 0, 0, "", "print every option with default, range and meaning",
     NULL},
    {"help", print_help, false, 0, false, 0, 2, "[COMMAND]", "explain a command", NULL},
    {"version", print_version, false, 0, false, 0, 0, "", "print the version", NULL},
};
enum { NUM_COMMANDS = sizeof commands / sizeof commands[0], NAME_BYTES = 128 };

/* ---- what the table says ------------------------------------------------------------------------------- */

/* A command's name from the words of a command line, joined: "data order" when there are commands of two
 * words that begin with the first. *used: the words that it took. Returns `name`. */
static const char *command_name(char **words, int count, char name[NAME_BYTES], int *used)
{
    const size_t length = strlen(words[0]);
    bool group = false;
    for (int i = 0; i < NUM_COMMANDS; i++)
        group = group || (!strncmp(commands[i].name, words[0], length) && commands[i].name[length] == ' ');
    *used = group && count > 1 && words[1][0] != '-' ? 2 : 1;
    snprintf(name, NAME_BYTES, *used == 2 ? "%s %s" : "%s", words[0], words[1]);
    return name;
}

static const command *find_command(const char *name)
{
    for (int i = 0; i < NUM_COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

/* The second words of commands that begin with the first `length` bytes of `name`, "import, order": empty
 * when there are none. */
static void second_words(const char *name, size_t length, char *out, size_t size)
{
    out[0] = 0;
    for (int i = 0; i < NUM_COMMANDS; i++) {
        const char *rest = commands[i].name + length;
        if (strncmp(commands[i].name, name, length) != 0 || *rest != ' ') continue;
        const size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s", used ? ", " : "", rest + 1);
    }
}

static status unknown_command(const char *name, message *why)
{
    char words[256];
    const size_t first = strcspn(name, " ");
    second_words(name, first, words, sizeof words);
    if (words[0] && !name[first]) return fail(why, ERR_USAGE, "%s needs a subcommand: %s", name, words);
    if (words[0])
        return fail(why, ERR_USAGE, "unknown command %.100s; %.*s needs a subcommand: %s", name, (int)first,
                    name, words);
    const command *best = &commands[0];
    for (int i = 1; i < NUM_COMMANDS; i++)
        if (edit_distance(name, commands[i].name) < edit_distance(name, best->name)) best = &commands[i];
    return fail(why, ERR_USAGE, "unknown command %.100s; did you mean %s? `remla help` lists all", name,
                best->name);
}

static void print_usage(FILE *out, const command *c)
{
    fprintf(out, "usage: remla %s %s\n", c->name, c->usage);
}

static void print_commands(FILE *out)
{
    fprintf(out, "remla %s: recovers models converted to multi-head latent attention\n\n", REMLA_VERSION);
    fputs("usage: remla COMMAND [arguments] [section.key=value ...] [--json] [--help]\n\n", out);
    for (int i = 0; i < NUM_COMMANDS; i++) fprintf(out, "  %-13s  %s\n", commands[i].name, commands[i].help);
    fputs("\n`remla help COMMAND` explains one, `remla options` lists what section.key can be.\n", out);
}

static void explain(const command *c)
{
    print_usage(stdout, c);
    printf("\n%s\n", c->help);
    if (c->sections) printf("\noptions: %s (`remla options` explains them)\n", c->sections);
    if (c->computes)
        printf("--json: nothing but JSON on standard output, everything else on standard error\n");
}

static status print_help(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    if (!line->positionals) print_commands(stdout);
    if (!line->positionals) return OK;
    char name[NAME_BYTES];
    int used;
    command_name(line->positional, line->positionals, name, &used);
    const command *row = find_command(name);
    if (!row) return unknown_command(name, why);
    explain(row);
    return OK;
}

static status print_version(const command_line *line, options *o, const comm *c, message *why)
{
    (void)line, (void)o, (void)c, (void)why;
    printf("remla %s\n", REMLA_VERSION);
    return OK;
}

/* ---- the command line ---------------------------------------------------------------------------------- */

/* section.key=value; a path may contain = after its first slash. */
static bool is_assignment(const char *argument)
{
    const size_t n = strcspn(argument, "=/");
    return argument[n] == '=';
}

/* The whole number that follows a flag, at most `most`. */
static status read_number(const char *flag, const char *text, uint64_t most, uint64_t *value, message *why)
{
    if (text && text[0] && strlen(text) <= 19 && !text[strspn(text, "0123456789")]) {
        *value = strtoull(text, NULL, 10); /* 19 digits fit */
        if (*value <= most) return OK;
    }
    return fail(why, ERR_USAGE, "%s %.100s: expected a whole number from 0 to %llu", flag, text ? text : "",
                (unsigned long long)most);
}

static status unknown_flag(const command *row, const char *flag, message *why)
{
    return fail(why, ERR_USAGE,
                "unknown flag %.100s; the flags are --json%s%s and --help, options are section.key=value",
                flag, row->flags & TAKES_PLAN ? ", --plan" : "",
                row->flags & TAKES_RANGE ? ", --from P, --count N" : "");
}

/* argv[0] and, for a flag with a value, argv[1] (NULL at the end). *used: how many it took. */
static status read_argument(const command *row, char **argv, command_line *line, bool *help, int *used,
                            message *why)
{
    char *argument = argv[0];
    *used = 1;
    if (!strcmp(argument, "--json"))
        line->json = true;
    else if (!strcmp(argument, "--plan") && row->flags & TAKES_PLAN)
        line->plan = true;
    else if (!strcmp(argument, "--help") || !strcmp(argument, "-h"))
        *help = true;
    else if (!strcmp(argument, "--from") && row->flags & TAKES_RANGE) {
        *used = argv[1] ? 2 : 1;
        return read_number(argument, argv[1], (uint64_t)1 << 63, &line->from, why);
    } else if (!strcmp(argument, "--count") && row->flags & TAKES_RANGE) {
        *used = argv[1] ? 2 : 1;
        return read_number(argument, argv[1], INT64_MAX, &line->count, why);
    } else if (argument[0] == '-')
        return unknown_flag(row, argument, why);
    else if (is_assignment(argument))
        return OK; /* its turn is after the file's */
    else if (line->positionals == row->most)
        return fail(why, ERR_USAGE, "%.100s is one argument too many; usage: remla %s %s", argument,
                    row->name, row->usage);
    else
        line->positional[line->positionals++] = argument;
    return OK;
}

static status read_arguments(const command *row, int argc, char **argv, command_line *line, bool *help,
                             message *why)
{
    int used;
    for (int i = 0; i < argc; i += used) TRY(read_argument(row, argv + i, line, help, &used, why));
    if (*help || line->positionals >= row->least) return OK;
    if (row->least == row->most)
        return fail(why, ERR_USAGE, "found %d of %d arguments; usage: remla %s %s", line->positionals,
                    row->least, row->name, row->usage);
    return fail(why, ERR_USAGE, "an argument is missing; usage: remla %s %s", row->name, row->usage);
}

static status read_options(const command *row, int argc, char **argv, const command_line *line, options *o,
                           message *why)
{
    if (row->config) TRY(options_read_yaml(o, line->positional[0], why));
    for (int i = 0; i < argc; i++)
        if (argv[i][0] != '-' && is_assignment(argv[i])) TRY(options_set(o, argv[i], why));
    return OK;
}

/* ---- running ------------------------------------------------------------------------------------------- */

static status start(const comm *c, message *why)
{
    TRY_ALL(c, machine_start(c->local_rank, c->local_size, why), why);
    log_line("remla %s | %s | ranks: %d", REMLA_VERSION, machine_text(), c->size);
    return OK;
}

static status run_line(const command *row, int argc, char **argv, command_line *line, const comm *c,
                       message *why)
{
    bool help = false;
    TRY(read_arguments(row, argc, argv, line, &help, why));
    log_start(c->rank, line->json);
    if (help) {
        if (c->rank == 0) explain(row);
        return OK;
    }
    options o;
    options_init(&o);
    status s = comm_agree(c, read_options(row, argc, argv, line, &o, why), why);
    if (s == OK && row->computes) s = start(c, why);
    if (s == OK) s = row->run(line, &o, c, why);
    options_free(&o);
    return s;
}

static status run(const command *row, int argc, char **argv, const comm *c, message *why)
{
    command_line line = {.command = row->name, .count = 1};
    line.positional = memory_new(argc + 1, sizeof *line.positional, "a command line");
    const status s = run_line(row, argc, argv, &line, c, why);
    free(line.positional);
    return s;
}

/* A result that nobody can read is not a success. */
static status flush(const command *row, status s, message *why)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || (row && row->flags & LOGS)) return s;
    return s == OK ? fail(why, ERR_INPUT, "standard output cannot be written") : s;
}

/* The next files that are opened would get the numbers of closed standard streams, and lines that are meant
 * for people would land in a model. */
static bool open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!open_standard_streams()) return ERR_DEVICE;
    if (argc < 2) {
        print_commands(stderr);
        return ERR_USAGE;
    }
    json_text_start();
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write, with a sentence */
    char name[NAME_BYTES];
    int used;
    command_name(argv + 1, argc - 1, name, &used);
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) strcpy(name, "help");
    if (!strcmp(name, "--version")) strcpy(name, "version");
    const command *row = find_command(name);
    /* What does not compute needs no working MPI. */
    const comm *c = row && !row->computes ? comm_self() : comm_start();
    message why = {""};
    status s = row ? run(row, argc - 1 - used, argv + 1 + used, c, &why) : unknown_command(name, &why);
    s = flush(row, s, &why);
    if (s != OK && c->rank == 0) {
        if (row)
            fprintf(stderr, "remla %s: %s\n", row->name, why.text);
        else
            fprintf(stderr, "remla: %s\n", why.text);
    }
    comm_stop(c);
    return (int)s;
}
