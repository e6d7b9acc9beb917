// The map of task space a node makes for itself: landmarks, and how much a place belongs to each.
//
// Unsupervised, from every task the node hears. Places are centred by a running mean, since sentence
// embeddings share a large common part. Source: swarm_algorithms 1.2 and 1.3.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "swarm/messages.h"

namespace colony::swarm {

inline constexpr size_t kMapLog = 1024;

// v / |v|; nothing where v is nothing.
Place unit(const std::array<double, kPlaceDim>& v);

// φ of a place: sparse, ascending index; the intercept is always there with value 1.
struct Features {
  static constexpr int kMax = 6;
  int count = 0;
  std::array<uint8_t, kMax> index{};
  std::array<double, kMax> value{};
};

// What the first tasks left, so that a new map can be filled with what is known already.
struct Logged {
  std::array<int16_t, kPlaceDim> place{};  // times 32767
  AgentId agent = 0;                       // 0: no deposit (yet)
  float score = 0;
  float weight = 1;                        // what time has left of the deposit
};

// A map as it stood at its rebuild: what nodes share, so that a slot means the same everywhere.
struct Landmarks {
  uint32_t epoch = 0;  // tasks in the log at the rebuild: 32, 64 … kMapLog; 0: no map
  Place mean{};
  std::array<Place, kLandmarks> centre{};
  std::array<float, kLandmarks> count{};  // 0: no landmark in this slot
  uint64_t id() const;                    // of all of it; 0 without a map
  // Unit centres and ordinary numbers; anything else is not a map somebody made.
  bool valid() const;
};

class LandmarkMap {
 public:
  // `seed` and `node` decide the starts of the clustering (stream 6).
  LandmarkMap(uint64_t seed, NodeId node) : seed_(seed), node_(node) {}

  Features features(const Place& place) const;
  // Those of a landmark's own centre.
  Features features_at(size_t slot) const;
  // Cosine of the centred place with each landmark; slots without one have -2.
  std::array<double, kLandmarks> similarity(const Place& place) const;
  // The same from similarities at hand.
  Features features(const std::array<double, kLandmarks>& similarity) const;
  std::optional<size_t> nearest(const std::array<double, kLandmarks>& similarity) const;
  // Cosine of two places, both centred; by less while the mean is of few places.
  double nearness(const Place& a, const Place& b) const;
  // The slot nearest to the place; nullopt before the first rebuild.
  std::optional<size_t> nearest(const Place& place) const;
  bool rebuilds_next() const;  // learn() will make the landmarks anew
  // True when the landmarks were made anew: what was learned by slot is then to be filled from log().
  bool learn(const Place& place);
  // Lets the log go once it is full. To be called after what was learned has been filled from it.
  void close_full_log() {
    if (!log_open_) std::vector<Logged>().swap(log_);
  }
  // Where the task just learned stands in the log; nullopt when the log is closed.
  std::optional<size_t> last_logged() const;
  bool logging() const { return log_open_; }
  std::vector<Logged>& log() { return log_; }
  const std::vector<Logged>& log() const { return log_; }
  static Place place_of(const Logged& logged);

  Landmarks landmarks() const;
  uint32_t epoch() const { return epoch_; }
  // Another node's map in place of one's own, from now on. What was learned by slot is to be filled
  // from log() or taken over by overlap(); a final map closes the log (close_full_log() lets it go).
  void adopt(const Landmarks& landmarks);
  // [row: slot of `to`, column: slot of this map] how much of a landmark here belongs to each there.
  std::array<std::array<double, kLandmarks>, kLandmarks> overlap(const LandmarkMap& to) const;
  // Mean cosine of the landmarks here with the nearest of `other`, by count: how well it would serve.
  double served_by(const Landmarks& other) const;

  size_t count() const;
  bool there(size_t slot) const { return count_[slot] > 0; }
  const Place& centre(size_t slot) const { return centre_[slot]; }

 private:
  friend struct NodeBytes;  // node_bytes.cc writes and reads it
  Place centred(const Place& place) const;
  std::array<double, kLandmarks> similarity_of(const Place& z) const;
  Features features_of(const Place& z) const;
  void rebuild();
  void merge_close();

  uint64_t seed_;
  NodeId node_;
  uint64_t learned_ = 0;
  uint32_t epoch_ = 0;
  Place mean_{};
  std::array<Place, kLandmarks> centre_{};
  std::array<double, kLandmarks> count_{};  // 0: no landmark in this slot
  std::vector<Logged> log_;
  bool log_open_ = true;
};

}  // namespace colony::swarm
