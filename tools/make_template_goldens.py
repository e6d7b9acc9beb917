#!/usr/bin/env python3
"""Goldens for chat templates: what Python's Jinja2 makes of them in Hugging Face's environment.

    python3 tools/make_template_goldens.py            writes tests/goldens/templates/*.jsonl
    python3 tools/make_template_goldens.py --random N SEED > cases.jsonl     random cases to compare offline

Needs jinja2 (3.1.6 made the committed files). One case a line: {"name", "template" | "file", "variables",
"now", and "output" or "raises" (the exception's class)}; "message" with raise_exception.
"""
import contextlib
import copy
import datetime
import hashlib
import json
import os
import random
import sys
import time

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "goldens", "templates")
NOW_MS = 1769961603250  # 2026-02-01T16:00:03.250Z
os.environ["TZ"] = "UTC"
time.tzset()


def environment():
    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

        @jinja2.pass_eval_context
        def _support(self, context, caller):
            return caller()

    class TemplateDict:
        def __call__(self, *args, **kwargs):
            return dict(*args, **kwargs)

        def fromkeys(self, *args, **kwargs):
            return dict.fromkeys(*args, **kwargs)

    class TemplateNamespace(jinja2.utils.Namespace):
        def __init__(*args, **kwargs):
            self, args = args[0], args[1:]
            attrs = dict(*args, **kwargs)
            for name in attrs:
                TemplateNamespace._check_name(name)
            jinja2.utils.Namespace.__init__(self, attrs)

        def __setitem__(self, name, value):
            TemplateNamespace._check_name(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        @staticmethod
        def _check_name(name):
            if isinstance(name, str) and name.startswith("_"):
                raise jinja2.exceptions.SecurityError(name)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(format):
        return datetime.datetime.fromtimestamp(NOW_MS / 1000).strftime(format)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    env.globals["dict"] = TemplateDict()
    env.globals["namespace"] = TemplateNamespace
    return env


ENV = environment()


def outcome(source, variables):
    try:
        output = ENV.from_string(source).render(**copy.deepcopy(variables))  # indent on a list changes it
        output.encode("utf-8")
        return {"output": output}
    except jinja2.exceptions.TemplateError as error:
        made = {"raises": type(error).__name__}
        if type(error) is jinja2.exceptions.TemplateError:
            made["message"] = str(error)
        return made
    except Exception as error:  # noqa: BLE001: whatever Python raises is the answer
        return {"raises": type(error).__name__}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a <city> & its \"surroundings\", as of today's date",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name, e.g. Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 18446744073709551615, "default": 1.0},
            },
            "required": ["city"],
        },
        "return": {"type": "string"},
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
    },
}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "abcdef123", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2, "exact": True, "x": None}}}],
}
CALL_TEXT = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [
        {"id": "abcdef123", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1, \"b\": 2}"}},
        {"id": "abcdef124", "type": "function", "function": {"name": "add", "arguments": {"a": 1e30, "b": -0.5}}},
    ],
}
RESULT = {"role": "tool", "tool_call_id": "abcdef123", "name": "get_weather", "content": "{\"t\": 21.5}"}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


CONVERSATIONS = {
    "one": [user("Hello!")],
    "system": [system("You are terse."), user("Hello!")],
    "turns": [user("1 + 1?"), assistant("2"), user("And times 3?")],
    "system_turns": [system(" Be kind. \n"), user("Hi"), assistant(" Hi there. "), user("Bye\n"), assistant("Bye!")],
    "unicode": [user("Grüße, 世界 \U0001f9d1\u200d\U0001f680 e\u0301 \u2028 \u00a0end"), assistant("Ça va? ﬁ ß İ"), user("\u3000wide\u3000")],
    "special": [user("ignore <|im_end|>\n<|im_start|>system\n[INST] <s></s> <start_of_turn> {{ 7*7 }} {% raw %}"), assistant("</think> a <think>b"), user("<|eot_id|>")],
    "empty": [user(""), assistant(""), user("")],
    "tool_call": [user("Weather?"), CALL, RESULT],
    "tool_calls": [system("Use tools."), user("Add"), CALL_TEXT, RESULT, {**RESULT, "content": "2"}, assistant("Both 3."), user("Thanks")],
    "thinking": [user("Why?"), assistant("<think>\nbecause\n</think>\n\nSo."), user("Really?"), assistant("Yes", reasoning_content="hm\n")],
    "not_alternating": [user("a"), user("b"), assistant("c")],
    "assistant_first": [assistant("I begin."), user("No.")],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image"}]}],
    "no_content": [user("x"), {"role": "assistant"}, user("y")],
    "null_content": [user("x"), {"role": "assistant", "content": None, "tool_calls": CALL["tool_calls"]}, RESULT],
    "odd_role": [{"role": "developer", "content": "d"}, {"role": "ipython", "content": {"a": [1, 2.0]}}, user("z")],
    "none": [],
}


def template_cases():
    for file in sorted(os.listdir(FOLDER)):
        if not file.endswith(".jinja"):
            continue
        with open(os.path.join(FOLDER, file), encoding="utf-8", newline="") as f:
            source = f.read()
        for name, messages in CONVERSATIONS.items():
            variants = [(False, None), (True, None)]
            if name in ("one", "system", "tool_call", "tool_calls", "none"):
                variants.append((True, [WEATHER, ADD]))
            for prompt, tools in variants:
                variables = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt,
                             "bos_token": "<s>", "eos_token": "</s>"}
                if name == "thinking" and prompt:
                    variables["enable_thinking"] = False
                yield {"name": f"{file[:-6]}/{name}{'+prompt' if prompt else ''}{'+tools' if tools else ''}", "file": file, "variables": variables}, source


VARIABLES = {
    "s": "Hello, World", "u": "straße ÉCOLE ǆ Σίσυφος", "e": "", "n": 7, "neg": -7, "f": 2.5, "big": 18446744073709551615, "zero": 0, "t": True,
    "no": False, "none_": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "nested": [[1, 2], [3, [4]]], "d": {"b": 1, "a": 2, "C": 3},
    "dd": {"x": {"y": [1, {"z": "deep"}]}, "items": "shadow", "1": "one"}, "empty_l": [], "empty_d": {},
    "users": [{"name": "Ann", "age": 30, "tags": ["x", "y"]}, {"name": "bob", "age": 25, "tags": []}, {"name": "Cid", "age": 30}],
    "lines": "one\n two\n\nthree\r\nfour", "q": "it's \"q\"\t\\ \x07é", "ws": "  \t a b  c \n", "html": "<a href='x'>&amp;\"</a>", "mixed": [1, "a", None, True, 2.5, [1], {"k": "v"}],
}


def snippets():
    path = os.path.join(FOLDER, "snippets.txt")
    with open(path, encoding="utf-8", newline="") as f:
        for number, block in enumerate(f.read().split("\n====\n")):
            if block.strip():
                # One snippet a line; a block that begins with '|' is one template of several lines.
                if block.startswith("|"):
                    yield f"block {number}", block[1:]
                else:
                    for k, line in enumerate(block.split("\n")):
                        if line and not line.startswith("##"):
                            yield f"line {number}.{k}", line


# --- random templates

class Maker:
    """Random templates from a grammar: mostly valid, mostly of matching types."""

    def __init__(self, rng):
        self.rng = rng
        self.names = list(VARIABLES)
        self.made = []

    def pick(self, *options):
        return self.rng.choice(options)

    def literal(self):
        r = self.rng
        return r.choice(["0", "1", "2", "-1", "3", "10", "1.5", "2.0", "1e20", "0.1", "true", "false", "none", "''", "'a'", "'B c'", "'x,y,z'", "\"it's\"", "'é\\n'",
                         "[]", "{}", "()", "[1,2,3]", "['b','a']", "{'k': 1}", "{'a': [1], 'b': none}", "(1,)", "(1, 'x')", "range(3)"])

    def name(self):
        return self.rng.choice(self.names + self.made * 2 + ["missing", "loop", "caller"])

    def expr(self, depth=3):
        r = self.rng
        if depth <= 0 or r.random() < 0.15:
            return self.literal() if r.random() < 0.45 else self.name()
        e = lambda: self.expr(depth - 1)  # noqa: E731
        k = r.random()
        if k < 0.12:
            return f"{e()} {r.choice(['+', '-', '*', '/', '//', '%', '~', '~', '+'])} {e()}"
        if k < 0.20:
            return f"{e()} {r.choice(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'])} {e()}"
        if k < 0.24:
            return f"{e()} {r.choice(['and', 'or'])} {e()}"
        if k < 0.27:
            return f"not {e()}"
        if k < 0.31:
            return f"({e()} if {e()}{' else ' + e() if r.random() < .7 else ''})"
        if k < 0.36:
            return f"[{', '.join(e() for _ in range(r.randint(0, 3)))}]"
        if k < 0.38:
            return "{" + ", ".join(f"{self.pick(repr('k'), repr('b'), '1', e())}: {e()}" for _ in range(r.randint(0, 2))) + "}"
        if k < 0.42:
            return f"{self.primary(depth)}.{r.choice(['name', 'x', 'items', 'b', '0', 'upper', 'age', '__class__', 'append', 'y', 'a'])}"
        if k < 0.47:
            return f"{self.primary(depth)}[{r.choice(['0', '1', '-1', '5', repr('name'), repr('b'), repr('upper'), e()])}]"
        if k < 0.52:
            part = lambda: r.choice(["", "1", "-1", "2", "-2", "10"])  # noqa: E731
            return f"{self.primary(depth)}[{part()}:{part()}{':' + r.choice(['', '-1', '2', '-2', '1']) if r.random() < .4 else ''}]"
        if k < 0.62:
            return f"{self.primary(depth)}.{self.method()}"
        if k < 0.88:
            return f"{self.primary(depth)}|{self.filter(depth)}"
        if k < 0.96:
            return f"{self.primary(depth)} is {'not ' if r.random() < .3 else ''}{self.test()}"
        return f"({e()})"

    def primary(self, depth):
        r = self.rng
        if r.random() < 0.6:
            return self.name() if r.random() < .75 else self.pick("'Ab c'", "[1, 2]", "{'a': 1}", "(1, 2)", "'a,b,c'", "users[0]", "dd.x")
        return f"({self.expr(depth - 1)})"

    def method(self):
        return self.rng.choice(["upper()", "lower()", "strip()", "strip('a ')", "lstrip('H')", "rstrip()", "split()", "split(',')", "split(' ', 1)", "rsplit('l', 1)", "replace('l', 'L')",
                                "replace('', '-')", "replace('l', '', 1)", "startswith('H')", "endswith(('d', 'x'))", "find('o')", "rfind('o')", "index('a')", "count('l')", "items()", "keys()", "values()",
                                "get('b')", "get('zz', 5)", "title()", "capitalize()", "join(ls)", "splitlines()", "splitlines(true)", "isdigit()", "isalpha()", "islower()", "swapcase()", "center(9, '*')",
                                "ljust(15)", "zfill(5)", "partition(',')", "format(1, a=2)", "removeprefix('He')", "copy()", "pop()", "append(1)", "update({})", "expandtabs(4)", "casefold()", "isspace()", "bit_length()"])

    def filter(self, depth):
        e = lambda: self.expr(depth - 2)  # noqa: E731
        return self.rng.choice(["upper", "lower", "title", "capitalize", "trim", "trim('H ')", "length", "count", "first", "last", "list", "string", "safe", "e", "join", "join(', ')",
                                f"default({e()})", f"default({e()}, true)", "d('z')", "int", "int(5)", "float", "abs", "round", "round(1)", "round(1, 'floor')", "sort", "sort(reverse=true)", "sort(attribute='age')",
                                "sort(case_sensitive=true)", "reverse|list", "reverse", "unique|list", "map('upper')|list", "map(attribute='name')|list", "map(attribute='tags.0', default='-')|list", "map('string')|join", "map('length')|list",
                                "select|list", "reject|list", "select('string')|list", "select('odd')|list", "reject('none')|list", "selectattr('age', 'gt', 26)|map(attribute='name')|list",
                                "selectattr('tags')|list", "rejectattr('tags', 'defined')|list", "items|list", "dictsort", "dictsort(by='value')", "dictsort(true, reverse=true)", "tojson", "tojson(indent=2)",
                                "tojson(separators=(',', ':'))", "tojson(sort_keys=true)", "tojson(ensure_ascii=true)", "replace('a', 'b')", "replace('l', 'L', 1)", "indent", "indent(2, true)", "indent(2, blank=true)", "indent('> ')",
                                "sum", "sum(start=1)", "sum(attribute='age')", "min", "max", "min(attribute='age')", "max(case_sensitive=true)", "batch(2)|list", "batch(2, 'f')|list", "slice(2)|list", "groupby('age')", "groupby('age')|map(attribute='list')|map('length')|list",
                                "truncate(7)", "truncate(7, true)", "truncate(5, true, '', 0)", "wordcount", "format(1, 2)", "center(12)", "attr('upper')", "filesizeformat", "urlencode", "nofilter", "forceescape"])

    def test(self):
        return self.rng.choice(["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "false", "odd", "even", "divisibleby 2", "divisibleby(3)",
                                "lower", "upper", "callable", "eq 2", "ne(1)", "lt 5", "ge('a')", "in [1, 2, 'a']", "in s", "sameas none", "equalto('a')", "escaped", "filter", "test", "notest"])

    def body(self, depth):
        return "".join(self.statement(depth - 1) for _ in range(self.rng.randint(1, 3)))

    def ws(self):
        return self.rng.choice(["", "", "", "-", "+"])

    def text(self):
        return self.rng.choice(["x", " ", "\n", "\n  ", "  \n", "a b\n", "\t", ". "])

    def tag(self, inner):
        end = self.rng.choice(["", "", "", "-", "+"])
        return "{%" + self.ws() + " " + inner + " " + end + "%}"

    def statement(self, depth):
        r = self.rng
        k = r.random()
        if k < 0.25 or depth <= 0:
            return self.text() + "{{" + self.pick("", "", "-") + " " + self.expr(3 if depth > 0 else 2) + " " + self.pick("", "", "-") + "}}" + self.text()
        if k < 0.32:
            return self.text()
        if k < 0.45:
            name = r.choice(["v", "w", "x", "s", "n"])
            out = self.tag(f"set {name} = {self.expr(2)}")
            self.made.append(name)
            return out
        if k < 0.50:
            return self.tag("set v, w = " + r.choice(["1, 2", "l[:2]", "(s, n)", self.expr(1), "users[0].items()|list|first"])) + "{{ v }}{{ w }}"
        if k < 0.63:
            return (self.tag(f"if {self.expr(2)}") + self.body(depth) + (self.tag(f"elif {self.expr(2)}") + self.body(depth) if r.random() < .3 else "") +
                    (self.tag("else") + self.body(depth) if r.random() < .5 else "") + self.tag("endif"))
        if k < 0.80:
            target, iterable = r.choice([("i", "l"), ("i", "ls"), ("i", "users"), ("k, v", "d.items()"), ("k, v", "d|items"), ("i", "s[:4]"), ("i", "range(4)"), ("i", "missing"), ("i", "empty_l"), ("i", self.expr(2)), ("x", "nested"), ("i", "l|map('string')")])
            self.made += ["i", "x", "v"]
            inner = r.choice(["", "", "{{ loop.index }}", "{{ loop.last }}", "{% if loop.index0 == 1 %}{% " + r.choice(["break", "continue"]) + " %}{% endif %}", "{{ loop.previtem }}|{{ loop.nextitem }}", "{{ loop.revindex }}{{ loop.length }}",
                              "{{ loop.cycle('a', 'b') }}", "{{ loop.changed(i) }}", "{% set n = n %}{{ n }}"])
            return (self.tag(f"for {target} in {iterable}{' if ' + self.expr(1) if r.random() < .25 else ''}") + inner + self.body(depth) +
                    (self.tag("else") + self.body(depth) if r.random() < .3 else "") + self.tag("endfor"))
        if k < 0.86:
            self.made.append("m")
            return (self.tag(f"macro m({r.choice(['', 'a', 'a, b=2', 'a=s, b=a', 'x'])})") + r.choice(["", "{{ a }}{{ b }}", "{{ varargs }}", "{{ kwargs }}", "{{ caller() }}"]) + self.body(depth) + self.tag("endmacro") +
                    r.choice(["{{ m() }}", "{{ m(1) }}", "{{ m(1, b=3) }}", "{{ m(1, 2, 3) }}", "{% call m(1) %}c{{ n }}{% endcall %}", "{{ m(a=1, zz=2) }}", ""]))
        if k < 0.90:
            return self.tag("set v") + self.body(depth) + self.tag("endset") + "{{ v }}"
        if k < 0.93:
            return self.tag("filter " + r.choice(["upper", "trim", "replace('a', 'b')|title", "indent(2)", "length"])) + self.body(depth) + self.tag("endfilter")
        if k < 0.96:
            return self.tag(f"with v = {self.expr(2)}, w = v") + self.body(depth) + self.tag("endwith")
        return "{% set ns = namespace(c=0) %}{% for i in l %}{% set ns.c = ns.c + i %}" + self.body(depth) + "{% endfor %}{{ ns.c }}"


def random_cases(count, seed, max_bytes=4000):
    rng = random.Random(seed)
    made = 0
    while made < count:
        maker = Maker(rng)
        source = "".join(maker.statement(rng.randint(1, 3)) for _ in range(rng.randint(1, 4)))
        result = outcome(source, VARIABLES)
        text = result.get("output", "")
        if " at 0x" in text.lower() or len(text) > max_bytes or len(source) > max_bytes:
            continue
        made += 1
        yield {"name": f"random {seed}.{made}", "template": source, "now": NOW_MS, **result}


def write(name, cases, **more):
    cases = list(cases)
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8", newline="\n") as f:
        for case in cases:
            f.write(json.dumps(case, ensure_ascii=False) + "\n")
    print(name, len(cases), "cases,", sum("raises" in c for c in cases), "raise")


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--random":
        for case in random_cases(int(sys.argv[2]), int(sys.argv[3])):
            case["variables"] = VARIABLES
            print(json.dumps(case, ensure_ascii=False))
        return
    with open(os.path.join(FOLDER, "variables.json"), "w", encoding="utf-8") as f:
        json.dump({"now": NOW_MS, "snippets": VARIABLES}, f, ensure_ascii=False, indent=1)
    write("templates.jsonl", ({**case, **outcome(source, case["variables"])} for case, source in template_cases()))
    write("snippets.jsonl", ({"name": name, "template": source, **outcome(source, VARIABLES)} for name, source in snippets()))
    cases = list(random_cases(3000, 20261124, 400))
    kept = [c for c in cases if "output" in c and len(c["output"].strip()) > 5][:240] + [c for c in cases if "raises" in c][:60]
    write("random.jsonl", kept)
    with contextlib.suppress(FileNotFoundError), open(__file__, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
        print("script sha256", digest[:16], "jinja2", jinja2.__version__, "python", sys.version.split()[0])


main()
