#!/usr/bin/env python3
"""A container image as an OCI layout, made without a daemon and without a base image.

    packaging/image.py build STAGE OUT               after packaging/stage; `packaging/image PROGRAM OUT` calls both
    packaging/image.py merge FILE FILE... --out FILE one image of several kinds of machine
    packaging/image.py unpack FILE FOLDER            checks every digest and lays the files out, for tests

In it are the program, the C library of this machine with its copyright files, certificates of public authorities, the shipped
destinations, and two users. There is no shell and no package tool. It needs no table of time zones: times are UTC.
`--sysroot DIR` takes the C library of another kind of machine from there.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
from datetime import datetime, timezone

from program import Program, Unfit, end, version

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
NONROOT = 65532
LIBRARIES = "lib/{machine}-linux-gnu"
# Where distributions keep libraries, from the root.
PLACES = ["lib/{machine}-linux-gnu", "usr/lib/{machine}-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"]
CERTIFICATES = ["etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/ca-bundle.pem"]
DEBIAN_PACKAGES = {"libc6", "libgcc-s1", "gcc-12-base", "gcc-13-base", "gcc-14-base", "ca-certificates"}
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REPOSITORY = "ghcr.io/tidegate/tidegate"


class Layer:
    """Files of one layer, in the order of their names."""

    def __init__(self):
        self.entries = {}

    def folder(self, name, mode=0o755, owner=0):
        """A folder and those above it."""
        parent = str(pathlib.PurePosixPath(name).parent)
        if parent != "." and parent not in self.entries:
            self.folder(parent)
        self.entries[name] = (tarfile.DIRTYPE, mode, owner, b"")

    def file(self, name, content, mode=0o644, owner=0):
        """A file, and the folders that it is in."""
        parent = str(pathlib.PurePosixPath(name).parent)
        if parent != "." and parent not in self.entries:
            self.folder(parent)
        self.entries[name] = (tarfile.REGTYPE, mode, owner, content)

    def pack(self):
        """Its tar file, the same whenever it is made."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as file:
            for name, (kind, mode, owner, content) in sorted(self.entries.items()):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime = kind, mode, owner, owner, len(content), EPOCH
                file.addfile(entry, io.BytesIO(content))
        return packed.getvalue()


class Layout:
    """An OCI layout that is being made: blobs by their digest, and what the index names."""

    def __init__(self):
        self.blobs = {}
        self.manifests = []

    def add(self, media_type, content):
        """Keeps a blob and answers its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def write(self, path):
        """Writes the layout as one tar file."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests}
        files = Layer()
        files.file("oci-layout", as_json({"imageLayoutVersion": "1.0.0"}))
        files.file("index.json", as_json(index))
        for digest, content in self.blobs.items():
            files.file(f"blobs/sha256/{digest}", content)
        path.write_bytes(files.pack())


def named():
    """By what name a client keeps the image: the second one is what `podman load`, `docker load` and containerd read."""
    return {"org.opencontainers.image.ref.name": version(), "io.containerd.image.name": f"{REPOSITORY}:{version()}"}


def as_json(value):
    """JSON, the same whenever it is made."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def library(name, sysroot, machine):
    """The file of a library."""
    for place in PLACES:
        path = sysroot / place.format(machine=machine) / name
        if path.is_file():
            return path.resolve()
    raise Unfit(f"{name} is in none of the usual folders of {sysroot}; --sysroot names a folder that has it")


def libraries(program, sysroot):
    """The libraries that it needs, and those that they need, by name."""
    found, open_ = {}, list(program.libraries)
    while open_:
        name = open_.pop()
        if name not in found:
            path = library(name, sysroot, program.names["machine"])
            found[name] = path
            needed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
            open_ += [line.split("[")[1].split("]")[0] for line in needed.splitlines() if "(NEEDED)" in line]
    return found


def system_layer(program, sysroot):
    """All that is not ours."""
    layer = Layer()
    machine = program.names["machine"]
    found = libraries(program, sysroot)
    loader = pathlib.PurePosixPath(program.interpreter)
    for name, path in found.items():
        target = str(loader).lstrip("/") if name == loader.name else f"{LIBRARIES.format(machine=machine)}/{name}"
        layer.file(target, path.read_bytes(), 0o755)
    bundle = next((sysroot / place for place in CERTIFICATES if (sysroot / place).is_file()), None)
    if bundle is None:
        raise Unfit(f"{sysroot} has no certificates of authorities; install ca-certificates")
    layer.file("etc/ssl/certs/ca-certificates.crt", bundle.read_bytes())
    layer.file("etc/passwd", f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/var/lib/tidegate:/sbin/nologin\n".encode())
    layer.file("etc/group", f"root:x:0:\nnonroot:x:{NONROOT}:\n".encode())
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    layer.folder("tmp", 0o1777)
    of_debian(layer, sysroot)
    return layer


def of_debian(layer, sysroot):
    """Licences of the libraries, and what scanners of vulnerabilities read, where this is Debian or a descendant of it."""
    for name in sorted(DEBIAN_PACKAGES):
        licence = sysroot / "usr/share/doc" / name / "copyright"
        if licence.is_file():
            layer.file(f"usr/share/doc/{name}/copyright", licence.read_bytes())
    status, release = sysroot / "var/lib/dpkg/status", sysroot / "etc/os-release"
    if release.is_file():
        layer.file("etc/os-release", release.read_bytes())
    if status.is_file():
        for paragraph in status.read_text(errors="replace").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
            if fields.get("Package") in DEBIAN_PACKAGES and "installed" in fields.get("Status", ""):
                layer.file(f"var/lib/dpkg/status.d/{fields['Package']}", (paragraph.strip() + "\n").encode())


def own_layer(stage):
    """The program and what belongs to it."""
    layer = Layer()
    layer.file("usr/bin/tidegate", (stage / "bin/tidegate").read_bytes(), 0o755)
    for folder in ("share/doc/tidegate", "share/tidegate"):
        for path in sorted((stage / folder).rglob("*")):
            if path.is_file():
                layer.file(f"usr/{path.relative_to(stage)}", path.read_bytes())
    layer.folder("etc/tidegate", 0o755, NONROOT)
    layer.folder("var/lib/tidegate", 0o700, NONROOT)
    return layer


def build(stage, out, sysroot):
    """Writes the image of one kind of machine and answers its path."""
    program = Program(stage / "bin/tidegate")
    created = datetime.fromtimestamp(EPOCH, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    layout, layers, plain, history = Layout(), [], [], []
    for layer, about in ((system_layer(program, sysroot), "C library, certificates"), (own_layer(stage), "tidegate")):
        packed = layer.pack()
        plain.append(f"sha256:{hashlib.sha256(packed).hexdigest()}")
        layers.append(layout.add(LAYER, gzip.compress(packed, 6, mtime=0)))
        history.append({"created": created, "created_by": about})
    labels = {
        "org.opencontainers.image.title": "tidegate",
        "org.opencontainers.image.description": "A self-hosted customer-event router",
        "org.opencontainers.image.version": version(),
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.source": "https://github.com/tidegate/tidegate",
        "org.opencontainers.image.created": created,
    }
    platform = {"architecture": program.names["oci"], "os": "linux"}
    config = {
        **platform,
        "created": created,
        "config": {
            "User": f"{NONROOT}:{NONROOT}",
            "Env": ["PATH=/usr/bin", "HOME=/var/lib/tidegate"],
            "Entrypoint": ["/usr/bin/tidegate"],
            "Cmd": ["serve", "/etc/tidegate", "--data", "/var/lib/tidegate", "--listen", "0.0.0.0:8080"],
            "WorkingDir": "/var/lib/tidegate",
            "Volumes": {"/var/lib/tidegate": {}},
            "ExposedPorts": {"8080/tcp": {}, "8089/tcp": {}},
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": plain},
        "history": history,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(CONFIG, as_json(config)),
        "layers": layers,
        "annotations": labels,
    }
    described = layout.add(MANIFEST, as_json(manifest))
    layout.manifests.append({**described, "platform": platform, "annotations": named()})
    path = out / f"tidegate-{version()}-linux-{platform['architecture']}.oci.tar"
    layout.write(path)
    return path


def read(path):
    """The files of a layout, each blob checked against its name."""
    with tarfile.open(path) as file:
        files = {entry.name: file.extractfile(entry).read() for entry in file if entry.isfile()}
    for name, content in files.items():
        if name.startswith("blobs/sha256/") and hashlib.sha256(content).hexdigest() != name.rsplit("/", 1)[1]:
            raise Unfit(f"{path}: {name} has another digest than its name says")
    return files


def blob(files, descriptor):
    """What a descriptor stands for."""
    content = files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
    if len(content) != descriptor["size"]:
        raise Unfit(f"{descriptor['digest']} has {len(content)} bytes, and its descriptor says {descriptor['size']}")
    return content


def merge(paths, out):
    """One image that has those of several kinds of machine; a client takes the one that fits."""
    layout = Layout()
    inner = []
    for path in paths:
        files = read(path)
        inner += json.loads(files["index.json"])["manifests"]
        layout.blobs.update({name.rsplit("/", 1)[1]: content for name, content in files.items() if name.startswith("blobs/")})
    for descriptor in inner:
        descriptor.pop("annotations", None)
    described = layout.add(INDEX, as_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": inner}))
    layout.manifests.append({**described, "annotations": named()})
    layout.write(out)
    return out


def unpack(path, folder):
    """Lays out the files of an image of one kind of machine and answers how it is started."""
    files = read(path)
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))
    for descriptor, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        packed = gzip.decompress(blob(files, descriptor))
        if f"sha256:{hashlib.sha256(packed).hexdigest()}" != diff_id:
            raise Unfit(f"{path}: a layer is not what the configuration says")
        with tarfile.open(fileobj=io.BytesIO(packed)) as file:
            for entry in file:
                target = folder / entry.name
                if entry.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(file.extractfile(entry).read())
                os.chmod(target, entry.mode)
                if os.geteuid() == 0:
                    os.chown(target, entry.uid, entry.gid)
    return config["config"]


def main():
    """One of the three."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    commands = arguments.add_subparsers(dest="command", required=True)
    one = commands.add_parser("build")
    one.add_argument("stage", type=pathlib.Path)
    one.add_argument("out", type=pathlib.Path)
    one.add_argument("--sysroot", type=pathlib.Path, default=pathlib.Path(os.environ.get("TIDEGATE_SYSROOT", "/")))
    several = commands.add_parser("merge")
    several.add_argument("files", type=pathlib.Path, nargs="+")
    several.add_argument("--out", type=pathlib.Path, required=True)
    tests = commands.add_parser("unpack")
    tests.add_argument("file", type=pathlib.Path)
    tests.add_argument("folder", type=pathlib.Path)
    given = arguments.parse_args()
    if given.command == "unpack":
        print(json.dumps(unpack(given.file, given.folder)))
        return
    made = merge(given.files, given.out) if given.command == "merge" else build(given.stage, given.out, given.sysroot)
    print(f"{made}  {made.stat().st_size} bytes")


if __name__ == "__main__":
    if shutil.which("readelf") is None:
        end("readelf is missing: install binutils")
    try:
        main()
    except Unfit as error:
        end(error)
