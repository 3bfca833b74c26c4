/* A tokenizer.json. One that is accepted encodes a text, whatever it makes of it, and decodes what it has
 * made. */
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

static const char text[] =
    "ab <s> x</s>  1234 it's\n\n\xc3\xa9\xe6\xbc\xa2 \xf0\x9f\x98\x80 \xe2\x96\x81q <0x41>\0e\xcc\x81.";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, fuzz_file("tokenizer.json", data, size), &why) != OK) return 0;
    tokenizer_work *w = tokenizer_work_new(t);
    token_list ids = {0};
    text_buffer again = {0};
    if (tokenizer_encode(w, text, sizeof text - 1, &ids, &why) == OK) {
        for (int64_t i = 0; i < ids.count; i++)
            if (ids.id[i] >= tokenizer_vocabulary(t)) abort();
        if (tokenizer_decode(t, ids.id, ids.count, false, &again, &why) != OK) abort();
    }
    text_buffer_free(&again);
    token_list_free(&ids);
    tokenizer_work_free(w);
    tokenizer_close(t);
    return 0;
}
