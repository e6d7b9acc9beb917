#!/usr/bin/env python3
"""Makes a mixed stream of real task sets, held-out tasks, and the agents a user would write for it.

DATA is a folder of task sets, each with task.json, train.jsonl and test.jsonl; those named in SETS are taken. Into OUT go
  stream.jsonl     30 tasks of each set's test.jsonl, shuffled (fixed seed)
  held_out.jsonl   8 tasks of each, of those left of it
  agents/          one a set: a prompt, its labels as choices or a script where one is easily written, six examples of its train.jsonl;
                   and the generalist
so that tools/compare_routers.py can be run on them. Sets that DATA lacks are named and left out.

Run: tools/make_task_stream.py DATA OUT
"""
import json
import pathlib
import random
import sys

TASKS, HELD_OUT, EXAMPLES = 30, 8, 6
# agent, its description, its prompt, its script
COUNT = r"""
local small = {a = 1, an = 1, one = 1, two = 2, three = 3, four = 4, five = 5, six = 6, seven = 7, eight = 8, nine = 9, ten = 10}
function before(task)
  local list = task.prompt:match("I have (.-)%. How many")
  if not list then return task.prompt end
  local sum = 0
  for word in list:gmatch("%a+") do sum = sum + (small[word:lower()] or 0) end
  return {answer = tostring(sum)}
end
"""
SORT = r"""
function before(task)
  local list = task.prompt:match("List: (.+)$")
  if not list then return task.prompt end
  local words = {}
  for word in list:gmatch("%S+") do words[#words + 1] = word end
  table.sort(words)
  return {answer = table.concat(words, " ")}
end
"""
BOOLEAN = r"""
-- not before and before or, as Python has it; brackets first.
local function value(text)
  local tokens, at = {}, 1
  local spaced = text:gsub("[%(%)]", " %0 ")
  for token in spaced:gmatch("%S+") do tokens[#tokens + 1] = token end
  local either
  local function one()
    local token = tokens[at]
    at = at + 1
    if token == "not" then return not one() end
    if token == "(" then
      local inner = either()
      at = at + 1
      return inner
    end
    return token == "True"
  end
  local function both()
    local result = one()
    while tokens[at] == "and" do
      at = at + 1
      local right = one()
      result = result and right
    end
    return result
  end
  either = function()
    local result = both()
    while tokens[at] == "or" do
      at = at + 1
      local right = both()
      result = result or right
    end
    return result
  end
  return either()
end
function before(task)
  local text = task.prompt:match("\n(.+) is%s*$")
  if not text then return task.prompt end
  return {answer = value(text) and "True" or "False"}
end
"""
SETS = {
    "bbh_boolean": ("booleans", "Evaluates boolean expressions with not, and, or.", "", BOOLEAN),
    "bbh_counting": ("counter", "Counts objects in a list of things somebody has.", "", COUNT),
    "bbh_wordsort": ("sorter", "Sorts lists of words alphabetically.", "", SORT),
    "sentiment_rt": ("reviews", "Says whether a sentence of a film review is positive or negative.", "You judge sentences of film reviews.", ""),
    "subjectivity": ("opinions", "Tells opinions about films from facts of their plots.", "You tell opinions from plot facts.", ""),
    "clinc_domain": ("domains", "Says which domain a request to an assistant belongs to.", "You sort requests by domain.", ""),
    "spelling": ("speller", "Corrects the spelling of a word.", "You correct the spelling of words. Answer with the word only.", ""),
    "wellformed": ("questions", "Says whether a query is a well-formed English question.", "You judge whether questions are well formed.", ""),
    "babi": ("stories", "Answers questions about a short story with one word.", "You read short stories. Answer with one word.", ""),
    "snips_slots": ("slots", "Gives intent and slots of a request for music, weather, films, books or restaurants.", "You give intent and slots of requests, in one line.", ""),
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, out = map(pathlib.Path, sys.argv[1:])
    rng = random.Random(15)
    stream, held_out = [], []
    agents = out / "agents"
    (agents / "generalist").mkdir(parents=True, exist_ok=True)
    (agents / "generalist/agent.toml").write_text('name = "generalist"\ndescription = "The base model alone."\n[limits]\nmax_tokens = 32\n')
    for name, (agent, description, prompt, script) in SETS.items():
        if not (data / name / "task.json").exists():
            print(f"{data / name}: not there, left out", file=sys.stderr)
            continue
        about = json.loads((data / name / "task.json").read_text())
        rows = lines(data / name / "test.jsonl")
        rng.shuffle(rows)
        for i, row in enumerate(rows[:TASKS + HELD_OUT]):
            task = {"id": f"{name}-{i}", "kind": name, "prompt": row["prompt"], "answer": row["answer"], "check": about["check"]}
            (stream if i < TASKS else held_out).append(task)
        folder = agents / agent
        folder.mkdir(parents=True, exist_ok=True)
        toml = f'name = "{agent}"\ndescription = "{description}"\n\n[sampling]\nstop = ["\\n"]\n\n[limits]\nmax_tokens = 32\n'
        labels = about.get("labels", [])
        if 0 < len(labels) <= 20:
            toml += f"\n[answer]\nchoices = {json.dumps(labels)}\n"
        (folder / "agent.toml").write_text(toml)
        if prompt:
            (folder / "PROMPT.md").write_text(prompt + "\n")
        if script:
            (folder / "script.lua").write_text(script.lstrip())
            continue
        train = lines(data / name / "train.jsonl")
        rng.shuffle(train)
        examples, seen = [], {}
        for row in sorted(train[:400], key=lambda row: len(row["prompt"])):  # short ones, the answers in turn
            if seen.setdefault(row["answer"], 0) < max(1, EXAMPLES // max(1, len(labels) or EXAMPLES)):
                seen[row["answer"]] += 1
                examples.append({"prompt": row["prompt"], "answer": row["answer"]})
            if len(examples) == EXAMPLES:
                break
        (folder / "examples.jsonl").write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in examples))
    rng.shuffle(stream)
    for path, rows in ((out / "stream.jsonl", stream), (out / "held_out.jsonl", held_out)):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{len(stream)} tasks, {len(held_out)} held out, {len(list(agents.iterdir()))} agents in {out}")


if __name__ == "__main__":
    main()
