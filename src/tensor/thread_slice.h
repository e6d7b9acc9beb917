// How long a thread may keep the processor before others get it; private to this room.
//
// A thread that sleeps and wakes at every call, as a pool's do, gets the processor back from one that never sleeps only when that one's
// slice ends, some milliseconds later, and so do those that wait for its parts: beside two busy loops on two cores a step had .29 of
// its speed. With short slices of its own (Linux 6.12; older ones take no notice) it gets it at once, and has its fair share, .5.
#pragma once
#include <cstdint>

namespace colony::tensor {

inline constexpr uint64_t kShortSliceNs = 100'000;  // the least that Linux takes

// For the calling thread, not for threads and processes that it starts. False where the system refuses, as a sandbox may: then all is as before.
bool ask_for_short_slices();
// The calling thread's; 0 where the system does not say.
uint64_t slice_ns();

}  // namespace colony::tensor
