"""Builds business-rules.wasm from app.py.

Uses componentize-py from the PATH where it is the version of requirements.txt, else installs that one into .venv first.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINNED = (HERE / "requirements.txt").read_text().split("==")[1].strip()


def is_pinned(program):
    """Whether there is such a program, of the pinned version."""
    if program is None or not os.access(program, os.X_OK):
        return False
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return printed.split()[-1:] == [PINNED]


def componentize_py():
    """The path of componentize-py, installed if need be."""
    found = shutil.which("componentize-py")
    if is_pinned(found):
        return found
    programs = HERE / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    installed = shutil.which("componentize-py", path=str(programs))
    if not is_pinned(installed):
        venv.create(HERE / ".venv", with_pip=True)
        pip = [shutil.which("python", path=str(programs)), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "-r", "requirements.txt"], check=True, cwd=HERE)
        installed = shutil.which("componentize-py", path=str(programs))
    return installed


def main():
    # The component imports WASI: the gateway logs what it prints, so also uncaught exceptions with their traceback. It
    # has no files, no sockets and no environment. HTTP, logs with levels, … are imports of metagate:plugin.
    output = HERE / "business-rules.wasm"
    command = [componentize_py(), "--quiet", "--wit-path", "wit", "--world", "plugin"]
    command += ["componentize", "app", "--output", str(output)]
    built = subprocess.run(command, check=False, cwd=HERE)
    if built.returncode == 0:
        print(f"{output.name}: {output.stat().st_size} bytes")
    return built.returncode


sys.exit(main())
