/* Weights between a model folder and the device. None of it is collective. */
#ifndef REMLA_MODEL_HF_MODEL_FILES_H
#define REMLA_MODEL_HF_MODEL_FILES_H
#include "base/written.h"
#include "kernels/kernels.h"
#include "model/hf/safetensors.h"
#include "model/weights.h"

/* The size of a file of weights from which a model is cut into several: transformers' own limit. */
#define MODEL_FILE_BYTES (INT64_C(5) << 30)

/* Checks that the safetensors files of `folder` hold just the tensors of a model of shape `d`. It refuses
 * what model_load would refuse, before memory for the model is reserved. */
status model_check(const char *folder, const dims *d, message *why);

/* Reads every parameter of `t` from the safetensors files of `folder` into `w`, a bounded part at a time.
 * Names and shapes are checked before anything is read: a tensor that is missing, has another shape, is
 * not the model's, or holds an infinity or NaN is an ERR_INPUT naming it. Two tensors may be there without
 * being read: lm_head.weight of a tied model, and the rotary frequencies (inv_freq) that old checkpoints
 * carry. */
status model_load(const char *folder, const param_table *t, const weights *w, const ops *k, message *why);

/* Writes the weights in `u` as FOLDER/model.safetensors, or, when its data are more than `file_bytes`, as
 * model-00001-of-0000N.safetensors and so on with model.safetensors.index.json, which comes last.
 * Everything is durable on return. `storage`: F32, F16 or BF16. On ERR_INPUT files may be left over: the
 * caller works in a temporary folder. */
status model_save(const char *folder, const param_table *t, const units *u, const ops *k, dtype storage,
                  int64_t file_bytes, message *why);

/* One of the files that model_save writes. */
enum { MODEL_FILE_NAME = 48 };
typedef struct model_file {
    char name[MODEL_FILE_NAME];
    int from, to; /* the parameters in it */
} model_file;

/* How model_save cuts a model. The caller frees the list. */
model_file *model_files(const param_table *t, dtype storage, int64_t file_bytes, int *count);
/* Writes the index of these files, which comes last; of a single file nothing. */
status model_files_index(const char *folder, const param_table *t, dtype storage, const model_file *file,
                         int count, written_files *written, message *why);
/* Their bytes, without the index. */
int64_t model_files_bytes(const param_table *t, dtype storage, int64_t file_bytes);

/* Declares a parameter for a safetensors file: as tensor PREFIXname, of its shape. */
safetensors_spec model_param_spec(const param *p, const char *prefix, dtype type);

/* ---- the same a unit at a time, for models that are larger than memory ---- */

typedef struct model_reader {
    safetensors files;
    const param_table *table; /* borrowed */
    const ops *k;
    float *chunk;
} model_reader;

/* Opens and checks as model_load does, reads no weights. On failure nothing is open. */
status model_reader_open(model_reader *r, const char *folder, const param_table *t, const ops *k,
                         message *why);
/* Reads unit `unit` of the table into `flat`, which holds at least its elements. */
status model_reader_unit(model_reader *r, int unit, tensor *flat, message *why);
void model_reader_close(model_reader *r);

typedef struct model_writer {
    char folder[PATH_BYTES];
    const param_table *table; /* borrowed */
    const ops *k;
    dtype storage;
    model_file *plan; /* the files, and how many there are */
    int files;
    safetensors_writer out;
    int number, next; /* the file that is open or comes next; the parameter that comes next */
    bool open;
    float *chunk;
    written_files *written; /* NULL, or set after opening: gets every file, with its hash; borrowed */
} model_writer;

/* Writes as model_save does. All units must follow, from 0 on. After a failure of any of these functions
 * the writer is done with. */
status model_writer_open(model_writer *w, const char *folder, const param_table *t, const ops *k,
                         dtype storage, int64_t file_bytes, message *why);
status model_writer_unit(model_writer *w, int unit, const tensor *flat, message *why);
status model_writer_finish(model_writer *w, message *why);
void model_writer_abandon(model_writer *w); /* instead of finishing; also after a failure */

#endif
