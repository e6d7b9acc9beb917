#!/usr/bin/env python3
"""The option tables of docs/reference.md, out of what `colony VERB --help` says.

  reference_options.py [--colony build/release/colony] [--page docs/reference.md]

writes them between the page's two comments. tests/e2e/reference_test.py asks for the same text.
"""
import argparse
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- begin: tools/reference_options.py -->", "<!-- end: tools/reference_options.py -->"
VALUES = {"INT:WHOLE": "N", "UINT:WHOLE": "N", "UINT": "N", "INT": "N", "FLOAT:NUMBER": "NUMBER", "FLOAT": "NUMBER", "TEXT:SIZE": "SIZE", "TEXT": "TEXT"}
SHARED_BY = 4  # an option that so many verbs have alike stands once


def help_of(colony, words):
    return subprocess.run([colony, *words, "--help"], capture_output=True, text=True, check=True).stdout


def entries(text, section):
    """(head, what) of the lines of a section of a help text; lines that go on are joined."""
    found, inside = [], False
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line == section + ":"
            continue
        if not inside:
            continue
        if line.startswith(" " * 20):
            found[-1][1] += ("\n" if found[-1][1] else "") + line.strip()
            continue
        head, _, what = line.strip().partition("  ")
        found.append([head, what.strip()])
    return found


def verbs_of(colony, words=()):
    """Every verb with its help, nested ones after their parent."""
    text = help_of(colony, words)
    found = [(words, text)] if words else []
    for name, _ in entries(text, "Subcommands"):
        found += verbs_of(colony, (*words, name))
    return found


def parse(head):
    """(name, value, remark) of an option or positional as CLI11 writes it."""
    head, _, excludes = head.partition(" Excludes:")
    words = head.split()
    name = re.sub(r"\{false\}$", "", words[0])
    kind = next((word for word in words[1:] if word not in ("...", "REQUIRED")), "")
    of = re.fullmatch(r"TEXT:\{(.*)\}", kind)
    value = of[1].replace(",", " or ") if of else VALUES.get(kind, kind)
    remarks = (["required"] if "REQUIRED" in words else []) + ([f"not with {', '.join(excludes.split())}"] if excludes else [])
    return name, value, "; ".join(remarks)


def options_of(text):
    rows = []
    for section in ("Positionals", "Options"):
        for head, what in entries(text, section):
            if not head.startswith("-h,"):
                name, value, remark = parse(head)
                what = what.replace("|", "\\|").replace("\n", "<br>")
                rows.append((name, value, f"{what} ({remark})" if remark else what))
    return rows


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]


def made(colony):
    verbs = [(" ".join(words), text, options_of(text)) for words, text in verbs_of(colony)]
    users = {}
    for name, _, rows in verbs:
        for row in rows:
            users.setdefault(row, []).append(name)
    shared = {row: names for row, names in users.items() if len(names) >= SHARED_BY}
    out = ["### Options that several verbs share", "",
           *table(["option", "value", "what it does", "verbs"], [[f"`{name}`", value, what, ", ".join(names)] for (name, value, what), names in shared.items()])]
    for name, text, rows in verbs:
        out += [f"### `colony {name}`", "", text.splitlines()[0][0].upper() + text.splitlines()[0][1:] + ".", ""]
        example = re.search(r"Example:\n  (.*)", text)
        if example:
            out += [f"    {example[1]}", ""]
        own = [row for row in rows if row not in shared]
        if own:
            out += table(["option", "value", "what it does"], [[f"`{option}`", value, what] for option, value, what in own])
        also = [f"`{row[0]}`" for row in rows if row in shared]
        if also:
            out += ["Shared: " + ", ".join(also) + ".", ""]
    return "\n".join(out)


def placed(page, text):
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--colony", type=pathlib.Path, default=ROOT / "build/release/colony")
    options.add_argument("--page", type=pathlib.Path, default=ROOT / "docs/reference.md")
    options = options.parse_args()
    options.page.write_text(placed(options.page.read_text(), made(options.colony)))


if __name__ == "__main__":
    main()
