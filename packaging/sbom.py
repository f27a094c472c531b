#!/usr/bin/env python3
"""The bill of materials of the program (CycloneDX 1.6), and the licences of what is built into it.

    packaging/sbom.py --triple x86_64-unknown-linux-gnu --out tidegate.cdx.json --notices THIRD-PARTY.txt

Both are of the crates that the program is linked from on that kind of machine: what builds or tests it alone is left out. Nothing in
them depends on when or where they are made, so that two makes of one commit are the same. `--metadata FILE` takes the output of
`cargo metadata --format-version 1 --filter-platform TRIPLE` instead of asking cargo.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone

ROOT = pathlib.Path(__file__).resolve().parent.parent
LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense)([-._].*)?$", re.IGNORECASE)
# A licence has less; what is longer is no licence.
LICENCE_BYTES_MAX = 256 * 1024


def metadata(triple, given):
    """What cargo knows of the crates."""
    if given:
        return json.loads(pathlib.Path(given).read_text())
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", triple]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("error: cargo metadata failed; is Cargo.lock up to date?")
    return json.loads(done.stdout)


def checksums():
    """SHA-256 of the file of each crate, as Cargo.lock has them."""
    found = {}
    for entry in (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]:
        values = dict(re.findall(r'(?m)^(name|version|checksum) = "([^"]+)"$', entry))
        if "checksum" in values:
            found[values["name"], values["version"]] = values["checksum"]
    return found


def linked(known):
    """The packages that are linked into the program, and of each the ids of those that it uses."""
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    packages = {package["id"]: package for package in known["packages"]}
    roots = [id for id in known["workspace_members"] if packages[id]["name"] == "tidegate"]
    if len(roots) != 1:
        sys.exit("error: there is no package tidegate in the workspace")
    open_, uses = list(roots), {}
    while open_:
        id = open_.pop()
        if id in uses:
            continue
        normal = [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        uses[id] = sorted(set(normal))
        open_.extend(normal)
    return roots[0], packages, uses


def purl(package):
    """The name of a package that databases of vulnerabilities know it by."""
    return f"pkg:cargo/{package['name']}@{package['version']}"


def expression(package):
    """Its licence, as SPDX writes it: crates of old have a slash for OR."""
    return (package["license"] or "").replace("/", " OR ").replace("  ", " ")


def component(package, sums):
    """A package as CycloneDX has it."""
    one = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "purl": purl(package),
    }
    if package["description"]:
        one["description"] = " ".join(package["description"].split())
    if expression(package):
        one["licenses"] = [{"expression": expression(package)}]
    if checksum := sums.get((package["name"], package["version"])):
        one["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        one["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return one


def bill(root, packages, uses, triple):
    """The bill of materials."""
    sums = checksums()
    ordered = sorted(uses, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    own = component(packages[root], sums)
    own.update(type="application", **{"bom-ref": purl(packages[root])})
    del own["scope"]
    dependencies = [{"ref": purl(packages[id]), "dependsOn": sorted({purl(packages[it]) for it in uses[id]})} for id in ordered]
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": own,
            "properties": [{"name": "cargo:target", "value": triple}],
        },
        "components": [component(packages[id], sums) for id in ordered if id != root],
        "dependencies": dependencies,
    }
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        whole["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()
    return {"serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}", **whole}


def licence_texts(package):
    """The files of a crate that say what may be done with it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    named = sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILE.match(path.name))
    if package["license_file"]:
        named.append(folder / package["license_file"])
    for path in dict.fromkeys(named):
        if path.is_file() and path.stat().st_size <= LICENCE_BYTES_MAX:
            yield path.read_text(errors="replace").replace("\r\n", "\n").strip()


def notices(root, packages, uses):
    """All licences, each text once with the crates that carry it."""
    carriers, listed = {}, []
    for id in sorted(uses, key=lambda id: (packages[id]["name"], packages[id]["version"])):
        package = packages[id]
        if package["source"] is None:
            continue
        name = f"{package['name']} {package['version']}"
        listed.append(f"{name}: {expression(package) or 'see its text below'}")
        for text in licence_texts(package):
            carriers.setdefault(text, []).append(name)
    parts = ["Tidegate is built from these crates, under the licences that stand behind them.\n", *listed]
    for text, names in carriers.items():
        parts += ["", "=" * 80, ", ".join(names), "=" * 80, "", text]
    return "\n".join(parts) + "\n"


def main():
    """Writes both files."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("--triple", required=True)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--notices")
    arguments.add_argument("--metadata")
    given = arguments.parse_args()
    root, packages, uses = linked(metadata(given.triple, given.metadata))
    pathlib.Path(given.out).write_text(json.dumps(bill(root, packages, uses, given.triple), indent=1) + "\n")
    if given.notices:
        pathlib.Path(given.notices).write_text(notices(root, packages, uses))


if __name__ == "__main__":
    main()
