#!/usr/bin/env python3
"""Makes tests/goldens/patterns: what the tokenizers library makes of patterns and code points.

Needs tokenizers 0.23.3. Run from the repository's root: python3 tools/make_pattern_goldens.py
patterns.json: a list of {pattern, behavior, invert, texts, pieces}, pieces null where the library
    refuses the pattern; random patterns from a grammar, and patterns that people use.
unicode.json: {"sets": {step: flat ranges}, "lower": [c, lower, …], "properties": {name: flat ranges}}.
    tools/make_pattern_goldens.py FILE COUNT SEED    only patterns, to FILE: for a longer comparison
"""
import json
import pathlib
import random
import sys

import tokenizers
from made_by import write_made_by
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from tokenizers import pre_tokenizers as pre

OUT = pathlib.Path("tests/goldens/patterns")
BEHAVIORS = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]
NAMES = {"isolated": "Isolated", "removed": "Removed", "merged_with_previous": "MergedWithPrevious",
         "merged_with_next": "MergedWithNext", "contiguous": "Contiguous"}
KNOWN = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+", r"(?=(\d{3})+(?!\d))", r"\d{3}+", r"[\p{Han}&&[^\p{Hiragana}]]+", r"[一-龥぀-ゟ゠-ヿ]+",
    r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕ]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"^\s*", r"\b", r"(?=\b)", "", r"\G\w", r"\w\K\d", r"(?<=\d)(?=\D)",
    r"(\p{L})\1", r"(?<a>\d)\k<a>", r"(?<q>\((?:[^()]|\g<q>)*\))", r"\p{Script=Greek}", r"\p{Greek}+", r"\p{^L}+", r"\P{^L}+",
    r"[[:punct:]]+", r"[[:^alpha:]]+", r"[[:word:]]+", r"[[:alnum:]]", r"(?i)strasse", r"(?i)straße", r"(?i)k", r"(?i)[k-s]+",
    r"(?i:ſ)", r"(?i)\p{Lu}+", r"(?i)[\p{Lu}]+", r"(?i)[^\p{Lu}]+", r"(?i)ᲊ+", r"(?i)[Ᲊ]+", r"(?m).+", r"(?m:.)+", r"(?x) a b # c",
    r"(?mix)A . b", r"\h+", r"\H+", r"\R", r"\X", r"\N+", r"\O+", r"\u00e9|\x{1F600}|\x41", r"\x{41 42}", r"a{,2}", r"a{2,}?", r"a{2}?",
    r"a{2}+", r"a{1,2}+", r"a++b", r"a*+", r"a?+", r"(?>a+)b", r"(?~ab)", r"(?a)\w+", r"(?W)\w+", r"(?D)\d+", r"(?S)\s+", r"(?P)\w+",
    r"(?y{g})\X", r"\y", r"(?(?=a)ab|.)", r"(*FAIL)|a", r"[a-\d]", r"[\d-a]", r"[a&&]", r"[^a-z&&b-y]+", r"[a-z&&[^aeiou]]+",
    r"[]a]", r"[^]a]", r"[a-c-e]+", r"[\b]", r"\cA", r"\C-a", r"\M-a", r"\101", r"[\w&&[^\d_]]+", r"[\s&&[^\n]]+", r"$", r"^", r"\A.", r".\Z", r".\z",
    r"(?<=a|bc)d", r"(?<!a+)b", r"(?<=^| )\w", r"a**", r"a+?+", r"(?:)*", r"(|a)+", r"(a|)*b", r"\p{Cn}+", r"\p{Age=16.0}+", r"\p{Garay}+",
    r"\p{InBasicLatin}+", r"\p{In_Latin_1_Supplement}+", r"\p{Emoji}+", r"\p{Extended_Pictographic}", r"\p{Letter}+", r"\p{lowercase letter}+",
    r"\p{gc=L}", r"\p{Any}", r"\p{ASCII}+", r"\p{Assigned}+", r"\p{L&}", r"\p{L_}", r"\p{Nothing}", "(", ")", "[", "]", "{", "a{3,2}", "a{100001}",
    "\\", "*", "+a", "?", "(?", "(?<", "(?<n>", r"\k<x>", r"\2", r"(?<=a*b)c", r"[z-a]", r"\p{", r"\x{110000}", r"\u12", "(?i", "(?z)a",
]
LETTERS = ("abcxyzABKS019  \n\r\t_-.,'()[]{}|&!?éßſKµΣσςÅÅİıǅ日本語ひカ𮯰Ᲊᲊ𐵐𐵰𐵀٣²½Ⅷ\u0301\u094d\u200d\u200c\u00a0\u3000\u2028\u0085、。「ー😀👩‍👩🇩🇪Ꟛꟛ가ᄀ")
ATOMS = ["a", "b", "x", "1", "s", "k", "K", "ß", "ss", "ſ", "é", "日", " ", "\\n", "'", ".", "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\h", "\\H",
         "\\R", "\\X", "\\N", "\\O", "\\p{L}", "\\p{Lu}", "\\p{Ll}", "\\p{N}", "\\p{Nd}", "\\p{M}", "\\p{P}", "\\p{S}", "\\p{Z}", "\\p{C}", "\\p{^L}", "\\P{N}",
         "\\p{Han}", "\\p{Hiragana}", "\\p{Katakana}", "\\p{Latin}", "\\p{Greek}", "\\p{Cyrillic}", "\\p{Common}", "\\p{Uppercase_Letter}", "\\p{Alphabetic}",
         "\\p{Word}", "\\p{Punct}", "\\p{PosixPunct}", "\\p{Space}", "\\p{Alnum}", "\\p{White_Space}", "\\p{Script=Han}", "\\u0041", "\\u00e9", "\\x{1C89}", "\\x41",
         "\\t", "\\r", "\\.", "\\-", "σ", "Å", "ǅ", "İ", "𐵐", "Ᲊ"]
ANCHORS = ["^", "$", "\\A", "\\z", "\\Z", "\\b", "\\B", "\\G", "\\K"]
MEMBERS = ["a", "b", "a-c", "x-z", "0-9", "A-Z", "\\d", "\\w", "\\s", "\\h", "\\p{L}", "\\p{Lu}", "\\P{L}", "\\p{^N}", "[:alpha:]", "[:^digit:]", "[:punct:]",
           "[:space:]", "[:word:]", "[:upper:]", "[:xdigit:]", "é", "ß", "ſ", "k", "日", "一-龥", "\\n", "\\r", " ", "'", "\\-", "\\]", "-", "\\x{1C89}", "\\u00e9",
           "À-ÿ", "\\p{Han}", "\\p{M}", "_", ".", "\\W", "\\S", "\\D", "\\H"]


def char_class(rng, depth):
    parts = []
    for _ in range(rng.randint(1, 3)):
        if depth < 2 and rng.random() < 0.15:
            parts.append(char_class(rng, depth + 1))
        else:
            parts.append(rng.choice(MEMBERS))
        if rng.random() < 0.12:
            parts.append("&&")
    return "[" + ("^" if rng.random() < 0.25 else "") + "".join(parts) + "]"


def atom(rng, depth):
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(ATOMS)
    if roll < 0.72:
        return char_class(rng, 0)
    if roll < 0.8:
        return rng.choice(ANCHORS)
    if depth > 2:
        return rng.choice(ATOMS)
    inner = branches(rng, depth + 1)
    return rng.choice(["(?:%s)", "(%s)", "(?>%s)", "(?=%s)", "(?!%s)", "(?<=%s)", "(?<!%s)", "(?i:%s)", "(?m:%s)", "(?x:%s)", "(?-i:%s)", "(?i)%s", "(?a:%s)"]) % inner


def branches(rng, depth):
    out = []
    for _ in range(rng.randint(1, 2 if depth else 3)):
        item = ""
        for _ in range(rng.randint(1, 3)):
            item += atom(rng, depth)
            if rng.random() < 0.4:
                item += rng.choice(["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{2,}", "{1,2}?", "{2}+", "{2}?", "{1,2}+"])
        out.append(item)
    return "|".join(out)


def text(rng):
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 24)))


def row(rng, pattern, count):
    behavior, invert = rng.choice(BEHAVIORS), rng.random() < 0.3
    out = {"pattern": pattern, "behavior": NAMES[behavior], "invert": invert, "texts": [text(rng) for _ in range(count)], "pieces": None}
    try:
        step = pre.Split(Regex(pattern), behavior, invert)
    except Exception:  # the library's own words differ between versions
        return out
    try:
        out["pieces"] = [[piece for piece, _ in step.pre_tokenize_str(t)] for t in out["texts"]]
    except BaseException:  # a Rust panic: \K in a lookaround, or its limit on steps
        return None
    return out


def rows(count, seed):
    rng = random.Random(seed)
    out = [row(rng, p, 6) for p in KNOWN]
    out += [row(rng, branches(rng, 0), 4) for _ in range(count)]
    return [r for r in out if r]


def flat(codes):
    out = []
    for c in sorted(codes):
        if out and c == out[-1] + 1:
            out[-1] = c
        else:
            out += [c, c]
    return out


def unicode_tables():
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]

    def apart(step):
        return flat(c for c in points if len(step.pre_tokenize_str("q" + chr(c) + "q")) > 1)

    def gone(step):
        return flat(c for c in points if step.normalize_str(chr(c)) == "")

    single = Tokenizer(models.BPE(vocab={"<q>": 0}, merges=[]))
    single.add_tokens([AddedToken("<x>", single_word=True, normalized=False)])
    sets = {"numeric": apart(pre.Digits(individual_digits=True)), "punctuation": apart(pre.Punctuation()),
            "space": apart(pre.WhitespaceSplit()), "mark": gone(normalizers.StripAccents()),
            "word": flat(c for c in points if single.encode(chr(c) + "<x>").ids == [])}
    lower = []
    for c in points:
        got = normalizers.Lowercase().normalize_str(chr(c))
        if got != chr(c):
            lower.append([c, got])
    everything = "".join(map(chr, points))
    properties = {}
    for name in ("l", "lu", "n", "m", "p", "posixpunct", "alphabetic", "han", "garay", "cn"):
        step = pre.Split(Regex("\\p{%s}+" % name), "removed", True)
        codes = set()
        for _, (begin, end) in step.pre_tokenize_str(everything):
            codes.update(points[begin:end])
        properties[name] = flat(codes)
    return {"sets": sets, "lower": lower, "properties": properties}


def main():
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(json.dumps(rows(int(sys.argv[2]), int(sys.argv[3]))))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    one_a_line = ",\n".join(json.dumps(r, ensure_ascii=True) for r in rows(500, 7))
    (OUT / "patterns.json").write_text("[\n" + one_a_line + "\n]\n")
    (OUT / "unicode.json").write_text(json.dumps(unicode_tables()) + "\n")
    write_made_by(OUT, "make_pattern_goldens.py", [tokenizers], "7")


if __name__ == "__main__":
    main()
