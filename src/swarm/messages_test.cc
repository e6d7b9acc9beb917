#include "swarm/messages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "swarm/landmark.h"

namespace colony::swarm {
namespace {

std::vector<Message> one_of_each() {
  Place place{};
  place[3] = 1;
  TrailRecord trail;
  trail.writer = 2, trail.agent = 77, trail.stamp = {3, 9}, trail.landmarks = 5, trail.n = 4;
  trail.s[0] = 4, trail.b[0] = 2.5F, trail.costs = {2, 8, 32, 9, 50}, trail.costs_at = 700;
  PopulationRecord population;
  population.writer = 2, population.stamp = {3, 8}, population.sums[0] = 1, population.sums[3 * kFeatures + 2] = 2;
  Landmarks map;
  map.epoch = 64, map.centre[2] = place, map.count[2] = 64;
  Delta delta;
  delta.from = 1;
  delta.ranges = {{2, {3, 1}, {3, 9}}};
  delta.trails = {trail};
  delta.populations = {population};
  delta.landmarks = std::make_shared<const Landmarks>(map);
  return {Announce{1, 2, place, 100, 3, {4, 9}}, Bid{1, 2, 3, .5, .4, .1, -.1, 12, 1, 3, 100, 20}, Assign{1, 2, 3, place, 4, 50}, Outcome{1, 3, place, .5, 40, 12.5, false},
          Digest{1, true, 64, 99, {{0, {1, 2}}, {4, {1, 0}}}}, delta,
          Dance{DanceKind::kSuccess, 7, 1, 2, 900, 3, place, .9F, .8F, .7F, 40}};
}

TEST(Messages, EachComesBackFromItsBytes) {
  for (const Message& message : one_of_each()) {
    const std::string bytes = encode(message);
    const auto again = decode(bytes);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->index(), message.index());
    EXPECT_EQ(encode(*again), bytes);
  }
  const auto bid = std::get<Bid>(*decode(encode(one_of_each()[1])));
  EXPECT_EQ(bid.deviation, .1);
  EXPECT_EQ(bid.tokens, 100);
  const auto outcome = std::get<Outcome>(*decode(encode(one_of_each()[3])));
  EXPECT_EQ(outcome.ms, 12.5);
  EXPECT_FALSE(outcome.scored);
  const auto delta = std::get<Delta>(*decode(encode(one_of_each()[5])));
  EXPECT_EQ(delta.trails[0].b[0], 2.5F);
  EXPECT_EQ(delta.trails[0].costs[4], 50);
  EXPECT_EQ(delta.trails[0].costs_at, 700U);
  EXPECT_LE(kTrailRecordBytes, 1536U);
  EXPECT_EQ(delta.landmarks->centre[2][3], 1.0F);
}

TEST(Messages, NoBitCanBeChangedNoByteMissing) {
  for (const Message& message : one_of_each()) {
    const std::string bytes = encode(message);
    for (size_t i = 0; i < bytes.size(); i += i < 120 || i + 40 > bytes.size() ? 1 : 31) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
      ASSERT_EQ(decode(changed).error().code, ErrorCode::kCorrupt) << message.index() << " at " << i;
      ASSERT_EQ(decode(bytes.substr(0, i)).error().code, ErrorCode::kCorrupt) << message.index() << " at " << i;
    }
    EXPECT_FALSE(decode(bytes + "x"));
  }
  EXPECT_FALSE(decode(std::string(kMessageBytesMax + 1, 'C')));
}

// The hash made right again, as who means harm would.
TEST(Messages, ForgedOnesAreRefusedOrInOrder) {
  RngStream rng(3, 0, 0, 7);
  int refused = 0, taken = 0;
  for (int attempt = 0; attempt < 20'000; ++attempt) {
    const auto all = one_of_each();
    std::string bytes = encode(all[static_cast<size_t>(attempt) % all.size()]);
    bytes.resize(bytes.size() - 8);
    const size_t at = 4 + rng.below(bytes.size() - 4);
    static constexpr float kNumbers[] = {NAN, INFINITY, -INFINITY, 1e30F, -1e30F, -1, 0};
    if (attempt % 3 == 0) {
      bytes[at] = static_cast<char>(rng.below(256));
    } else if (attempt % 3 == 1 && at + 4 <= bytes.size()) {
      std::memcpy(bytes.data() + at, &kNumbers[rng.below(std::size(kNumbers))], 4);
    } else {
      bytes.resize(at);
    }
    const uint64_t hash = fnv1a(bytes.data(), bytes.size());
    bytes.append(reinterpret_cast<const char*>(&hash), sizeof hash);
    const auto message = decode(bytes);
    if (!message) {
      ++refused;
      ASSERT_EQ(message.error().code, ErrorCode::kCorrupt);
      continue;
    }
    ++taken;
    ASSERT_EQ(encode(*message), bytes) << "taken as something else";
  }
  EXPECT_GT(refused, 5000);
  EXPECT_GT(taken, 1000);
}

}  // namespace
}  // namespace colony::swarm
