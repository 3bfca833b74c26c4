/* Reads and writes safetensors files; reads sharded sets of them, too, by pread and with every size checked
 * (reference: the format's own tests). Types: F32, F16, BF16 (others: ERR_INPUT naming tensor and type). */
#ifndef REMLA_MODEL_HF_SAFETENSORS_H
#define REMLA_MODEL_HF_SAFETENSORS_H
#include "base/file.h"
#include "base/tensor.h"

/* A longer header is refused, as the reference implementation does. */
enum { SAFETENSORS_HEADER_LIMIT = 100000000, SAFETENSORS_MAX_RANK = 8 };

typedef struct safetensors_entry {
    char *name;
    dtype type;
    int rank;
    int64_t dim[SAFETENSORS_MAX_RANK];
    int64_t begin, bytes; /* place in its file, from the start of the file */
    int file;
} safetensors_entry;

typedef struct safetensors_file {
    char path[PATH_BYTES];
    int fd;
} safetensors_file;

typedef struct safetensors {
    int num_files;
    safetensors_file *file;
    int count;
    safetensors_entry *entry; /* sorted by name */
} safetensors;

/* Opens FOLDER/model.safetensors, or the files that FOLDER/model.safetensors.index.json names; or one file
 * when `path` is one. Checks headers, sizes and index, reads no data. ERR_INPUT names the file and the fault;
 * nothing is open then. */
status safetensors_open(safetensors *s, const char *path, message *why);
void safetensors_close(safetensors *s);
/* Finds a tensor by name; NULL if there is none. */
const safetensors_entry *safetensors_find(const safetensors *s, const char *name);
bool safetensors_has_shape(const safetensors_entry *e, int rank, const int64_t *dim);
/* Reads elements [from, from+count) as float. F16 and BF16 are widened exactly. Infinities and NaN are an
 * ERR_INPUT naming the tensor. */
status safetensors_read(const safetensors *s, const safetensors_entry *e, int64_t from, int64_t count,
                        float *out, message *why);

/* Returns the index of the first element that is infinite or NaN, -1 if none. Looks at bits, so that no
 * compiler flag can hide one. */
int64_t safetensors_nonfinite(const float *data, int64_t count);

enum { SAFETENSORS_NAME_BYTES = 160, SAFETENSORS_SPEC_RANK = 4 };

/* A tensor to be written. */
typedef struct safetensors_spec {
    char name[SAFETENSORS_NAME_BYTES];
    dtype type; /* F32, F16 or BF16 */
    int rank;
    int64_t dim[SAFETENSORS_SPEC_RANK];
} safetensors_spec;

/* Bytes of the file that holds these tensors. */
int64_t safetensors_bytes(const safetensors_spec *spec, int count);

/* Writes one file: the header first, for which all tensors are declared, then their data in the same order.
 */
typedef struct safetensors_writer {
    file_writer out;
    safetensors_spec *spec; /* owned copy */
    int count, next;        /* tensors; the one being written */
    int64_t left;           /* elements of it that are still to come */
} safetensors_writer;

/* Creates the file, reserves its whole size and writes the header (the caller works in a temporary folder).
 * `spec` is copied. When any of these functions fails, the file is removed and the writer closed: call no
 * other function for it. */
status safetensors_create(safetensors_writer *w, const char *path, const safetensors_spec *spec, int count,
                          message *why);
/* Appends the next `count` elements of the tensor being written, given as float and rounded to nearest even
 * for a half type. ERR_INPUT names a tensor with an element that is infinite, NaN or too large for a half:
 * safetensors_read would refuse it. */
status safetensors_append(safetensors_writer *w, const float *data, int64_t count, message *why);
status safetensors_finish(safetensors_writer *w, uint64_t *hash, int64_t *bytes, message *why);
void safetensors_abandon(safetensors_writer *w); /* closes and removes an unfinished file */

#endif
