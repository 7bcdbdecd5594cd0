"""The Debian package, as `[package.metadata.deb]` in Cargo.toml describes it, so that cargo-deb makes the same one."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# Made by the program; Cargo.toml names them by where the release script leaves them for cargo-deb.
MADE = "packaging/made/"


def make(parts, out):
    """Writes metagate_<version>-1_<machine>.deb."""
    described = parts.package["metadata"]["deb"]
    folder = parts.work / "deb"
    for source, target, mode in described["assets"]:
        for file in sources(parts, source):
            put(file, folder / target / (file.name if target.endswith("/") else ""), int(mode, 8), source)
    documents = folder / "usr/share/doc/metagate"
    documents.mkdir(parents=True, exist_ok=True)
    (documents / "copyright").write_text(copyright_of(parts))
    control = folder / "DEBIAN"
    control.mkdir()
    for script in ("postinst", "prerm", "postrm"):
        put(ROOT / described["maintainer-scripts"] / script, control / script, 0o755)
    (control / "conffiles").write_text("".join(f"{file}\n" for file in described["conf-files"]))
    machine = MACHINES[parts.machine]
    (control / "control").write_text(control_of(parts, described, machine, size(folder)))
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    path = out / f"metagate_{parts.version}-1_{machine}.deb"
    pack = ["-Zgzip", "-z1"] if parts.quick else ["-Zxz"]
    subprocess.run(["dpkg-deb", "--root-owner-group", *pack, "--build", folder, path],
                   check=True, stdout=subprocess.DEVNULL, env=os.environ | {"SOURCE_DATE_EPOCH": "0"})
    return path


def sources(parts, pattern):
    if pattern == "target/release/metagate":
        return [parts.binary]
    if pattern.startswith(MADE):
        return sorted(parts.work.glob(pattern.removeprefix(MADE)))
    return sorted(ROOT.glob(pattern))


def put(file, target, mode, source=""):
    target.parent.mkdir(parents=True, exist_ok=True)
    # Debian's policy: manual pages and changelogs are compressed.
    if "/man/" in source or target.name == "changelog":
        target = target.with_name(f"{target.name}.gz")
        target.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    else:
        shutil.copy(file, target)
    target.chmod(mode)


def control_of(parts, described, machine, size):
    depends = described["depends"].replace("$auto", "libc6 (>= {}.{}), libgcc-s1".format(*parts.glibc))
    first, *more = described["extended-description"].strip().splitlines()
    fields = {
        "Package": "metagate",
        "Version": f"{parts.version}-1",
        "Architecture": machine,
        "Maintainer": described["maintainer"],
        "Section": described["section"],
        "Priority": described["priority"],
        "Depends": depends,
        "Recommends": described["recommends"],
        "Installed-Size": str(size // 1024),
        "Description": "\n ".join([parts.package["description"], first, *(line or "." for line in more)]),
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def copyright_of(parts):
    mit = (ROOT / "LICENSE-MIT").read_text().strip().splitlines()
    body = "\n".join(f" {line}" if line.strip() else " ." for line in mit)
    return (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
        f"Files: *\nCopyright: the authors of metagate\nLicense: MIT or Apache-2.0\n\n"
        f"License: MIT\n{body}\n\nLicense: Apache-2.0\n The text is in /usr/share/common-licenses/Apache-2.0.\n"
    )


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
