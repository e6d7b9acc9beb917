"""colony replay-outcomes: tables and JSON lines over a made-up set, its files' faults, its usage."""
import json
import math
import random
import struct
import unittest

import harness

KEYS = {"policy", "seeds", "mean", "ci95", "second_half", "regret", "decisions_per_s"}


class Replay(harness.Case):
    def setUp(self):
        super().setUp()
        self.set = self.folder / "set"
        self.make()

    def make(self, tasks=600, width=16):
        """Three domains, four agents: one good everywhere, three specialists; unit embeddings near their domain's axis."""
        dice = random.Random(20)
        chances = {"law": (.6, .9, .1, .1), "math": (.6, .1, .9, .1), "art": (.6, .1, .1, .9)}
        self.set.mkdir(exist_ok=True)
        queries, scores, rows = [], ["id,all,law,math,art"], b""
        for i in range(tasks):
            domain = dice.choice(list(chances))
            queries.append(json.dumps({"id": f"q{i}", "domain": domain, "text": f"a question of {domain}"}))
            scores.append(",".join([f"q{i}"] + [str(int(dice.random() < c)) for c in chances[domain]]))
            x = [dice.gauss(0, .1) + (3 * list(chances).index(domain) == d) for d in range(width)]
            norm = math.sqrt(sum(v * v for v in x))
            rows += struct.pack(f"<{width}e", *(v / norm for v in x))
        (self.set / "queries.jsonl").write_text("\n".join(queries) + "\n")
        (self.set / "scores.csv").write_text("\n".join(scores) + "\n")
        (self.set / "models.csv").write_text("model,pool_small\nall,1\nlaw,1\nmath,0\nart,0\n")
        (self.set / "embeddings.f16").write_bytes(rows)

    def replay(self, *words, status=0):
        return self.lines("replay-outcomes", self.set, "--json", *words, status=status)

    def test_one_line_a_policy_and_the_same_again(self):
        lines = self.replay("--policy", "all", "--seeds", 3)
        self.assertEqual([l["policy"] for l in lines], ["colony", "random", "best-single", "ucb1", "thompson", "linucb", "lints", "knn"])
        for line in lines:
            self.assertLessEqual(KEYS, line.keys())
            self.assertEqual(line["seeds"], 3)
            self.assertTrue(line["ci95"][0] <= line["mean"] <= line["ci95"][1], line)
            self.assertTrue(0 <= line["second_half"] <= 1)
            self.assertGreater(line["decisions_per_s"], 0)
            self.assertAlmostEqual(line["mean"], sum(line["by_seed"]) / 3)
        by = {line["policy"]: line for line in lines}
        self.assertGreater(by["colony"]["second_half"], by["ucb1"]["second_half"])
        self.assertGreater(by["best-single"]["mean"], by["random"]["mean"])
        self.assertEqual(by["best-single"]["regret"], 0)
        self.assertGreater(by["random"]["regret"], 0)
        again = self.replay("--policy", "all", "--seeds", 3)
        self.assertEqual([l["by_seed"] for l in lines], [l["by_seed"] for l in again])
        later, = self.replay("--policy", "colony", "--seeds", 1, "--first-seed", 3)
        self.assertEqual(later["by_seed"], by["colony"]["by_seed"][2:])
        out, _ = self.colony("replay-outcomes", self.set, "--policy", "colony,ucb1:c=0.5", "--seeds", 2, "--ablations")
        self.assertIn("ucb1:c=0.5", out)
        self.assertIn("colony without places", out)
        self.assertIn("PAIRED WITH colony", out)

    def test_options_change_the_stream_and_the_pool(self):
        base, = self.replay("--seeds", 1)
        for words in (("--drift",), ("--arrival",), ("--tasks", 300), ("--ablate", "places,recent"), ("--pool", "small")):
            line, = self.replay("--seeds", 1, *words)
            self.assertNotEqual(line["by_seed"], base["by_seed"], words)
        four, = self.replay("--seeds", 1, "--nodes", 4)
        self.assertGreater(four["mean"], base["mean"] - .05)
        labelled = {l["policy"]: l for l in self.replay("--labels", "--policy", "all", "--seeds", 2)}
        self.assertGreater(labelled["per-domain-best"]["mean"], labelled["best-single"]["mean"])
        self.assertGreater(labelled["ucb1"]["mean"], labelled["best-single"]["mean"])
        (self.set / "half.csv").write_text((self.set / "scores.csv").read_text().replace(",1,", ",0.5,"))
        soft, = self.replay("--seeds", 1, "--scores", "half.csv")
        self.assertLess(soft["mean"], base["mean"])
        line, = self.lines("replay-outcomes", "--synthetic", "main", "--policy", "random", "--seeds", 1, "--json")
        self.assertGreater(line["regret"], 4000)

    def test_without_embeddings_our_own_engine_gives_places_once(self):
        self.make(tasks=24)
        (self.set / "embeddings.f16").unlink()
        first, = self.replay("--seeds", 1)
        kept = [p for p in (self.home / "places").iterdir() if "-" in p.name]
        self.assertEqual([p.stat().st_size for p in kept], [24 * 64 * 4])
        stamp = kept[0].stat().st_mtime_ns
        again, = self.replay("--seeds", 1)
        self.assertEqual(first["by_seed"], again["by_seed"])
        self.assertEqual(kept[0].stat().st_mtime_ns, stamp)
        self.replay("--seeds", 1, "--places", "tokens")
        _, err = self.colony("replay-outcomes", self.set, "--places", "file", status=1)
        self.assertIn("embeddings.f16", err)

    def test_faults_of_files_are_named(self):
        def fault(name, change, *said, words=()):
            self.make(tasks=20)
            path = self.set / name
            path.write_bytes(change(path.read_bytes()))
            out, err = self.colony("replay-outcomes", self.set, "--json", *words, status=1)
            self.assertEqual(out, "")
            for word in (name, "expected", *said):
                self.assertIn(word, err)
        fault("scores.csv", lambda b: b.replace(b"id,all,law", b"id,all"), ":2", "5 fields", "4")
        fault("scores.csv", lambda b: b.replace(b"id,", b"key,", 1), "'id'")
        fault("scores.csv", lambda b: b.replace(b"q3,1", b"q3,nan").replace(b"q3,0", b"q3,nan"), ":5", "'all'", "'nan'", "0 to 1")
        fault("scores.csv", lambda b: b.replace(b"q3,1", b"q3,2").replace(b"q3,0", b"q3,2"), ":5", "'all'", "'2'")
        fault("scores.csv", lambda b: b[:b.index(b"q19")], "'q19'")
        fault("embeddings.f16", lambda b: b[:-32], "20 rows", f"{19 * 32} bytes")
        fault("embeddings.f16", lambda b: b[:len(b) // 2], "row 2", "of 20 rows")
        fault("embeddings.f16", lambda b: b"\x00\x7e" + b[2:], "row 1", "nan")
        fault("queries.jsonl", lambda b: b.replace(b'"q3"', b'"q2"'), ":4", "'q2'")
        fault("models.csv", lambda b: b.replace(b"pool_small", b"pool"), "'pool_small'", words=("--pool", "small"))
        _, err = self.colony("replay-outcomes", self.folder / "nowhere", status=1)
        self.assertIn("nowhere", err)

    def test_what_answers_cost_is_told_and_can_be_paid_for(self):
        _, err = self.colony("replay-outcomes", self.set, "--seeds", 1, "--cost-weight", .1, status=1)
        self.assertIn("outlen.csv", err)
        lengths = ["id,all,law,math,art"] + [f"q{i},4000,400,400,400" for i in range(600)]
        (self.set / "outlen.csv").write_text("\n".join(lengths) + "\n")
        plain, paying = self.replay("--seeds", 2, "--cost-weight", .1)
        self.assertEqual(paying["cost_weight"], .1)
        self.assertGreater(plain["tokens_per_task"], 100)
        self.assertLess(paying["tokens_per_task"], plain["tokens_per_task"])
        alone, = self.replay("--seeds", 2)
        self.assertEqual(alone["by_seed"], plain["by_seed"])
        out, _ = self.colony("replay-outcomes", self.set, "--seeds", 1)
        self.assertIn("TOKENS A TASK", out)

    def test_agents_can_come_with_a_test(self):
        plain, tested = self.replay("--seeds", 4, "--gate", 60)
        self.assertEqual(tested["gate"], 60)
        self.assertGreater(tested["against"]["difference"], 0)
        self.assertNotIn("gate", plain)
        # Both play the stream without the questions of the test, others see no difference.
        first, second = self.replay("--seeds", 4, "--gate", 60, "--policy", "best-single")
        self.assertEqual(second["by_seed"], tested["by_seed"])
        _, err = self.colony("replay-outcomes", self.set, "--gate", 600, status=1)
        self.assertIn("600", err)

    def test_wrong_usage_is_two(self):
        for words, said in (((), "DIR"), ((self.set, "--synthetic", "main"), "DIR"), ((self.set, "--policy", "ucb"), "ucb1"), ((self.set, "--policy", ""), "--policy"),
                            ((self.set, "--policy", "per-domain-best"), "--labels"), ((self.set, "--ablate", "nothing"), "detection"),
                            ((self.set, "--seeds", 0), "seeds"), ((self.set, "--pool", "large"), "small"), ((self.set, "--policy", "knn:k=x"), "'x'"),
                            (("--synthetic", "load", "--ablations"), "load"), (("--synthetic", "newcomer", "--nodes", 2), "newcomer"), (("--synthetic", "main", "--cost-weight", .1), "DIR"), (("--synthetic", "main", "--gate", 9), "DIR")):
            out, err = self.colony("replay-outcomes", *words, status=2)
            self.assertEqual(out, "")
            self.assertIn(said, err)


if __name__ == "__main__":
    harness.main()
