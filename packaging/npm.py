"""The package for npm: the program is its command, without a script around it."""

import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


def make(parts, out):
    """Writes metagate-<version>-npm-<machine>.tgz."""
    folder = parts.work / "npm"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(parts.binary, folder / "bin/metagate")
    for text in ("LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"):
        shutil.copy(ROOT / text, folder)
    shutil.copy(ROOT / "packaging/npm/README.md", folder)
    shutil.copy(parts.bill, folder)
    (folder / "package.json").write_text(json.dumps(manifest(parts), indent=2) + "\n")
    command = ["npm", "pack", "--silent", "--ignore-scripts"]
    made = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    # Packages for several machines have one name.
    return shutil.move(folder / made, out / f"metagate-{parts.version}-npm-{parts.machine}.tgz")


def manifest(parts):
    return {
        "name": "metagate",
        "version": parts.version,
        "description": parts.package["description"],
        "license": parts.package["license"],
        "keywords": parts.package["keywords"],
        "bin": {"metagate": "bin/metagate"},
        "os": ["linux"],
        "cpu": [MACHINES[parts.machine]],
        "libc": ["glibc"],
    }
