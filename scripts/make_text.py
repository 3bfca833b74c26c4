#!/usr/bin/env python3
"""Plain text from unpacked Debian packages, as JSON Lines {"id", "text"}, one document a line.

usage: make_text.py docs     TRAIN.jsonl HELD_OUT.jsonl FOLDER...   HTML pages: a document is a page; one in twenty is held out
       make_text.py fortunes OUT.jsonl FOLDER...                    cookie files: a document is what stands between two lines of %

Documents are ordered by a hash of their names, so that the beginning of a file is a fair sample of all of it and nothing depends on chance.
"""
import hashlib
import html.parser
import json
import os
import re
import sys

SKIPPED = {"script", "style", "nav", "head", "footer", "svg", "form", "button", "pre", "table"}  # elements without prose
SKIPPED_CLASS = re.compile(r"\b(navheader|navfooter|sphinxsidebar|related|footer|toc|toctree-wrapper|headerlink|docnav|breadcrumbs|copyright)\b")
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
BLOCK = {"p", "div", "li", "dd", "dt", "dl", "ul", "ol", "table", "tr", "td", "th", "pre", "blockquote", "section", "article", "body",
         "h1", "h2", "h3", "h4", "h5", "h6"}
LEAST_BLOCK = 60         # characters: shorter blocks are headings, menu entries, names of functions
LEAST_DOCUMENT = 400     # characters: shorter pages are lists of links
MOST_DOCUMENT = 18000    # characters: of a long page only the beginning, so that a few pages do not make up the text
HELD_OUT = 20            # one document in so many


class Page(html.parser.HTMLParser):
    """Collects the text of blocks, one line each."""

    def __init__(self):
        super().__init__()
        self.open, self.skipped, self.words, self.blocks = [], 0, [], []

    def end_block(self):
        text = " ".join("".join(self.words).split())
        self.words = []
        if len(text) >= LEAST_BLOCK:
            self.blocks.append(text)

    def handle_starttag(self, tag, attrs):
        if tag in BLOCK:
            self.end_block()
        if tag in VOID:
            return
        skip = tag in SKIPPED or bool(SKIPPED_CLASS.search(dict(attrs).get("class") or ""))
        self.open.append((tag, skip))
        self.skipped += skip

    def handle_endtag(self, tag):
        if tag not in [name for name, _ in self.open]:
            return
        if tag in BLOCK:
            self.end_block()
        name = None
        while name != tag:  # elements whose end tag is left out end here too
            name, skip = self.open.pop()
            self.skipped -= skip

    def handle_data(self, data):
        if not self.skipped:
            self.words.append(data)


def page_text(path):
    page = Page()
    with open(path, encoding="utf-8", errors="replace") as f:
        page.feed(f.read())
    page.close()
    page.end_block()
    length, text = 0, []
    for block in page.blocks:
        length += len(block) + 1
        if length > MOST_DOCUMENT:
            break
        text.append(block)
    return "\n".join(text)


def files_under(folder):
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(place, name) for name in sorted(names))


def english(path):
    """The handbook comes in many languages, one folder each."""
    language = re.search(r"/html/([a-z]{2}-[A-Z]{2})/", path)
    return not language or language.group(1) == "en-US"


def documents(folder):
    for path in files_under(folder):
        if path.endswith((".html", ".htm")) and english(path) and not os.path.islink(path):
            text = page_text(path)
            if len(text) >= LEAST_DOCUMENT:
                yield os.path.relpath(path, folder), text


def fortunes(folder):
    for path in files_under(folder):
        if "/games/fortunes/" not in path or "/off/" in path or path.endswith((".dat", ".u8")):
            continue
        with open(path, encoding="utf-8", errors="replace") as f:
            cookies = re.split(r"^%\n", f.read(), flags=re.MULTILINE)
        for i, cookie in enumerate(cookies):
            if cookie.strip():
                yield f"{os.path.relpath(path, folder)}#{i}", cookie.strip("\n")


def write(out, found):
    """A list of (name, text)."""
    with open(out + ".partial", "w", encoding="utf-8") as f:
        for name, text in found:
            f.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    os.rename(out + ".partial", out)
    print(f"{out}: {len(found)} documents, {sum(len(text) for _, text in found) / 1e6:.1f} M characters")


def unique(folders, documents_of):
    """All documents in their order. The same page under two names would put a held-out document into training."""
    seen = {}
    for folder in folders:
        for name, text in documents_of(folder):
            seen.setdefault(text, f"{os.path.basename(folder)}/{name}")
    return sorted(((name, text) for text, name in seen.items()), key=lambda d: hashlib.sha256(d[0].encode()).digest())


def main(kind, *arguments):
    if kind == "fortunes":
        out, *folders = arguments
        write(out, unique(folders, fortunes))
    else:
        train, held_out, *folders = arguments
        found = unique(folders, documents)
        count = len(found) // HELD_OUT
        write(train, found[count:])
        write(held_out, found[:count])


if __name__ == "__main__":
    main(*sys.argv[1:])
