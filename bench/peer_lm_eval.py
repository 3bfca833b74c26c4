#!/usr/bin/env python3
"""Runs lm-eval's own command line, and prints what its Hugging Face path took. usage: peer_lm_eval.py ARGUMENT-OF-LM-EVAL...

Counted is HFLM.loglikelihood: tokenizing the requests, the passes, the sums. Start-up is left out: imports, loading the model, reading and rendering the
questions, statistics. The last line of standard output is {"seconds", "questions", "requests", "batch_size", "results": {TASK: {"acc", "acc_norm"}}}.
"""
import json
import os
import sys
import time

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}

import lm_eval.evaluator
from lm_eval.__main__ import cli_evaluate
from lm_eval.models.huggingface import HFLM

counted = {"seconds": 0.0, "questions": 0, "requests": 0}
loglikelihood, simple_evaluate = HFLM.loglikelihood, lm_eval.evaluator.simple_evaluate


def timed(self, requests, *more, **named):
    start = time.perf_counter()
    result = loglikelihood(self, requests, *more, **named)
    counted["seconds"] += time.perf_counter() - start
    counted["requests"] += len(requests)
    counted["questions"] += len({(request.task_name, request.doc_id) for request in requests})
    counted["batch_size"] = next(iter(self.batch_sizes.values()), self.batch_size)  # what `auto` came to
    return result


def kept(*arguments, **named):
    results = simple_evaluate(*arguments, **named)
    counted["results"] = {task: {metric: found[metric + ",none"] for metric in ("acc", "acc_norm") if metric + ",none" in found}
                          for task, found in results["results"].items()}
    return results


HFLM.loglikelihood = timed
lm_eval.evaluator.simple_evaluate = lm_eval.simple_evaluate = kept
sys.argv[0] = "lm_eval"
cli_evaluate()
print(json.dumps(counted))
