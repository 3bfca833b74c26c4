/* Opens a model folder, for every command that wants its shape or weights: first its shape and the headers of
 * its files, which takes no memory and finds most mistakes, then device, weights and what a pass needs:
 * activations, or a decoder. Who wants only the tokenizer of a folder calls tokenizer_open. */
#ifndef REMLA_EVAL_OPEN_H
#define REMLA_EVAL_OPEN_H
#include "eval/compute.h"
#include "model/decode/decoder.h"
#include "model/hf/config.h"
#include "model/model.h"

typedef struct loaded_model {
    const char *folder; /* borrowed */
    model_config config;
    int64_t T;        /* tokens per sequence, from loaded_model_length on; 0 before */
    compute on;       /* the device; from loaded_model_start or loaded_model_decode on, like the following */
    model m;          /* m.k is NULL before */
    activations acts; /* loaded_model_start: of a micro-batch, FORWARD_ONLY */
    decoder decode;   /* loaded_model_decode; m is its model, so the struct must not move */
} loaded_model;

/* Reads config.json, and checks that the safetensors files hold the tensors of such a model. ERR_INPUT names
 * what is wrong; then there is nothing to free. Not collective. */
status model_folder_read(model_config *config, const char *folder, message *why);

/* Reads and checks the folder as above. The caller ends with loaded_model_close, whatever the status. Not
 * collective: a rank may fail by itself. */
status loaded_model_open(loaded_model *x, const char *folder, message *why);

/* Checks that the model reads sequences of T tokens, and notes T; `key` is the option that says T
 * (dims_check_length). Not collective, likewise. */
status loaded_model_length(loaded_model *x, const char *key, int64_t T, message *why);

/* Opens the device, and loads the weights for micro-batches of B sequences of T tokens. MPI: collective;
 * every rank returns the same status. */
status loaded_model_start(loaded_model *x, const compute_settings *wanted, int64_t B, const comm *c,
                          message *why);

/* Instead of the above: opens the device, loads the weights, and lays out a decoder; settings->longest is at
 * most the T that was checked. MPI: collective, likewise. */
status loaded_model_decode(loaded_model *x, const compute_settings *wanted, const decoder_settings *settings,
                           const comm *c, message *why);

/* Frees a model that was opened, or one of zeros. */
void loaded_model_close(loaded_model *x);

#endif
