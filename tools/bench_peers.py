#!/usr/bin/env python3
"""Measures llama.cpp on the cells of `colony bench engine`, through llama-cpp-python's low-level API.

  bench_peers.py prepare --source MODEL.gguf --out MODEL.q8_0.gguf --format q8_0|q4_0
      requantises a GGUF file; does nothing when the output is there.
  bench_peers.py round --model MODEL.gguf --threads N --cells CELL[,CELL...] [--seed N]
      one round: a JSON line {"cell", "value", "unit"} a cell.

Only llama_decode() and llama_synchronize() are inside the clock: the next tokens are given, nothing
is sampled, no text is made. That favours the peer.
"""
import argparse
import ctypes
import json
import os
import random
import sys
import time

import llama_cpp as lc

FTYPES = {"q8_0": 7, "q4_0": 2}
DECODE_TOKENS = 64     # as kDecodeTokens in bench.cc
DECODE_PROMPT = 32     # kDecodePrompt
PREFILL = 512          # kPrefill
PREFIX, SUFFIX = 512, 16   # kPrefix, kSuffix
TTFT_PROMPT = 128      # kTtftPrompt


@lc.llama_log_callback
def quiet(level, text, data):
    pass


def prepare(source, out, fmt):
    if os.path.exists(out):
        return
    params = lc.llama_model_quantize_default_params()
    params.ftype = FTYPES[fmt]
    params.allow_requantize = True
    params.nthread = max(1, os.cpu_count() or 1)
    part = out + ".part"
    if lc.llama_model_quantize(source.encode(), part.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp could not requantise {source} to {fmt}")
    os.replace(part, out)


class Peer:
    def __init__(self, path, threads):
        params = lc.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = lc.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            sys.exit(f"llama.cpp could not load {path}")
        self.vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self.model))
        self.threads = threads
        self.ctx = None

    def open(self, sequences, tokens, unified):
        if self.ctx:
            lc.llama_free(self.ctx)
        params = lc.llama_context_default_params()
        params.n_ctx = tokens * (1 if unified else sequences)
        params.n_batch = 2048
        params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = self.threads
        params.kv_unified = unified
        self.ctx = lc.llama_init_from_model(self.model, params)
        if not self.ctx:
            sys.exit("llama.cpp could not make a context")
        self.memory = lc.llama_get_memory(self.ctx)

    def decode(self, rows):
        """rows: (token, position, sequence, wants logits)."""
        batch = lc.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = logits
        start = time.perf_counter()
        status = lc.llama_decode(self.ctx, batch)
        lc.llama_synchronize(self.ctx)
        seconds = time.perf_counter() - start
        lc.llama_batch_free(batch)
        if status != 0:
            sys.exit(f"llama_decode failed with {status}")
        return seconds

    def clear(self):
        lc.llama_memory_clear(self.memory, True)


def prompt(rng, peer, size):
    return [rng.randrange(3, peer.vocab) for _ in range(size)]


def prefill_rows(tokens, sequence, start=0):
    last = len(tokens) - 1
    return [(t, start + i, sequence, i == last) for i, t in enumerate(tokens)]


def prefill_seconds(peer, rng, size):
    peer.open(1, 1024, False)
    peer.decode(prefill_rows(prompt(rng, peer, size), 0))  # warm
    peer.clear()
    return peer.decode(prefill_rows(prompt(rng, peer, size), 0))


def decode_rate(peer, rng, sequences):
    peer.open(sequences, 256, False)
    for s in range(sequences):
        peer.decode(prefill_rows(prompt(rng, peer, DECODE_PROMPT), s))
    seconds = 0.0
    for step in range(DECODE_TOKENS + 2):
        rows = [(rng.randrange(3, peer.vocab), DECODE_PROMPT + step, s, True) for s in range(sequences)]
        took = peer.decode(rows)
        if step >= 2:  # the first ones warm up
            seconds += took
    return sequences * DECODE_TOKENS / seconds


def prefix_rate(peer, rng, sequences):
    # The shared start is computed once and its cells given to every sequence.
    peer.open(sequences, 1024 + sequences * 64, True)
    peer.decode(prefill_rows(prompt(rng, peer, PREFILL), 0))
    peer.clear()
    seconds = peer.decode(prefill_rows(prompt(rng, peer, PREFIX), 0))
    start = time.perf_counter()
    for s in range(1, sequences):
        lc.llama_memory_seq_cp(peer.memory, 0, s, -1, -1)
    seconds += time.perf_counter() - start
    rows = []
    for s in range(sequences):
        rows += prefill_rows(prompt(rng, peer, SUFFIX), s, PREFIX)
    seconds += peer.decode(rows)
    return sequences * (PREFIX + SUFFIX) / seconds


def measure(peer, rng, cell):
    if cell == "pp512":
        return PREFILL / prefill_seconds(peer, rng, PREFILL), "tok/s"
    if cell == "ttft":
        return prefill_seconds(peer, rng, TTFT_PROMPT) * 1000, "ms"
    if cell.startswith("tg x"):
        return decode_rate(peer, rng, int(cell.split()[1][1:])), "tok/s"
    if cell == "prefix x16":
        return prefix_rate(peer, rng, 16), "tok/s"
    sys.exit(f"no such cell: {cell}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("prepare")
    verb.add_argument("--source", required=True)
    verb.add_argument("--out", required=True)
    verb.add_argument("--format", choices=FTYPES, required=True)
    verb = verbs.add_parser("round")
    verb.add_argument("--model", required=True)
    verb.add_argument("--threads", type=int, required=True)
    verb.add_argument("--cells", required=True)
    verb.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lc.llama_log_set(quiet, ctypes.c_void_p(0))
    lc.llama_backend_init()
    if args.verb == "prepare":
        prepare(args.source, args.out, args.format)
        return
    peer = Peer(args.model, args.threads)
    for cell in args.cells.split(","):
        value, unit = measure(peer, random.Random(args.seed), cell)
        print(json.dumps({"cell": cell, "value": value, "unit": unit}), flush=True)


if __name__ == "__main__":
    main()
