/* The program: finds the command in its table, reads the options, brings up what the command computes on,
 * calls it, and turns what it returns into one sentence and an exit code. */
#include "base/comm.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "base/startup.h"
#include "train/commands/commands.h"
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef status (*command_function)(const command_line *line, options *o, const comm *c, message *why);

/* LOGS: what it prints is its log, which RUN/train.log has too, and no result. LOGS_APART: its log goes to
 * standard error, for standard output is what it makes. TAKES_TEXT: an argument may be any text, also one
 * with a = in it. */
enum { LOGS = 1, LOGS_APART = 2, TAKES_TEXT = 4 };
enum { ANY = 1 << 20 }; /* number of positionals */

/* The name may be two words: `remla data order`. */
typedef struct command {
    const char *name;
    command_function run;
    bool computes;   /* needs the ranks and the machine */
    int flags;       /* LOGS, LOGS_APART, TAKES_TEXT */
    bool config;     /* its first positional is a file of options */
    int least, most; /* positionals */
    const char *usage, *help;
    const char *sections; /* of options that it reads */
} command;

static status print_help(const command_line *line, options *o, const comm *c, message *why);
static status print_version(const command_line *line, options *o, const comm *c, message *why);

/* To add a command: a row here and train/commands/cmd_NAME.c. */
static const command commands[] = {
    {"convert", cmd_convert, true, 0, false, 2, 2,
     "SRC DST calib.data=SHARDS [section.key=value ...] [--plan]",
     "turn a GQA model folder into an MLA model folder", "convert calib data val eval.seq_len"},
    {"train", cmd_train, true, LOGS, true, 1, 1, "CONFIG.yaml [section.key=value ...]",
     "train a model on token shards, or go on from its newest checkpoint",
     "model data train parallel optim val eval checkpoint device debug"},
    {"plan", cmd_plan, false, 0, true, 1, 1,
     "CONFIG.yaml [--ranks N] [--device h100|a100|cpu] [section.key=value ...] [--json]",
     "memory, disk and time that a training run takes, and settings with which it fits",
     "model data train parallel optim val eval checkpoint device"},
    {"export", cmd_export, false, 0, false, 2, 2, "RUN|CHECKPOINT DST [section.key=value ...] [--json]",
     "a clean model folder from a run's best checkpoint, or from one that is named", "export"},
    {"eval", cmd_eval, true, 0, false, 1, 1,
     "MODEL (data.val=SHARDS | --tasks T,..|all eval.data=FOLDER [--style S] [--limit N] [--shots K] "
     "[--samples OUT.jsonl] [eval.base=ORIGINAL]) [section.key=value ...] [--json]",
     "loss and perplexity of a model folder or checkpoint; or its score on benchmarks",
     "data val eval device"},
    {"generate", cmd_generate, true, LOGS_APART | TAKES_TEXT, false, 1, 2,
     "MODEL [PROMPT|-] [section.key=value ...] [--json]",
     "text that a model makes of a prompt, or of standard input", "generate decode device"},
    {"serve", cmd_serve, true, LOGS, false, 1, 1, "MODEL [serve.base=ORIGINAL] [section.key=value ...]",
     "answer requests over HTTP as OpenAI's API does, with a page to talk to the model",
     "serve decode device"},
    {"inspect", cmd_inspect, false, 0, false, 1, 1, "FOLDER [--json]",
     "what a model folder or a checkpoint holds, and whether it is whole; or the story of a run", NULL},
    {"data import", cmd_data_import, true, 0, false, 2, 2, "SRC DST.ds.zst [import.key=value ...] [--json]",
     "turn a token file of datatrove, llm.c, Megatron, nanoGPT or MosaicML Streaming into a shard", "import"},
    {"data tokenize", cmd_data_tokenize, true, 0, false, 1, ANY,
     "TEXT... tokenize.model=FOLDER tokenize.out=FOLDER [section.key=value ...] [--json]",
     "make token shards of text files", "tokenize"},
    {"data order", cmd_data_order, false, 0, true, 1, 1,
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

/* The value behind a flag, and so the type of its member of command_line. */
typedef enum flag_kind { FLAG_ALONE, FLAG_NUMBER, FLAG_TEXT } flag_kind;

/* Flags of commands, beside --json and --help. To add one: a row here, a member of command_line. */
static const struct flag {
    const char *command, *name, *value; /* value: its name in sentences */
    flag_kind kind;
    size_t at;            /* of the member: bool, uint64_t, const char * */
    uint64_t least, most; /* of a number */
} flags[] = {
    {"convert", "--plan", "", FLAG_ALONE, offsetof(command_line, plan), 0, 0},
    {"plan", "--ranks", " N", FLAG_NUMBER, offsetof(command_line, ranks), 1, 1 << 20},
    {"plan", "--device", " NAME", FLAG_TEXT, offsetof(command_line, device), 0, 0},
    {"data order", "--from", " P", FLAG_NUMBER, offsetof(command_line, from), 0, (uint64_t)1 << 63},
    {"data order", "--count", " N", FLAG_NUMBER, offsetof(command_line, count), 0, INT64_MAX},
    {"eval", "--tasks", " T,..", FLAG_TEXT, offsetof(command_line, tasks), 0, 0},
    {"eval", "--style", " S", FLAG_TEXT, offsetof(command_line, style), 0, 0},
    {"eval", "--limit", " N", FLAG_NUMBER, offsetof(command_line, limit), 1, INT64_MAX},
    {"eval", "--shots", " K", FLAG_NUMBER, offsetof(command_line, shots), 0, 1000},
    {"eval", "--samples", " OUT.jsonl", FLAG_TEXT, offsetof(command_line, samples), 0, 0},
};
enum { NUM_FLAGS = sizeof flags / sizeof flags[0] };

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

/* section.key=value; a path may contain = after its first slash, and a text anywhere. */
static bool is_assignment(const command *row, const char *argument)
{
    const size_t n = strcspn(argument, "=/");
    const bool key =
        strspn(argument, "abcdefghijklmnopqrstuvwxyz0123456789_.") == n && memchr(argument, '.', n);
    return argument[n] == '=' && (key || !(row->flags & TAKES_TEXT));
}

/* The whole number that follows a flag. */
static status read_number(const struct flag *f, const char *text, uint64_t *value, message *why)
{
    if (text && text[0] && strlen(text) <= 19 && !text[strspn(text, "0123456789")]) {
        *value = strtoull(text, NULL, 10); /* 19 digits fit */
        if (*value >= f->least && *value <= f->most) return OK;
    }
    return fail(why, ERR_USAGE, "%s %.100s: expected a whole number from %llu to %llu", f->name,
                text ? text : "", (unsigned long long)f->least, (unsigned long long)f->most);
}

static const struct flag *find_flag(const command *row, const char *name)
{
    for (int i = 0; i < NUM_FLAGS; i++)
        if (!strcmp(flags[i].command, row->name) && !strcmp(flags[i].name, name)) return &flags[i];
    return NULL;
}

static status unknown_flag(const command *row, const char *name, message *why)
{
    char known[256] = "";
    for (int i = 0; i < NUM_FLAGS; i++) {
        const size_t n = strlen(known);
        if (!strcmp(flags[i].command, row->name))
            snprintf(known + n, sizeof known - n, ", %s%s", flags[i].name, flags[i].value);
    }
    return fail(why, ERR_USAGE,
                "unknown flag %.100s; the flags are --json%s and --help, options are section.key=value", name,
                known);
}

/* A flag of the command's own, and what follows it (NULL at the end). *used: how many arguments it took. */
static status read_flag(const struct flag *f, char *next, command_line *line, int *used, message *why)
{
    void *member = (char *)line + f->at;
    *used = f->kind != FLAG_ALONE && next ? 2 : 1;
    if (f->kind == FLAG_NUMBER) return read_number(f, next, member, why);
    if (f->kind == FLAG_ALONE)
        *(bool *)member = true;
    else if (next)
        *(const char **)member = next;
    else
        return fail(why, ERR_USAGE, "%s: expected%s after it", f->name, f->value);
    return OK;
}

/* argv[0] and, for a flag with a value, argv[1] (NULL at the end). *used: how many it took. */
static status read_argument(const command *row, char **argv, command_line *line, bool *help, int *used,
                            message *why)
{
    char *argument = argv[0];
    const struct flag *own = find_flag(row, argument);
    *used = 1;
    if (own) return read_flag(own, argv[1], line, used, why);
    if (!strcmp(argument, "--json"))
        line->json = true;
    else if (!strcmp(argument, "--help") || !strcmp(argument, "-h"))
        *help = true;
    else if (argument[0] == '-' && argument[1])
        return unknown_flag(row, argument, why);
    else if (is_assignment(row, argument))
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
    for (int i = 0; i < argc; i++) {
        const struct flag *own = find_flag(row, argv[i]);
        if (own && own->kind != FLAG_ALONE)
            i++; /* what follows belongs to it */
        else if (argv[i][0] != '-' && is_assignment(row, argv[i]))
            TRY(options_set(o, argv[i], why));
    }
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
    log_start(c->rank, line->json || row->flags & LOGS_APART);
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
    startup_done();
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
