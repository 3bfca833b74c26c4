/* Runs a target over files and folders of files, without libFuzzer: fuzz_NAME FILE|FOLDER... */
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static int inputs;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    uint8_t *data = NULL; /* exactly as large as the file, so that a byte too far is seen */
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0)
        data = malloc((size_t)size + (size == 0));
    const int read = data && fread(data, 1, (size_t)size, f) == (size_t)size;
    fclose(f);
    if (read) LLVMFuzzerTestOneInput(data, (size_t)size);
    inputs += read;
    free(data);
    return read;
}

static int run_folder(const char *path)
{
    struct dirent **entry;
    char file[1024];
    int good = 1;
    const int count = scandir(path, &entry, NULL, alphasort);
    if (count < 0) return run_file(path);
    for (int i = 0; i < count; i++) {
        snprintf(file, sizeof file, "%s/%s", path, entry[i]->d_name);
        if (entry[i]->d_name[0] != '.') good = run_file(file) && good;
        free(entry[i]);
    }
    free(entry);
    return good;
}

int main(int argc, char **argv)
{
    int good = 1;
    for (int i = 1; i < argc; i++) good = run_folder(argv[i]) && good;
    printf("%d inputs\n", inputs);
    return good && inputs ? 0 : 1;
}
