#!/usr/bin/env python3
"""Makes tests/goldens/starter: what Hugging Face Transformers says on the starter model, in f32.

Needs torch, transformers, gguf, llama-cpp-python; the starter model's .gguf is the argument:
    python3 tools/make_starter_goldens.py MODEL.gguf
greedy.json    50 prompts through the chat template and six texts of 300 to 7,900 tokens: prompt ids, the
               greedy continuation, and at each step the gap between the two best logits. A step whose gap
               is below NEAR is a near tie: sums in another order may fall on its other side, so a
               comparison ends there. They are counted in MADE_BY.
tokenizer.json ids of strings, by llama.cpp (Transformers' own conversion of this file drops the
               splitting of digits).
"""
import hashlib
import json
import pathlib
import random
import sys

import llama_cpp
import torch
import transformers

OUT = pathlib.Path("tests/goldens/starter")
NEAR = 1e-3
NEW, NEW_LONG = 32, 16
LENGTHS = [300, 600, 1200, 2500, 5000, 7900]
PROMPTS = """What is the capital of France?
Write one sentence about the sea.
Name three colours.
Explain why the sky is blue.
What is 12 + 30?
Translate "good morning" into French.
Who wrote Hamlet?
List the days of the week.
What do bees make?
Give me a short recipe for pancakes.
Is the statement true: water boils at 100 degrees Celsius at sea level?
Write a haiku about autumn.
What is the opposite of hot?
How many legs does a spider have?
Summarise: The cat sat on the mat and looked at the rain all day long.
Write a Python function that adds two numbers.
What is the largest planet?
Turn this into a question: You like music.
Name a fruit that is yellow.
What is a verb?
Tell me a joke.
What year did the Second World War end?
Describe a tree to somebody who has never seen one.
Which is heavier, a kilogram of feathers or a kilogram of iron?
Give a synonym for happy.
What is photosynthesis?
Write an e-mail asking for a day off.
How do you say thank you in Spanish?
What is the square root of 81?
Complete: Once upon a time there was a
What does a compiler do?
Sort these words: pear, apple, fig.
Name the four seasons.
Why do we sleep?
What is the plural of mouse?
Classify as positive or negative: I loved every minute of it.
Give an example of a metaphor.
What is the boiling point of water in Fahrenheit?
Who painted the Mona Lisa?
Write a short poem about ants.
What is the chemical symbol for gold?
How many minutes are in two hours?
Explain recursion in one sentence.
What is the main ingredient of bread?
Name an animal that can fly.
What comes after Tuesday?
Extract the name: My name is Maria and I live in Porto.
What is the past tense of go?
Give three tips for learning a language.
What is a swarm?""".splitlines()
STRINGS = ["", " ", "  ", "Hello 12345  world\n\n don't", "½ ² 10½", "a\tb\r\nc", "1234567890 0.5e-3", "don't I'LL we've", "Ärger über naïve café",
           "日本語のテスト", "😀👩‍👩‍👧 ok", "<|im_start|>user\nHi<|im_end|>\n", "   leading", "trailing   ", "\n\n\n", "x=1;y=2;//c", "https://example.org/a?b=c&d=%20",
           "ALLCAPS and CamelCase", "e\u0301 vs \u00e9", "\u200b\ufeff\u00a0", "१२३ ٣٤٥", "A" * 200, "the the the the", "(\"quoted\")", "semi-final; co-operate"]


def words(rng, count):
    subjects = "the gardener,a small robot,my neighbour,the old captain,every student,a tired engineer,the city council".split(",")
    verbs = "repairs,counts,paints,forgets,carries,describes,measures".split(",")
    objects = "three bridges,a box of letters,the northern gate,seven lamps,an unfinished map,the winter harvest,a machine of brass".split(",")
    places = "near the river,after the meeting,in the year %d,before breakfast,with great care,without a word,on page %d".split(",")
    out = []
    while len(out) < count:
        place = rng.choice(places)
        out.append(f"{rng.choice(subjects)} {rng.choice(verbs)} {rng.choice(objects)} {place % rng.randint(2, 1999) if '%d' in place else place}.".capitalize())
    return " ".join(out)


@torch.no_grad()
def greedy(model, ids, new):
    """(tokens, gaps): argmax, first index among equals."""
    past, feed, tokens, gaps = None, torch.tensor([ids]), [], []
    for _ in range(new):
        out = model(feed, past_key_values=past, use_cache=True, logits_to_keep=1)
        past = out.past_key_values
        logits = out.logits[0, -1]
        best = torch.topk(logits, 2).values
        tokens.append(int(logits.argmax()))
        gaps.append(round(float(best[0] - best[1]), 6))
        if tokens[-1] == 2:
            break
        feed = torch.tensor([[tokens[-1]]])
    return tokens, gaps


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    torch.set_num_threads(2)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa").eval()
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    encode = lambda text: llama.tokenize(text.encode(), add_bos=False, special=True)  # noqa: E731
    cases = []
    for prompt in PROMPTS:
        text = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n")
        cases.append((encode(text), NEW))
    rng = random.Random(20)
    for length in LENGTHS:
        ids = encode(words(rng, length))[:length]
        assert len(ids) == length
        cases.append((ids, NEW_LONG))
    out, ties = [], 0
    for ids, new in cases:
        tokens, gaps = greedy(model, ids, new)
        ties += any(g < NEAR for g in gaps)
        out.append({"prompt_ids": ids, "greedy": tokens, "gaps": gaps})
        print(len(ids), len(tokens), min(gaps), flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    (OUT / "greedy.json").write_text(json.dumps({"model_sha256": sha, "near": NEAR, "cases": out}, separators=(",", ":")) + "\n")
    (OUT / "tokenizer.json").write_text(json.dumps([{"text": s, "ids": encode(s)} for s in STRINGS + PROMPTS], separators=(",", ":")) + "\n")
    (OUT / "MADE_BY").write_text(
        f"tools/make_starter_goldens.py; torch {torch.__version__}, transformers {transformers.__version__}, llama-cpp-python {llama_cpp.__version__}\n"
        f"model SHA-256 {sha}; f32, sdpa attention; {len(out)} cases, {ties} of them with a near tie (gap of the two best logits below {NEAR})\n")


if __name__ == "__main__":
    main()
