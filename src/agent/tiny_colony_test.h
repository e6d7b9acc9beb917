// For tests: agents' folders and a tiny random model with letters and a chat template, in a folder of
// their own.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "base/check.h"
#include "base/file.h"
#include "engine/engine.h"
#include "engine/small_tokenizer.h"
#include "engine/tiny_checkpoint.h"
#include "text/chat_template.h"

namespace colony::agent {

inline void put_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  CHECK(write_file(path, text).has_value(), path.string());
}

// `rest`: more of agent.toml. `script`: "" = none.
inline void put_agent(const std::filesystem::path& agents, const std::string& name,
                      std::string_view script = "", std::string_view rest = "") {
  put_file(agents / name / "agent.toml", "name = \"" + name + "\"\n" + std::string(rest));
  if (!script.empty()) put_file(agents / name / "script.lua", script);
}

// Context: 600 tokens, a byte each.
struct TinyEngine {
  explicit TinyEngine(engine::EngineOptions options = {}, uint64_t weights_seed = 9) {
    const engine::TinyShape shape;
    write_tiny_checkpoint(folder.path() / "model", shape, weights_seed);
    auto loaded = engine::Snapshot::load(folder.path() / "model", "tiny", "f32", ledger, pool);
    CHECK(loaded.has_value(), loaded ? "" : loaded.error().message);
    auto with_text = std::make_shared<engine::Snapshot>(**loaded);
    with_text->text.tokenizer = engine::small_tokenizer({"re", "red", "gr", "gre", "bl", "no"});
    auto chat = text::ChatTemplate::parse(
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}");
    CHECK(chat.has_value(), chat ? "" : chat.error().message);
    with_text->text.chat_template = *chat;
    with_text->eos_ids = {0};
    snapshot = with_text;
    if (options.kv_pages == 0) options.kv_pages = 400;
    auto made = engine::Engine::create(snapshot, options, ledger, pool, clock, metrics);
    CHECK(made.has_value(), made ? "" : made.error().message);
    engine = std::move(*made);
  }

  engine::TempFolder folder;
  ByteLedger ledger{1ULL << 30};
  tensor::ThreadPool pool{1};
  ManualClock clock;
  Metrics metrics;
  std::shared_ptr<const engine::Snapshot> snapshot;
  std::unique_ptr<engine::Engine> engine;
};

}  // namespace colony::agent
