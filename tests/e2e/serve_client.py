"""What the clients of `remla serve` share: a model small enough for any machine, and a server for as long as it is wanted."""
import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time


def skip_without(*packages):
    for package in packages:
        if importlib.util.find_spec(package) is None:
            print(f"skipped: there is no {package}")
            sys.exit(77)


def ascii_model(folder, source):
    """A model of 96 tokens, as tests/golden has them, with a tokenizer of line feed, space and ASCII but ~; <|end|> is 0. With a chat template."""
    os.mkdir(folder)
    shutil.copy(source + "/model.safetensors", folder)
    with open(source + "/config.json") as f:
        config = json.load(f)
    with open(folder + "/config.json", "w") as f:
        json.dump(config | {"eos_token_id": 0}, f)
    vocab = {"<|end|>": 0, "Ġ": 95, "Ċ": 94} | {chr(i): i - 32 for i in range(33, 126)}
    end = {"id": 0, "content": "<|end|>", "special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    with open(folder + "/tokenizer.json", "w") as f:
        json.dump({"added_tokens": [end], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": {"type": "ByteLevel"},
                   "model": {"type": "BPE", "vocab": vocab, "merges": []}}, f)
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    with open(folder + "/tokenizer_config.json", "w") as f:
        json.dump({"eos_token": "<|end|>", "chat_template": template}, f)


@contextlib.contextmanager
def serving(remla, model, *options, **environment):
    """The address of a server of this model, which must end well when it is asked to."""
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([remla, "serve", model, "serve.port=0", "device.kind=cpu", *options], stdout=log, stderr=subprocess.STDOUT,
                                  env=os.environ | environment)
        try:
            url = None
            while url is None:
                time.sleep(0.02)
                log.seek(0)
                text = log.read()
                if server.poll() is not None:
                    sys.exit(f"the server ended with {server.returncode}: {text}")
                found = re.search(r"^listening on (http://[^,\s]+)", text, re.MULTILINE)
                url = found and found[1]
            yield url
        finally:
            server.terminate()
            code = server.wait(60)
    if code:
        sys.exit(f"the server ended with {code} when it was asked to stop")
