/* What people give for a model folder and is none: recognised, and answered with what to do. */
#ifndef REMLA_MODEL_HF_FOLDER_CHECK_H
#define REMLA_MODEL_HF_FOLDER_CHECK_H
#include "base/status.h"

/* Of what a model, or its tokenizer alone, is to be read from: a name on the Hugging Face hub, a GGUF file,
 * the folder of a training run and what is not there are an ERR_INPUT with the remedy. */
status model_path_check(const char *path, message *why);

/* Of a whole model folder: that, other files, and folders with weights in another form than safetensors files
 * (an adapter, pytorch_model.bin, GGUF). OK says only that it is none of these. */
status model_folder_check(const char *path, message *why);

#endif
