#!/usr/bin/env bash
# Puts Apache Arrow (the Python package pyarrow, about 50 MB to fetch) into build/arrow, for reading Parquet files:
#   tools/install_arrow.sh && cmake --preset release && cmake --build --preset release --target colony-parquet
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
version=26.0.1
[ -d "build/arrow/pyarrow-$version.dist-info" ] && exit 0
rm -rf build/arrow build/arrow.new
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: --target build/arrow.new "pyarrow==$version"
mv build/arrow.new build/arrow
