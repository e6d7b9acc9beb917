#include "app/commands/models.h"

#include <atomic>

#include "app/console.h"
#include "app/session.h"
#include "base/byte_ledger.h"
#include "model/config.h"
#include "model/weights.h"
#include "net/hub.h"

namespace colony::app {
Result<int> run_ls(bool json) {
  const auto options = net::HubOptions::from_environment();
  ASSIGN_OR_RETURN(const auto models, net::list_cached(options));
  std::vector<std::vector<std::string>> rows{{"MODEL", "REVISION", "FILES", "SIZE"}};
  for (const auto& m : models) {
    if (json) {
      print_line(to_line({{"model", m.repo}, {"revision", m.revision}, {"commit", m.commit}, {"files", m.files},
                          {"bytes", m.bytes}, {"path", m.snapshot.string()}}));
    } else {
      rows.push_back({m.repo, m.revision.empty() ? m.commit.substr(0, 12) : m.revision, std::to_string(m.files), format_bytes(m.bytes)});
    }
  }
  if (!json) {
    if (models.empty()) note("no model in {}; get one with: colony pull org/name", options.cache.string());
    else std::fputs(table(rows).c_str(), stdout);
  }
  return kDone;
}

Result<int> run_show(const std::string& name, bool json) {
  ASSIGN_OR_RETURN(const auto path, find_model(name));
  ASSIGN_OR_RETURN(const auto weights, model::Weights::open(path));
  const model::ModelConfig& config = weights.config();
  ASSIGN_OR_RETURN(const auto side, engine::load_text_side(path));
  const int64_t layer = config.hidden_size * config.head_dim * (2 * config.num_attention_heads + 2 * config.num_key_value_heads) +
                        3 * config.hidden_size * config.intermediate_size;
  const int64_t parameters = config.num_hidden_layers * layer +
                             config.vocab_size * config.hidden_size * (config.tie_word_embeddings ? 1 : 2);
  Json out = {{"model", name.empty() ? path.filename().string() : name},
              {"path", path.string()},
              {"model_type", config.model_type},
              {"parameters", parameters},
              {"layers", config.num_hidden_layers},
              {"hidden_size", config.hidden_size},
              {"intermediate_size", config.intermediate_size},
              {"attention_heads", config.num_attention_heads},
              {"key_value_heads", config.num_key_value_heads},
              {"head_dim", config.head_dim},
              {"vocab_size", config.vocab_size},
              {"context", config.context_length()},
              {"tied_embeddings", config.tie_word_embeddings},
              {"tokenizer", side.tokenizer != nullptr},
              {"chat_template", side.chat_template != nullptr},
              {"specials", side.template_variables}};
  if (json) {
    print_line(to_line(out));
    return kDone;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : out.items()) {
    std::printf("%-18s %s\n", key.c_str(), value.is_string() ? value.get<std::string>().c_str() : to_line(value).c_str());
  }
  return kDone;
}

Result<int> run_pull(const PullCommand& command) {
  const std::string& repo = command.model;
  net::PullChoice choice{command.include, command.exclude, nullptr};
  if (!command.force) {
    choice.judge = [](const std::string& config, const std::string& gguf_architecture) {
      Status good = gguf_architecture.empty() ? Status() : model::check_gguf_architecture(gguf_architecture);
      if (good && !config.empty()) {
        const auto json = parse_json(config);
        if (!json) good = Error(json.error()).in("config.json");
        else if (const auto parsed = model::parse_model_config(*json, "config.json"); !parsed) good = parsed.error();
      }
      if (good) return good;
      return Status(make_error(good.error().code, "{}; so it cannot run here, and nothing more was fetched. To fetch it all the same: --force", good.error().message));
    };
  }
  catch_interrupts();
  const SystemClock clock;
  Progress progress("pull", clock);
  std::atomic<bool> cancel{false};
  net::PullProgress last;
  const auto path = net::pull(
      repo, net::HubOptions::from_environment(), choice,
      [&](const net::PullProgress& p) {
        if (interrupted()) cancel.store(true);
        last = p;
        progress.show(static_cast<int64_t>(p.bytes_done), static_cast<int64_t>(p.bytes_total),
                      fmt::format("{} of {}  {}", format_bytes(p.bytes_done), format_bytes(p.bytes_total), p.file));
      },
      &cancel);
  progress.clear();
  if (!path) {
    if (path.error().code == ErrorCode::kCancelled) {
      note("interrupted; what is there is kept, go on with: colony pull {}", repo);
      return kInterrupted;
    }
    return path.error();
  }
  if (!last.gguf.empty()) note("{}: one of {} GGUF models; another with: colony pull org/name:quantisation, as Q8_0", last.gguf, last.gguf_models);
  if (last.files_skipped > 0) note("{} file{} of the repository left out: {}", last.files_skipped, last.files_skipped == 1 ? "" : "s",
                                   command.include.empty() ? "other formats, or weights that are not needed" : "not asked for");
  print_line(path->string());
  return kDone;
}

}  // namespace colony::app
