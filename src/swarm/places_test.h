// Places for tests.
#pragma once
#include <array>

#include "base/rng.h"
#include "swarm/landmark.h"

namespace colony::swarm {

inline Place random_place(RngStream& rng) {
  std::array<double, kPlaceDim> v{};
  for (double& x : v) x = rng.normal();
  return unit(v);
}

// The place of task `number` of a stream of `kinds`: near its kind's centre, the same wherever it is asked for.
inline Place place_of(uint64_t number, size_t kinds) {
  RngStream rng(77, number, 0, 7);
  std::array<double, kPlaceDim> v{};
  for (size_t i = 0; i < kPlaceDim; ++i) {
    RngStream centre(78, number % kinds, static_cast<uint32_t>(i), 7);
    v[i] = centre.normal() + .4 * rng.normal();
  }
  return unit(v);
}

}  // namespace colony::swarm
