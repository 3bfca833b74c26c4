/* Recognises paths that are mistaken for a model folder, and says what to do. */
#ifndef REMLA_MODEL_HF_FOLDER_CHECK_H
#define REMLA_MODEL_HF_FOLDER_CHECK_H
#include "base/status.h"

/* Fails with ERR_INPUT for a folder that is not there: names one beside it with nearly the same name, or else
 * what was expected ("a model folder"). */
status folder_missing(const char *path, const char *expected, message *why);

/* Checks a path that a model, or only its tokenizer, is to be read from: a name on the Hugging Face hub, a
 * GGUF file, the folder of a training run and a missing path are an ERR_INPUT with the remedy. */
status model_path_check(const char *path, message *why);

/* Checks a whole model folder: refuses the same, other files, and folders with weights in another form than
 * safetensors files (an adapter, pytorch_model.bin, GGUF). OK says only that it is none of these. */
status model_folder_check(const char *path, message *why);

#endif
