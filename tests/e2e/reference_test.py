"""docs/reference.md against the program: options, keys of agent.toml, fields of lines, checks with their examples, what scripts may use, results."""
import json
import pathlib
import re
import sys

import harness

sys.path.insert(0, str(harness.ROOT / "tools"))
import reference_options

PAGE = (harness.ROOT / "docs/reference.md").read_text()
SOURCE = harness.ROOT / "src"


def section(title):
    """The text below a heading, up to the next of its rank or above."""
    at = re.search(rf"^(#+) {re.escape(title)}$", PAGE, re.M)
    assert at, f"docs/reference.md has no heading {title}"
    rest = PAGE[at.end():]
    end = re.search(rf"^#{{1,{len(at[1])}}} ", rest, re.M)
    return rest[:end.start()] if end else rest


def rows(title, columns=None):
    """Cells of the rows of the tables below a heading; of tables with these column names only."""
    found, wanted = [], False
    for line in section(title).splitlines():
        if not line.startswith("|"):
            wanted = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not wanted:
            wanted = columns is None or cells == columns
            header = True
        elif header:
            header = False  # |---|
        else:
            found.append(cells)
            continue
        header = wanted if cells and not set(line) <= set("|-") else False
    assert found, f"docs/reference.md: no table below {title}"
    return found


def code(cell):
    return re.findall(r"`` (.*?) ``|`([^`]+)`", cell)


def names(cell):
    return [a or b for a, b in code(cell)]


def keys_of(value, path=""):
    """Paths of all keys, as a.b and a[].b; lists and objects of others' content end a path."""
    found = set()
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                found |= keys_of(item, path + "[]")
        return found
    for key, inner in value.items():
        at = f"{path}.{key}" if path else key
        deeper = keys_of(inner, at) if isinstance(inner, (dict, list)) and key not in ("specials", "messages", "problems") else set()
        found |= deeper or {at}
    return found


def without_empty(found):
    """A list that was empty in one line and not in another: the members say more."""
    return {key for key in found if not any(other.startswith((key + "[]", key + ".")) for other in found)}


class Reference(harness.Case):
    def put(self, path, text):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    # ---- options ----

    def test_options_are_those_of_the_help(self):
        made = reference_options.made(harness.COLONY)
        self.assertEqual(PAGE, reference_options.placed(PAGE, made), "docs/reference.md: run tools/reference_options.py")

    def test_no_option_escapes_the_tables(self):
        """Not by the generator's own reading: every word that begins a line of help as an option does."""
        verbs = reference_options.verbs_of(harness.COLONY)
        self.assertGreater(len(verbs), 15)
        for words, text in verbs:
            part = section("colony " + " ".join(words)) if f"### colony {' '.join(words)}" in PAGE else section(f"`colony {' '.join(words)}`")
            listed = set(re.findall(r"`(--[a-z-]+)`", part))
            asked = set(re.findall(r"^  (--[a-z-]+)", text, re.M))
            self.assertEqual(listed, asked, words)

    def test_commands_in_the_documents_are_commands(self):
        """Every verb and option that a code block or `colony …` in a document names."""
        known = {" ".join(words): set(re.findall(r"^  (?:-h,)?(--[a-z-]+)", text, re.M)) for words, text in reference_options.verbs_of(harness.COLONY)}
        seen = 0
        for page in [harness.ROOT / "README.md", *sorted((harness.ROOT / "docs").glob("*.md"))]:
            text = page.read_text().replace("\\\n", " ")
            for line in re.findall(r"(?:^|[`\s(|])colony ([a-z-]+(?: [^`\n]*)?)", text):
                words = line.split("#")[0].split()
                verb = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
                if verb not in known:
                    continue  # prose: "the colony does"
                for option in re.findall(r"(?<=\s)--[a-z-]+", " " + line.split("#")[0].split(" | ")[0]):
                    seen += 1
                    self.assertIn(option, known[verb], f"{page.name}: colony {line}")
        self.assertGreater(seen, 30)

    # ---- task lines and checks ----

    def test_task_fields_are_those_the_reader_knows(self):
        source = (SOURCE / "data/task_line.cc").read_text()
        known = re.search(r"kKnownFields\{([^}]*)\}", source)
        self.assertEqual({names(row[0])[0] for row in rows("Task lines")}, set(re.findall(r'"(\w+)"', known[1])))

    def test_the_example_task_line_is_one(self):
        line = re.search(r"```\n(\{.*?\})\n```", section("Task lines"))[1]
        self.agent("echo", "function before(task) return {answer = 'paris'} end")
        self.assertEqual(self.lines("eval", self.write("t.jsonl", [line]), "--agents", self.folder / "agents", "--agent", "echo", "--json")[0]["success"], 1)

    def agent(self, name, script="", toml=""):
        self.put(f"agents/{name}/agent.toml", toml)
        if script:
            self.put(f"agents/{name}/script.lua", script)

    def test_checks_are_those_of_the_program_and_score_as_the_page_says(self):
        source = (SOURCE / "data/check.cc").read_text()
        known = re.search(r"nearest\(kind, \{(.*?)\}\)", source, re.S)
        known = {name.split(":")[0] for name in re.findall(r'"([\w:]+)"', known[1])}
        table = rows("Checks")
        self.assertEqual({names(row[0])[0].split(":")[0] for row in table}, known)
        for name, text in re.findall(r"^`([\w./]+)`[^\n]*:\n\n```\n(.*?)```", section("Checks"), re.M | re.S):
            self.put(name, text)
        self.agent("echo", "function before(task) return {answer = task.output} end")
        # Spaces at the ends belong to an example.
        cell = lambda text: (re.findall(r"`([^`]*)`", text) or [None])[0]
        tasks = []
        for i, (check, _, answer, output, score) in enumerate(table):
            check, answer = cell(check), cell(answer)
            task = {"kind": f"row-{i}", "prompt": answer if check == "has_slots" else "?", "check": check, "output": cell(output)}
            if answer and check != "has_slots":
                task["answer"] = answer
            tasks.append(task)
        found = self.lines("eval", self.write("t.jsonl", tasks), "--agents", self.folder / "agents", "--agent", "echo", "--json")
        for row, line in zip(table, found, strict=True):
            self.assertAlmostEqual(line["success"], float(row[4]), places=4, msg=row)

    # ---- agents ----

    def toml_of(self, lines):
        """agent.toml of (section, key, value) triples."""
        text = "".join(f"{key} = {value}\n" for where, key, value in lines if not where)
        for name in dict.fromkeys(where for where, _, _ in lines if where):
            text += f"[{name}]\n" + "".join(f"{key} = {value}\n" for where, key, value in lines if where == name)
        return text

    def check_agent(self, toml, status):
        self.put("agents/one/agent.toml", toml)
        return self.lines("agents", "check", "one", "--agents", self.folder / "agents", "--json", status=status)[0]

    def test_agent_toml_keys_are_those_of_the_parser(self):
        listed = {}
        for row in rows("agent.toml"):
            where, key = re.fullmatch(r"(?:\[(\w+)\] )?(\w+)", names(row[0])[0]).groups()
            listed.setdefault(where or "", {})[key] = names(row[1])[0]
        for where in listed:
            # An unknown key that is near to none: the error tells all of them.
            problem = self.check_agent(self.toml_of([(where, "qqqqqqqqqqqqqqqqqqqqqqqq", "1")]), 1)["problems"][0]
            known = set(re.search(r"known are (.*)", problem)[1].split(", "))
            if not where:
                self.assertEqual({name for name in listed if name}, known - set(listed[""]), "tables")
                known -= set(listed)
            self.assertEqual(set(listed[where]), known, f"[{where}]")
        # Every example is one: alone, since some exclude each other.
        self.put("agents/one/rating.schema.json", re.search(r"`rating.schema.json`:\n\n```\n(.*?)```", section("agent.toml"), re.S)[1])
        for where, keys in listed.items():
            for key, example in keys.items():
                if key in ("adapter", "model"):
                    continue  # a folder that is not there, another model: refused with reason
                toml = self.toml_of([(where, key, example)])
                self.assertEqual(self.check_agent(toml, 0)["problems"], [], toml)

    def test_the_script_on_the_page_works(self):
        script = re.search(r"```\n(function before.*?)```", section("Scripts"), re.S)[1]
        self.agent("adder", script)
        task = {"prompt": "What is 2 + 40?", "answer": "42"}
        self.assertEqual(self.lines("eval", self.write("t.jsonl", [task]), "--agents", self.folder / "agents", "--agent", "adder", "--json")[0]["success"], 1)

    def test_scripts_may_use_what_the_page_says_and_no_more(self):
        listed = {names(row[0])[0] if code(row[0]) else "": set(names(row[1])) for row in rows("Scripts", ["library", "functions"])}
        every = ("_G _VERSION assert collectgarbage coroutine debug dofile error getmetatable io ipairs load loadfile math next os package pairs pcall print rawequal rawget rawlen "
                 "rawset require select setmetatable string table tonumber tostring type unpack utf8 warn xpcall").split()
        script = "local found = {}\n"
        for name in every:
            script += f"if {name} ~= nil then found[#found + 1] = '{name}' end\n"
        for library in ("string", "table", "math", "utf8"):
            script += f"for key in pairs({library}) do found[#found + 1] = '{library}.' .. key end\n"
        script += "function before(task) return {answer = table.concat(found, ' ')} end\n"
        self.agent("names", script)
        self.lines("run", self.write("t.jsonl", [{"prompt": "?"}]), "--agents", self.folder / "agents", "--out", self.folder / "r.jsonl", "--json")
        found = set(json.loads((self.folder / "r.jsonl").read_text())["answer"].split())
        libraries = set(listed) - {""}
        said = listed[""] | libraries | {f"{library}.{name}" for library in libraries for name in listed[library]}
        self.assertEqual(said, found)

    # ---- lines of other verbs ----

    def test_line_fields_are_those_the_verbs_read(self):
        """By their sources: every name that code asks a line for."""
        asked = lambda text: set(re.findall(r'\b(?:line|object), "(\w+)"', text)) | set(re.findall(r'\bline(?:\.contains\(|\[)"(\w+)"(?!\] = )', text))
        function = lambda text, name: re.search(rf"\b{name}\(.*?\n}}\n", text, re.S)[0]
        generate, text = (SOURCE / "app/commands/generate.cc").read_text(), (SOURCE / "app/commands/text.cc").read_text()
        adapter = asked(function((SOURCE / "app/session.cc").read_text(), r"Session::adapter_of"))
        self.assertEqual(adapter, {"adapter"})
        prompts = asked(function(generate, "prompt_ids")) - {"ids"}
        train = re.search(r"kExampleFields\{(.*?)\}", (SOURCE / "train/examples.h").read_text())[1]
        known = {"generate": asked(function(generate, "run_generate")) | prompts | adapter | {"ids"},
                 "score": asked(function(generate, "run_score")) | prompts | adapter,
                 "logits": asked(function(generate, "run_logits")) | adapter | {"ids"},
                 "tokenize": asked(function(text, "tokenize_line")),
                 "render": asked(function(text, "render_line")),
                 "train": set(re.findall(r'"(\w+)"', train))}
        listed = {}
        for row in rows("Lines other verbs read", ["verb", "field", "what it is"]):
            listed.setdefault(names(row[0])[0], set()).add(names(row[1])[0])
        self.assertEqual(listed, known)

    # ---- results ----

    def run_of(self, tasks, *words, agents="agents", status=0):
        out = self.folder / "r.jsonl"
        summary = self.lines("run", self.write("t.jsonl", tasks), "--agents", self.folder / agents, "--out", out, "--json", "--max-tokens", "4", *words, status=status)[-1]
        return summary, [json.loads(line) for line in out.read_text().splitlines()]

    def test_results_have_the_keys_of_the_page(self):
        """Runs that between them take every way: failures, votes, nodes, --full, a budget that blames nobody, an agent that is not hosted."""
        self.agent("plain")
        self.agent("other", toml='model = "nobody/nothing"\n')
        self.agent("raises", "function before(task) if task.id ~= 'c' then error('on purpose') end end")
        tasks = [{"id": "a", "prompt": "Say yes.", "answer": "yes"}, {"id": "b", "prompt": "Say no.", "answer": "no"}, {"id": "c", "prompt": "Hello"}]
        summaries, lines = [], []
        for words in (["--full"], ["--nodes", "2"], ["--quorum"]):
            summary, results = self.run_of(tasks, *words)
            summaries.append(summary)
            lines += results
        shown = self.lines("runs", "show", "r000002", "--json")
        # One agent alone, a budget that ends before the second task: a failure that is nobody's fault, and an error.
        summary, results = self.run_of(tasks, "--budget-tokens", "40", "--only", "plain", "--batch", "1", status=1)
        summaries.append(summary)
        lines += results
        said = {name for row in rows("Result lines of `run`") for name in names(row[0])}
        found = without_empty(set().union(*map(keys_of, lines)))
        self.assertEqual(found - said, set(), "keys that the page does not have")
        self.assertEqual(said - found - {"attempts[].blamed", "attempts[].tokens"}, set(), "keys that the program does not have")
        source = (SOURCE / "agent/colony_endings.cc").read_text()
        for key in ("blamed", "tokens"):
            self.assertIn(f'one["{key}"]', source)
        said = {name for row in rows("The summary of `run`") for name in names(row[0])}
        found = without_empty(set().union(*map(keys_of, summaries + shown)))
        self.assertEqual(found, said)
        verbs = self.verbs()
        why = [self.lines("why", run, task, "--json")[0] for run, tasks in (("r000002", "abc"), ("r000003", "abc"), ("last", "b")) for task in tasks]
        self.assertEqual(without_empty(set().union(*map(keys_of, why))), verbs["why"])
        self.assertEqual(set(self.lines("runs", "--json")[0]), verbs["runs"])

    def verbs(self):
        """Keys in the rows of "What other verbs print"; words in brackets are values or remarks."""
        return {names(row[0])[0]: {name for name in names(re.sub(r"\([^)]*\)", "", row[1])) if not name.startswith("--")} for row in rows("What other verbs print")}

    def test_other_verbs_print_the_keys_of_the_page(self):
        verbs = self.verbs()
        one = lambda name, lines: self.assertEqual(without_empty(set().union(*map(keys_of, lines))), verbs[name], name)
        one("generate", self.lines("generate", "-", "--json", "--max-tokens", "2", "--logprobs", "1", stdin='{"prompt": "1 2"}\n'))
        one("score", self.lines("score", "-", "--json", stdin='{"prompt": "1 2", "completion": " 3"}\n'))
        one("logits", self.lines("logits", "-", "--json", "--out", self.folder / "x.f32", stdin='{"ids": [1, 2]}\n'))
        one("tokenize", self.lines("tokenize", "-", "--json", stdin='{"text": "a"}\n'))
        one("render", self.lines("render", "-", "--json", stdin='{"messages": [{"role": "user", "content": "Hi"}]}\n'))
        for name in ("ls", "show", "doctor"):
            one(name, self.lines(name, "--json", status=None))
        self.agent("yes", "function before(task) return {answer = 'yes'} end")
        self.agent("no", "function before(task) return {answer = 'no'} end")
        agents = ["--agents", self.folder / "agents", "--json"]
        one("agents ls", self.lines("agents", "ls", *agents))
        one("agents show", self.lines("agents", "show", "yes", *agents))
        one("agents check", self.lines("agents", "check", *agents))
        tasks = self.write("t.jsonl", [{"prompt": "?", "answer": "yes"}, {"prompt": "yes", "answer": "yes no", "check": "token_f1"}])
        one("eval", self.lines("eval", tasks, "--each", *agents))
        whole = self.write("w.jsonl", [{"prompt": "?", "answer": "yes"}])
        gate = [self.lines("eval", file, "--agent", "yes", "--against", "no", *agents, status=1)[-1] for file in (tasks, whole)]
        one("eval --against", gate)

    def test_train_prints_the_keys_of_the_page(self):
        data = self.write("d.jsonl", [{"prompt": f"{i} + 1", "answer": str(i + 1)} for i in range(12)])
        lines = self.lines("train", data, "--out", self.folder / "adapter", "--steps", "2", "--batch", "2", "--json", "--valid-share", "0.3")
        self.assertEqual(set().union(*map(keys_of, lines)), self.verbs()["train"])


if __name__ == "__main__":
    harness.main()
