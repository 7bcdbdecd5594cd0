"""The wheel for pip: the program as a script of the distribution `metagate`, without a module."""

import base64
import hashlib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EPOCH = (1980, 1, 1, 0, 0, 0)


def make(parts, out):
    """Writes metagate-<version>-py3-none-manylinux_<glibc>_<machine>.whl. pip refuses it where glibc is older."""
    tag = "py3-none-manylinux_{}_{}_{}".format(*parts.glibc, parts.machine)
    name = f"metagate-{parts.version}"
    info = f"{name}.dist-info"
    files = {
        f"{name}.data/scripts/metagate": (parts.binary.read_bytes(), 0o755),
        f"{info}/METADATA": (metadata(parts), 0o644),
        f"{info}/WHEEL": (f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(), 0o644),
        f"{info}/sboms/metagate.cdx.json": (parts.bill.read_bytes(), 0o644),
    }
    for text in ("LICENSE-APACHE", "LICENSE-MIT"):
        files[f"{info}/licenses/{text}"] = ((ROOT / text).read_bytes(), 0o644)
    record = "".join(f"{path},sha256={digest(content)},{len(content)}\n" for path, (content, _) in files.items())
    files[f"{info}/RECORD"] = (f"{record}{info}/RECORD,,\n".encode(), 0o644)
    path = out / f"{name}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1 if parts.quick else 9) as archive:
        for inside, (content, mode) in files.items():
            entry = zipfile.ZipInfo(inside, EPOCH)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def metadata(parts):
    head = {
        "Metadata-Version": "2.4",
        "Name": "metagate",
        "Version": parts.version,
        "Summary": parts.package["description"],
        "License-Expression": parts.package["license"],
        "License-File": ["LICENSE-APACHE", "LICENSE-MIT"],
        "Keywords": ",".join(parts.package["keywords"]),
        "Requires-Python": ">=3.9",
        "Description-Content-Type": "text/markdown",
    }
    lines = [f"{key}: {value}\n" for key, values in head.items()
             for value in (values if isinstance(values, list) else [values])]
    readme = (ROOT / "packaging/npm/README.md").read_text().replace("npx metagate", "metagate")
    return ("".join(lines) + "\n" + readme).encode()


def digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
