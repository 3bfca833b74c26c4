/* Writes the frames of a seekable zstd file and, at the end, its table. The bytes depend on the content and
 * on libzstd's version, not on how the content is cut into calls. */
#ifndef REMLA_DATA_SHARDS_SEEKABLE_WRITER_H
#define REMLA_DATA_SHARDS_SEEKABLE_WRITER_H
#include "base/file.h"

typedef struct seekable_writer seekable_writer; /* opaque; owned by the caller until seekable_writer_free */

/* out: the file being written, borrowed. */
seekable_writer *seekable_writer_create(file_writer *out);
/* Puts `data` (the shard's header) into the file as it is, listed in the table as a frame without content.
 * Call it before the first seekable_writer_append. */
status seekable_writer_leading(seekable_writer *w, const void *data, int64_t bytes, message *why);
status seekable_writer_append(seekable_writer *w, const void *data, int64_t bytes, message *why);
status seekable_writer_finish(seekable_writer *w,
                              message *why);   /* the last frame and the table; out stays open */
void seekable_writer_free(seekable_writer *w); /* NULL is fine */

#endif
