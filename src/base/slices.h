// A long piece of work done in slices, where its owner has time for it.
//
// The work has a thread of its own, which goes only while the owner waits in run(): of the two never more than one is
// awake, so what they share needs no lock, and the work is written as if nobody ever interrupted it.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

#include "base/clock.h"
#include "base/sync.h"

namespace colony {

class Slices {
 public:
  using Work = std::function<void(Slices& slices)>;
  // `work` begins at the first run(). Clock is borrowed; may be called from both threads.
  Slices(Work work, const Clock& clock);
  // breathe() gives false from now on, and the work is waited for.
  ~Slices();
  Slices(const Slices&) = delete;
  Slices& operator=(const Slices&) = delete;

  // Owner: lets the work go on for about `time`, up to its first breath after that. False: it has ended.
  bool run(std::chrono::nanoseconds time) EXCLUDES(mutex_);
  // Work: returns at once while the slice lasts, else waits for the next one. False: the work is to end soon.
  bool breathe() EXCLUDES(mutex_);

 private:
  enum class Turn : uint8_t { kOwner, kWork };

  const Clock& clock_;
  Work work_;
  Mutex mutex_;
  CondVar turned_;
  Turn turn_ GUARDED_BY(mutex_) = Turn::kOwner;
  bool ended_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::chrono::nanoseconds until_ GUARDED_BY(mutex_){0};
  std::thread thread_;
};

}  // namespace colony
