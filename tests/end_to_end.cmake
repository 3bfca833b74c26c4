# Tests with a Python oracle: the checks of ../shared/fixtures, stock transformers, and the demo's model. They run in build/venv, which
# scripts/test.sh makes, and are skipped, visibly, where it, the fixtures or the model are missing.
set(fixtures ${CMAKE_SOURCE_DIR}/../shared/fixtures)
function(python_test name timeout)
    add_test(NAME e2e/${name} COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/e2e/with_python.sh ${ARGN})
    set_tests_properties(e2e/${name} PROPERTIES LABELS e2e TIMEOUT ${timeout} SKIP_RETURN_CODE 77
        ENVIRONMENT "${mpi_environment};REMLA_SOURCE=${CMAKE_SOURCE_DIR}")
endfunction()

foreach(what loss grads trajectory convert convert_best)
    python_test(check_${what} 600 ${fixtures}/check.py ${what} $<TARGET_FILE:remla> ${fixtures})
    set_property(TEST e2e/check_${what} APPEND PROPERTY ENVIRONMENT OMP_NUM_THREADS=1) # tiny models
endforeach()
python_test(stock_transformers 300 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/stock_transformers.py $<TARGET_FILE:remla> ${fixtures})
python_test(seekable 300 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/seekable.py $<TARGET_FILE:remla>)
python_test(smollm2 900 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/smollm2.py $<TARGET_FILE:remla> ${fixtures}/smollm2 ${CMAKE_SOURCE_DIR}/build/demo/smollm2)
set_property(TEST e2e/smollm2 PROPERTY RUN_SERIAL TRUE) # the only one that wants every core
# Token for token what PyPI `tokenizers` gives, and the text again; scripts/fuzz_tokenizer.sh is the long run.
python_test(tokenizer 600 ${CMAKE_CURRENT_SOURCE_DIR}/data/fuzz_tokenizer.py $<TARGET_FILE:remla> --strings 3000)
python_test(tokenize_equal 300 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/tokenize_equal.py $<TARGET_FILE:remla> ${CMAKE_CURRENT_SOURCE_DIR}/golden/tokenizer ${CMAKE_SOURCE_DIR}/build/demo/smollm2)
python_test(eval_smollm2 900 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/eval_smollm2.py $<TARGET_FILE:remla> ${fixtures}/eval ${CMAKE_SOURCE_DIR}/build/demo/smollm2)
set_property(TEST e2e/eval_smollm2 PROPERTY RUN_SERIAL TRUE)
python_test(generate_equal 900 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/generate_equal.py $<TARGET_FILE:remla> ${CMAKE_SOURCE_DIR}/build/demo)
# Clients of other people, against `remla serve`: of a small model, and lm-eval also of the demo's.
python_test(openai_client 300 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/openai_client.py $<TARGET_FILE:remla> ${CMAKE_CURRENT_SOURCE_DIR}/golden)
python_test(lm_eval_client 600 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/lm_eval_client.py $<TARGET_FILE:remla> ${CMAKE_CURRENT_SOURCE_DIR}/golden)
set_property(TEST e2e/openai_client e2e/lm_eval_client APPEND PROPERTY ENVIRONMENT OMP_NUM_THREADS=1)
python_test(lm_eval_client_smollm2 900 ${CMAKE_CURRENT_SOURCE_DIR}/e2e/lm_eval_client.py $<TARGET_FILE:remla>
            --model ${CMAKE_SOURCE_DIR}/build/demo/smollm2 ${fixtures}/eval/tasks 20)
set_property(TEST e2e/lm_eval_client_smollm2 PROPERTY RUN_SERIAL TRUE)
