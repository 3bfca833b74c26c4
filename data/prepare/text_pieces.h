/* Finds the source files that the user names, and cuts the work on them into pieces, in order. The places of
 * the cuts do not change the output: the pieces are joined again. */
#ifndef REMLA_DATA_PREPARE_TEXT_PIECES_H
#define REMLA_DATA_PREPARE_TEXT_PIECES_H
#include "base/file.h"

/* A file, or the lines of it that begin in [from, to). */
typedef struct text_part {
    const char *path;
    int64_t from, to; /* 0 and INT64_MAX: the whole file */
    int64_t bytes;    /* of the file, as it lies on the disk */
} text_part;
bool text_part_whole(const text_part *p);

/* Many whole files, or one part of a file that is larger than a piece: never both. */
typedef struct text_piece {
    int64_t first, parts;
    int64_t bytes;
    char name[33]; /* a hash of the parts' paths, sizes, times and places, and of the work on them: the same
                      name means the same result */
} text_piece;

typedef struct text_pieces {
    path_list files;
    text_part *part;
    text_piece *piece;
    int64_t parts, pieces, part_capacity, piece_capacity;
    int64_t bytes; /* of all files */
} text_pieces;

/* sources: files; shell patterns; folders, with every file that is not hidden, in subfolders too, sorted by
 * path. `work` describes the work on the text; it is part of the hash in the pieces' names. A file that is
 * named twice, a source without files, and files that are all empty are an ERR_INPUT. */
status text_pieces_find(text_pieces *t, const char *const *sources, int count, const char *work,
                        message *why);
void text_pieces_free(text_pieces *t);

#endif
