/* The seekable zstd format, version 0.1.0: zstd frames one after another, then a table of their sizes and
 * checksums in a skippable frame, so that any place can be read by decoding one frame. */
#ifndef REMLA_DATA_SEEKABLE_H
#define REMLA_DATA_SEEKABLE_H

#define SKIPPABLE_MAGIC  0x184D2A50u /* of the frame that our header lies in */
#define SEEK_TABLE_MAGIC 0x184D2A5Eu /* of the skippable frame at the end */
#define SEEKABLE_MAGIC   0x8F92EAB1u /* the last four bytes of the file */

#endif
