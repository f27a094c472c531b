#!/usr/bin/env python3
"""What a built program needs of the machine that it runs on, read from the file itself.

    packaging/program.py FILE          prints NAME=VALUE lines for the other scripts
    packaging/program.py FILE libc     prints one of them

A file that is no program for 64-bit Linux with glibc ends this with a message and exit code 1.
"""

import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# How each kind of package calls a processor.
MACHINES = {
    62: {"machine": "x86_64", "debian": "amd64", "npm": "x64", "oci": "amd64", "triple": "x86_64-unknown-linux-gnu"},
    183: {"machine": "aarch64", "debian": "arm64", "npm": "arm64", "oci": "arm64", "triple": "aarch64-unknown-linux-gnu"},
}
# Libraries that manylinux lets a wheel expect of every machine, of those that the program may need.
EXPECTED = re.compile(r"^(libc|libm|libgcc_s|libdl|libpthread|librt|libutil|ld-linux-(x86-64|aarch64))\.so\.\d+$")
# Entries of the dynamic section.
NEEDED, STRING_TABLE, VERSIONS_NEEDED, VERSIONS_NEEDED_COUNT = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF


class Unfit(Exception):
    """The file is not what packages are made of."""


def version():
    """The version of the workspace in Cargo.toml."""
    text = (ROOT / "Cargo.toml").read_text()
    return re.search(r'(?ms)^\[workspace\.package\]\n.*?^version = "([^"]+)"', text).group(1)


class Program:
    """A program for Linux: its machine, the libraries it needs, and the lowest glibc that has its symbols."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        try:
            self.bytes = self.path.read_bytes()
        except OSError as error:
            raise Unfit(f"{path} cannot be read: {error.strerror}; `make release` builds target/shipped/tidegate") from error
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            raise Unfit(f"{path} is no program for 64-bit Linux; packages are made for Linux on x86-64 and ARM64")
        try:
            self._read()
        except (struct.error, IndexError, ValueError) as error:
            raise Unfit(f"{path} is damaged: {error}") from error

    def _read(self):
        machine, = struct.unpack_from("<H", self.bytes, 18)
        if machine not in MACHINES:
            raise Unfit(f"{self.path} is for a processor (number {machine}) that packages are not made for")
        self.names = MACHINES[machine]
        headers_at, = struct.unpack_from("<Q", self.bytes, 32)
        size, count = struct.unpack_from("<HH", self.bytes, 54)
        headers = [struct.unpack_from("<IIQQQQQQ", self.bytes, headers_at + size * n) for n in range(count)]
        # Of each: kind, flags, place in the file, address, physical address, bytes in the file, bytes in memory, alignment.
        self._loads = [(address, at, length) for kind, _, at, address, _, length, _, _ in headers if kind == 1]
        interpreters = [self.bytes[at:at + length] for kind, _, at, _, _, length, _, _ in headers if kind == 3]
        self.interpreter = interpreters[0].rstrip(b"\0").decode() if interpreters else None
        entries = []
        for kind, _, at, _, _, length, _, _ in headers:
            if kind == 2:
                entries = list(struct.iter_unpack("<qQ", self.bytes[at:at + length - length % 16]))
        one = {tag: value for tag, value in entries}
        if self.interpreter is None or STRING_TABLE not in one:
            raise Unfit(f"{self.path} is linked statically; packages are made of the program for glibc")
        self._strings = self._place(one[STRING_TABLE])
        self.libraries = [self._string(value) for tag, value in entries if tag == NEEDED]
        self.versions = self._versions(one)

    def _place(self, address):
        for start, at, length in self._loads:
            if start <= address < start + length:
                return at + address - start
        raise ValueError("an address that is in no part of the file")

    def _string(self, offset):
        start = self._strings + offset
        return self.bytes[start:self.bytes.index(b"\0", start)].decode()

    def _versions(self, one):
        """Library to the names of the versions that are needed of it."""
        needed = {}
        at = self._place(one[VERSIONS_NEEDED]) if VERSIONS_NEEDED in one else 0
        for _ in range(one.get(VERSIONS_NEEDED_COUNT, 0)):
            _, count, library, first, next_library = struct.unpack_from("<HHIII", self.bytes, at)
            names, entry = needed.setdefault(self._string(library), []), at + first
            for _ in range(count):
                _, _, _, name, next_entry = struct.unpack_from("<IHHII", self.bytes, entry)
                names.append(self._string(name))
                entry += next_entry
            at += next_library
        return needed

    def libc(self):
        """The lowest glibc that runs it, as (2, 34)."""
        names = [name for names in self.versions.values() for name in names]
        numbers = [tuple(map(int, name[6:].split("."))) for name in names if re.fullmatch(r"GLIBC_[\d.]+", name)]
        return max(numbers)[:2] if numbers else (2, 17)

    def wheel_tag(self):
        """The tag that Python's package index takes for it."""
        strange = [name for name in self.libraries if not EXPECTED.match(name)]
        if strange:
            raise Unfit(f"{self.path} needs {', '.join(strange)}, which not every machine has; link it statically")
        major, minor = self.libc()
        return f"manylinux_{major}_{minor}_{self.names['machine']}"

    def described(self):
        """What the scripts ask for."""
        libc = ".".join(map(str, self.libc()))
        return {**self.names, "version": version(), "libc": libc, "wheel": self.wheel_tag(), "interpreter": self.interpreter,
                "libraries": " ".join(self.libraries)}


def end(error):
    """Says what is wrong and ends."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    try:
        known = Program(sys.argv[1]).described()
    except Unfit as error:
        end(error)
    except IndexError:
        end("usage: packaging/program.py FILE [NAME]")
    if len(sys.argv) > 2:
        print(known[sys.argv[2]])
    else:
        for name, value in known.items():
            print(f"{name}='{value}'")
