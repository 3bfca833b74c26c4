/* The names under which transformers and its predecessors keep a tokenizer. A folder has some of them. */
#include "model/hf/tokenizer_files.h"

status tokenizer_files_copy(const char *from, const char *to, written_files *written, message *why)
{
    static const char *const names[] = {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "chat_template.jinja",
        "generation_config.json",
    };
    return written_copies(written, from, to, names, sizeof names / sizeof names[0], why);
}
