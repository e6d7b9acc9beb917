#include "app/commands/chat.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "app/console.h"
#include "app/session.h"

namespace colony::app {

Result<int> run_chat(const ChatOptions& options) {
  ModelOptions one = options.model;
  one.batch = 1;
  ASSIGN_OR_RETURN(const auto session, Session::open(one));
  engine::Engine& engine = *session->engine;
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal) note("Write, and press Enter. /new starts over, /quit (or Ctrl-D) ends; Ctrl-C ends at once.");
  engine.on_text([](engine::RequestId, std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  });
  const auto fresh = [&] {
    Json messages = Json::array();
    if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
    return messages;
  };
  Json messages = fresh();
  bool bad = false;
  uint64_t turn = 0;
  for (std::string line;;) {
    if (terminal) std::fprintf(stderr, "> ");
    if (!std::getline(std::cin, line)) break;
    if (line == "/quit") break;
    if (line == "/new") {
      messages = fresh();
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    messages.push_back({{"role", "user"}, {"content", line}});
    engine::Request request;
    request.sampling = options.sampling.params();
    request.task_id = turn++;
    request.adapter = session->adapter;
    auto ids = session->snapshot->chat_ids(messages, session->clock.unix_ms());
    Result<engine::RequestId> id = ids ? [&] {
      request.prompt_ids = std::move(*ids);
      return engine.submit(std::move(request));
    }() : Result<engine::RequestId>(ids.error());
    if (!id) {
      complain(id.error());
      messages.erase(messages.size() - 1);
      bad = true;
      continue;
    }
    while (!engine.idle()) {
      for (auto& output : engine.step()) {
        if (output.error) {
          complain(*output.error);
          bad = true;
        }
        messages.push_back({{"role", "assistant"}, {"content", output.text}});
        if (output.finish == engine::FinishReason::kLength) note("\n(cut at --max-tokens {})", options.sampling.max_tokens);
      }
    }
    print_line("");
  }
  return bad ? kSomeBad : kDone;
}

}  // namespace colony::app
