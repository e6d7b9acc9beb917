// A small pool of threads with passive waiting: on a busy machine we lose our share and no more. Its threads, the one that calls run()
// included, ask the system for short slices of processor time (thread_slice.h); threads they start do not have them.
//
// run() splits a call into parts; each part must write only what is its own, so results do not
// depend on how many threads there are or which of them takes which part.
#pragma once
#include <memory>

namespace colony::tensor {

class ThreadPool {
 public:
  // threads >= 1, the caller of run() included. 1 means: no thread is started.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Calls part(0) … part(parts-1), each once, on the calling thread and the pool's; returns when
  // all are done. `part` must not throw and must not call run(). Threads: one caller at a time.
  template <typename Part>
  void run(int parts, const Part& part) {
    run_parts(parts, [](const void* p, int i) { (*static_cast<const Part*>(p))(i); }, &part);
  }
  // Whether the thread that takes `part` of `parts` takes part + 1 after it, if no other is ahead of it: what to fetch from memory.
  bool goes_on(int part, int parts) const;

 private:
  // Not a std::function: one of those takes memory from the heap for each call.
  using Call = void (*)(const void* part, int i);
  void run_parts(int parts, Call call, const void* part);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace colony::tensor
