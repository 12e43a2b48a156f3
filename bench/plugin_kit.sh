#!/usr/bin/env bash
# A new user's way from nothing to MNIST compressed with a package of their own: every command that
# they type, counted, in a clean environment that holds wheels only; then the same for one file.
#
#   bench/plugin_kit.sh [MNIST_FOLDER] > bench/results/plugin_kit.txt
#
# MNIST_FOLDER holds the official files (downloaded if not given). Wheels of nc-core and nc-cli are
# built first and found as on an index; PYTHON names the interpreter (python3.11).
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
mnist=${1:+--from $(cd "$1" && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
exec > >(sed "s#$work#.#g; s#--from [^ ]*/#--from #; s#copied from [^ ]*/#copied from #")
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PIP_FIND_LINKS=$work/wheels
export PIP_CONSTRAINT=$repository/constraints.txt NC_DATA=$work/data NUMBA_CACHE_DIR=$work/numba
unset PYTHONPATH

count=0
user() {
    count=$((count + 1))
    printf '\n%d$ %s\n' "$count" "$1"
    eval "$1" 2> >(grep -v '^nc: [a-z]*ing: ' >&2 || true)
}

"${PYTHON:-python3.11}" -m pip wheel --no-deps -w wheels "$repository/core" "$repository/cli"

user "${PYTHON:-python3.11} -m venv .venv && . .venv/bin/activate"
user "pip install nc-core nc-cli"
user "nc plugin new tiles"
user "pip install './nc-tiles[test]'"
user "pytest -q nc-tiles"
user "nc data prepare mnist $mnist"
user "nc run tiles train --out runs/digits"
user "nc compress --dataset mnist:test --model runs/digits -o digits.ncz"
user "nc decompress digits.ncz -o restored"
package=$count

printf '\nWhat was restored is what the official file holds: '
python - <<'END'
import numpy as np
import nc_core

digits = nc_core.open_dataset("mnist:test")
restored = np.load("restored/mnist-test.npy")
assert len(restored) == len(digits) == 10000
assert all((restored[i] == digits[i]["image"]).all() for i in range(10000))
print("10000 digits")
END
printf 'Installed from folders rather than wheels: '
pip list --editable | wc -l
printf 'Torch is installed: '
pip list | grep -c '^torch ' || true

sed -n '/^```python title=left.py/,/^```$/p' "$repository/docs/write-a-plugin.md" | sed '1d;$d' > left.py
count=0
user "nc --plugin left.py compress --dataset mnist:test --limit 1000 --model left -o left.ncz"
user "nc --plugin left.py decompress left.ncz -o restored-left"
printf '\nWithout the plugin:\n'
nc decompress left.ncz -o elsewhere 2>&1 && exit 1 || printf 'exit code %d\n' $?

printf '\n%d commands for the package, %d for the file\n' "$package" "$count"
