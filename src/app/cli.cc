#include "app/cli.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <functional>
#include <limits>

#include "app/commands/agents.h"
#include "app/commands/bench.h"
#include "app/commands/chat.h"
#include "app/commands/doctor.h"
#include "app/commands/eval.h"
#include "app/commands/generate.h"
#include "app/commands/models.h"
#include "app/commands/replay.h"
#include "app/commands/run.h"
#include "app/commands/runs.h"
#include "app/commands/text.h"
#include "app/commands/train.h"
#include "app/console.h"
#include "app/session.h"
#include "base/byte_ledger.h"
#include "base/json.h"
#include "swarm/policy.h"

namespace colony::app {
namespace {

constexpr const char* kVersion = "colony 0.1.0";

// CLI11 alone reads -5 as 2^64 - 5, 010 as 8, and lets "nan" through every range.
CLI::Validator whole(uint64_t low, uint64_t high = std::numeric_limits<uint64_t>::max()) {
  return {[low, high](std::string& text) -> std::string {
            uint64_t value = 0;
            const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (problem == std::errc() && end == text.data() + text.size() && value >= low && value <= high) {
              text = std::to_string(value);
              return "";
            }
            return fmt::format("found {}, expected a whole number from {} to {}", text, low, high);
          },
          "WHOLE"};
}
CLI::Validator number(double low, double high, bool low_too = true) {
  return {[=](std::string& text) -> std::string {
            double value = 0;
            const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (problem == std::errc() && end == text.data() + text.size() && (value > low || (low_too && value == low)) && value <= high) return "";
            return fmt::format("found {}, expected a number {} {}, at most {}", text, low_too ? "from" : "above", low, high);
          },
          "NUMBER"};
}
CLI::Validator size_of_memory() {
  return {[](std::string& text) -> std::string {
            const auto bytes = parse_bytes(text);
            return bytes ? "" : bytes.error().message;
          },
          "SIZE"};
}

void add_model(CLI::App& verb, ModelOptions& o) {
  verb.add_option("--model", o.model, "folder, .gguf file or hub id (default: the starter model)");
  verb.add_option("--dtype", o.dtype, "weights as auto, f32, bf16, int8 or int4")->check(CLI::IsMember({"auto", "f32", "bf16", "int8", "int4"}));
  verb.add_option("--adapter", o.adapter, "PEFT folder, or org/name[@revision] in the cache (colony pull fetches it)");
  verb.add_option("--threads", o.threads, "threads (default: all of the machine)")->transform(whole(1, 1024));
  verb.add_option("--batch", o.batch, "rows computed at once")->transform(whole(1, 512));
  verb.add_option("--kv", o.kv, "keys and values as auto (f32 beside f32 weights, else bf16), f32, bf16 or int8 (half of bf16's memory)")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  verb.add_option("--speculate", o.speculate, "guess the next tokens from what the text repeats and check them in one step; the "
                                              "answer is the same, copying is faster: auto (few sequences, and while guesses come true), on, off")
      ->check(CLI::IsMember({"auto", "on", "off"}));
  verb.add_option("--memory", o.memory, "ceiling for weights, caches and scratch, as 2GiB (default: 70 % of the machine's)")->check(size_of_memory());
}

void add_sampling(CLI::App& verb, SamplingOptions& o) {
  verb.add_option("--max-tokens", o.max_tokens, "most tokens of an answer")->transform(whole(1, 1'000'000'000));
  verb.add_flag("--greedy", o.greedy, "the likeliest token each time (default unless a sampling option is given)");
  verb.add_flag("--ignore-eos", o.ignore_eos, "go on past the end-of-sequence token");
  verb.add_option("--temperature", o.temperature, "0 is greedy")->check(number(0, 1e6));
  verb.add_option("--top-k", o.top_k, "keep the k likeliest; 0 keeps all")->transform(whole(0, 1'000'000'000));
  verb.add_option("--top-p", o.top_p, "keep the likeliest that sum to p")->check(number(0, 1, false));
  verb.add_option("--min-p", o.min_p, "drop what is less likely than p times the likeliest")->check(number(0, 1));
  verb.add_option("--repetition-penalty", o.repetition_penalty, "above 1: tokens already there get less likely")->check(number(0, 1e6, false));
  verb.add_option("--seed", o.seed, "the same seed gives the same tokens")->transform(whole(0));
  verb.add_option("--stop", o.stop, "the text ends before this; may be given again")->allow_extra_args(false);
}

// An option that is given nothing is a shell variable that was not set: never the same as one that is not given.
void refuse_empty(CLI::App& verb) {
  for (CLI::Option* option : verb.get_options([](const CLI::Option* o) { return o->get_items_expected_max() > 0; })) {
    option->check(CLI::Validator([](std::string& text) { return std::string(text.empty() ? "found an empty string, expected a value" : ""); }, ""));
  }
  for (CLI::App* part : verb.get_subcommands([](CLI::App*) { return true; })) refuse_empty(*part);
}

// What is wrong with the command line, and what was probably meant.
std::string usage_problem(const CLI::App& cli, const CLI::App& at, const CLI::ParseError& problem) {
  const auto left = cli.remaining(true);
  // A verb that is mistyped is also one that is missing.
  const bool unknown = problem.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) || problem.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError);
  if (!unknown || left.empty()) return problem.what();
  const std::string word = left.front().substr(0, left.front().find('='));
  std::vector<std::string> known;
  const bool option = word.starts_with("-");
  if (option) {
    for (const CLI::Option* o : at.get_options()) {
      for (const auto& name : o->get_lnames()) known.push_back("--" + name);
    }
  } else {
    for (const CLI::App* part : at.get_subcommands([](const CLI::App*) { return true; })) known.push_back(part->get_name());
  }
  const std::string near = nearest(word, known), whose = at.get_parent() == nullptr ? "colony" : at.get_name();
  const std::string what = option ? fmt::format("{}: no option of {}", word, whose)
                           : known.empty() ? fmt::format("{}: {} takes no further argument", word, whose)
                                           : fmt::format("{}: no verb of {}", word, whose);
  return near.empty() ? what : what + "; did you mean " + near + "?";
}

}  // namespace

int run_cli(int argc, char** argv) {
  CLI::App cli{"Colony: a swarm of Hugging Face language models in one program"};
  cli.set_version_flag("--version", kVersion);
  cli.footer("Every verb explains itself: colony run --help");
  cli.require_subcommand(0, 1);
  cli.failure_message(CLI::FailureMessage::simple);
  std::function<Result<int>()> chosen;
  bool json = false;
  std::string home, name, agents, task;

  const auto verb = [&](CLI::App& parent, const char* word, const char* what, const char* example) -> CLI::App& {
    CLI::App& made = *parent.add_subcommand(word, what);
    made.footer(std::string("Example:\n  ") + example);
    return made;
  };
  const auto add_json = [&](CLI::App& v) { v.add_flag("--json", json, "one JSON object a line on standard output"); };
  const auto add_home = [&](CLI::App& v) { v.add_option("--home", home, "the colony's home (default: COLONY_HOME or ~/.local/share/colony)"); };

  // ---- run, runs ----
  RunOptions run;
  {
    CLI::App& v = verb(cli, "run", "send a stream of tasks through the colony", "colony run examples/mixed.jsonl --out results.jsonl");
    v.add_option("TASKS", run.file, "task lines; - is standard input");
    v.add_option("--out", run.out, "result lines; - is standard output, each line as soon as all before it are final (default: that for TASKS -, else in the run's folder under home)");
    v.add_option("--resume", run.resume, "go on with this run, or with the last");
    v.add_option("--agents", run.agents, "folder of agents (default: ./agents)");
    v.add_option("--only", run.only, "only these agents, separated by commas or spaces")->expected(1, 1000)->delimiter(',');
    v.add_option("--attempts", run.attempts, "agents that may fail at a task before it has failed (default: 3)")->transform(whole(1, 64));
    v.add_flag("--full", run.full, "result lines with prompt, expected and raw, the model's text before the agent's after()");
    v.add_option("--nodes", run.nodes, "swarm nodes in this process")->transform(whole(1, 64));
    v.add_flag("--no-gossip{false}", run.gossip, "each node keeps what it learns to itself");
    v.add_flag("--no-tested{false}", run.tested, "no test counts, neither this home's nor one that an agent brings along");
    v.add_flag("--no-priors{false}", run.priors, "what agents say of themselves (description, skills, examples) does not count");
    v.add_option("--held-out", run.held_out, "task lines on which agents that this home has not tested yet are tested before the stream begins");
    v.add_option("--route", run.route, "KIND=AGENT: tasks of this kind go to this agent, while it can answer; may be given again")->allow_extra_args(false);
    v.add_option("--half-life", run.half_life_days, "days of running in which what was learned loses half of its weight, as 14 (default: never; "
                                                    "with it the same seed is not always the same run)")->check(number(0, 1e5, false));
    v.add_flag("--quorum", run.quorum, "several agents answer a task until their votes decide");
    v.add_option("--seed", run.seed, "the same seed gives the same run")->transform(whole(0));
    v.add_flag("--shuffle", run.shuffle, "tasks in an order drawn from the seed");
    v.add_flag("--raw", run.raw, "prompts as they are, without the chat template");
    v.add_option("--budget-tokens", run.budget_tokens, "tokens of prompts and answers that the whole run may use")->transform(whole(0));
    v.add_option("--deadline", run.deadline_seconds, "seconds after which the run stops; what is unfinished then --resume does")->check(number(0, 1e9, false));
    v.add_option("--max-tokens", run.max_tokens, "most tokens of an answer")->transform(whole(1, 1'000'000'000));
    add_model(v, run.model);
    add_home(v);
    add_json(v);
    v.callback([&] {
      // `--only a b tasks.jsonl`: the names stop where a file begins.
      std::error_code ignored;
      if (run.file.empty() && run.resume.empty() && run.only.size() > 1 &&
          (run.only.back() == "-" || std::filesystem::is_regular_file(run.only.back(), ignored))) {
        run.file = run.only.back();
        run.only.pop_back();
      }
      for (const CLI::Option* option : v.get_options()) {
        if (option->count() > 0) run.given.push_back(option->get_name());
      }
      if (run.file.empty() == run.resume.empty()) throw CLI::ValidationError("run", "give TASKS, or --resume RUN");
      if (!run.held_out.empty() && !run.resume.empty()) throw CLI::ValidationError("run", "--held-out tests agents before a stream begins; a run that is resumed has begun");
      run.home = home;
      run.json = json;
      chosen = [&] { return run_run(run); };
    });
    CLI::App& l = verb(cli, "runs", "list the runs so far, oldest first, or show one", "colony runs show last");
    add_home(l);
    add_json(l);
    CLI::App& show = verb(l, "show", "a run's report again", "colony runs show last");
    show.add_option("RUN", name, "the run's name, or last")->required();
    add_home(show);
    add_json(show);
    show.callback([&] { chosen = [&] { return run_runs_show(home, name, json); }; });
    l.callback([&] {
      if (!chosen) chosen = [&] { return run_runs(home, json); };
    });
    CLI::App& w = verb(cli, "why", "the story of one task: bids, reason, attempts, answer, check, cost", "colony why last task-17");
    w.add_option("RUN", name, "the run's name, or last")->required();
    w.add_option("TASK", task, "the task's id, or its place in the run from 0")->required();
    add_home(w);
    add_json(w);
    w.callback([&] { chosen = [&] { return run_why(home, name, task, json); }; });
  }

  // ---- the model verbs ----
  LinesOptions lines;
  lines.sampling.logprobs = -1;
  const auto add_lines = [&](const char* word, const char* what, const char* example, Result<int> (*call)(const LinesOptions&)) -> CLI::App& {
    CLI::App& v = verb(cli, word, what, example);
    v.add_option("FILE", lines.file, "JSON lines; - is standard input")->required();
    v.add_flag("--chat", lines.chat, "wrap each prompt as one user message");
    add_model(v, lines.model);
    add_sampling(v, lines.sampling);
    add_json(v);
    v.callback([&, call] {
      lines.json = json;
      chosen = [&, call] { return call(lines); };
    });
    return v;
  };
  add_lines("generate", "continue prompts, messages or token ids", "echo '{\"prompt\":\"What is a swarm?\"}' | colony generate - --chat", run_generate)
      .add_option("--logprobs", lines.sampling.logprobs, "log-probabilities of the tokens, and of the N best")->transform(whole(0, 1000));
  add_lines("score", "log-probability of a completion after a prompt", "echo '{\"prompt\":\"1 2 3\",\"completion\":\" 4\"}' | colony score -", run_score);
  {
    CLI::App& v = add_lines("logits", "logits of every position, as raw little-endian f32", "echo '{\"ids\":[1,2,3]}' | colony logits - --out logits.f32", run_logits);
    v.add_option("--out", lines.out, "the raw file")->required();
  }
  TextOptions text;
  const auto add_text = [&](const char* word, const char* what, const char* example, Result<int> (*call)(const TextOptions&)) {
    CLI::App& v = verb(cli, word, what, example);
    v.add_option("FILE", text.file, "JSON lines; - is standard input")->required();
    v.add_option("--model", text.model, "folder, .gguf file or hub id (default: the starter model)");
    add_json(v);
    v.callback([&, call] {
      text.json = json;
      chosen = [&, call] { return call(text); };
    });
  };
  add_text("tokenize", "token ids of texts", "echo '{\"text\":\"Hello\"}' | colony tokenize - --json", run_tokenize);
  add_text("render", "messages through the model's chat template", "echo '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' | colony render -", run_render);
  EvalOptions eval;
  {
    CLI::App& v = verb(cli, "eval", "how well a model, or agents over it, do on checked tasks", "colony eval examples/held_out.jsonl --each --keep");
    v.add_option("TASKS", eval.file, "task lines; - is standard input")->required();
    v.add_option("--agent", eval.agent, "this agent (default: the base model with the template's default)");
    v.add_flag("--each", eval.each, "every agent, one after the other");
    v.add_option("--against", eval.against, "the gate: does the agent better than this one, by a paired test over the tasks");
    v.add_flag("--keep", eval.keep, "keep what the agents showed: in this home's ledger, where it weighs as outcomes do, and in their folders (tested.json), a quarter of that in other homes; with --against only of those that pass");
    v.add_option("--agents", eval.agents, "folder of agents (default: ./agents)");
    add_home(v);
    v.add_flag("--raw", eval.raw, "prompts as they are, without the chat template");
    add_model(v, eval.model);
    add_sampling(v, eval.sampling);
    add_json(v);
    v.callback([&] {
      if (const auto usage = check_usage(eval); !usage) throw CLI::ValidationError("eval", usage.error().message);
      eval.home = home;
      eval.json = json;
      chosen = [&] { return run_eval(eval); };
    });
  }
  TrainCommand train;
  {
    CLI::App& v = verb(cli, "train", "fine-tune a LoRA adapter on JSON lines", "colony train data.jsonl --out my-adapter --minutes 10");
    v.add_option("DATA", train.file, "JSON lines (or a .csv file) of prompt and answer, prompt and completion, or messages, or with --raw a .txt file; - is standard input")->required();
    v.add_option("--out", train.out, "the PEFT folder to make");
    v.add_option("--agent", train.agent, "make or teach this agent: the adapter goes into its folder");
    v.add_option("--agents", train.agents, "folder of agents (default: ./agents)");
    v.add_option("--valid", train.valid, "validation lines (default: a share of DATA, chosen by content)");
    v.add_option("--valid-share", train.valid_share, "that share (default: 0.1)")->check(number(0, 0.9));
    v.add_option("--valid-most", train.valid_most, "most examples an evaluation looks at (default: 200)")->transform(whole(1, 1'000'000'000));
    auto* from = v.add_option("--from", train.from, "begin with this PEFT folder's weights; its rank, targets and scale stay");
    train.loop.answers = 50;
    v.add_option("--valid-answers", train.loop.answers, "validation examples answered by generation at an evaluation, for the exact match (default: 50; 0: none)")->transform(whole(0, 1'000'000));
    v.add_option("--rank", train.rank, "rank of the adapter (default: 8)")->transform(whole(1, 4096))->excludes(from);
    v.add_option("--alpha", train.alpha, "its scale is alpha / rank (default: twice the rank)")->check(number(0, 1e6, false))->excludes(from);
    v.add_option("--targets", train.targets, "all-linear, module names with commas, or a pattern of whole paths")->excludes(from);
    v.add_option("--rank-pattern", train.rank_pattern, "NAME=RANK for some modules; may be given again")->allow_extra_args(false)->excludes(from);
    v.add_option("--alpha-pattern", train.alpha_pattern, "NAME=ALPHA for some modules; may be given again")->allow_extra_args(false)->excludes(from);
    v.add_flag("--dora", train.dora, "DoRA: learn the length of each output's weights too")->excludes(from);
    v.add_flag("--rslora", train.rslora, "scale by alpha / sqrt(rank)")->excludes(from);
    v.add_option("--dropout", train.loop.dropout, "share of the adapter's inputs dropped (default: 0)")->check(number(0, 0.95));
    v.add_option("--lr", train.loop.learning_rate, "learning rate (default: 0.002)")->check(number(0, 10, false));
    v.add_option("--schedule", train.schedule, "cosine, linear or constant")->check(CLI::IsMember({"cosine", "linear", "constant"}));
    v.add_option("--warmup", train.loop.warmup, "updates of warm-up, or a share of them below 1 (default: 0.05)")->check(number(0, 1e9));
    v.add_option("--weight-decay", train.loop.adam.weight_decay, "AdamW's decay (default: 0)")->check(number(0, 1));
    v.add_option("--clip", train.loop.clip, "longest gradient (default: 1; 0: never clipped)")->check(number(0, 1e9));
    auto* epochs = v.add_option("--epochs", train.loop.epochs, "times over the data (default: 3)")->check(number(0, 1e6, false));
    v.add_option("--steps", train.loop.steps, "updates")->transform(whole(1, 1'000'000'000))->excludes(epochs);
    v.add_option("--minutes", train.loop.minutes, "no more than fits into this time")->check(number(0, 1e6, false));
    v.add_option("--batch", train.loop.batch, "examples of a micro-batch (default: 8)")->transform(whole(1, 100'000));
    v.add_option("--grad-accum", train.loop.accumulate, "micro-batches of an update (default: 1)")->transform(whole(1, 100'000));
    v.add_option("--max-length", train.max_length, "longest example in tokens (default: 1024)")->transform(whole(2, 1'000'000));
    v.add_option("--too-long", train.too_long, "what becomes of a longer one: refuse (its line is bad), drop, cut")->check(CLI::IsMember({"refuse", "drop", "cut"}));
    v.add_option("--loss-on", train.loss_on, "answer (and its end-of-turn token), or all")->check(CLI::IsMember({"answer", "all"}));
    v.add_flag("--raw", train.raw, "prompts as they are, without the chat template");
    v.add_option("--eval-every", train.loop.eval_every, "updates between evaluations (default: a tenth of the run)")->transform(whole(1, 1'000'000'000));
    v.add_option("--patience", train.loop.patience, "end after this many evaluations without a better loss")->transform(whole(1, 1'000'000));
    v.add_option("--save-every", train.loop.save_every, "updates between checkpoints (default: every 20 seconds)")->transform(whole(1, 1'000'000'000));
    v.add_option("--seed", train.loop.seed, "the same seed gives the same adapter (default: 42)")->transform(whole(0));
    v.add_flag("--resume", train.resume, "go on from the checkpoint in the folder; the same options again");
    v.add_flag("--recompute", train.recompute, "keep fewer activations and compute them again (chosen by itself when --memory is short)");
    v.add_option("--model", train.model.model, "folder, .gguf file or hub id (default: the starter model)");
    v.add_option("--dtype", train.model.dtype, "weights as auto (bf16), f32 or bf16")->check(CLI::IsMember({"auto", "f32", "bf16"}));
    v.add_option("--threads", train.model.threads, "threads (default: all of the machine)")->transform(whole(1, 1024));
    v.add_option("--memory", train.model.memory, "ceiling for weights and training, as 2GiB (default: 70 % of the machine's)")->check(size_of_memory());
    add_json(v);
    v.callback([&] {
      if (train.out.empty() == train.agent.empty()) throw CLI::ValidationError("train", "give --out DIR, or --agent NAME");
      train.json = json;
      chosen = [&] { return run_train(train); };
    });
  }
  ChatOptions chat;
  {
    CLI::App& v = verb(cli, "chat", "talk with a model", "colony chat --temperature 0.7");
    v.add_option("--system", chat.system, "system message (default: the template's)");
    add_model(v, chat.model);
    add_sampling(v, chat.sampling);
    v.callback([&] { chosen = [&] { return run_chat(chat); }; });
  }

  // ---- models ----
  PullCommand pull;
  {
    CLI::App& v = verb(cli, "ls", "list the models on this machine", "colony ls");
    add_json(v);
    v.callback([&] { chosen = [&] { return run_ls(json); }; });
  }
  {
    CLI::App& v = verb(cli, "show", "what a model is", "colony show org/name");
    v.add_option("MODEL", name, "folder, .gguf file or hub id (default: the starter model)");
    add_json(v);
    v.callback([&] { chosen = [&] { return run_show(name, json); }; });
  }
  {
    CLI::App& v = verb(cli, "pull", "fetch a model from the hub", "colony pull HuggingFaceTB/SmolLM2-135M-Instruct");
    v.add_option("MODEL", pull.model, "org/name, org/name@revision, or org/name:Q4_K_M for one quantisation of a GGUF repository (default: Q4_K_M, else Q8_0, …)")->required();
    v.add_option("--include", pull.include, "only files that match, as \"*.json\"; may be given again")->allow_extra_args(false);
    v.add_option("--exclude", pull.exclude, "no files that match; may be given again")->allow_extra_args(false);
    v.add_flag("--force", pull.force, "also a model whose family cannot run here");
    v.callback([&] { chosen = [&] { return run_pull(pull); }; });
  }

  // ---- agents ----
  std::vector<std::string> names;
  ModelOptions check_model;
  {
    CLI::App& group = verb(cli, "agents", "list, show, check and make agents", "colony agents ls");
    group.require_subcommand(1);
    const auto add_agents = [&](CLI::App& v) { v.add_option("--agents", agents, "folder of agents (default: ./agents)"); };
    CLI::App& ls = verb(group, "ls", "list the agents", "colony agents ls");
    add_agents(ls);
    add_json(ls);
    ls.callback([&] { chosen = [&] { return run_agents_ls(agents, json); }; });
    CLI::App& show = verb(group, "show", "what an agent is", "colony agents show generalist");
    show.add_option("NAME", name, "the agent")->required();
    add_agents(show);
    add_json(show);
    show.callback([&] { chosen = [&] { return run_agents_show(agents, name, json); }; });
    CLI::App& check = verb(group, "check", "whether colony run would host these agents, and why not", "colony agents check");
    check.add_option("--model", check_model.model, "folder, .gguf file or hub id (default: the starter model)");
    check.add_option("--dtype", check_model.dtype, "weights as auto, f32, bf16, int8 or int4")->check(CLI::IsMember({"auto", "f32", "bf16", "int8", "int4"}));
    check.add_option("--memory", check_model.memory, "ceiling for weights, caches and adapters, as 2GiB (default: 70 % of the machine's)")->check(size_of_memory());
    check.add_option("NAME", names, "these agents (default: all)");
    add_agents(check);
    add_json(check);
    check.callback([&] { chosen = [&] { return run_agents_check(agents, names, check_model, json); }; });
    CLI::App& make = verb(group, "new", "make the folder of a new agent", "colony agents new tickets");
    make.add_option("NAME", name, "a-z, 0-9, - and _")->required();
    add_agents(make);
    make.callback([&] { chosen = [&] { return run_agents_new(agents, name); }; });
  }

  // ---- replay-outcomes ----
  ReplayOptions replay;
  {
    CLI::App& v = verb(cli, "replay-outcomes", "recorded outcomes through the swarm as it serves, beside central baselines",
                       "colony replay-outcomes recorded/mmlupro --policy all --pool small --seeds 5");
    v.add_option("DIR", replay.folder, "folder with queries.jsonl, scores.csv and, if there, models.csv and embeddings.f16");
    v.add_option("--synthetic", replay.synthetic, "instead of DIR the synthetic bench of changing experts: main, none, region or break; or parts of the swarm with and without: "
                                                  "load (agents with queues: prices, thresholds), newcomer (few of many asked: dances)")
        ->check(CLI::IsMember({"main", "none", "region", "break", "load", "newcomer"}));
    std::string kinds = "names separated by commas, constants behind them as ucb1:c=0.3, or all:";
    for (const auto& kind : swarm::policy_kinds()) kinds += "\n" + kind.name + ": " + kind.what;
    v.add_option("--policy", replay.policies, kinds);
    v.add_option("--seeds", replay.seeds, "orders of the stream (default: 5)")->transform(whole(1, 10'000));
    v.add_option("--first-seed", replay.first_seed, "the first order's seed (default: 1)")->transform(whole(0, 1'000'000'000));
    v.add_option("--pool", replay.pool, "all agents, or the small ones of models.csv")->check(CLI::IsMember({"all", "small"}));
    v.add_option("--scores", replay.scores, "the file of scores, in DIR or a path (default: scores.csv)");
    v.add_option("--places", replay.places, "where tasks lie: file (embeddings.f16), model (hidden states of --model), tokens (counts), auto (file, else model)")
        ->check(CLI::IsMember({"auto", "file", "model", "tokens"}));
    v.add_flag("--labels", replay.labels, "the domain is told: it is each task's place, and the labelled baselines may run");
    v.add_flag("--drift", replay.drift, "at half time the six best agents exchange behaviour in reverse order");
    v.add_flag("--arrival", replay.arrival, "the best agent can be chosen only from half time on");
    v.add_option("--nodes", replay.nodes, "swarm nodes in the process (default: 1)")->transform(whole(1, 64));
    v.add_option("--tasks", replay.tasks, "only the first so many of each order")->transform(whole(1, 1'000'000'000));
    v.add_option("--ablate", replay.ablate, "switch off in the colony, separated by commas: trails, places, recent, detection, exploration, early-optimism (it then rises with age); of several nodes gossip, audit");
    v.add_flag("--ablations", replay.ablations, "the colony once more without each of these");
    v.add_flag("--own-test", replay.own_test, "with --gate: the test is the home's own, each item a whole deposit, and not one that the agents brought along");
    v.add_option("--gate", replay.gate, "the colony once more, each agent with its scores on the first so many questions, which the stream leaves out for all");
    v.add_option("--cost-weight", replay.cost_weight, "the colony once more, its bids paying so much success for 256 expected tokens (outlen.csv says what answers cost), as 0.02")
        ->check(number(0, 100, false));
    v.add_option("--threads", replay.model.threads, "for places: threads (default: all of the machine)")->transform(whole(1, 1024));
    v.add_option("--model", replay.model.model, "for places: folder, .gguf file or hub id (default: the starter model)");
    add_home(v);
    add_json(v);
    v.callback([&] {
      if (const auto usage = check_usage(replay); !usage) throw CLI::ValidationError("replay-outcomes", usage.error().message);
      replay.home = home;
      replay.json = json;
      chosen = [&] { return run_replay_outcomes(replay); };
    });
  }

  // ---- doctor, bench ----
  ModelOptions bench_model;
  BenchOptions bench;
  bool no_peers = false;
  {
    CLI::App& v = verb(cli, "doctor", "whether this machine can run the colony", "colony doctor");
    v.add_option("--model", name, "folder, .gguf file or hub id (default: the starter model)");
    v.add_option("--agents", agents, "folder of agents (default: ./agents)");
    add_home(v);
    add_json(v);
    v.callback([&] { chosen = [&] { return run_doctor(home, name, agents, json); }; });
    CLI::App& b = verb(cli, "bench", "measure the engine and training beside their peers, and the swarm", "colony bench all");
    b.add_option("NAME", bench.name, "engine, adapters, memory, train, swarm or all")->required()->check(CLI::IsMember(bench_names()));
    b.add_option("--rounds", bench.rounds, "rounds; at least 3 for numbers one shows to others (default: 3)")->transform(whole(1, 1000));
    b.add_option("--peers", bench.peers, "these peers (default: llama.cpp openvino vllm, and peft for train); installed when first used");
    b.add_option("--cells", bench.cells, "these cells (default: all)");
    b.add_flag("--no-peers", no_peers, "measure ours alone");
    b.add_option("--model", bench_model.model, "folder, .gguf file or hub id (default: the starter model)");
    b.add_option("--dtype", bench_model.dtype, "weights of the cells that do not name theirs")
        ->check(CLI::IsMember({"auto", "f32", "bf16", "int8", "int4"}));
    b.add_option("--kv", bench.kv, "keys and values as auto, f32, bf16 or int8")->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
    b.add_option("--threads", bench_model.threads, "threads, ours and the peers' (default: all of the machine)")->transform(whole(1, 1024));
    b.add_option("--memory", bench_model.memory, "ceiling of our ledger, as 2GiB (default: 70 % of the machine's)")->check(size_of_memory());
    add_json(b);
    b.callback([&] {
      chosen = [&]() -> Result<int> {
        bench.json = json;
        if (no_peers) bench.peers.clear();
        bench.dtype = bench_model.dtype;
        bench.threads = bench_model.threads;
        if (!bench_model.memory.empty()) {
          ASSIGN_OR_RETURN(bench.memory_bytes, parse_bytes(bench_model.memory));
        }
        if (bench.name != "swarm") {  // the only one without a model
          ASSIGN_OR_RETURN(bench.model, find_model(bench_model.model));
        }
        RETURN_IF_ERROR(run_bench(bench));
        return kDone;
      };
    });
  }

  refuse_empty(cli);
  begin_process();
  try {
    cli.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return cli.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return cli.exit(version);
  } catch (const CLI::ParseError& problem) {
    std::string words = "colony";
    const CLI::App* at = &cli;
    while (!at->get_subcommands().empty()) {
      at = at->get_subcommands().front();
      words += " " + at->get_name();
    }
    complain(invalid("{}", usage_problem(cli, *at, problem)));
    std::fprintf(stderr, "Try: %s --help\n", words.c_str());
    return kUsage;
  }
  if (!chosen) {
    std::fputs(cli.help().c_str(), stdout);
    return kDone;
  }
  const Result<int> status = chosen();
  const Status arrived = printed();
  if (pipe_closed()) return 128 + SIGPIPE;  // `| head` has what it wanted: as if the signal had ended it
  if (!status) complain(status.error());
  if (!arrived) {
    complain(arrived.error());
    return kSomeBad;
  }
  if (status) return *status;
  return interrupted() ? kInterrupted : kSomeBad;
}

}  // namespace colony::app
