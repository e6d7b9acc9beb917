#!/usr/bin/env python3
"""Measures what the colony gains over its generalist alone, and what it learns within a run.

For each seed: the same shuffled tasks go once through the whole colony and once through
`--only generalist`, each with a fresh --home. Printed, and written as JSON with --out:
  - paired difference of success (same task, same seed), with a 95 % interval by bootstrap over tasks
    within seeds (10,000 resamples, fixed seed),
  - the last tenth of the stream minus the first tenth, likewise,
  - per kind: who won it, who wrote its answers (model or script), winner against generalist.
Exit status 0 only if both intervals lie above zero and at least three kinds are won by an agent whose
answers the model itself wrote (90 % or more) and which beats the generalist beyond the interval.

Run: tools/measure_gain.py TASKS.jsonl [--seeds 5] [--colony build/release/colony] [--out FILE]
"""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile


def run(colony, tasks, seed, folder, only, extra):
    results = folder / ("one.jsonl" if only else "all.jsonl")
    command = [colony, "run", str(tasks), "--shuffle", "--seed", str(seed), "--json", "--home",
               str(folder / ("home-one" if only else "home-all")), "--out", str(results), *extra]
    if only:
        command += ["--only", "generalist"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    summary = json.loads(done.stdout.splitlines()[-1])
    return summary, {row["id"]: row for row in map(json.loads, results.read_text().splitlines())}


def interval(values, rng):
    """Mean and 95 % bootstrap interval of a list of lists (one a seed), resampled within each."""
    flat = [v for one in values for v in one]
    means = []
    for _ in range(10_000 if len(flat) < 2000 else 2_000):
        total = sum(sum(rng.choices(one, k=len(one))) for one in values)
        means.append(total / len(flat))
    means.sort()
    return sum(flat) / len(flat), means[int(0.025 * len(means))], means[int(0.975 * len(means))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--colony", default="build/release/colony")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the runs' homes and results")
    args, extra = parser.parse_known_args()

    keep = args.keep or pathlib.Path(tempfile.mkdtemp(prefix="colony-gain-"))
    rng = random.Random(1)
    paired, drift, summaries = [], [], []
    by_kind = collections.defaultdict(lambda: collections.defaultdict(list))  # kind -> agent -> rows
    alone = collections.defaultdict(list)                                     # kind -> scores
    for seed in range(1, args.seeds + 1):
        folder = keep / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        whole, rows = run(args.colony, args.tasks, seed, folder, False, extra)
        single, base = run(args.colony, args.tasks, seed, folder, True, extra)
        summaries.append({"seed": seed, "colony": whole["success"], "generalist": single["success"],
                          "first_tenth": whole["first_tenth"], "last_tenth": whole["last_tenth"],
                          "seconds": whole["seconds"], "tokens_per_s": whole["tokens_per_s"]})
        print(json.dumps(summaries[-1]), flush=True)
        shared = [i for i in rows if rows[i]["success"] is not None and base[i]["success"] is not None]
        paired.append([rows[i]["success"] - base[i]["success"] for i in shared])
        drift.append((whole["first_tenth"], whole["last_tenth"], len(rows)))
        for i in shared:
            by_kind[rows[i]["kind"]][rows[i]["agent"]].append(rows[i])
            alone[base[i]["kind"]].append(base[i]["success"])

    gain = interval(paired, rng)
    rise = interval([[last - first for first, last, _ in drift]], rng)
    print(f"\ncolony - generalist: {gain[0]:+.4f}  95 % [{gain[1]:+.4f}, {gain[2]:+.4f}]")
    print(f"last tenth - first tenth, over {args.seeds} seeds: {rise[0]:+.4f}  "
          f"95 % [{rise[1]:+.4f}, {rise[2]:+.4f}]")
    by_model = 0
    kinds = {}
    print(f"\n{'kind':22} {'winner':18} {'share':>6} {'success':>8} {'by model':>9} {'generalist':>11}  beyond")
    for kind in sorted(by_kind):
        agents = by_kind[kind]
        total = sum(map(len, agents.values()))
        winner = max(agents, key=lambda a: len(agents[a]))
        mine = [[r["success"] for r in agents[winner]]]
        written = sum(r["by"] == "model" for r in agents[winner]) / len(agents[winner])
        success, low, _ = interval(mine, rng)
        general, _, high = interval([alone[kind]], rng)
        beyond = low > high
        by_model += beyond and written >= 0.9 and winner != "generalist"
        kinds[kind] = {"winner": winner, "share": len(agents[winner]) / total, "success": success,
                       "by_model": written, "generalist": general, "beyond": beyond}
        print(f"{kind:22} {winner:18} {len(agents[winner]) / total:6.1%} {success:8.1%} {written:9.1%} "
              f"{general:11.1%}  {'yes' if beyond else 'no'}")
    good = gain[1] > 0 and rise[1] > 0 and by_model >= 3
    print(f"\nkinds won by the model's own answers, beyond the interval: {by_model}")
    print("ok" if good else "NOT reached")
    if args.out:
        args.out.write_text(json.dumps({"seeds": summaries, "gain": gain, "rise": rise, "kinds": kinds},
                                       indent=1) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
