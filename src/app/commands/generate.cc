#include "app/commands/generate.h"

#include <cstdio>
#include <filesystem>

#include "app/console.h"
#include "app/input_lines.h"
#include "app/session.h"
#include "text/unicode.h"

namespace colony::app {
namespace {

using engine::Output;
using engine::Request;
using engine::Snapshot;

// The ids of `messages`, or of `prompt` (raw, or as one user message when `chat`).
Result<std::vector<int32_t>> prompt_ids(const Json& line, const Snapshot& snapshot, bool chat, int64_t now_unix_ms) {
  const bool has_messages = line.contains("messages") && !line["messages"].is_null();
  ASSIGN_OR_RETURN(const auto prompt, get_string(line, "prompt", "line"));
  if (prompt && has_messages) return invalid("both \"prompt\" and \"messages\" are given, expected one of them");
  if (has_messages) {
    if (!line["messages"].is_array() || line["messages"].empty()) {
      return invalid("\"messages\": found {}, expected a list that is not empty", json_kind(line["messages"]));
    }
    return snapshot.chat_ids(line["messages"], now_unix_ms);
  }
  if (!prompt) return invalid("found neither \"prompt\" nor \"messages\"{}", line.contains("ids") ? "" : " nor \"ids\"");
  if (!chat) return snapshot.raw_ids(*prompt);
  return snapshot.chat_ids(Json::array({{{"role", "user"}, {"content", *prompt}}}), now_unix_ms);
}

// "token" as OpenAI has it: the text of this token alone, or a special token's name; a token that is part of a character has U+FFFD there.
// A model without a tokenizer has ids only.
Json logprobs_json(const std::vector<engine::TokenLogprob>& list, const text::Tokenizer* tokenizer) {
  const auto named = [&](int32_t id, double logprob) {
    Json one = {{"id", id}, {"logprob", logprob}};
    if (tokenizer != nullptr) {
      one["token"] = tokenizer->is_special(id) ? tokenizer->token(id).value_or("") : text::lossy_utf8(tokenizer->bytes_of(id));
    }
    return one;
  };
  Json out = Json::array();
  for (const auto& entry : list) {
    Json one = named(entry.id, entry.logprob);
    if (!entry.top.empty()) {
      one["top"] = Json::array();
      for (const auto& [id, logprob] : entry.top) one["top"].push_back(named(id, logprob));
    }
    out.push_back(std::move(one));
  }
  return out;
}

// The verbs' common loop: `ask` makes a request of a line, `tell` says what came of it (and may fail
// the whole verb). Bad lines are complained of and told with their error.
Result<int> each_line(const LinesOptions& options, Session& session, const std::vector<InputLine>& lines,
                      const std::function<Asked(const Json&)>& ask,
                      const std::function<Status(size_t, Result<Output>)>& tell) {
  Status failed;
  const int status = run_all(
      *session.engine, lines.size(),
      [&](size_t i) -> Asked {
        if (!lines[i].value) return Error(lines[i].value.error());
        auto request = ask(*lines[i].value);
        if (!request) return at_line(options.file, lines[i].line, request.error());
        request->task_id = i;
        request->sampling = options.sampling.params();
        return request;
      },
      [&](size_t i, Result<Output> output) {
        if (!failed) return;
        if (output && output->finish == engine::FinishReason::kError) {
          complain(at_line(options.file, lines[i].line, output->error.value_or(invalid("no reason given"))));
        } else if (!output) {
          complain(output.error());
        }
        failed = tell(i, std::move(output));
      });
  if (!failed) return Error(failed.error());
  if (status == kInterrupted && printed()) note("interrupted: the answers so far are complete lines; ask for the rest again");
  return status;
}

}  // namespace

Result<int> run_generate(const LinesOptions& options) {
  ASSIGN_OR_RETURN(const auto lines, read_lines(options.file));
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  const Snapshot& snapshot = *session->snapshot;
  catch_interrupts();
  const double start = session->clock.seconds();
  uint64_t tokens = 0;
  const int64_t now = session->clock.unix_ms();
  ASSIGN_OR_RETURN(
      const int status,
      each_line(
          options, *session, lines,
          [&](const Json& line) -> Asked {
            Request request;
            ASSIGN_OR_RETURN(request.adapter, session->adapter_of(line));
            ASSIGN_OR_RETURN(auto ids, read_ids(line, snapshot.model->config().vocab_size));
            if (ids && (line.contains("prompt") || line.contains("messages"))) {
              return invalid("\"ids\" and \"prompt\" or \"messages\" are given, expected one of them");
            }
            if (!ids) {
              ASSIGN_OR_RETURN(ids, prompt_ids(line, snapshot, options.chat, now));
            }
            request.prompt_ids = std::move(*ids);
            return request;
          },
          [&](size_t i, Result<Output> output) -> Status {
            if (!options.json) {
              if (output) print_line(output->text);
              return {};
            }
            Json line = {{"index", i}};
            if (!output) {
              line.update({{"prompt_ids", Json::array()}, {"ids", Json::array()}, {"text", ""}, {"finish", "error"},
                           {"error", output.error().message}});
            } else {
              tokens += output->ids.size();
              line.update({{"prompt_ids", output->prompt_ids}, {"ids", output->ids}, {"text", output->text},
                           {"finish", engine::finish_reason_name(output->finish)}});
              if (options.sampling.logprobs >= 0) line["logprobs"] = logprobs_json(output->logprobs, snapshot.text.tokenizer.get());
              if (output->error) line["error"] = output->error->message;
            }
            print_line(to_line(line));
            return {};
          }));
  if (tokens > 0) note("{} tokens in {:.1f} s", tokens, session->clock.seconds() - start);
  return status;
}

Result<int> run_score(const LinesOptions& options) {
  ASSIGN_OR_RETURN(const auto lines, read_lines(options.file));
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  const Snapshot& snapshot = *session->snapshot;
  catch_interrupts();
  const int64_t now = session->clock.unix_ms();
  return each_line(
      options, *session, lines,
      [&](const Json& line) -> Asked {
        Request request;
        ASSIGN_OR_RETURN(request.adapter, session->adapter_of(line));
        request.kind = Request::Kind::kScore;
        ASSIGN_OR_RETURN(request.prompt_ids, prompt_ids(line, snapshot, options.chat, now));
        ASSIGN_OR_RETURN(const auto completion, get_string(line, "completion", "line"));
        if (!completion) return invalid("\"completion\" is missing");
        ASSIGN_OR_RETURN(const auto ids, snapshot.text.tokenizer->encode(*completion, false));
        if (ids.empty()) return invalid("\"completion\" has no token");
        if (request.prompt_ids.empty()) return invalid("\"prompt\" has no token, so nothing predicts the completion's first");
        request.score_from = static_cast<int64_t>(request.prompt_ids.size());
        request.prompt_ids.insert(request.prompt_ids.end(), ids.begin(), ids.end());
        return request;
      },
      [&](size_t i, Result<Output> output) -> Status {
        double sum = 0;
        if (output) {
          for (const auto& entry : output->logprobs) sum += entry.logprob;
        }
        const bool good = output && !output->error;
        if (options.json) {
          print_line(to_line(good ? Json{{"index", i}, {"logprob", sum}, {"tokens", output->logprobs.size()}}
                                  : Json{{"index", i}, {"error", output ? output->error->message : output.error().message}}));
        } else if (good) {
          print_line(fmt::format("{:.6f}  {} tokens", sum, output->logprobs.size()));
        }
        return {};
      });
}

Result<int> run_logits(const LinesOptions& options) {
  ASSIGN_OR_RETURN(const auto lines, read_lines(options.file));
  ASSIGN_OR_RETURN(const auto session, Session::open(options.model));
  const int64_t vocab = session->snapshot->model->config().vocab_size;
  // A pipe or device takes the bytes as they come; a file is there only when it is whole.
  std::error_code problem;
  const std::filesystem::path out(options.out);
  const auto kind = std::filesystem::status(out, problem).type();
  const bool file_kind = kind == std::filesystem::file_type::regular || kind == std::filesystem::file_type::not_found;
  const std::filesystem::path part = file_kind ? std::filesystem::path(options.out + ".part") : out;
  std::FILE* file = std::fopen(part.c_str(), "wb");
  if (file == nullptr) return unavailable("{}: cannot be written", part.string());
  catch_interrupts();
  auto status = each_line(
      options, *session, lines,
      [&](const Json& line) -> Asked {
        Request request;
        ASSIGN_OR_RETURN(request.adapter, session->adapter_of(line));
        request.kind = Request::Kind::kLogits;
        ASSIGN_OR_RETURN(auto ids, read_ids(line, vocab));
        if (!ids) return invalid("\"ids\" is missing");
        request.prompt_ids = std::move(*ids);
        return request;
      },
      [&](size_t i, Result<Output> output) -> Status {
        const bool good = output && !output->error;
        if (good && std::fwrite(output->values.data(), sizeof(float), output->values.size(), file) != output->values.size()) {
          return unavailable("{}: writing failed; is the disk full?", part.string());
        }
        const Json shape = good ? Json{output->prompt_ids.size(), vocab} : Json{0, vocab};
        if (options.json) {
          Json line = {{"index", i}, {"shape", shape}};
          if (!good) line["error"] = output ? output->error->message : output.error().message;
          print_line(to_line(line));
        } else {
          print_line(fmt::format("{}  {}", i, to_line(shape)));
        }
        return {};
      });
  const bool closed = std::fclose(file) == 0;
  if (!status || !closed) {
    if (file_kind) std::filesystem::remove(part, problem);
    if (status) return unavailable("{}: writing failed; is the disk full?", part.string());
    return status;
  }
  if (!file_kind) return status;
  std::filesystem::rename(part, out, problem);
  if (problem) return unavailable("{}: cannot be written: {}", out.string(), problem.message());
  return status;
}

}  // namespace colony::app
