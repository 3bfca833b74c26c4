/* Reads documents from text files. X.jsonl, X.ndjson and X.json hold one JSON object a line, and a document
 * is the string in one of its columns; a file of any other name is one document. Each may be compressed
 * (data/prepare/text_stream.h). Reading and parsing are separate, so that one thread can read while others
 * parse: a reader fills batches of records, and text_record_document finds the document of each. */
#ifndef REMLA_DATA_PREPARE_TEXT_READER_H
#define REMLA_DATA_PREPARE_TEXT_READER_H
#include "data/prepare/text_stream.h"

/* The longest document of a file that is one, and the longest line of JSON, in bytes; and how many commas a
 * line may have outside of strings, because a parsed value takes twenty times the bytes of a short number. */
enum { TEXT_FILE_LIMIT = 1 << 28, TEXT_LINE_LIMIT = 1 << 26, TEXT_LINE_COMMAS = 1 << 20 };

/* Returns true if the name says that lines hold JSON. */
bool text_reader_is_lines(const char *path);

/* A line without its end, or a file. */
typedef struct text_record {
    int64_t at, bytes; /* in the batch's text */
    int64_t line;      /* from 1, counted from where the reader began; 0: a file */
    int64_t from;      /* the byte where the reader began; of a file, the bytes left out before its text */
    const char *path;  /* as given to text_reader_open, borrowed */
} text_record;

typedef struct text_batch {
    char *text;
    int64_t bytes, capacity;
    text_record *record;
    int64_t records, record_capacity;
} text_batch;
void text_batch_clear(text_batch *b); /* empties; gives back memory that only a very long document needs */
void text_batch_free(text_batch *b);

typedef struct text_reader {
    text_stream stream;
    const char *path;
    int64_t from, to; /* the lines that begin in these bytes of the file */
    int64_t line;     /* number of the last one that was begun */
    char *buffer;     /* bytes read and not given out: [at, end) */
    int64_t at, end;
    int64_t read;         /* bytes before buffer[end], from `from` on, decompressed */
    bool lines, skipping; /* skipping: in a line that began before `from` */
} text_reader;

/* path must stay while records of the reader are used. Compressed files, and files that are one document,
 * are read whole: from 0 to INT64_MAX. The caller closes, also after a failure. */
status text_reader_open(text_reader *r, const char *path, int64_t from, int64_t to, message *why);
/* Adds records until the batch holds `bytes` of text or more. *ended: there are no more. Lines of white space
 * are left out, and so is a byte order mark at the beginning of a file. */
status text_reader_fill(text_reader *r, text_batch *b, int64_t bytes, bool *ended, message *why);
/* Bytes of the file, as it lies on the disk, that have been read since the reader was opened. */
int64_t text_reader_consumed(const text_reader *r);
void text_reader_close(text_reader *r);

/* The document of a record; `text` is valid until document_free. */
typedef struct document {
    const char *text;
    int64_t bytes;
    void *json; /* the parsed line that owns the text, or NULL */
} document;
/* Finds the document of a record. A line that is not a JSON object, that has no such column or no string in
 * it, and text that is not UTF-8, are an ERR_INPUT that names file and line, or byte. Threads may share the
 * batch. */
status text_record_document(const text_batch *b, const text_record *r, const char *column, document *d,
                            message *why);
void document_free(document *d);
/* "FILE" or "FILE:LINE", for messages. Returns `buffer`. */
enum { RECORD_PLACE_BYTES = PATH_BYTES + 24 };
const char *text_record_place(const text_record *r, char *buffer);

#endif
