# Read by the scripts beside it, which are called as `packaging/SCRIPT [PROGRAM [OUT]]`: what is packed, and where packages go.
#
# PROGRAM             target/shipped/tidegate unless it is said; `make release` builds it
# OUT                 target/shipped/packages unless it is said
# TIDEGATE_RUNS_HERE  a program of the same version that runs on this machine, when PROGRAM is for another kind of processor:
#                     manual pages and completions are its output
# TIDEGATE_PLUGINS    the folder of the shipped destinations that `make plugins` builds; packages carry them when it is there
# TIDEGATE_METADATA   output of `cargo metadata --format-version 1`, for a machine without cargo
# SOURCE_DATE_EPOCH   the time of everything packed; that of the last commit unless it is said, so that the same program
#                     makes the same packages, byte for byte

set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$root/target}
program=$(realpath -m "${1:-$target/shipped/tidegate}")
out=$(realpath -m "${2:-$target/shipped/packages}")
plugins=${TIDEGATE_PLUGINS:-$target/release/plugins}
mkdir -p "$out"

described=$(python3 "$here/program.py" "$program")
machine='' debian='' npm='' triple='' version='' libc=''
eval "$described"

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
  SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1767225600)
fi
export SOURCE_DATE_EPOCH

# What all packages have in them, laid out as below /usr: bin, share/man, completions, share/doc, share/tidegate/plugins.
stage=$out/.stage-$machine

# A tar file of the entries of a folder, the same whenever and by whomever it is made: pack FOLDER FILE [ENTRY...]
pack() {
  local folder=$1 file=$2
  shift 2
  tar --create --directory "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --format=gnu --mode=u+w,go-w "${@:-.}" | gzip -n > "$file"
}

made() {
  printf '%s  %s bytes\n' "$1" "$(stat -c %s "$1")"
}
