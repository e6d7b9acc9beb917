#!/usr/bin/env python3
"""Compares the colony with what a person would build in an afternoon, on a stream of checked tasks.

Every agent answers every task once (kept in WORK, so that the next call begins there). From these outcomes come
  table              kind -> the agent with the best mean on the held-out tasks; knows the kinds
  nearest neighbour  the agent with the best mean on the K held-out tasks nearest by tf-idf of words, each by its cosine; K = 1, 3, 5, 10
  best single agent  of the held-out tasks; and of the stream, which nobody knows before
  oracle by kind     the best agent of each kind of the stream, in hindsight; by task: of each task
  random             the mean of all agents
and the colony, replayed over ORDERS orders of the stream at the places that a run gives them: cold, with the held-out tasks as a test that
its agents brought along, and as a test of its own. With --runs N the colony also runs for real, N seeds cold and N after --held-out.

Run: tools/compare_routers.py TASKS.jsonl HELD_OUT.jsonl [--agents DIR] [--colony build/release/colony] [--work DIR] [--orders 40] [--runs 5]
"""
import argparse
import collections
import json
import math
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib

NEIGHBOURS = (1, 3, 5, 10)


def call(words, quiet=True):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE if quiet else None, text=True)
    if done.returncode not in (0, 1):  # 1: some task ended without an answer
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}\n{done.stderr or ''}")
    return done.stdout


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


def matrix(args, agents, tasks):
    """scores[agent][i] of task i."""
    file = args.work / "all.jsonl"
    text = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)
    if not file.exists() or file.read_text() != text:
        for old in args.work.glob("rec-*.jsonl"):
            old.unlink()
        file.write_text(text)
    scores = {}
    for agent in agents:
        kept = args.work / f"rec-{agent}.jsonl"
        if not kept.exists():
            print(f"{agent}: {len(tasks)} tasks", file=sys.stderr, flush=True)
            call([args.colony, "run", file, "--agents", args.agents, "--only", agent, "--home", args.work / f"home-{agent}", "--out", kept])
        rows = {row["id"]: row["success"] or 0 for row in lines(kept)}
        scores[agent] = [rows[task["id"]] for task in tasks]
    return scores


def words_of(text):
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


class Nearest:
    """Cosine of tf-idf, fitted on some texts."""

    def __init__(self, texts):
        documents = [set(words_of(text)) for text in texts]
        count = collections.Counter(word for document in documents for word in document)
        self.idf = {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in count.items()}
        self.rows = [self.vector(text) for text in texts]

    def vector(self, text):
        tf = collections.Counter(word for word in words_of(text) if word in self.idf)
        row = {word: n * self.idf[word] for word, n in tf.items()}
        norm = math.sqrt(sum(x * x for x in row.values())) or 1
        return {word: x / norm for word, x in row.items()}

    def find(self, text, k):
        """(index, cosine), nearest first."""
        row = self.vector(text)
        near = [(sum(x * other.get(word, 0) for word, x in row.items()), -i) for i, other in enumerate(self.rows)]
        return [(-i, cosine) for cosine, i in sorted(near, reverse=True)[:k]]


def routers(scores, tasks, held):
    """name -> mean score on the stream; tasks[:held] are the held-out ones."""
    agents = list(scores)
    stream = range(held, len(tasks))
    mean = statistics.fmean

    def best(rows):
        return max(agents, key=lambda agent: (mean(scores[agent][i] for i in rows), agent))

    kinds = sorted({task["kind"] for task in tasks})
    by_kind = {part: {kind: best([i for i in rows if tasks[i]["kind"] == kind]) for kind in kinds}
               for part, rows in (("held", range(held)), ("stream", stream))}
    out = {"table kind -> agent": mean(scores[by_kind["held"][tasks[i]["kind"]]][i] for i in stream)}
    nearest = Nearest([task["prompt"] for task in tasks[:held]])
    found = {i: nearest.find(tasks[i]["prompt"], max(NEIGHBOURS)) for i in stream}
    for k in NEIGHBOURS:
        chosen = {i: max(agents, key=lambda agent: (sum(scores[agent][row] * cosine for row, cosine in found[i][:k]), agent)) for i in stream}
        out[f"tf-idf, {k} nearest"] = mean(scores[chosen[i]][i] for i in stream)
    single = best(range(held))
    out[f"best single agent of the test ({single})"] = mean(scores[single][i] for i in stream)
    single = best(stream)
    out[f"best single agent in hindsight ({single})"] = mean(scores[single][i] for i in stream)
    out["oracle by kind"] = mean(scores[by_kind["stream"][tasks[i]["kind"]]][i] for i in stream)
    out["oracle by task"] = mean(max(scores[agent][i] for agent in agents) for i in stream)
    out["random"] = mean(scores[agent][i] for agent in agents for i in stream)
    return out


def about(folder):
    """What an agent says of itself, as a run reads it."""
    agent = tomllib.loads((folder / "agent.toml").read_text())
    texts = [agent.get("description", ""), ", ".join(agent.get("skills", []))]
    if (folder / "examples.jsonl").exists():
        examples = lines(folder / "examples.jsonl")
        count = min(8, len(examples))
        texts += [examples[i * len(examples) // count]["prompt"] for i in range(count)]
    return [text for text in texts if text.strip()]


def replayed(args, scores, tasks, held):
    folder = args.work / "recorded"
    folder.mkdir(exist_ok=True)
    agents = list(scores)
    (folder / "queries.jsonl").write_text("".join(json.dumps({"id": t["id"], "domain": t["kind"], "text": t["prompt"], "held_out": i < held}) + "\n" for i, t in enumerate(tasks)))
    (folder / "scores.csv").write_text("id," + ",".join(agents) + "\n" + "".join(",".join([t["id"], *(str(scores[a][i]) for a in agents)]) + "\n" for i, t in enumerate(tasks)))
    (folder / "about.jsonl").write_text("".join(json.dumps({"agent": a, "text": text}) + "\n" for a in agents for text in about(args.agents / a)))
    out = {}

    def play(name, row, *words):
        printed = call([args.colony, "replay-outcomes", folder, "--places", "model", "--policy", "colony", "--seeds", args.orders, "--json", "--home", args.work / "home", *words])
        result = [json.loads(line) for line in printed.splitlines()][row]["by_seed"]
        out[name] = (statistics.fmean(result), 1.96 * statistics.stdev(result) / math.sqrt(len(result)))

    play("colony, cold, without priors", 0, "--ablate", "priors")
    play("colony, cold", 0)
    play("colony, test brought along", 1, "--gate", held)
    play("colony, own test", 1, "--gate", held, "--own-test")
    return out


def run_for_real(args):
    out = {}
    for name, words in (("colony, cold, real runs", []), ("colony, own test, real runs", ["--held-out", args.held_out])):
        successes = []
        tested = None
        for seed in range(1, args.runs + 1):
            with tempfile.TemporaryDirectory() as home:
                if tested:  # the agents are tested once; every seed begins there
                    shutil.copytree(tested, home, dirs_exist_ok=True)
                elif words:
                    tested = args.work / "home-tested"
                    shutil.rmtree(tested, ignore_errors=True)
                    call([args.colony, "eval", args.held_out, "--agents", args.agents, "--each", "--keep", "--home", tested])
                    shutil.copytree(tested, home, dirs_exist_ok=True)
                summary = json.loads(call([args.colony, "run", args.tasks, "--agents", args.agents, "--shuffle", "--seed", seed, "--json", "--home", home, *words, *([] if words else ["--no-tested"])]).splitlines()[-1])
                successes.append(summary["success"])
                print(f"{name}, seed {seed}: {summary['success']:.4f}", file=sys.stderr, flush=True)
        spread = 1.96 * statistics.stdev(successes) / math.sqrt(len(successes)) if len(successes) > 1 else 0
        out[name] = (statistics.fmean(successes), spread)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", type=pathlib.Path)
    parser.add_argument("held_out", type=pathlib.Path)
    parser.add_argument("--agents", type=pathlib.Path, default=pathlib.Path("agents"))
    parser.add_argument("--colony", default="build/release/colony")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--orders", type=int, default=40)
    parser.add_argument("--runs", type=int, default=0)
    args = parser.parse_args()
    args.work = args.work or pathlib.Path(tempfile.mkdtemp(prefix="colony-routers-"))
    args.work.mkdir(parents=True, exist_ok=True)
    held_out = [{**task, "id": "h-" + str(task["id"])} for task in lines(args.held_out)]
    tasks = held_out + lines(args.tasks)
    agents = sorted(path.parent.name for path in args.agents.glob("*/agent.toml"))
    scores = matrix(args, agents, tasks)
    print(f"| router | success on {len(tasks) - len(held_out)} tasks |\n|---|---|")
    for name, value in routers(scores, tasks, len(held_out)).items():
        print(f"| {name} | {value:.3f} |", flush=True)
    for part in (replayed(args, scores, tasks, len(held_out)), run_for_real(args) if args.runs else {}):
        for name, (value, spread) in part.items():
            print(f"| {name} | {value:.3f} ±{spread:.3f} |", flush=True)


if __name__ == "__main__":
    main()
