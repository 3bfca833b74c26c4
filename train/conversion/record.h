/* Writes and reads the record that a conversion leaves in the converted folder: conversion.json
 * (docs/FORMATS.md), and conversion.svg with the errors of the layers. None of it is collective. */
#ifndef REMLA_TRAIN_CONVERSION_RECORD_H
#define REMLA_TRAIN_CONVERSION_RECORD_H
#include "base/written.h"
#include "model/hf/config.h"
#include "model/convert/layerwise.h"
#include "train/options/options.h"

typedef struct conversion_record {
    convert_method method;
    const char *source;
    const option_list *calib_data, *held_out_data; /* as given */
    const convert_settings *settings;
    config_layout layout;
    dtype storage;
    int64_t calib_seq_len, calibration_tokens;
    int64_t bytes_before, bytes_after; /* of key/value cache per token */
    double seconds;
    layers_report layers;
    struct {
        const char *name;
        double loss;
    } step[CONVERT_STEPS]; /* on held-out text; a loss may be infinite or NAN */
    int steps;             /* 0: there is none */
    int64_t held_out_tokens;
} conversion_record;

/* Adds a step with its loss on held-out text, the mean over `tokens` targets. */
void record_step(conversion_record *r, const char *name, double loss, int64_t tokens);
/* Writes FOLDER/conversion.json, and FOLDER/conversion.svg where there are layers. */
status conversion_record_write(const conversion_record *r, const char *folder, message *why);
/* Copies the files of a record, where the folder `from` has them; adds them to `written` (may be NULL). */
status conversion_record_copy(const char *from, const char *to, written_files *written, message *why);
bool conversion_exists(const char *folder);
/* FOLDER/conversion.json; the caller gives *record back with json_decref. ERR_INPUT when it is not JSON, or
 * not the record of a conversion. */
status conversion_read(json_t **record, const char *folder, message *why);
/* Prints FOLDER/conversion.json as a table (base/log.h); a value that is missing is left out. Errors as
 * above. */
status conversion_print(const char *folder, message *why);

#endif
