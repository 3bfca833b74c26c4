"""What a disk may hold after a power cut: replays the record that faulty_files.c has made of the calls below a folder. The model is the one that
POSIX allows and journaling file systems come close to:

* the bytes and the size of a file are sure up to its last fsync; of later writes every page of 4 KiB has arrived or not, for itself
* the names in a folder are sure up to the folder's last fsync; of later changes the first so many have arrived, in each folder for itself
"""
import os, random, shutil

PAGE = 4096


class Node:
    def __init__(self, folder):
        self.folder = folder
        self.sure = {} if folder else b""  # names: Node, or bytes
        self.later = []  # changes since the last fsync

    def live(self):
        return apply_names(self.sure, self.later) if self.folder else apply_bytes(self.sure, self.later)

    def sync(self):
        self.sure, self.later = self.live(), []


def apply_names(names, changes):
    names = dict(names)
    for kind, name, value in changes:
        if kind == "add":
            names[name] = value
        elif kind == "move":  # within one folder: one change
            if name in names:
                names[value] = names.pop(name)
        else:
            names.pop(name, None)
    return names


def apply_bytes(data, changes, keep=lambda page: True):
    data = bytearray(data)
    for kind, offset, value in changes:
        if kind == "size":
            data = data[:offset] + bytes(max(0, offset - len(data)))
            continue
        data += bytes(max(0, offset + len(value) - len(data)))
        for page in range(offset // PAGE, (offset + len(value) - 1) // PAGE + 1):
            if keep(page):
                first, last = max(offset, page * PAGE), min(offset + len(value), (page + 1) * PAGE)
                data[first:last] = value[first - offset : last - offset]
    return bytes(data)


def read_record(path):
    """The calls, in order: kind, inode, path, other path, number, bytes."""
    calls = []
    with open(path, "rb") as f:
        while line := f.readline():
            kind, inode, name, to, number, size = line.decode().rstrip("\n").split("\t")
            calls.append((kind, int(inode), name, to, int(number), f.read(int(size))))
    return calls


class Disk:
    """Below the folder `root`, as it is now, or which does not exist yet."""

    def __init__(self, root):
        self.root, self.top, self.node = root, Node(True), {}
        if os.path.exists(root):
            self.top = self.find(root)

    def find(self, path):
        folder = os.path.isdir(path)
        node = self.node[os.stat(path).st_ino] = Node(folder)
        if folder:
            node.sure = {name: self.find(f"{path}/{name}") for name in os.listdir(path)}
        else:
            with open(path, "rb") as f:
                node.sure = f.read()
        return node

    def place(self, path):
        """The folder that the path lies in, as it is now, and the name in it."""
        parts = path[len(self.root) :].strip("/").split("/")
        folder = self.top
        for part in parts[:-1]:
            folder = folder.live()[part]
        return folder, parts[-1]

    def call(self, kind, inode, path, to, number, data):
        if path == self.root:
            if kind == "mkdir":
                self.node[inode] = self.top
            elif kind == "fsync":
                self.top.sync()
            return
        if kind in ("mkdir", "open"):
            if kind == "mkdir" or number:
                folder, name = self.place(path)
                self.node[inode] = Node(kind == "mkdir")
                folder.later.append(("add", name, self.node[inode]))
        elif kind == "rename":
            (a, old), (b, new) = self.place(path), self.place(to)
            if a is b:
                a.later.append(("move", old, new))
            else:
                b.later.append(("add", new, self.node[inode]))
                a.later.append(("remove", old, None))
        elif kind in ("unlink", "rmdir"):
            folder, name = self.place(path)
            folder.later.append(("remove", name, None))
        elif kind == "write":
            self.node[inode].later.append(("bytes", number, data))
        elif kind == "ftruncate":
            self.node[inode].later.append(("size", number, None))
        elif kind == "fallocate":
            if number > len(self.node[inode].live()):
                self.node[inode].later.append(("size", number, None))
        elif kind == "fsync":
            self.node[inode].sync()
        else:
            raise ValueError(kind)

    def image(self, names, data):
        """{path: bytes, or None for a folder}, where names(changes) says how many of a folder's late changes have arrived and data(node) what a file
        holds."""
        found = {}

        def walk(node, path):
            if not node.folder:
                found[path] = data(node)
                return
            found[path] = None
            for name, inner in apply_names(node.sure, node.later[: names(node.later)]).items():
                walk(inner, f"{path}/{name}")

        walk(self.top, self.root)
        return found

    def images(self, seed, mixtures):
        """The worst cases, then random mixtures."""
        everything, nothing = len, lambda changes: 0
        sure, live = (lambda node: node.sure), (lambda node: node.live())
        zeros = lambda node: apply_bytes(node.sure, node.later, lambda page: False)
        yield self.image(nothing, sure)
        yield self.image(everything, sure)
        yield self.image(everything, zeros)
        yield self.image(nothing, live)
        yield self.image(everything, live)
        for n in range(mixtures):
            draw = random.Random(f"{seed} {n}")

            def torn(node):
                pages = {}
                count = draw.randint(0, len(node.later))
                return apply_bytes(node.sure, node.later[:count], lambda page: pages.setdefault(page, draw.random() < 0.5))

            yield self.image(lambda changes: draw.randint(0, len(changes)), torn)


def write_image(root, image):
    shutil.rmtree(root, ignore_errors=True)
    for path, data in image.items():
        if data is None:
            os.mkdir(path)
        else:
            with open(path, "wb") as f:
                f.write(data)
