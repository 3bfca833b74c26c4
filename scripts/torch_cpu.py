#!/usr/bin/env python3
"""Completes a torch that `pip install --no-deps` put into this environment, so that it imports on a machine without CUDA.

PyPI has no CPU-only torch for Linux: its wheel is linked against 2.3 GB of CUDA libraries, which a CPU run loads and does not
call. Two of them it does call, the CUDA runtime and CUPTI (14 MB, installed as wheels). In the place of each of the others
this puts an empty library: its name, its symbol version, and symbols that trap. Needs gcc and binutils.
"""
import glob
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tempfile


def output(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stderr}")
    return result.stdout


def install_wheels():
    """What torch's metadata asks for, less everything of CUDA but its runtime and CUPTI."""
    wanted = []
    for requirement in importlib.metadata.requires("torch"):
        text, _, marker = requirement.partition(";")
        toolkit = re.match(r"cuda-toolkit\[.*\](==[\d.]+)", text)
        if toolkit:
            wanted.append("cuda-toolkit[cudart,cupti]" + toolkit[1])
        elif "extra ==" not in marker and not re.match(r"nvidia-|cuda-|triton", text):
            wanted.append(text)
    output(sys.executable, "-m", "pip", "install", "-q", *wanted)


def write_stand_in(path, version, symbols):
    name = os.path.basename(path)
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/stub.c", "w") as f:
            f.writelines(f"void {symbol}(void) {{ __builtin_trap(); }}\n" for symbol in sorted(symbols))
        with open(f"{work}/stub.map", "w") as f:
            f.write(f"{version} {{ *; }};\n")
        output("gcc", "-w", "-fno-builtin", "-fPIC", "-shared", "-o", path, f"-Wl,-soname,{name}", f"-Wl,--version-script={work}/stub.map", f"{work}/stub.c")


def main():
    install_wheels()
    site = sysconfig.get_paths()["platlib"]
    folder = os.path.join(site, "torch", "lib")
    present = {os.path.basename(f) for f in glob.glob(f"{folder}/*.so*") + glob.glob(f"{site}/nvidia/*/lib/*.so*")}
    needed, version, symbols = set(), {}, {}
    for file in glob.glob(f"{folder}/*.so"):
        needed.update(re.findall(r"\(NEEDED\).*\[(lib(?:cu|nv|nccl).*)\]", output("readelf", "-W", "-d", file)))
        version.update(re.findall(r"File: (lib\S+) .*\n.*Name: (\S+)", output("readelf", "-W", "-V", file)))
        undefined = output("nm", "-D", "--undefined-only", "--with-symbol-versions", file)
        for symbol, of in re.findall(r" U ((?:cu|nv|nccl)\w+)(?:@(\S+))?", undefined):
            symbols.setdefault(of, set()).add(symbol)  # `of` is empty for a symbol that any library may have
    for library in sorted(needed - present):
        of = version.get(library, library)
        write_stand_in(os.path.join(folder, library), of, symbols.get(of, set()) | symbols.get("", set()))


if __name__ == "__main__":
    main()
