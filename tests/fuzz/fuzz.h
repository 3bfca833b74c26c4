/* A fuzz target is a file fuzz_NAME.c with this one function: it hands bytes to a reader, which may refuse
 * them but must not crash, leak, read what it was not given or take memory that the bytes do not justify.
 * README.md says how targets are run. */
#ifndef REMLA_TESTS_FUZZ_H
#define REMLA_TESTS_FUZZ_H
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* For readers that take a path: writes FOLDER/name, in memory, and returns its path; the text is good until 8
 * calls later. The folder goes away with the program. */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* Removes a file that fuzz_file wrote. */
void fuzz_remove(const char *name);

#endif
