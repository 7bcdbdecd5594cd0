"""The tarball: program, completions, manual pages, unit, bill of materials, licences."""

import gzip
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ("README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT")


def make(parts, out):
    """Writes metagate-<version>-<target>.tar.gz, with one folder of that name inside."""
    name = f"metagate-{parts.version}-{parts.target}"
    path = out / f"{name}.tar.gz"
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1 if parts.quick else 9, raw, 0) as packed:
        with tarfile.open(mode="w", fileobj=packed, format=tarfile.USTAR_FORMAT) as archive:
            for inside, source in sorted(contents(parts).items()):
                add(archive, f"{name}/{inside}", source)
    return path


def contents(parts):
    """Path inside the folder → file."""
    files = {"metagate": parts.binary, "metagate.cdx.json": parts.bill}
    files |= {text: ROOT / text for text in TEXTS}
    files |= {f"completions/{file.name}": file for file in parts.completions.iterdir()}
    files |= {f"man/man1/{file.name}": file for file in parts.pages.iterdir()}
    unit = ROOT / "packaging/systemd/metagate.service"
    return files | {"systemd/metagate.service": unit, "metagate.toml": ROOT / "packaging/deb/metagate.toml"}


def add(archive, name, source):
    entry = archive.gettarinfo(source, name)
    # Neither who packed it nor when.
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    with source.open("rb") as file:
        archive.addfile(entry, file)
