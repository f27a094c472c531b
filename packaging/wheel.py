#!/usr/bin/env python3
"""A wheel that has the program as its script, so that `pip install tidegate` and `uvx tidegate` work; no Python runs in it.

    packaging/wheel.py STAGE OUT        after packaging/stage; `packaging/wheel PROGRAM OUT` calls both

The platform tag names the lowest glibc that has the symbols of the program: an older system is refused by the installer, with a reason,
instead of by the loader at the first start.
"""

import base64
import hashlib
import os
import pathlib
import sys
import time
import zipfile

from program import ROOT, Program, Unfit, end, version


def metadata():
    """What the index shows."""
    readme = (ROOT / "README.md").read_text()
    lines = [
        "Metadata-Version: 2.4",
        "Name: tidegate",
        f"Version: {version()}",
        "Summary: A self-hosted customer-event router: from the SDKs you run to the tables you query.",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        "License-File: THIRD-PARTY.txt",
        "Project-URL: Source, https://github.com/tidegate/tidegate",
        "Classifier: Environment :: Console",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Rust",
        "Requires-Python: >=3.8",
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + "\n\n" + readme


def build(stage, out):
    """Writes the wheel and answers its path."""
    tag = f"py3-none-{Program(stage / 'bin/tidegate').wheel_tag()}"
    base = f"tidegate-{version()}"
    info, data, doc = f"{base}.dist-info", f"{base}.data", stage / "share/doc/tidegate"
    files = [(f"{data}/scripts/tidegate", (stage / "bin/tidegate").read_bytes(), 0o755)]
    for path in sorted((stage / "share").rglob("*")):
        if path.is_file() and doc not in path.parents:
            files.append((f"{data}/data/{path.relative_to(stage)}", path.read_bytes(), 0o644))
    wheel = f"Wheel-Version: 1.0\nGenerator: tidegate packaging\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files += [
        (f"{info}/METADATA", metadata().encode(), 0o644),
        (f"{info}/WHEEL", wheel.encode(), 0o644),
        (f"{info}/licenses/LICENSE", (doc / "LICENSE").read_bytes(), 0o644),
        (f"{info}/licenses/THIRD-PARTY.txt", (doc / "THIRD-PARTY.txt").read_bytes(), 0o644),
        (f"{info}/sboms/tidegate.cdx.json", (doc / "tidegate.cdx.json").read_bytes(), 0o644),
    ]
    record = ""
    for name, content, _ in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    files.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode(), 0o644))

    # A zip file knows no year before 1980.
    moment = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800))[:6]
    path = out / f"{base}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for name, content, mode in files:
            entry = zipfile.ZipInfo(name, moment)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            file.writestr(entry, content)
    return path


if __name__ == "__main__":
    try:
        made = build(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    except Unfit as error:
        end(error)
    print(f"{made}  {made.stat().st_size} bytes")
