#include "tensor/thread_slice.h"

#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

namespace colony::tensor {
namespace {

// struct sched_attr, which linux/sched/types.h and glibc's headers both define, but not together.
struct Attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

std::optional<Attributes> attributes() {
  Attributes own{};
  if (syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) != 0) return std::nullopt;
  return own;
}

}  // namespace

bool ask_for_short_slices() {
  auto own = attributes();
  if (!own || own->policy != SCHED_NORMAL) return false;
  own->size = sizeof *own;
  own->flags |= SCHED_FLAG_RESET_ON_FORK;
  own->runtime = kShortSliceNs;
  return syscall(SYS_sched_setattr, 0, &*own, 0) == 0;
}

uint64_t slice_ns() {
  const auto own = attributes();
  return own ? own->runtime : 0;
}

}  // namespace colony::tensor
