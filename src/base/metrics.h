// Counters and gauges any room may write and anybody may read; names in one place.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/sync.h"

namespace colony {

// The names, as Prometheus sees them. Units are in the name.
namespace metric {
inline constexpr char kPromptTokens[] = "colony_prompt_tokens_total";
inline constexpr char kGeneratedTokens[] = "colony_generated_tokens_total";
inline constexpr char kDraftedTokens[] = "colony_drafted_tokens_total";
inline constexpr char kAcceptedTokens[] = "colony_drafted_tokens_accepted_total";
inline constexpr char kPrefixHitTokens[] = "colony_prefix_hit_tokens_total";
inline constexpr char kEngineSteps[] = "colony_engine_steps_total";
inline constexpr char kPreemptions[] = "colony_engine_preemptions_total";
inline constexpr char kRunning[] = "colony_requests_running";
inline constexpr char kWaiting[] = "colony_requests_waiting";
inline constexpr char kKvPagesUsed[] = "colony_kv_pages_used";
inline constexpr char kKvPages[] = "colony_kv_pages";
inline constexpr char kAdaptersResident[] = "colony_adapters_resident";
inline constexpr char kAdapterLoads[] = "colony_adapter_loads_total";
inline constexpr char kAdapterEvictions[] = "colony_adapter_evictions_total";
inline constexpr char kTasksFinal[] = "colony_tasks_final_total";
inline constexpr char kDeposits[] = "colony_deposits_total";
inline constexpr char kGossip[] = "colony_gossip_messages_total";
inline constexpr char kGossipRecords[] = "colony_gossip_records_total";
inline constexpr char kGossipBytes[] = "colony_gossip_bytes_total";
inline constexpr char kAgentFailures[] = "colony_agent_failures_total";
inline constexpr char kQuorumVotes[] = "colony_quorum_votes_total";
inline constexpr char kDivisionTask[] = "colony_division_of_labour_task";
inline constexpr char kDivisionIndividual[] = "colony_division_of_labour_individual";
}  // namespace metric

// A number that is added to or set. Threads: any.
class Metric {
 public:
  void add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
  void set(double to) { value_.store(to, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// Threads: any. A returned reference lives as long as the registry: look it up once, keep it.
class Metrics {
 public:
  Metric& get(const std::string& name) EXCLUDES(mutex_) {
    Lock lock(mutex_);
    auto& slot = metrics_[name];
    if (!slot) slot = std::make_unique<Metric>();
    return *slot;
  }
  // (name, value) in alphabetical order.
  std::vector<std::pair<std::string, double>> all() const EXCLUDES(mutex_) {
    Lock lock(mutex_);
    std::vector<std::pair<std::string, double>> list;
    for (const auto& [name, metric] : metrics_) list.emplace_back(name, metric->value());
    return list;
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::unique_ptr<Metric>> metrics_ GUARDED_BY(mutex_);
};

}  // namespace colony
