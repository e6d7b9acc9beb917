// One request on its way through the engine: what was asked, how far it is, what it holds.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_ledger.h"
#include "engine/draft.h"
#include "engine/request.h"
#include "engine/text_out.h"
#include "model/lora.h"

namespace colony::engine {

struct Sequence {
  Sequence(RequestId request_id, Request asked) : id(request_id), request(std::move(asked)) {}
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const RequestId id;
  const Request request;

  // ---- what the scheduler keeps ----
  std::vector<int32_t> tokens;  // prompt, then what was generated
  int64_t goal = 0;             // tokens whose keys and values are wanted now
  int64_t computed = 0;         // tokens whose keys and values are stored
  std::vector<int32_t> pages;   // enough for `computed`; once admitted, for `goal` as it was then
  int64_t published = 0;        // leading pages that are nodes of the prefix tree
  std::string salt;             // root of its prefix: the request's salt and its adapter's identity
  std::shared_ptr<const model::Adapter> adapter;  // pinned while admitted; null: none
  int passed_over = 0;          // times others went first because its adapter found no room
  bool share = false;           // takes part in prefix sharing
  bool alone = false;           // meets a page that another computes: publishes no further
  int64_t tokens_max = 0;       // kGenerate: `tokens` never grow beyond this
  Draft draft;                  // kGenerate: what may follow `tokens`
  bool prompt_paid = false;     // the prompt's tokens were taken from the budget
  bool admitted_once = false;
  int64_t prefix_hit_tokens = 0;

  int64_t remaining() const { return goal - computed; }
  bool foreground() const { return request.request_class == RequestClass::kForeground; }
  // The order in which sequences are served; also who is preempted last.
  bool before(const Sequence& other) const {
    if (foreground() != other.foreground()) return foreground();
    return id < other.id;
  }

  // ---- what the engine keeps ----
  Output output;
  std::optional<TextOut> text;
  std::unique_ptr<text::Acceptor::State> constraint;
  std::vector<double> hidden_sum;  // kEmbed
  std::chrono::nanoseconds submitted{0};
  bool started = false;
};

}  // namespace colony::engine
