#!/usr/bin/env python3
"""Writes src/text/unicode_delta.inc: what Unicode 16 and 17 have beyond Debian 12's libraries.

Oniguruma 6.9.8 (Debian 12) has the tables of Unicode 14; the `onig` crate in the tokenizers library
has 6.9.10 with those of Unicode 16. The two crates' own sources are compared, property by property.
Lower case and numbers are Rust's (Unicode 17), asked of the tokenizers library itself, code point by
code point, and compared with Python 3.11's Unicode 14.

    tools/make_unicode_tables.py    needs cargo, and tokenizers 0.23.3 in this Python (3.11)
"""
import pathlib
import re
import subprocess
import tempfile
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

OLD, NEW = "69.8.1", "69.9.3"
OUT = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_delta.inc"
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def crate(version, scratch):
    """The folder of Oniguruma's sources in the crate onig_sys."""
    work = pathlib.Path(scratch) / version
    (work / "src").mkdir(parents=True)
    (work / "src/lib.rs").write_text("")
    (work / "Cargo.toml").write_text(
        f'[package]\nname = "tables"\nversion = "0.0.0"\n[dependencies]\nonig_sys = "={version}"\n')
    subprocess.run(["cargo", "vendor", "-q"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    return work / "vendor/onig_sys/oniguruma/src"


def properties(folder):
    """{name: set of code points as a tuple of (low, high)} and the array each name stands for."""
    text = (folder / "unicode_property_data.c").read_text()
    arrays = {}
    for name, body in re.findall(r"^(CR_\w+)\[\] = \{([^}]*)\}", text, re.M):
        numbers = [int(n, 0) for n in re.findall(r"0x[0-9a-f]+|\d+", body)]
        flat = numbers[1:]
        assert len(flat) == 2 * numbers[0], name
        arrays[name] = tuple(zip(flat[::2], flat[1::2]))
    aliases = dict(re.findall(r"^#define (CR_\w+) (CR_\w+)$", text, re.M))
    order = re.findall(r"CR_\w+", re.search(r"CodeRanges\[\] = \{(.*?)\};", text, re.S).group(1))

    def resolve(name):
        while name in aliases:
            name = aliases[name]
        return arrays[name]

    pool = dict(re.findall(r'unicode_prop_name_pool_str(\d+)\[sizeof\("([^"]*)"\)\]', text))
    names = {}
    for number, ctype in re.findall(r"\{pool_offset\((\d+)\),\s*(\d+)\}", text):
        names[pool[number]] = int(ctype)
    return names, [resolve(n) for n in order]


def folds(folder):
    """{(folded, other)} of one character each."""
    text = (folder / "unicode_fold_data.c").read_text()
    body = re.search(r"OnigUnicodeFolds1\[\] = \{(.*?)\};", text, re.S).group(1)
    body = re.sub(r"/\*.*?\*/|#define.*", "", body)
    numbers = [int(n, 0) for n in re.findall(r"0x[0-9a-f]+|\d+", body)]
    pairs, i = set(), 0
    while i < len(numbers):
        folded, count = numbers[i], numbers[i + 1]
        pairs.update((folded, other) for other in numbers[i + 2:i + 2 + count])
        i += 2 + count
    more = re.findall(r"OnigUnicodeFolds[23]\[\] = \{(.*?)\};", text, re.S)
    return pairs, [re.sub(r"/\*.*?\*/|\s", "", m) for m in more]


def points(ranges):
    out = set()
    for low, high in ranges:
        out.update(range(low, high + 1))
    return out


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return tuple(map(tuple, out))


class Pool:
    """Ranges that several properties share are written once."""

    def __init__(self):
        self.flat, self.seen = [], {}

    def add(self, codes):
        r = ranges(codes)
        if not r:
            return "{0, 0}"
        if r not in self.seen:
            self.seen[r] = len(self.flat)
            self.flat.extend(r)
        return "{%d, %d}" % (self.seen[r], len(r))


def rust():
    """Lower-case pairs and numbers of the tokenizers library that Unicode 14 does not have."""
    lower = normalizers.Lowercase()
    pairs = []
    for c in POINTS:
        got = lower.normalize_str(chr(c))
        if got != chr(c).lower():
            assert len(got) == 1, hex(c)
            pairs.append((c, ord(got)))
    digits = pre_tokenizers.Digits(individual_digits=True)
    numbers = set()
    for c in POINTS:
        if unicodedata.category(chr(c)) == "Cn" and len(digits.pre_tokenize_str("x" + chr(c))) == 2:
            numbers.add(c)
    return pairs, numbers


def main():
    assert unicodedata.unidata_version == "14.0.0" and tokenizers.__version__ == "0.23.3"
    with tempfile.TemporaryDirectory() as scratch:
        old_folder, new_folder = crate(OLD, scratch), crate(NEW, scratch)
        old_names, old_sets = properties(old_folder)
        new_names, new_sets = properties(new_folder)
        old_folds, old_long = folds(old_folder)
        new_folds, new_long = folds(new_folder)
    assert old_long == new_long and old_folds <= new_folds
    assert set(old_names) <= set(new_names), set(old_names) - set(new_names)
    pool = Pool()
    changed, fresh, done = [], [], set()
    # [[:punct:]] and the like are asked for by number; those numbers have names too.
    for name in sorted(new_names):
        new = points(new_sets[new_names[name]])
        if name not in old_names:
            fresh.append((name, pool.add(new)))
            continue
        ctype = old_names[name]
        old = points(old_sets[ctype])
        if old == new or ctype in done:
            continue
        done.add(ctype)
        changed.append((name, pool.add(new - old), pool.add(old - new)))
    pairs, numbers = rust()
    number_set = pool.add(numbers)
    out = [
        f"// Written by tools/make_unicode_tables.py from the crates onig_sys {OLD} (Unicode 14) and {NEW}",
        f"// (Unicode 16), and from tokenizers {tokenizers.__version__} (Rust's Unicode 17). Do not edit.",
        "// clang-format off",
        "constexpr Range kRanges[] = {",
    ]
    line = "   "
    for low, high in pool.flat:
        item = " {0x%x, 0x%x}," % (low, high)
        if len(line) + len(item) > 100:
            out.append(line)
            line = "   "
        line += item
    out += [line, "};", "// Properties of Oniguruma 6.9.8 that have grown or shrunk.", "constexpr Change kChanges[] = {"]
    out += ['    {"%s", %s, %s},' % c for c in changed]
    out += ["};", "// Properties it does not know.", "constexpr Fresh kFresh[] = {"]
    out += ['    {"%s", %s},' % f for f in fresh]
    out += ["};", "// Cases that it does not fold: small letter, capital letter.", "constexpr Pair kFolds[] = {"]
    out += ["    {0x%x, 0x%x}," % p for p in sorted(new_folds - old_folds)]
    out += ["};", "// Lower case beyond Unicode 14: capital letter, small letter.", "constexpr Pair kLower[] = {"]
    out += ["    {0x%x, 0x%x}," % p for p in pairs]
    out += ["};", "// Numbers of Unicode 17 that 14 does not have.", f"constexpr Part kNumbers = {number_set};",
            "// clang-format on", ""]
    OUT.write_text("\n".join(out))
    print(len(pool.flat), "ranges,", len(changed), "changed,", len(fresh), "new properties")


if __name__ == "__main__":
    main()
