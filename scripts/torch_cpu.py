#!/usr/bin/env python3
"""Makes a torch wheel of PyPI import on a machine without CUDA. usage: torch_cpu.py SITE_PACKAGES

PyPI has no CPU-only torch for Linux: the wheel is linked against 2.3 GB of CUDA libraries that a CPU run loads and never
calls. Only two of them matter to it, the CUDA runtime and CUPTI (14 MB together, installed as wheels); this puts an empty
library in the place of each of the others: its name, its symbol version, and symbols that trap. Needs gcc and binutils.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(site):
    folder = os.path.join(site, "torch", "lib")
    present = {os.path.basename(f) for f in glob.glob(f"{folder}/*.so*") + glob.glob(f"{site}/nvidia/*/lib/*.so*")}
    needed, version, symbols = set(), {}, {}
    for file in glob.glob(f"{folder}/*.so"):
        needed.update(re.findall(r"\(NEEDED\).*\[(lib(?:cu|nv|nccl).*)\]", output("readelf", "-W", "-d", file)))
        version.update(re.findall(r"File: (lib\S+) .*\n.*Name: (\S+)", output("readelf", "-W", "-V", file)))
        for name, of in re.findall(r" U ((?:cu|nv|nccl)\w+)(?:@(\S+))?", output("nm", "-D", "--undefined-only", "--with-symbol-versions", file)):
            symbols.setdefault(of, set()).add(name)  # without a version: any library may have it
    for library in sorted(needed - present):
        with tempfile.TemporaryDirectory() as work:
            of = version.get(library, library)
            with open(f"{work}/stub.c", "w") as f:
                f.writelines(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in sorted(symbols.get(of, set()) | symbols[""]))
            with open(f"{work}/stub.map", "w") as f:
                f.write(f"{of} {{ *; }};\n")
            output("gcc", "-w", "-fno-builtin", "-fPIC", "-shared", "-o", f"{folder}/{library}", f"-Wl,-soname,{library}",
                   f"-Wl,--version-script={work}/stub.map", f"{work}/stub.c")
            print(f"  {library}: empty stand-in")


if __name__ == "__main__":
    main(sys.argv[1])
