"""Builds {{name}}.wasm from app.py.

Uses componentize-py from the PATH if it has the version of requirements.txt, else installs that version into .venv.
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
    """Whether the program exists and has the pinned version."""
    if program is None or not os.access(program, os.X_OK):
        return False
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return version.split()[-1:] == [PINNED]


def componentize_py():
    """Returns the path of componentize-py, after installing it if it is missing."""
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
    output = HERE / "{{name}}.wasm"
    command = [componentize_py(), "--quiet", "--wit-path", "wit", "--world", "plugin"]
    command += ["componentize", "app", "--output", str(output)]
    built = subprocess.run(command, check=False, cwd=HERE)
    if built.returncode == 0:
        print(f"{output.name}: {output.stat().st_size} bytes")
    return built.returncode


sys.exit(main())
