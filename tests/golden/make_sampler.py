"""Writes tests/golden/sampler.jsonl: logits, settings, tokens that are in the text, and the probabilities that transformers' processors leave, in the order
in which generate() puts them. usage: python make_sampler.py >tests/golden/sampler.jsonl   (needs torch and transformers)"""
import json
import random

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation.logits_process import LogitsProcessorList

VOCABULARY = 24
model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, pad_token_id=0))
random.seed(4)


def chances(logits, seen, settings):
    options = {key: value for key, value in settings.items() if value is not None}
    config = GenerationConfig(do_sample=True, **{"top_k": 0, "top_p": 1.0, **options})
    ids = torch.tensor([seen or [0]])
    processors = model._get_logits_processor(generation_config=config, input_ids_seq_length=ids.shape[1], encoder_input_ids=ids, prefix_allowed_tokens_fn=None,
                                             logits_processor=LogitsProcessorList(), device="cpu")
    return torch.softmax(processors(ids, torch.tensor([logits]))[0], -1).tolist(), [type(p).__name__ for p in processors]


for case in range(60):
    logits = [round(random.gauss(0, 3), 3) for _ in range(VOCABULARY)]
    if case % 5 == 0: # equal ones
        logits = [float(round(x)) for x in logits]
    pick = lambda *values: random.choice(values)
    settings = {"temperature": pick(0.3, 0.7, 1.0, 1.5), "top_k": pick(None, None, 1, 3, 8, 40), "top_p": pick(None, None, 0.35, 0.81, 0.973),
                "min_p": pick(None, None, 0.03, 0.4), "repetition_penalty": pick(None, None, 1.27, 0.8)}
    seen = random.sample(range(VOCABULARY), 5)
    if case % 5 == 0:
        settings["top_p"] = None # which of equal ones goes is not said
    result, names = chances(logits, seen, settings)
    print(json.dumps({"logits": logits, "seen": seen, "settings": {k: v for k, v in settings.items() if v is not None}, "chances": result, "processors": names}))
