/* Hashes against those of Python's hashlib and xxhash of the bytes i*7 % 251, i below 1000. */
#include "data/prepare/named_hash.h"
#include <stdarg.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *name, *want;
} cases[] = {
    {"md5", "4b2f37fc49a134b17c7275fd04a1b7ac"},
    {"sha1", "33f233c97a803d84a0db9f3dbc05b63ff2045d92"},
    {"sha224", "b3bb83df5b19419d6efee61258cdd7bee0b86acaba1f71c6d07f9c08"},
    {"sha256", "59425e4412e296fc74736673ce067027f384203f59c0d2c3e6be7b13347b3ffc"},
    {"sha384",
     "f1417a0e1c0e48cb613e3d98e2ecc4326a79f5fcb5d1bfb0f4b2461ebe45971161f3e0e6e4cfbdec32e6273a0bd56cf6"},
    {"sha512", "7e658e1b50b8375e8ffe4c26591de6ea5c387436a5169172ea07649fc85e7bc989471fad8307cb20b5bf2785bbfad"
               "2ef47945e5558c3be23aa8a08d7bae3e7d0"},
    {"sha3_224", "5ba166a036c528a0d952f1c596c68f48807908c375835e69fb484d69"},
    {"sha3_256", "5fb531fe026618353eb601c3b227d68d6f935b8fb59177a76ad484ada72b7e32"},
    {"sha3_384",
     "4a399833cf8524e10a3097c193b22edc5fa474435ba525169af5322d608986a2e3ced0ec121211971a74294a573ba777"},
    {"sha3_512", "459d9fbc2ed3407fa9a30834aa10d1554dfb51e98fe77434c58f52ae0bba671f9606a5f4829ee599433d3fff025"
                 "7bc9aeaeaeee7cd2eed0a1024cd3b04e2e517"},
    {"xxh32", "4cd6e38c"},
    {"xxh64", "023fd2ed1ff957d5"},
    {"xxh3_64", "d1eb8367bf3294e7"},
    {"xxh3_128", "5ed35fc6b4f0ef20d1eb8367bf3294e7"},
    {"xxh128", "5ed35fc6b4f0ef20d1eb8367bf3294e7"},
};

static void test_all(void **state)
{
    (void)state;
    unsigned char data[1000];
    for (int i = 0; i < 1000; i++) data[i] = (unsigned char)(i * 7 % 251);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[NAMED_HASH_TEXT];
        named_hash *h = named_hash_start(cases[i].name);
        assert_non_null(h);
        named_hash_update(h, data, 1);
        named_hash_update(h, data + 1, 700);
        named_hash_update(h, data + 701, 0);
        named_hash_update(h, data + 701, 299);
        named_hash_finish(h, text);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_unknown(void **state)
{
    (void)state;
    assert_null(named_hash_start("blake2b"));
    assert_null(named_hash_start(""));
    assert_null(named_hash_start("sha1 "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_unknown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
