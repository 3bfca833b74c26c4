"""Load for `remla serve`: clients that ask for texts of every kind, malformed, oversized and slow ones, and ones that vanish, all at once. Every answer
is compared with the one that the same request gets alone. Prints what was answered and latency percentiles; exit code 1 if anything was wrong.

usage: serve_load.py HOST:PORT SECONDS [--clients N] [--key KEY] [--body BYTES] [--tokens N] [--stop PID] [--model NAME]
--body: serve.max_body of the server. --stop: sends SIGTERM to this process after half of the time; answers that come must still be right."""
import argparse
import asyncio
import collections
import json
import os
import random
import signal
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("seconds", type=float)
parser.add_argument("--clients", type=int, default=64)
parser.add_argument("--key", default="")
parser.add_argument("--body", type=int, default=8388608)
parser.add_argument("--tokens", type=int, default=24)
parser.add_argument("--stop", type=int, default=0)
parser.add_argument("--model", default="")
arguments = parser.parse_args()
host, port = arguments.address.rsplit(":", 1)

counts = collections.Counter()  # of (kind, outcome)
latency = []  # seconds of good requests
first_byte = []  # seconds to the first event of streams
wrong = []
stopped = False


def head(path, length, more=""):
    key = f"Authorization: Bearer {arguments.key}\r\n" if arguments.key else ""
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n{key}{more}Content-Length: {length}\r\n\r\n".encode()


async def read_answer(reader, began=None):
    """Code and body; code 0: the connection was closed without an answer."""
    data = b""
    while True:
        piece = await reader.read(65536)
        if not piece:
            break
        if began and b"data: " in piece and b"data: " not in data:
            first_byte.append(time.monotonic() - began)
        data += piece
    header, _, body = data.partition(b"\r\n\r\n")
    if not header.startswith(b"HTTP/1.1 "):
        return 0, b""
    if b"transfer-encoding: chunked" in header.lower():
        whole, rest = b"", body
        while True:
            size, mark, rest = rest.partition(b"\r\n")
            if not mark:
                return 0, b""  # cut off
            if int(size, 16) == 0:
                break
            whole, rest = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        body = whole
    return int(header.split()[1]), body


async def ask(path, request, measure=False):
    body = json.dumps(request).encode()
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head(path, len(body)) + body)
        await writer.drain()
        answer = await read_answer(reader, began if measure else None)
        if measure and answer[0] == 200:
            latency.append(time.monotonic() - began)
        return answer
    finally:
        writer.close()


def essence(request, body):
    """What must be the same whenever it is asked; None: the server says in the stream that it has given up."""
    if not request.get("stream"):
        answer = json.loads(body)
        return json.dumps([sorted(answer["choices"], key=lambda c: c["index"]), answer["usage"]])
    events = body.decode().split("\n\n")
    assert events.pop() == "", "the stream does not end with an event"
    texts, reasons = collections.defaultdict(str), {}
    for event in events:
        assert event.startswith("data: "), event
        if event == "data: [DONE]":
            return json.dumps([sorted(texts.items()), sorted(reasons.items())])
        event = json.loads(event[6:])
        if "error" in event:
            return None
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"] if "text" in choice else choice["delta"].get("content", "")
            reasons[choice["index"]] = choice["finish_reason"]
    raise AssertionError("the stream has no [DONE]")


def make_requests(chat):
    words = "the model reads a page of the cache and writes one more row of it".split()
    rng = random.Random(1)
    requests = []
    for i in range(24):
        prompt = " ".join(rng.choice(words) for _ in range(rng.randint(1, 40)))
        r = {"prompt": prompt, "max_tokens": rng.randint(1, arguments.tokens), "seed": i, "temperature": rng.choice([0, 0.8, 1.3]), "stream": i % 3 == 0}
        if i % 4 == 1:
            r.update(n=2, top_p=0.9, top_k=40)
        if i % 5 == 2:
            r.update(echo=True, logprobs=i % 3, max_tokens=1, stream=False)
        if i % 6 == 4:
            r.update(prompt=[prompt, "a", prompt[: len(prompt) // 2] or "b"], stop=["e", "\n"])
        requests.append(("/v1/completions", r))
    for i in range(4 if chat else 0):
        messages = [{"role": "user", "content": " ".join(rng.choice(words) for _ in range(5))}]
        requests.append(("/v1/chat/completions", {"messages": messages, "max_tokens": arguments.tokens, "seed": i, "temperature": i / 2, "stream": i % 2 == 0, "logprobs": True}))
    for _, r in requests:
        if arguments.model:
            r["model"] = arguments.model
    return requests


async def good(rng, requests, alone):
    which = rng.randrange(len(requests))
    path, request = requests[which]
    code, body = await ask(path, request, True)
    counts["good", code] += 1
    if code == 200:
        got = essence(request, body)
        if got is None and not stopped or got is not None and got != alone[which]:
            wrong.append(f"{request}:\n{got}\nalone:\n{alone[which]}")
    elif code not in (429, 503) and not (stopped and code == 0) or code == 503 and not stopped:
        wrong.append(f"{request}: code {code}: {body[:300]}")


async def expect(kind, codes, data, wait=0.0):
    """Sends these bytes, in pieces with pauses if `wait`; one of the codes must come back."""
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        step = max(1, len(data) // 10) if wait else len(data)
        for i in range(0, len(data), step):
            writer.write(data[i : i + step])
            await writer.drain()
            await asyncio.sleep(wait / 10)
        code, body = await read_answer(reader)
        counts[kind, code] += 1
        if code not in codes and not stopped:
            wrong.append(f"{kind}: code {code}, expected {codes}: {body[:300]}")
        if code >= 400:
            assert json.loads(body)["error"]["message"], body
    finally:
        writer.close()


async def malformed(rng):
    bodies = [b"{", b"[]", b"\xff\xfe", b'{"prompt": 5}', b'{"prompt": "a", "temperature": "hot"}', b'{"prompt": [[1, -4]]}', b"[" * 5000, b'{"prompt": "a", "n": 1e9}', b'{"prompt": []}', b"\0" * 100]
    body = rng.choice(bodies)
    await expect("malformed", (400,), head("/v1/completions", len(body)) + body)


async def no_http(rng):
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(rng.choice([b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"POST /v1/completions HTTP/9.9\r\n\r\n", bytes(rng.randrange(256) for _ in range(300)) + b"\r\n\r\n"]))
        await writer.drain()
        writer.write_eof()
        await reader.read(65536)
        counts["no HTTP", "-"] += 1
    finally:
        writer.close()


async def oversized(rng):
    await expect("oversized", (413,), head("/v1/completions", arguments.body + 1000) + b" " * (arguments.body + 1000))


async def slow(rng):
    body = json.dumps({"prompt": "slow", "max_tokens": 2, "temperature": 0}).encode()
    await expect("slow", (200, 429), head("/v1/completions", len(body)) + body, rng.uniform(0.1, 1))


async def vanishing(rng):
    """Leaves while the request is sent, waits, is computed or streamed."""
    request = {"prompt": "gone " * rng.randint(1, 30), "max_tokens": arguments.tokens * 2, "stream": rng.random() < 0.5, "n": rng.choice([1, 1, 3])}
    body = json.dumps(request).encode()
    data = head("/v1/completions", len(body)) + body
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data if rng.random() < 0.8 else data[: rng.randrange(len(data))])
        await writer.drain()
        await asyncio.sleep(rng.choice([0, 0.01, 0.1, 0.3]))
        if rng.random() < 0.3:
            await asyncio.wait_for(reader.read(100), 0.5)
    except asyncio.TimeoutError:
        pass
    finally:
        if rng.random() < 0.5:
            writer.transport.abort()  # a reset, rather than an orderly end
        writer.close()
    counts["vanished", "-"] += 1


async def elsewhere(rng):
    path, code = rng.choice([("/v1/nothing", 404), ("/health", 405)])
    await expect("elsewhere", (code,), head(path, 2) + b"{}")


async def client(number, requests, alone, until):
    rng = random.Random(number)
    kinds = [(0.7, lambda: good(rng, requests, alone)), (0.08, lambda: malformed(rng)), (0.03, lambda: no_http(rng)), (0.02, lambda: oversized(rng)), (0.05, lambda: slow(rng)), (0.08, lambda: vanishing(rng)), (0.04, lambda: elsewhere(rng))]
    while time.monotonic() < until:
        try:
            kind = rng.choices(kinds, [weight for weight, _ in kinds])[0][1]
            await asyncio.wait_for(kind(), 300)
        except (ConnectionError, OSError) as error:
            counts["connection", type(error).__name__] += 1
            if isinstance(error, ConnectionRefusedError):
                if stopped:
                    return
                wrong.append(f"connection: {error}")
                return
        except (AssertionError, ValueError, KeyError, asyncio.TimeoutError) as error:
            wrong.append(f"{type(error).__name__}: {error}")


async def metric(name):
    reader, writer = await asyncio.open_connection(host, int(port))
    key = f"Authorization: Bearer {arguments.key}\r\n" if arguments.key else ""
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n{key}Connection: close\r\n\r\n".encode())
    _, body = await read_answer(reader)
    writer.close()
    return sum(int(line.split()[-1]) for line in body.decode().splitlines() if line.startswith(name + "{"))


async def has_chat():
    reader, writer = await asyncio.open_connection(host, int(port))
    key = f"Authorization: Bearer {arguments.key}\r\n" if arguments.key else ""
    writer.write(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\n{key}Connection: close\r\n\r\n".encode())
    _, body = await read_answer(reader)
    writer.close()
    return all(m["chat"] for m in json.loads(body)["data"])


async def stop_later(until):
    global stopped
    await asyncio.sleep(max(0, until - time.monotonic()))
    stopped = True
    os.kill(arguments.stop, signal.SIGTERM)


def percentiles(name, values):
    values.sort()
    at = lambda p: values[min(len(values) - 1, int(p / 100 * len(values)))] * 1000
    if values:
        print(f"{name}, ms: " + ", ".join(f"p{p} {at(p):.0f}" for p in (50, 90, 95, 99)) + f", most {values[-1] * 1000:.0f} ({len(values)} requests)")


async def main():
    requests = make_requests(await has_chat())
    alone = []
    for path, request in requests:
        code, body = await ask(path, request)
        if code != 200:
            sys.exit(f"alone: {request}: code {code}: {body}")
        alone.append(essence(request, body))
    print(f"{len(requests)} requests answered alone")
    began = time.monotonic()
    until = began + arguments.seconds
    work = [client(i, requests, alone, until) for i in range(arguments.clients)]
    if arguments.stop:
        work.append(stop_later(began + arguments.seconds / 2))
    await asyncio.gather(*work)
    seconds = time.monotonic() - began
    for (kind, outcome), count in sorted(counts.items(), key=str):
        print(f"{kind:10s} {outcome!s:22s} {count}")
    percentiles("whole answer", latency)
    percentiles("first event of a stream", first_byte)
    print(f"{arguments.clients} clients, {seconds:.1f} s, {len(latency) / seconds:.1f} good answers a second")
    if not arguments.stop:
        for _ in range(300):
            left = [await metric("remla_running_sequences"), await metric("remla_queue_requests")]
            if left == [0, 0]:
                break
            await asyncio.sleep(0.1)
        else:
            wrong.append(f"requests of clients that are gone are still there: {left}")
    for text in wrong[:5]:
        print("WRONG: " + text)
    print(f"{len(wrong)} wrong")
    sys.exit(1 if wrong or not latency else 0)


asyncio.run(main())
