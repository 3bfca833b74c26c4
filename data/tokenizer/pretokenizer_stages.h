/* A pre-tokenizer as a list of stages, each of which makes parts of a part. Private to pretokenizer*.c. */
#ifndef REMLA_DATA_TOKENIZER_PRETOKENIZER_STAGES_H
#define REMLA_DATA_TOKENIZER_PRETOKENIZER_STAGES_H
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/pretokenizer.h"

/* Treatment of pieces that match and pieces that do not (the library's SplitDelimiterBehavior). */
typedef enum split_behavior {
    REMOVED,
    ISOLATED,
    MERGED_WITH_PREVIOUS,
    MERGED_WITH_NEXT,
    CONTIGUOUS
} split_behavior;

typedef enum stage_kind { SPLIT, PREFIX_SPACE, METASPACE } stage_kind;
typedef enum prepend_scheme { ALWAYS, NEVER, FIRST } prepend_scheme;

typedef struct stage {
    stage_kind kind;
    pattern *pattern;        /* SPLIT */
    split_behavior behavior; /* SPLIT */
    bool invert;             /* SPLIT: matches and the pieces between them change roles */
    prepend_scheme prepend;  /* METASPACE */
    text_buffer space;       /* METASPACE: replaces spaces */
} stage;

struct pretokenizer {
    stage *stage;
    int64_t count, capacity;
    bool byte_level;
};

#endif
