#!/usr/bin/env python3
"""Writes tokenizer/ here: python3 make_tokenizer.py (needs PyPI tokenizers). A byte-level BPE of 400 tokens as GPT-2's, trained on this repository's
documentation, with <|endoftext|> as its end of text."""
import glob
import json
import os

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
END = "<|endoftext|>"

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
tokenizer.train(sorted(glob.glob(f"{HERE}/../../docs/*.md")), trainer)
with open(f"{HERE}/tokenizer/tokenizer.json", "w", encoding="utf-8") as f:
    json.dump(json.loads(tokenizer.to_str()), f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
with open(f"{HERE}/tokenizer/tokenizer_config.json", "w") as f:
    json.dump({"eos_token": END}, f)
    f.write("\n")
