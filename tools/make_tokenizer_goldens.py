#!/usr/bin/env python3
"""Makes tests/goldens/tokenizers: small synthetic tokenizers with the Rust library's own ids and texts.

Needs tokenizers. Seeded; run from the repository's root: python3 tools/make_tokenizer_goldens.py
For each kind: synthetic/<kind>.tokenizer.json and synthetic_<kind>.json, a list of
{s, ids, ids_nospecial, dec_skip, dec_full}.
"""
import hashlib
import json
import pathlib
import random
import shutil

import tokenizers
from tokenizers import Tokenizer

OUT = pathlib.Path("tests/goldens/tokenizers")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

HARD = ["", "a", " a", "a ", "  a  b", "Hello, world!", "I'm we'll YOU'RE it's DON'T 'tis x'\u017fa", "12345 6 78", "1 22 333 4444",
        "\u00bd \u00b2 \u0663\u0664 \u096a \u2167", "a\nb\n\n c\r\n\r\nd \n\n e", "\t\t x \t", "   ", "\n", "tail   ", "caf\u00e9 cafe\u0301 \u212b",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u65e5\u672c\u8a9e \u0627\u0644\u0639", "\U0001f600\U0001f468\u200d\U0001f469 x", "\u3000a\u00a0b\u2003c\u200bd\ufeff",
        "<s>hi</s> <s> </s>", "<s><s>x</s>", "a <x> b<x>c", "a <y>  b<y>", "word wordy xword word", "x<|im_end|>y <|im_end|> z", "<think>a</think>",
        "def f(x):\n    return x + 1\n", "a\u0000b", "\u0085\u2028\u2029", "!!!???...", "don't_stop-me now's", "\u2581a \u2581\u2581b", "<0x41> <0xZZ>",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "the then there other"]


def strings():
    rng = random.Random(11)
    pool = ("abcdefghijklmnopqrstuvwxyzTHE 's't0123456789.,!?-\n\r\t   \u00e9\u00df\u0301\u00bd\u00b2\u65e5\u3042\u0639\u094d\U0001f600\u3000\u00a0"
            "\u2581\u017f<s></s><x><y>")
    return HARD + ["".join(rng.choice(pool) for _ in range(rng.randint(1, 40))) for _ in range(140)]


def byte_chars():
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for b in range(256):
        table[b] = chr(b) if b in keep else chr(256 + extra)
        extra += b not in keep
    return table


MERGES = ["t h", "th e", "i n", "a n", "an d", "e r", "Ġ t", "Ġ th", "Ġth e", "Ġ a", "o n", "h e", "r e", "l l", "o r", "w or", "wor d", "Ġ Ġ", "' s", "a a"]


def byte_bpe(ignore=False):
    vocab = {c: i for i, c in enumerate(sorted(byte_chars().values()))}
    for merge in MERGES:
        vocab.setdefault(merge.replace(" ", ""), len(vocab))
    if ignore:
        vocab["Ġother"] = len(vocab)
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore,
            "vocab": vocab, "merges": [m.split(" ") for m in MERGES] if ignore else MERGES}


def char_bpe():
    vocab = {t: i for i, t in enumerate(["<unk>", *(f"<0x{b:02X}>" for b in range(256))])}
    for c in "\u2581abcdefghijklmnoprstuvwyTH.,'0123456789":
        vocab.setdefault(c, len(vocab))
    merges = ["t h", "th e", "\u2581 t", "\u2581 the", "i n", "\u2581 \u2581", "a a", "aa aa", "o r", "w or", "wor d"]
    for merge in merges:
        vocab.setdefault(merge.replace(" ", ""), len(vocab))
    merges = [m for m in merges if all(p in vocab for p in m.split(" "))]
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": vocab, "merges": merges}


def added(*tokens):
    return [{"id": 900 + i, "content": t, "single_word": flags.get("single_word", False), "lstrip": flags.get("lstrip", False),
             "rstrip": flags.get("rstrip", False), "normalized": flags.get("normalized", False), "special": flags.get("special", True)}
            for i, (t, flags) in enumerate(tokens)]


SENTENCE = added(("<s>", {}), ("</s>", {"normalized": True}), ("<x>", {"lstrip": True}), ("<y>", {"rstrip": True}),
                 ("word", {"single_word": True, "special": False}))
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def with_bytes(*steps, use_regex=False, prefix=False):
    return {"type": "Sequence", "pretokenizers": [*steps, {"type": "ByteLevel", "add_prefix_space": prefix,
                                                             "trim_offsets": True, "use_regex": use_regex}]}


def metaspace(scheme, splits):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": splits}


def template(bos, eos=None):
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    table = {"<s>": {"id": "<s>", "ids": [bos], "tokens": ["<s>"]}}
    if eos is not None:
        single.append({"SpecialToken": {"id": "</s>", "type_id": 0}})
        table["</s>"] = {"id": "</s>", "ids": [eos], "tokens": ["</s>"]}
    return {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": table}


LLAMA_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
GEMMA_DECODER = {"type": "Sequence", "decoders": LLAMA_DECODER["decoders"][:3]}


def kinds():
    special = added(("<|im_end|>", {}), ("<think>", {"special": False}))
    n = len(char_bpe()["vocab"])
    yield "gpt2", None, with_bytes(use_regex=True)["pretokenizers"][0], byte_bpe(), BYTE_LEVEL, BYTE_LEVEL, special
    yield "gpt2_prefix", None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, byte_bpe(), None, BYTE_LEVEL, []
    yield "smollm_digits", None, with_bytes({"type": "Digits", "individual_digits": True}, use_regex=True), byte_bpe(), None, BYTE_LEVEL, special
    yield "digits_together", None, with_bytes({"type": "Digits", "individual_digits": False}), byte_bpe(), None, BYTE_LEVEL, special
    yield "llama3_ignore_merges", None, with_bytes(split({"Regex": LLAMA3})), byte_bpe(True), None, BYTE_LEVEL, special
    yield "qwen_nfc", {"type": "NFC"}, with_bytes(split({"Regex": QWEN})), byte_bpe(), None, BYTE_LEVEL, special
    yield "split_unknown_regex", None, with_bytes(split({"Regex": r"[aeiou]+|\s+"})), byte_bpe(), None, BYTE_LEVEL, special
    for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"split_{behavior.lower()}", None, with_bytes(split({"String": "e"}, behavior, behavior == "Contiguous")), byte_bpe(), None, BYTE_LEVEL, special
    yield "gemma", {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, split({"String": " "}, "MergedWithPrevious"), char_bpe(), template(n), GEMMA_DECODER, SENTENCE
    yield "llama_legacy", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}, None, char_bpe(), template(n, n + 1), LLAMA_DECODER, SENTENCE
    for scheme in ("always", "first", "never"):
        for splits in (True, False):
            name = f"metaspace_{scheme}_{'split' if splits else 'nosplit'}"
            yield name, None, metaspace(scheme, splits), char_bpe(), template(n), metaspace(scheme, splits), SENTENCE
    yield "normalizers", {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}]}, with_bytes(use_regex=True), byte_bpe(), None, BYTE_LEVEL, special
    yield "strip_accents", {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}, with_bytes(use_regex=True), byte_bpe(), None, BYTE_LEVEL, special


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "synthetic").mkdir(parents=True)
    texts = strings()
    for name, normalizer, pre, model, post, decoder, tokens in kinds():
        file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer,
                "pre_tokenizer": pre, "post_processor": post, "decoder": decoder, "model": model}
        text = json.dumps(file, ensure_ascii=False, separators=(",", ":"))
        t = Tokenizer.from_str(text)
        cases = []
        for s in texts:
            ids = t.encode(s).ids
            cases.append({"s": s, "ids": ids, "ids_nospecial": t.encode(s, add_special_tokens=False).ids,
                          "dec_skip": t.decode(ids), "dec_full": t.decode(ids, skip_special_tokens=False)})
        (OUT / "synthetic" / f"{name}.tokenizer.json").write_text(text + "\n")
        (OUT / f"synthetic_{name}.json").write_text(
            "[\n" + ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in cases) + "\n]\n")
    hashes = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()[:16]}  {p.relative_to(OUT)}\n"
                     for p in sorted(OUT.rglob("*.json")))
    (OUT / "MADE_BY").write_text(f"tools/make_tokenizer_goldens.py; tokenizers {tokenizers.__version__}, seed 11\n{hashes}")


if __name__ == "__main__":
    main()
