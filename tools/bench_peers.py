#!/usr/bin/env python3
"""Measures the peers of `colony bench`: llama.cpp, OpenVINO GenAI, vLLM, and PEFT for training. Runs in the peer's own venv.

  bench_peers.py serve PEER --model PATH --threads N [--adapters N]
      one JSON line {"ready": true} when loaded, or {"missing": why}; then an answer a question:
        {"do": "prefill", "warm": ids, "prompts": [ids]}            submission to the first token
        {"do": "decode", "prompts": [ids…], "steps": S, "adapters"?: [path…]}   S tokens of every sequence,
             after all prompts are read and two steps to warm up
        {"do": "finish", "warm": ids, "prompts": [ids…], "tokens": T, "shared": P}   submission of all to the
             last token; the first P tokens are the same in all prompts
        {"do": "train", "dtype": "bf16"|"f32", "warm": [ids…], "prompts": [ids…], "targets": N, "rank": R}   PEFT only: one
             update of a LoRA adapter on all linear modules, after one on `warm`; the last N tokens of each are scored
      with {"wall": seconds, "cpu": seconds of all threads} or {"error": why}.
  bench_peers.py first PEER --model PATH --threads N --ids 1,2,3
      one JSON line {"imports": seconds, "first": seconds after the imports to the first token} and exit.
  bench_peers.py requantise --source MODEL.gguf --out MODEL.q8_0.gguf --format q8_0|q4_0

Only llama_decode(), llama_synchronize() and what gives cells to sequences are inside llama.cpp's clock: the
next tokens are given, nothing is sampled, no text is made. That favours it. OpenVINO's and vLLM's clocks run
over whole steps, as ours.
"""
import argparse
import ctypes
import json
import os
import random
import sys
import time

WARM_STEPS = 2  # as kWarmSteps in bench_ours.h


class Clock:
    """Wall and CPU seconds of a block, summed over blocks."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def __enter__(self):
        self.start = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.cpu += time.process_time() - self.start[1]
        self.wall += time.perf_counter() - self.start[0]

    def result(self):
        return {"wall": self.wall, "cpu": self.cpu}


# ---- llama.cpp, through llama-cpp-python's low-level API ----

class LlamaCpp:
    FTYPES = {"q8_0": 7, "q4_0": 2}

    def __init__(self, path, threads, adapters):
        import llama_cpp as lc
        self.lc, self.threads = lc, threads
        self.quiet = lc.llama_log_callback(lambda level, text, data: None)
        lc.llama_log_set(self.quiet, ctypes.c_void_p(0))
        lc.llama_backend_init()
        params = lc.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = lc.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        self.vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(self.model))
        self.ctx = None
        self.adapters = {}

    @staticmethod
    def requantise(source, out, form):
        import llama_cpp as lc
        params = lc.llama_model_quantize_default_params()
        params.ftype = LlamaCpp.FTYPES[form]
        params.allow_requantize = True
        params.nthread = max(1, os.cpu_count() or 1)
        part = out + ".part"
        if lc.llama_model_quantize(source.encode(), part.encode(), ctypes.byref(params)) != 0:
            sys.exit(f"llama.cpp could not requantise {source} to {form}")
        os.replace(part, out)

    def open(self, sequences, tokens, unified=False):
        if self.ctx:
            self.lc.llama_free(self.ctx)
        params = self.lc.llama_context_default_params()
        params.n_ctx = tokens * (1 if unified else sequences)
        params.n_batch = 2048
        params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = self.threads
        params.kv_unified = unified
        self.ctx = self.lc.llama_init_from_model(self.model, params)
        if not self.ctx:
            raise RuntimeError("llama.cpp could not make a context")
        self.memory = self.lc.llama_get_memory(self.ctx)

    def step(self, rows, clock):
        """rows: (token, position, sequence, wants logits)."""
        batch = self.lc.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = logits
        with clock:
            status = self.lc.llama_decode(self.ctx, batch)
            self.lc.llama_synchronize(self.ctx)
        self.lc.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode failed with {status}")

    @staticmethod
    def rows_of(ids, sequence, start=0):
        return [(t, start + i, sequence, i == len(ids) - 1) for i, t in enumerate(ids)]

    def prefill(self, warm, prompts):
        self.open(1, 2048)
        self.step(self.rows_of(warm, 0), Clock())
        self.lc.llama_memory_clear(self.memory, True)
        clock = Clock()
        self.step(self.rows_of(prompts[0], 0), clock)
        return clock

    def use(self, path):
        """All rows of the steps from here on take this adapter; it can be one only."""
        lc = self.lc
        if path not in self.adapters:
            adapter = lc.llama_adapter_lora_init(self.model, path.encode())
            if not adapter:
                raise RuntimeError(f"llama.cpp could not load the adapter {path}")
            self.adapters[path] = adapter
        one = (lc.llama_adapter_lora_p_ctypes * 1)(self.adapters[path])
        if lc.llama_set_adapters_lora(self.ctx, one, 1, (ctypes.c_float * 1)(1.0)) != 0:
            raise RuntimeError(f"llama.cpp refused the adapter {path}")

    def decode(self, prompts, steps, adapters=None):
        rng = random.Random(len(prompts))
        count, length = len(prompts), len(prompts[0])
        self.open(count, length + steps + WARM_STEPS + 32)
        for s, ids in enumerate(prompts):
            if adapters:
                self.use(adapters[s] + ".gguf")
            self.step(self.rows_of(ids, s), Clock())
        clock = Clock()
        for step in range(WARM_STEPS + steps):
            into = clock if step >= WARM_STEPS else Clock()
            rows = [(rng.randrange(3, self.vocab), length + step, s, True) for s in range(count)]
            if not adapters:
                self.step(rows, into)
                continue
            for s, row in enumerate(rows):  # one adapter a step: a step a sequence
                with into:
                    self.use(adapters[s] + ".gguf")
                self.step([row], into)
        return clock

    def finish(self, warm, prompts, tokens, shared):
        # The shared start is computed once and its cells given to every sequence.
        rng = random.Random(len(prompts))
        count, length = len(prompts), len(prompts[0])
        self.open(count, shared + count * (length - shared + tokens + 32) + 512, unified=True)
        self.step(self.rows_of(warm, 0), Clock())
        self.lc.llama_memory_clear(self.memory, True)
        clock = Clock()
        if shared > 0:
            self.step(self.rows_of(prompts[0][:shared], 0), clock)
            with clock:
                for s in range(1, count):
                    self.lc.llama_memory_seq_cp(self.memory, 0, s, -1, -1)
        rows = []
        for s in range(count):
            rows += self.rows_of(prompts[s][shared:], s, shared)
        self.step(rows, clock)
        for step in range(tokens - 1):
            self.step([(rng.randrange(3, self.vocab), length + step, s, True) for s in range(count)], clock)
        return clock


# ---- OpenVINO GenAI, continuous batching ----

class OpenVino:
    def __init__(self, path, threads, adapters):
        import numpy
        import openvino
        import openvino_genai as genai
        self.numpy, self.openvino, self.genai = numpy, openvino, genai
        self.path, self.threads, self.pipelines, self.next = path, threads, {}, 0
        self.pipeline(False)

    def pipeline(self, prefix):
        if prefix not in self.pipelines:
            config = self.genai.SchedulerConfig()
            config.max_num_batched_tokens = 2048
            config.max_num_seqs = 64
            config.cache_size = 1
            config.dynamic_split_fuse = True
            config.enable_prefix_caching = prefix
            self.pipelines[prefix] = self.genai.ContinuousBatchingPipeline(
                self.path, config, "CPU", {"INFERENCE_NUM_THREADS": self.threads, "PERFORMANCE_HINT": "LATENCY"})
        return self.pipelines[prefix]

    def add(self, pipe, ids, tokens):
        config = self.genai.GenerationConfig()
        config.max_new_tokens = tokens
        config.ignore_eos = True
        config.do_sample = False
        self.next += 1
        return pipe.add_request(self.next, self.openvino.Tensor(self.numpy.array([ids], dtype=self.numpy.int64)), config)

    @staticmethod
    def tokens_of(handle):
        count = 0
        while handle.can_read():
            count += sum(len(output.generated_ids) for output in handle.read().values())
        return count

    def run(self, pipe, prompts, tokens):
        handles = [self.add(pipe, ids, tokens) for ids in prompts]
        while pipe.has_non_finished_requests():
            pipe.step()
        got = [self.tokens_of(handle) for handle in handles]
        if got != [tokens] * len(prompts):
            raise RuntimeError(f"OpenVINO made {got} tokens instead of {tokens} each")

    def prefill(self, warm, prompts):
        pipe = self.pipeline(False)
        self.run(pipe, [warm], 1)
        clock = Clock()
        with clock:
            self.run(pipe, prompts, 1)
        return clock

    def decode(self, prompts, steps, adapters=None):
        if adapters:
            raise RuntimeError("openvino-genai gives one set of adapters to a whole pipeline")
        pipe = self.pipeline(False)
        handles = [self.add(pipe, ids, steps + 32) for ids in prompts]
        seen = [0] * len(handles)
        while min(seen) <= WARM_STEPS:
            pipe.step()
            seen = [n + self.tokens_of(handle) for n, handle in zip(seen, handles)]
        clock = Clock()
        with clock:
            for _ in range(steps):
                pipe.step()
        got = [self.tokens_of(handle) for handle in handles]
        for handle in handles:
            (handle.stop if hasattr(handle, "stop") else handle.drop)()
        while pipe.has_non_finished_requests():
            pipe.step()
        if got != [steps] * len(prompts):
            raise RuntimeError(f"OpenVINO made {got} tokens in {steps} steps")
        return clock

    def finish(self, warm, prompts, tokens, shared):
        # All at once, or one before the others so that they find the shared start: the better one counts.
        pipe = self.pipeline(True)
        self.run(pipe, [warm], 1)
        clock = Clock()
        with clock:
            if shared > 0:
                first = self.add(pipe, prompts[0], tokens)
                pipe.step()
                handles = [first] + [self.add(pipe, ids, tokens) for ids in prompts[1:]]
                while pipe.has_non_finished_requests():
                    pipe.step()
                got = [self.tokens_of(handle) for handle in handles]
                if got != [tokens] * len(prompts):
                    raise RuntimeError(f"OpenVINO made {got} tokens instead of {tokens} each")
            else:
                self.run(pipe, prompts, tokens)
        return clock


# ---- vLLM on the processor ----

class Vllm:
    def __init__(self, path, threads, adapters):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process: its steps are ours to time
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = "2"
        os.environ["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:threads])
        os.environ["OMP_NUM_THREADS"] = str(threads)
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["VLLM_LOGGING_LEVEL"] = "WARNING"
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest
        self.SamplingParams, self.LoRARequest, self.next = SamplingParams, LoRARequest, 0
        more = dict(enable_lora=True, max_loras=adapters, max_cpu_loras=adapters, max_lora_rank=8) if adapters else {}
        self.engine = LLM(model=path, dtype="bfloat16", max_model_len=4096, max_num_seqs=64, max_num_batched_tokens=2048,
                          enable_prefix_caching=True, **more).llm_engine

    def add(self, ids, tokens, adapter=None):
        self.next += 1
        params = self.SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        lora = None
        if adapter:
            lora = self.LoRARequest(os.path.basename(adapter), int(os.path.basename(adapter).rsplit("-", 1)[1]) + 1, adapter)
        self.engine.add_request(str(self.next), {"prompt_token_ids": ids}, params, lora_request=lora)
        return str(self.next)

    def step(self, seen):
        for output in self.engine.step():
            seen[output.request_id] = len(output.outputs[0].token_ids)

    def run(self, prompts, tokens):
        seen = {}
        names = [self.add(ids, tokens) for ids in prompts]
        while self.engine.has_unfinished_requests():
            self.step(seen)
        if [seen.get(name) for name in names] != [tokens] * len(names):
            raise RuntimeError(f"vLLM made {seen} tokens instead of {tokens} each")

    def prefill(self, warm, prompts):
        self.run([warm], 1)
        clock = Clock()
        with clock:
            self.run(prompts, 1)
        return clock

    def decode(self, prompts, steps, adapters=None):
        names = [self.add(ids, steps + 32, adapters[i] if adapters else None) for i, ids in enumerate(prompts)]
        seen = dict.fromkeys(names, 0)
        while min(seen.values()) <= WARM_STEPS:
            self.step(seen)
        before = sum(seen.values())
        clock = Clock()
        with clock:
            for _ in range(steps):
                self.step(seen)
        got = sum(seen.values()) - before
        self.engine.abort_request(names)
        while self.engine.has_unfinished_requests():
            self.step({})
        if got != steps * len(prompts):
            raise RuntimeError(f"vLLM made {got} tokens in {steps} steps")
        return clock

    def finish(self, warm, prompts, tokens, shared):
        self.run([warm], 1)
        clock = Clock()
        with clock:
            seen = {}
            names = [self.add(prompts[0], tokens)]
            if shared > 0:
                self.step(seen)  # the others find its start
            names += [self.add(ids, tokens) for ids in prompts[1:]]
            while self.engine.has_unfinished_requests():
                self.step(seen)
            if [seen.get(name) for name in names] != [tokens] * len(names):
                raise RuntimeError(f"vLLM made {seen} tokens instead of {tokens} each")
        return clock


# ---- PEFT over torch: training ----

class Peft:
    def __init__(self, path, threads, adapters):
        import torch
        self.torch, self.path = torch, path
        torch.set_num_threads(threads)
        self.model = None

    def load(self, dtype, rank):
        import peft
        from transformers import AutoModelForCausalLM
        torch = self.torch
        base = AutoModelForCausalLM.from_pretrained(self.path, dtype={"bf16": torch.bfloat16, "f32": torch.float32}[dtype])
        self.model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear")).train()
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.adam = torch.optim.AdamW(self.trained, lr=1e-4)

    def update(self, prompts, targets):
        ids = self.torch.tensor(prompts)
        labels = ids.clone()
        labels[:, :-targets] = -100
        self.model(input_ids=ids, labels=labels).loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.adam.step()
        self.adam.zero_grad()

    def train(self, dtype, warm, prompts, targets, rank):
        if self.model is None:
            self.load(dtype, rank)
        self.update(warm, targets)
        clock = Clock()
        with clock:
            self.update(prompts, targets)
        return clock


PEERS = {"llama.cpp": LlamaCpp, "openvino": OpenVino, "vllm": Vllm, "peft": Peft}


def serve(args, say):
    try:
        peer = PEERS[args.peer](args.model, args.threads, args.adapters)
    except Exception as why:  # whatever the peer throws is its reason
        say({"missing": f"{type(why).__name__}: {why}"})
        return
    say({"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        action = question.pop("do")
        try:
            say(getattr(peer, action)(**question).result())
        except Exception as why:
            say({"error": f"{type(why).__name__}: {why}"})


def first(args, say):
    start = time.perf_counter()
    ids = [int(word) for word in args.ids.split(",")]
    if args.peer == "llama.cpp":
        import llama_cpp  # noqa: F401: so that the import is not in the second number
    elif args.peer == "openvino":
        import numpy  # noqa: F401
        import openvino_genai  # noqa: F401
    else:
        import vllm  # noqa: F401
    imported = time.perf_counter()
    peer = PEERS[args.peer](args.model, args.threads, 0)
    if args.peer == "llama.cpp":
        peer.open(1, 2048)
        peer.step(peer.rows_of(ids, 0), Clock())
    elif args.peer == "openvino":
        peer.run(peer.pipeline(False), [ids], 1)
    else:
        peer.run([ids], 1)
    say({"imports": imported - start, "first": time.perf_counter() - imported})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("serve", "first"):
        verb = verbs.add_parser(name)
        verb.add_argument("peer", choices=PEERS)
        verb.add_argument("--model", required=True)
        verb.add_argument("--threads", type=int, required=True)
        verb.add_argument("--adapters", type=int, default=0)
        if name == "first":
            verb.add_argument("--ids", required=True)
    verb = verbs.add_parser("requantise")
    verb.add_argument("--source", required=True)
    verb.add_argument("--out", required=True)
    verb.add_argument("--format", choices=LlamaCpp.FTYPES, required=True)
    args = parser.parse_args()
    if args.verb == "requantise":
        LlamaCpp.requantise(args.source, args.out, args.format)
        return
    # The libraries talk on standard output: answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    (serve if args.verb == "serve" else first)(args, say)
    answers.flush()
    os._exit(0)  # some of the peers hang or crash when they are taken apart


if __name__ == "__main__":
    main()
