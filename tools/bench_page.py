#!/usr/bin/env python3
"""Runs `colony bench all` and writes its table into docs/performance.md, between the two comments there.

  bench_page.py [--colony build/release/colony] [--page docs/performance.md] [--rounds 5] [--from LINES.jsonl NOTES]
      --from: lines and notes (standard error) of a run that was made before, instead of a new one.
"""
import argparse
import datetime
import json
import pathlib
import subprocess

BEGIN, END = "<!-- begin: tools/bench_page.py -->", "<!-- end: tools/bench_page.py -->"


def number(value, unit):
    if value is None:
        return "–"
    return f"{value:,.2f}" if unit in ("s", "share") else f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def cells(lines):
    """Lines of one cell together, in the order of the run."""
    groups = {}
    for line in lines:
        groups.setdefault((line["bench"], line["cell"]), []).append(line)
    return groups


def table(lines):
    rows = ["| cell | unit | ours (dtype) | limit, of it | peers: value, how many times better we are |", "|---|---|---|---|---|"]
    notes, versions = [], {}
    for (_, cell), group in cells(lines).items():
        line, unit = group[0], group[0]["unit"]
        if line["ours"] is None:
            rows.append(f"| `{cell}` | {unit} | not measured: {line['ours_missing']} | | |")
            continue
        ours = f"**{number(line['ours'], unit)}** ±{50 * line['spread']:.0f} % ({line['dtype']})"
        if line.get("ours_cpu"):
            ours += f", CPU {number(line['ours_cpu'], unit)}"
        limit = f"{number(line['limit'], unit)}, {100 * line['of_limit']:.0f} % ({line['bound']})" if line.get("limit") else "–"
        peers = []
        for one in group:
            if "peer_version" in one:
                versions[one["peer_name"].split()[0]] = one["peer_version"]
            if one.get("peer") is not None:
                text = f"{one['peer_name']} {number(one['peer'], unit)} ±{50 * one['peer_spread']:.0f} %: **× {one['ratio']:.2f}**"
                if "with_imports" in one:
                    text += f" (with the interpreter's imports {number(one['with_imports'], unit)})"
                peers.append(text)
            elif "peer_missing" in one:
                peers.append(f"{one['peer_name']}: –")
                if (one["peer_name"], one["peer_missing"]) not in notes:
                    notes.append((one["peer_name"], one["peer_missing"]))
        rows.append(f"| `{cell}` | {unit} | {ours} | {limit} | {'<br>'.join(peers) or '–'} |")
    text = "\n".join(rows)
    text += "\n\nVersions of the peers: " + ("; ".join(versions.values()) or "none ran") + ".\n"
    if notes:
        text += "\nMissing:\n" + "".join(f"- {name}: {why}\n" for name, why in notes)
    ways = [(cell, group[0]["in_the_way"]) for (_, cell), group in cells(lines).items() if "in_the_way" in group[0]]
    if ways:
        text += "\nBelow 60 % of the limit, and what is in the way:\n" + "".join(f"- `{cell}`: {why}\n" for cell, why in ways)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--colony", default="build/release/colony")
    parser.add_argument("--page", type=pathlib.Path, default="docs/performance.md")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--from", dest="made", nargs=2, type=pathlib.Path)
    args = parser.parse_args()
    if args.made:
        lines, said = args.made[0].read_text(), args.made[1].read_text()
    else:
        done = subprocess.run([args.colony, "bench", "all", "--json", "--rounds", str(args.rounds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines, said = done.stdout, done.stderr
        if done.returncode != 0:
            raise SystemExit(said)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machines = [line for line in said.splitlines() if line.startswith("bench ") and "GB/s" in line]
    made = f"Commit {commit}, {datetime.date.today()}.\n\n```\n" + "\n".join(machines) + "\n```\n\n" + table([json.loads(line) for line in lines.splitlines()])
    page = args.page.read_text()
    head, rest = page.split(BEGIN)
    args.page.write_text(head + BEGIN + "\n" + made + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
