"""PyPI openai as a client of `remla serve`: completions, chat, streaming, models, and each refusal as the exception that it should be.
usage: openai_client.py REMLA GOLDEN, the folder tests/golden. Exit 77: openai is missing."""
import contextlib
import os
import sys
import tempfile
import threading

from serve_client import ascii_model, serving, skip_without

KEY = "a key that nobody guesses"


@contextlib.contextmanager
def refused(error, *words):
    """What is inside must raise this, and say each of these words."""
    try:
        yield
    except error as raised:
        text = str(raised)
        assert type(raised) is error, f"{type(raised).__name__} instead of {error.__name__}: {text}"
        for word in words:
            assert word in text, f"no {word!r} in: {text}"
        print(f"{error.__name__}: {text}")
    else:
        raise AssertionError(f"no {error.__name__}")


def completions(client, model):
    whole = client.completions.create(model=model, prompt="abc def", max_tokens=24, temperature=0)
    (choice,) = whole.choices
    assert whole.object == "text_completion" and whole.model == model and choice.index == 0, whole
    assert choice.finish_reason in ("length", "stop"), choice
    assert whole.usage.prompt_tokens == 7 and whole.usage.total_tokens == 7 + whole.usage.completion_tokens, whole.usage
    if choice.finish_reason == "length":
        assert whole.usage.completion_tokens == 24 and len(choice.text) == 24, whole # a character is a token

    pieces, ends = [], []
    for event in client.completions.create(model=model, prompt="abc def", max_tokens=24, temperature=0, stream=True):
        for part in event.choices:
            pieces.append(part.text)
            ends += [part.finish_reason] if part.finish_reason else []
    assert "".join(pieces) == choice.text and len(pieces) > 1 and ends == [choice.finish_reason], (pieces, ends, choice)

    seeded = [client.completions.create(model=model, prompt="abc def", max_tokens=24, temperature=1.0, seed=seed).choices[0].text for seed in (5, 5, 6)]
    assert seeded[0] == seeded[1] != seeded[2], seeded

    several = client.completions.create(model=model, prompt=[[33, 34, 35], [1, 2, 3]], n=2, max_tokens=5, temperature=1.0, seed=1)
    assert [part.index for part in several.choices] == [0, 1, 2, 3], several

    scored = client.completions.create(model=model, prompt="abc", max_tokens=3, temperature=0, logprobs=2, echo=True).choices[0]
    marks = scored.logprobs
    assert scored.text.startswith("abc") and "".join(marks.tokens) == scored.text, scored
    assert marks.text_offset == list(range(len(scored.text))) and marks.token_logprobs[0] is None and marks.top_logprobs[0] is None, marks
    for value, token, top in list(zip(marks.token_logprobs, marks.tokens, marks.top_logprobs))[1:]:
        assert value <= 0 and top[token] == value and len(top) in (2, 3), (value, token, top)
    for value, top in list(zip(marks.token_logprobs, marks.top_logprobs))[3:]:  # greedy
        assert value == max(top.values()), (value, top)

    stop = choice.text[6:8]
    stopped = client.completions.create(model=model, prompt="abc def", max_tokens=24, temperature=0, stop=[stop]).choices[0]
    assert stopped.text == choice.text[: choice.text.index(stop)] and stopped.finish_reason == "stop", (stopped, choice.text)


def chat(client, model):
    said = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "abc?"}]
    whole = client.chat.completions.create(model=model, messages=said, max_completion_tokens=16, temperature=0)
    (choice,) = whole.choices
    assert whole.object == "chat.completion" and choice.message.role == "assistant" and choice.message.content, whole
    prompt = "system: Be short.\nuser: abc?\nassistant:"  # the model's template, a character a token
    assert whole.usage.prompt_tokens == len(prompt), whole.usage
    same = client.completions.create(model=model, prompt=prompt, max_tokens=16, temperature=0).choices[0]
    assert same.text == choice.message.content, (same, choice)

    pieces, roles, ends, usage = [], [], [], []
    for event in client.chat.completions.create(model=model, messages=said, max_completion_tokens=16, temperature=0, stream=True,
                                                stream_options={"include_usage": True}):
        assert event.object == "chat.completion.chunk", event
        usage += [event.usage] if event.usage else []
        for part in event.choices:
            pieces.append(part.delta.content or "")
            roles += [part.delta.role] if part.delta.role else []
            ends += [part.finish_reason] if part.finish_reason else []
    assert "".join(pieces) == choice.message.content and roles == ["assistant"] and ends == [choice.finish_reason], (pieces, roles, ends)
    assert len(usage) == 1 and usage[0] == whole.usage, usage

    scored = client.chat.completions.create(model=model, messages=said, max_completion_tokens=4, temperature=0, logprobs=True, top_logprobs=3).choices[0]
    assert [mark.token for mark in scored.logprobs.content] == list(choice.message.content[:4]), scored
    for mark in scored.logprobs.content:
        assert len(mark.top_logprobs) == 3 and mark.top_logprobs[0].token == mark.token and mark.top_logprobs[0].logprob == mark.logprob <= 0, mark


def refusals(openai, client, url, model):
    with refused(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="another key", max_retries=0).models.list()
    with refused(openai.BadRequestError, "temperature"):
        client.completions.create(model=model, prompt="abc", temperature=-1)
    with refused(openai.BadRequestError, "max_tokens"):
        client.completions.create(model=model, prompt="abc", max_tokens=-3)
    with refused(openai.BadRequestError):  # longer than the model reads
        client.completions.create(model=model, prompt="a" * 600, max_tokens=10)
    with refused(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=[])
    with refused(openai.NotFoundError):
        client.embeddings.create(model=model, input="abc")
    with refused(openai.APIStatusError, "413"):  # larger than serve.max_body
        client.completions.create(model=model, prompt="a" * 30000)


def too_many(openai, client, model):
    """More requests than run and wait: some are refused, and the others have the text that one alone has."""
    alone = client.completions.create(model=model, prompt="abc def", max_tokens=200, temperature=0).choices[0].text
    texts, refused_ones, others = [], [], []

    def ask():
        try:
            texts.append(client.completions.create(model=model, prompt="abc def", max_tokens=200, temperature=0).choices[0].text)
        except openai.RateLimitError as error:
            refused_ones.append(error)
        except Exception as error:  # pylint: disable=broad-except
            others.append(error)

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not others, others
    assert texts and refused_ones, (len(texts), len(refused_ones))
    assert set(texts) == {alone}, "a text is not the one that a request alone gets"
    print(f"RateLimitError: {refused_ones[0]} ({len(texts)} texts, {len(refused_ones)} refused)")


def main(remla, golden):
    skip_without("openai")
    import openai

    with tempfile.TemporaryDirectory() as folder:
        ascii_model(os.path.join(folder, "small"), os.path.join(golden, "mla"))
        with serving(remla, os.path.join(folder, "small"), "serve.max_body=20000", "decode.sequences=2", "serve.queue=2", REMLA_SERVE_KEY=KEY) as url:
            client = openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0, timeout=60)
            (served,) = client.models.list().data
            assert served.id == "small" and served.object == "model", served
            completions(client, served.id)
            chat(client, served.id)
            refusals(openai, client, url + "/v1", served.id)
            too_many(openai, client, served.id)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
