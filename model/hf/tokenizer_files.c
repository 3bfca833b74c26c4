/* The names under which transformers and its predecessors keep a tokenizer. A folder has some of them. */
#include "model/hf/tokenizer_files.h"
#include "base/file.h"
#include <stddef.h>

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
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char source[PATH_BYTES], copy[PATH_BYTES];
        uint64_t hash;
        int64_t bytes;
        if (!file_exists(path_join(source, from, names[i]))) continue;
        TRY(file_copy(source, path_join(copy, to, names[i]), &hash, &bytes, why));
        written_add(written, copy, bytes, hash);
    }
    return folder_sync(to, why);
}
