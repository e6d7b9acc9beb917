#!/usr/bin/env python3
"""Trains a specialist for each task of a folder of task sets and writes what it gains into docs/training.md, between two comments.

For each task DATA/TASK with train.jsonl, valid.jsonl, test.jsonl (and task.json with the check), in this order:
  - the base model on the test split with the bare prompts, and after five examples of train.jsonl as earlier turns of
    the chat (the same five for every prompt, another seed never tried); where the task has at most twelve labels, both once
    more by an agent that can only answer with one of them,
  - `colony train` on train.jsonl for --minutes, with what --train gives besides; no other option is chosen by the task,
  - the specialist on the test split.
A task whose line is in --out already is left out, so that a stopped run goes on. Nothing else should run beside it.

Run: tools/measure_training.py DATA TASK... --out FILE.jsonl [--minutes 10] [--train "--lr 0.002"] [--colony build/release/colony]
     tools/measure_training.py --page docs/training.md --out FILE.jsonl     writes the table of what FILE holds
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

BEGIN, END = "<!-- begin: tools/measure_training.py -->", "<!-- end: tools/measure_training.py -->"
SHOTS = 5
FEW_LABELS = 12


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def run_json(command):
    """The JSON lines a command prints; its progress goes to standard error."""
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()], time.monotonic() - started


class Measured:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder

    def evaluate(self, tasks, most, *words):
        lines, seconds = run_json([self.options.colony, "eval", str(tasks), "--json", "--max-tokens", str(most), *words])
        if len(lines) != 1:
            sys.exit(f"{tasks}: {len(lines)} kinds instead of one")
        return {"success": lines[0]["success"], "ci95": lines[0]["ci95"], "tasks": lines[0]["tasks"], "seconds": round(seconds, 1)}

    def task(self, name):
        source = self.options.data / name
        about = json.loads((source / "task.json").read_text())
        train, test = read_lines(source / "train.jsonl"), read_lines(source / "test.jsonl")
        turns = []
        for line in random.Random(5).sample(train, SHOTS):
            turns += [{"role": "user", "content": line["prompt"]}, {"role": "assistant", "content": line["answer"]}]
        labels = about.get("labels", [])
        common = {"kind": name, "check": about["check"], "labels": labels}
        few = self.folder / f"{name}-few.jsonl"
        zero = self.folder / f"{name}-zero.jsonl"
        zero.write_text("".join(json.dumps({**common, "prompt": t["prompt"], "answer": t["answer"]}) + "\n" for t in test))
        few.write_text("".join(json.dumps({**common, "messages": turns + [{"role": "user", "content": t["prompt"]}], "answer": t["answer"]}) + "\n" for t in test))
        most = max(len(t["answer"]) for t in test) // 2 + 8  # tokens; no answer of these sets takes more than one for two characters
        row = {"task": name, "check": about["check"], "labels": len(labels), "zero": self.evaluate(zero, most), "few": self.evaluate(few, most)}
        if 0 < len(labels) <= FEW_LABELS:
            agents = self.folder / "agents"
            (agents / "labeller").mkdir(parents=True, exist_ok=True)
            (agents / "labeller" / "agent.toml").write_text('name = "labeller"\ndescription = "Answers with a label of the task."\nrole = "worker"\n\n[answer]\nlabels_from_task = true\n')
            labeller = ["--agents", str(agents), "--agent", "labeller"]
            row["zero_labels"], row["few_labels"] = self.evaluate(zero, most, *labeller), self.evaluate(few, most, *labeller)
        out = self.folder / f"{name}-adapter"
        lines, _ = run_json([self.options.colony, "train", str(source / "train.jsonl"), "--valid", str(source / "valid.jsonl"), "--out", str(out),
                                   "--minutes", str(self.options.minutes), "--json", *self.options.train.split()])
        row["train"] = {**{key: lines[-1][key] for key in ("steps", "tokens", "valid_loss", "best_step", "tokens_per_s", "peak_bytes")}, "examples": len(train)}
        row["specialist"] = self.evaluate(zero, most, "--adapter", str(out))
        return row


def share(cell):
    return f"{100 * cell['success']:.1f} [{100 * cell['ci95'][0]:.1f}, {100 * cell['ci95'][1]:.1f}]" if cell else "–"


def page(rows):
    out = ["| task | check | zero-shot | five-shot | a label only, zero-shot / five-shot | specialist | over the best of the base | seconds, evaluations too | updates | tokens | tokens/s |", "|" + "---|" * 11]
    for row in rows:
        base = [row[key] for key in ("zero", "few", "zero_labels", "few_labels") if key in row]
        gain = 100 * (row["specialist"]["success"] - max(cell["success"] for cell in base))
        only = f"{share(row['zero_labels'])} / {share(row['few_labels'])}" if "zero_labels" in row else "–"
        train = row["train"]
        out.append(f"| {row['task']} | {row['check']} | {share(row['zero'])} | {share(row['few'])} | {only} | **{share(row['specialist'])}** | {gain:+.1f} | "
                   f"{train['tokens'] / train['tokens_per_s']:.0f} | {train['steps']} | {train['tokens']:,} | {train['tokens_per_s']:.0f} |")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.split("\n\n")[1], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, nargs="?")
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--train", default="", help="more options of colony train")
    parser.add_argument("--colony", default="build/release/colony")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the adapters and the task files")
    parser.add_argument("--page", type=pathlib.Path)
    options = parser.parse_args()
    rows = read_lines(options.out) if options.out.exists() else []
    folder = options.keep or pathlib.Path(tempfile.mkdtemp(prefix="colony-training-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.tasks:
        if any(row["task"] == name for row in rows):
            continue
        rows.append(Measured(options, folder).task(name))
        with options.out.open("a") as out:
            out.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1]), flush=True)
    if options.page:
        text = options.page.read_text()
        before, rest = text.split(BEGIN)
        options.page.write_text(before + BEGIN + "\n" + page(rows) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
