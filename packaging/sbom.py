"""The bill of materials of the program: what `cargo metadata` says is compiled into it, as CycloneDX 1.6 JSON."""

import json
import re
import subprocess
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = "registry+https://github.com/rust-lang/crates.io-index"


def bill(target):
    """The bill for a target triple. It depends on Cargo.lock and the target only."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    needs = {package: linked(nodes[package]) for package in reachable(nodes, root)}
    checksums = locked_checksums()
    components = [component(packages[package], checksums) for package in sorted(needs) if package != root]
    main = component(packages[root], checksums) | {"type": "application"}
    listed = [{"ref": reference(packages[one]), "dependsOn": sorted(reference(packages[two]) for two in needs[one])}
              for one in sorted(needs)]
    name = f"{main['purl']}?target={target} " + " ".join(sorted(one["bom-ref"] for one in components))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}",
        "version": 1,
        "metadata": {"component": main, "properties": [{"name": "cargo:target", "value": target}]},
        "components": components,
        "dependencies": listed,
    }


def linked(node):
    """What a package links: neither what its build needs nor what its tests need."""
    return {need["pkg"] for need in node["deps"] if any(kind["kind"] is None for kind in need["dep_kinds"])}


def reachable(nodes, root):
    found, waiting = set(), [root]
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            waiting.extend(linked(nodes[package]))
    return found


def locked_checksums():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(one["name"], one["version"]): one["checksum"] for one in lock["package"] if "checksum" in one}


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    described = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "scope": "required",
    }
    if package["description"]:
        described["description"] = " ".join(package["description"].split())
    if package["license"]:
        # Before SPDX 2, "/" stood for "OR".
        described["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum and package["source"] == CRATES:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described
