#!/usr/bin/env python3
"""Packs a built metagate: a tarball, a Debian package, a package for npm and a wheel for pip, with a bill of materials
and checksums.

    packaging/package.py target/release/metagate dist [--quick]

Names of functions, for the stacks of panics, go to a file of their own: put beside the program as metagate.debug, the
program finds it.

Needs dpkg-deb, strip, objcopy and readelf. The same binary gives the same files, byte for byte.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import deb
import npm
import sbom
import tarball
import wheel

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description="Packs a built metagate.")
    parser.add_argument("binary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--target", default="x86_64-unknown-linux-gnu")
    parser.add_argument("--quick", action="store_true", help="keep no names of functions, compress little: for tests")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    with tempfile.TemporaryDirectory() as work:
        parts = Parts(Path(work), options, package)
        made = [make(parts, options.out) for make in (tarball.make, deb.make, npm.make, wheel.make)]
        bill = options.out / f"metagate-{parts.version}-{options.target}.cdx.json"
        shutil.copy(parts.bill, bill)
        made.append(bill)
        if parts.symbols:
            made.append(options.out / f"metagate-{parts.version}-{options.target}.debug")
            shutil.copy(parts.symbols, made[-1])
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(made)]
    (options.out / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")


class Parts:
    """What every package holds, made once."""

    def __init__(self, work, options, package):
        self.work, self.target, self.quick, self.package = work, options.target, options.quick, package
        self.version = package["version"]
        self.binary = work / "metagate"
        shutil.copy(options.binary, self.binary)
        self.symbols = None if options.quick else symbols(self.binary, work)
        subprocess.run(["strip", self.binary], check=True)
        if self.symbols:
            subprocess.run(["objcopy", f"--add-gnu-debuglink={self.symbols}", self.binary], check=True)
        self.binary.chmod(0o755)
        self.machine = options.target.split("-")[0]
        self.glibc = needed_glibc(self.binary)
        self.completions = work / "completions"
        self.completions.mkdir()
        for shell, file in (("bash", "metagate"), ("zsh", "_metagate"), ("fish", "metagate.fish")):
            (self.completions / file).write_bytes(self.run("completions", shell))
        self.pages = work / "man"
        self.run("man", self.pages)
        self.bill = work / "metagate.cdx.json"
        self.bill.write_text(json.dumps(sbom.bill(options.target), indent=1) + "\n")

    def run(self, *arguments):
        return subprocess.run([self.binary, *arguments], check=True, stdout=subprocess.PIPE).stdout


def symbols(binary, work):
    """A file with the names of the binary's functions, or nothing if it has none any more."""
    sections = subprocess.run(["readelf", "--section-headers", "--wide", binary], check=True, stdout=subprocess.PIPE)
    if b" .symtab " not in sections.stdout:
        return None
    file = work / "metagate.debug"
    subprocess.run(["objcopy", "--only-keep-debug", binary, file], check=True)
    file.chmod(0o644)
    return file


def needed_glibc(binary):
    """The oldest version of glibc that has every symbol that the binary asks for, as in (2, 31)."""
    text = subprocess.run(["readelf", "--version-info", "--wide", binary], check=True, stdout=subprocess.PIPE).stdout
    versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", text)
    return max((tuple(map(int, version)) for version in versions), default=(2, 0))


if __name__ == "__main__":
    main()
