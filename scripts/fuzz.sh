#!/usr/bin/env bash
# scripts/fuzz.sh [target|all] [seconds]: fuzzes tests/fuzz/fuzz_TARGET.c (each in turn) for some seconds (60), with libFuzzer and sanitizers. Keeps
# its findings in build/fuzz/. Needs clang. `scripts/fuzz.sh keep TARGET` adds inputs that reach new code to tests/fuzz/corpus, at most 2 KB each.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$ROOT"
need_packages clang pkg-config libopenmpi-dev libzstd-dev libxxhash-dev libjansson-dev libpcre2-dev libutf8proc-dev nettle-dev zlib1g-dev
build=build/fuzz
mkdir -p $build
libraries=(ompi-c libzstd libxxhash jansson libpcre2-8 libutf8proc nettle zlib)
flags=(-std=gnu11 -D_GNU_SOURCE '-DREMLA_VERSION="0"' -I. -O1 -g -fno-omit-frame-pointer '-fsanitize=fuzzer-no-link,address,undefined' -fno-sanitize-recover=all)
read -ra compile_flags < <(pkg-config --cflags "${libraries[@]}")
read -ra link_flags < <(pkg-config --libs "${libraries[@]}")

compile() { # FILE.c: its object, when it is older than any source
    local object=$build/${1//\//_}.o
    [ "$object" -nt "$1" ] && [ -z "$(find base data generate serve tests/fuzz -name '*.h' -newer "$object" -print -quit)" ] ||
        clang "${flags[@]}" "${compile_flags[@]}" -c "$1" -o "$object" >&2 || stop "$1 does not compile with clang"
    echo "$object"
}

link_target() { # NAME; from an archive, so that only what the target reads is linked
    local objects=() file
    for file in base/*.c base/none/*.c data/*.c data/*/*.c generate/chat_template/*.c serve/request.c tests/fuzz/support.c; do
        objects+=("$(compile "$file")")
    done
    rm -f "$build/data.a"
    ar crs "$build/data.a" "${objects[@]}"
    clang -fsanitize=fuzzer,address,undefined -o "$build/$1" "$(compile "tests/fuzz/fuzz_$1.c")" "$build/data.a" "${link_flags[@]}" -lpthread -lm
}

fuzz() { # NAME SECONDS
    mkdir -p "$build/corpus/$1" "tests/fuzz/corpus/$1"
    link_target "$1"
    say "fuzzing $1 for $2 seconds"
    local most=64
    case $1 in import_mds | text) most=160 ;; esac # a window of zstd, which other programs' files choose
    "$build/$1" -max_total_time="$2" -malloc_limit_mb=$most -rss_limit_mb=512 -timeout=25 -max_len=4096 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$build/$1-" "$build/corpus/$1" "tests/fuzz/corpus/$1" 2>&1 | tee "$build/$1.log" | grep -E 'stat::|ERROR|SUMMARY' || true
    ! grep -qE 'ERROR|SUMMARY' "$build/$1.log" || { cat "$build/$1.log" >&2; stop "$1: see $build/$1.log"; }
}

keep() { # NAME
    mkdir -p "$build/merged/$1"
    "$build/$1" -merge=1 -max_len=2048 "$build/merged/$1" "tests/fuzz/corpus/$1" "$build/corpus/$1"
    cp "$build/merged/$1"/* "tests/fuzz/corpus/$1/"
}

if [ "${1:-all}" = keep ]; then keep "${2:?which target?}"; exit; fi
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    case ${1:-all} in all | "$name") fuzz "$name" "${2:-60}" ;; esac
done
