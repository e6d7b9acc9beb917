// Mutex, Lock and CondVar with clang's thread-safety annotations (libstdc++'s own have none).
#pragma once
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define COLONY_TSA(x) __attribute__((x))
#else
#define COLONY_TSA(x)
#endif
#define CAPABILITY(x) COLONY_TSA(capability(x))
#define SCOPED_CAPABILITY COLONY_TSA(scoped_lockable)
#define GUARDED_BY(x) COLONY_TSA(guarded_by(x))
#define REQUIRES(...) COLONY_TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) COLONY_TSA(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) COLONY_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) COLONY_TSA(release_capability(__VA_ARGS__))

namespace colony {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class SCOPED_CAPABILITY Lock {
 public:
  explicit Lock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Lock() RELEASE() { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Mutex& mutex_;
};

// wait() returns spuriously; call it in a loop over the condition, with the mutex held.
class CondVar {
 public:
  void wait(Mutex& mutex) REQUIRES(mutex) { cond_.wait(mutex); }
  void notify_one() { cond_.notify_one(); }
  void notify_all() { cond_.notify_all(); }

 private:
  std::condition_variable_any cond_;
};

}  // namespace colony
