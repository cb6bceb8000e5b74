#include "emulator/runtime/clock.hpp"

#include <iterator>

namespace q4fuse_emulator {
namespace {

bool of_earlier_thread(stamp a, stamp b) { return thread_of(a) < thread_of(b); }

}  // namespace

bool past::contains_of_thread(stamp other) const {
  const auto found = std::lower_bound(threads.begin(), threads.end(), other, of_earlier_thread);
  return found != threads.end() && thread_of(*found) == thread_of(other) && other < *found;
}

void past::add_thread(stamp until) {
  const auto place = std::lower_bound(threads.begin(), threads.end(), until, of_earlier_thread);
  if (place != threads.end() && thread_of(*place) == thread_of(until)) {
    *place = std::max(*place, until);
  } else {
    threads.insert(place, until);
  }
}

void past::join(const past& other) {
  for (size_t w = 0; w < warps.size(); ++w) warps[w] = std::max(warps[w], other.warps[w]);
  if (threads == other.threads) return;
  std::vector<stamp> both;
  both.reserve(threads.size() + other.threads.size());
  std::merge(threads.begin(), threads.end(), other.threads.begin(), other.threads.end(), std::back_inserter(both),
             of_earlier_thread);
  threads.clear();
  for (const stamp until : both) {
    if (!threads.empty() && thread_of(threads.back()) == thread_of(until)) {
      threads.back() = std::max(threads.back(), until);
    } else {
      threads.push_back(until);
    }
  }
}

void past::settle(int count) {
  oldest = *std::min_element(warps.begin(), warps.begin() + count);
  const auto implied = [this](stamp until) { return interval_of(until) <= warps[warp_of(until)]; };
  threads.erase(std::remove_if(threads.begin(), threads.end(), implied), threads.end());
}

void barrier_clock::begin_cta(int warps, stamp fresh) {
  warps_ = warps;
  alone_.fill(0);
  learned_.fill(0);
  past all_before;
  all_before.warps.fill(fresh);
  all_before.oldest = fresh;
  of_warp_.fill(all_before);
  for (std::vector<stamp>& opened : opened_) opened.clear();
}

void barrier_clock::pass_barrier(const warp_set& mask, stamp fresh) {
  past merged;
  for (int w = 0; w < warps_; ++w) {
    if (!mask[static_cast<size_t>(w)]) continue;
    merged.join(of_warp_[static_cast<size_t>(w)]);
    for (uint32_t lanes = learned_[static_cast<size_t>(w)]; lanes != 0; lanes &= lanes - 1) {
      merged.join(of_thread_[static_cast<size_t>(w * kWarpSize + __builtin_ctz(lanes))]);
    }
  }
  for (int w = 0; w < warps_; ++w) {
    if (mask[static_cast<size_t>(w)]) merged.warps[static_cast<size_t>(w)] = fresh;
  }
  merged.settle(warps_);
  for (int w = 0; w < warps_; ++w) {
    if (!mask[static_cast<size_t>(w)]) continue;
    of_warp_[static_cast<size_t>(w)] = merged;
    learned_[static_cast<size_t>(w)] = 0;
    opened_[static_cast<size_t>(w)].clear();
  }
}

void barrier_clock::learn_warp(int warp, const past& passed_on) {
  past& mine = of_warp_[static_cast<size_t>(warp)];
  mine.join(passed_on);
  mine.settle(warps_);
}

void barrier_clock::learn(int thread, const past& passed_on) {
  const auto warp = static_cast<size_t>(thread / kWarpSize);
  past& mine = of_thread_[static_cast<size_t>(thread)];
  if ((learned_[warp] >> (thread % kWarpSize) & 1) == 0) mine = of_warp_[warp];
  mine.join(passed_on);
  mine.settle(warps_);
  learned_[warp] |= 1u << (thread % kWarpSize);
}

}  // namespace q4fuse_emulator
