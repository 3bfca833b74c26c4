/* damage_checkpoint RUN NEWEST OLDER FLIPS SEED: damages the checkpoint RUN/checkpoints/NEWEST, over and
 * over, and asks each time, as a start does, which is the newest whole one: it must be OLDER. FLIPS bits are
 * flipped, each alone, every second one in a file drawn among all as equals; every file is cut at every 4
 * KiB, and by one byte; every file is taken away. Afterwards the checkpoint is as before. Prints how often,
 * and exits 1 when damage was not seen. Called by damage_many.sh, which counts the warnings. */
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/checkpoint.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FILES = 64, PAGE = 4096 };

typedef struct damaged_file {
    char path[PATH_BYTES];
    char *data;
    int64_t bytes;
} damaged_file;

static damaged_file files[MOST_FILES];
static int count;
static int64_t all_bytes;
static const char *run, *older;
static int64_t seen, missed;

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 11) % below;
}

static void write_whole(const damaged_file *f, int64_t bytes)
{
    const int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, f->data, (size_t)bytes) != bytes)
        die(ERR_INPUT, "%s: cannot be written", f->path);
    close(fd);
}

static void write_byte(const damaged_file *f, int64_t at, char byte)
{
    const int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, &byte, 1, at) != 1) die(ERR_INPUT, "%s: cannot be written", f->path);
    close(fd);
}

static bool is_newest(const char *want)
{
    char found[PATH_BYTES];
    message why;
    return checkpoint_newest(run, comm_self(), found, &why) == OK && strcmp(path_base(found), want) == 0;
}

static void check(const char *what, const damaged_file *f, int64_t at)
{
    if (is_newest(older)) {
        seen++;
    } else {
        missed++;
        printf("NOT SEEN: %s, %s at %lld\n", f->path, what, (long long)at);
    }
}

static void flip(uint64_t *state, bool by_file)
{
    uint64_t at = draw(state, (uint64_t)all_bytes);
    const damaged_file *f = files;
    if (by_file) {
        f = &files[draw(state, (uint64_t)count)];
        at %= (uint64_t)f->bytes;
    } else {
        for (; at >= (uint64_t)f->bytes; f++) at -= (uint64_t)f->bytes;
    }
    const int bit = (int)draw(state, 8);
    write_byte(f, (int64_t)at, (char)(f->data[at] ^ 1 << bit));
    check("a bit", f, (int64_t)at);
    write_byte(f, (int64_t)at, f->data[at]);
}

static void cut(const damaged_file *f)
{
    for (int64_t at = 0; at < f->bytes; at += PAGE) {
        write_whole(f, at);
        check("cut", f, at);
    }
    write_whole(f, f->bytes - 1);
    check("cut", f, f->bytes - 1);
    write_whole(f, f->bytes);
}

static void take_away(const damaged_file *f)
{
    unlink(f->path);
    check("taken away", f, 0);
    write_whole(f, f->bytes);
}

static void read_files(const char *newest)
{
    char folder[2 * PATH_BYTES];
    message why;
    snprintf(folder, sizeof folder, "%s/checkpoints/%s", run, newest);
    DIR *dir = opendir(folder);
    if (!dir) die(ERR_INPUT, "%s: cannot be listed", folder);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        damaged_file *f = &files[count];
        if (entry->d_name[0] == '.') continue;
        REQUIRE(count++ < MOST_FILES, "%s holds too many files", folder);
        path_join(f->path, folder, entry->d_name);
        if (file_read_text(f->path, 1 << 28, &f->data, &f->bytes, &why) != OK) die(ERR_INPUT, "%s", why.text);
        all_bytes += f->bytes;
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    if (argc != 6) die(ERR_USAGE, "damage_checkpoint RUN NEWEST OLDER FLIPS SEED");
    run = argv[1];
    older = argv[3];
    const int64_t flips = strtoll(argv[4], NULL, 10);
    uint64_t state = strtoull(argv[5], NULL, 10);
    read_files(argv[2]);
    if (!is_newest(argv[2])) die(ERR_INPUT, "%s is not whole before it is damaged", argv[2]);
    for (int64_t i = 0; i < flips; i++) flip(&state, i % 2);
    const int64_t flipped = seen;
    for (int i = 0; i < count; i++) cut(&files[i]);
    const int64_t were_cut = seen - flipped;
    for (int i = 0; i < count; i++) take_away(&files[i]);
    if (!is_newest(argv[2])) die(ERR_INPUT, "%s is not whole after it was repaired", argv[2]);
    printf("%lld bits, %lld cuts and %lld files taken away were seen, %lld not, in %d files of %lld bytes\n",
           (long long)flipped, (long long)were_cut, (long long)(seen - flipped - were_cut), (long long)missed,
           count, (long long)all_bytes);
    return missed ? 1 : 0;
}
