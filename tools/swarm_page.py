#!/usr/bin/env python3
"""Runs `colony replay-outcomes` for every table of docs/swarm.md and writes them there, between the two comments.

  swarm_page.py RECORDED [--colony build/release/colony] [--page docs/swarm.md] [--seeds 10] [--first-seed 51]
      RECORDED: the folder of mmlupro. Orders before the first seed were used for tuning.
      --keep DIR: each command's lines are kept there and taken from there when they exist, so that a stopped run goes on.
"""
import argparse
import json
import pathlib
import subprocess

BEGIN, END = "<!-- begin: tools/swarm_page.py -->", "<!-- end: tools/swarm_page.py -->"
SMALL, COMPOSED, ALL = ["--pool", "small"], ["--scores", "scores_composed15.csv"], []
SETS = [("small (14 agents)", SMALL), ("composed15 (composed identities)", COMPOSED), ("all (28 agents)", ALL)]
BASELINES = "colony,random,best-single,ucb1,thompson,linucb,lints,knn"


def interval(low_high):
    return f"±{(low_high[1] - low_high[0]) / 2:.4f}".replace("±0.", "±.")


def share(value):
    return f"{value:.4f}".lstrip("0")


class Page:
    def __init__(self, options):
        self.options = options
        self.text = []

    def lines(self, words, seeds=None):
        words = [*words, "--json", "--seeds", str(seeds or self.options.seeds), "--first-seed", str(self.options.first_seed)]
        kept = self.options.keep / ("_".join(words).replace("/", "+")[-200:] + ".jsonl") if self.options.keep else None
        if kept and kept.exists():
            out = kept.read_text()
        else:
            out = subprocess.run([self.options.colony, "replay-outcomes", *words], check=True, stdout=subprocess.PIPE, text=True).stdout
            if kept:
                self.options.keep.mkdir(parents=True, exist_ok=True)
                kept.write_text(out)
        return [json.loads(line) for line in out.splitlines()]

    def recorded(self, *words):
        return self.lines([str(self.options.recorded), *words])

    def table(self, title, head, rows):
        self.text += [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]

    def policies(self, title, lines):
        rows = []
        for line in lines:
            against = line.get("against")
            paired = f"{against['difference']:+.4f} {interval(against['ci95'])}" if against else ""
            rows.append([f"`{line['policy']}`", f"{share(line['mean'])} {interval(line['ci95'])}", f"{share(line['second_half'])} {interval(line['second_half_ci95'])}",
                         f"{line['regret']:.0f}", paired, f"{line['decisions_per_s']:,.0f}"])
        self.table(title, ["policy", "mean", "second half", "regret", "paired with the first", "decisions/s"], rows)

    def costs(self):
        rows = []
        for name, words in (SETS[0], SETS[2]):
            for at, weight in enumerate(("0.01", "0.03", "0.1", "0.3")):
                plain, paying = self.recorded(*words, "--cost-weight", weight)
                if at == 0:
                    rows.append([name, "0", f"{share(plain['mean'])} {interval(plain['ci95'])}", f"{plain['tokens_per_task']:.0f}", ""])
                against = paying["against"]
                rows.append([name, weight, f"{share(paying['mean'])} {interval(paying['ci95'])}", f"{paying['tokens_per_task']:.0f}",
                             f"{against['difference']:+.4f} {interval(against['ci95'])}"])
        self.table("Bids that pay for tokens", ["set", "success for 256 tokens", "mean", "tokens a task", "paired with 0"], rows)

    def tested(self, title, *whose):
        rows = []
        for tasks in ("768", "all"):
            for name, words in SETS:
                stream = [*words, "--gate", "80", *whose, "--policy", "colony,ucb1"] + (["--tasks", tasks] if tasks != "all" else [])
                plain, ucb1, tested = self.recorded(*stream)
                self.tested_row(rows, name, tasks, plain, ucb1, tested)
        plain, ucb1, tested = self.recorded(*SETS[1][1], "--gate", "80", *whose, "--policy", "colony,ucb1", "--arrival")
        self.tested_row(rows, SETS[1][0] + ", arrival", "all", plain, ucb1, tested)
        self.table(title, ["set", "tasks", "`ucb1`", "`colony`", "`colony`, tested", "second half", "second half, tested", "tested, paired with `colony`"], rows)

    def tested_row(self, rows, name, tasks, plain, ucb1, tested):
        against = tested["against"]
        rows.append([name, tasks, *(f"{share(line['mean'])} {interval(line['ci95'])}" for line in (ucb1, plain, tested)),
                     share(plain["second_half"]), share(tested["second_half"]), f"{against['difference']:+.4f} {interval(against['ci95'])}"])

    def parts(self):
        def cell(line, key, digits, sign=""):
            low, high = line[key + "_ci95"]
            text = f"{line[key]:{sign}.{digits}f} ±{(high - low) / 2:.{digits}f}"
            return text.replace("0.", ".") if digits == 4 else text

        loads = self.lines(["--synthetic", "load"])
        rows = [[line["bench"], f"`{line['policy']}`", cell(line, "goodput", 4), cell(line["against"], "goodput", 4, "+") if "against" in line else "",
                 cell(line, "p95_seconds", 1), cell(line["against"], "p95_seconds", 1, "+") if "against" in line else "", cell(line, "right", 4), f"{line['bids_per_task']:.1f}"] for line in loads]
        self.table("Agents with queues: what bids know of them, prices, response thresholds",
                   ["load", "policy", "right and in time", "paired", "p95 seconds", "paired", "right, however late", "bids a task"], rows)
        rows = [[line["policy"], cell(line, "success", 4), cell(line["against"], "success", 4, "+") if "against" in line else "", cell(line, "tasks_to_half", 0),
                 cell(line["against"], "tasks_to_half", 0, "+") if "against" in line else "", f"{line['bids_per_task']:.1f}"] for line in self.lines(["--synthetic", "newcomer"])]
        self.table("A good agent is born among 200 on 16 nodes: dances",
                   ["who is asked", "success", "paired", "tasks until it has half", "paired", "bids a task"], rows)

    def write(self):
        for name, words in SETS:
            self.policies(f"Stationary: {name}", self.recorded(*words, "--policy", BASELINES))
        for name, words in SETS[:2]:
            self.policies(f"Drift at half time: {name}", self.recorded(*words, "--policy", "colony,ucb1,ucb1:gamma=0.999,linucb", "--drift"))
            self.policies(f"The best agent comes at half time: {name}", self.recorded(*words, "--policy", "colony,ucb1,linucb", "--arrival"))
        for tasks in ("768", "2840"):
            for name, words in SETS:
                self.policies(f"The first {tasks} tasks: {name}", self.recorded(*words, "--policy", "colony,ucb1,linucb,best-single", "--tasks", tasks))
        rows = []
        for name, words in SETS:
            ways = (["--nodes", "1"], ["--nodes", "4"], ["--nodes", "4", "--ablate", "audit"], ["--nodes", "4", "--ablate", "gossip"])
            rows.append([name, *(f"{share(line['mean'])} {interval(line['ci95'])}" for way in ways for line in self.recorded(*words, *way))])
        self.table("Agents spread over nodes", ["set", "1 node", "4 nodes", "4 nodes without audit", "4 nodes without gossip, each with its own map"], rows)
        for name, words in SETS[:2]:
            self.policies(f"With labels as places: {name}", self.recorded(*words, "--labels", "--policy", "colony,per-domain-best,ucb1,thompson,linucb"))
        for name, words in [*SETS[:2], ("small, drift", [*SMALL, "--drift"])]:
            self.policies(f"Without parts of the rule: {name}", self.recorded(*words, "--ablations"))
        rows = []
        for variant in ("main", "none", "region", "break"):
            words = ["colony,random,best-single,ucb1,linucb,knn:window=2500", "--ablations"] if variant == "main" else ["colony,ucb1,linucb"]
            for line in self.lines(["--synthetic", variant, "--policy", *words], seeds=2 * self.options.seeds):
                regret = line["regret_ci95"]
                rows.append([variant, f"`{line['policy']}`", f"{line['regret']:.0f} ±{(regret[1] - regret[0]) / 2:.0f}", share(line["second_half"])])
        self.table("Synthetic bench of changing experts: total regret", ["variant", "policy", "regret", "mean score, second half"], rows)
        self.tested("Agents that come with a test of 80 held-out questions")
        self.tested("Agents whose own home tested them on 80 held-out questions", "--own-test")
        self.costs()
        self.parts()
        page = self.options.page.read_text()
        before, after = page[:page.index(BEGIN) + len(BEGIN)], page[page.index(END):]
        self.options.page.write_text(before + "\n" + "\n".join(self.text) + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorded", type=pathlib.Path)
    parser.add_argument("--colony", default="build/release/colony")
    parser.add_argument("--page", type=pathlib.Path, default="docs/swarm.md")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=51)
    parser.add_argument("--keep", type=pathlib.Path)
    Page(parser.parse_args()).write()


if __name__ == "__main__":
    main()
