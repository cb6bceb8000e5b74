// Asynchronous products of a warpgroup.

#include "emulator/runtime/gpu.hpp"

#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace q4fuse_emulator {

namespace {

constexpr int kRows = 64;
constexpr int kDepth = 16;

float to_float(const uint8_t* half) {
  __half_raw raw;
  std::memcpy(&raw.x, half, sizeof(raw.x));
  return __half2float(__half(raw));
}

/// Row and column of accumulator `i` of a thread.
int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8; }
int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

bool is_touched(const float* d, size_t count) {
  return !std::all_of(
      d, d + count, [](const float& value) { return std::memcmp(&value, &wgmma_queue::kPoison, sizeof(value)) == 0; });
}

}  // namespace

void gpu::raise_of(const thread_state& thread, fault_report report, const site& where) {
  current_ = &threads_[static_cast<size_t>(thread.index)];
  raise(std::move(report), where);
}

void gpu::wgmma(float* d, int columns, const uint32_t* a, uint64_t descriptor, const site& where) {
  wgmma_queue& queue = current_->products;
  const bool first_of_group = queue.requests.size() == queue.committed;
  if (first_of_group && !queue.fenced) raise(fault_report{fault_kind::register_fence_missing}, where);
  queue.fenced = false;
  auto sums = std::find_if(queue.accumulators.begin(), queue.accumulators.end(),
                           [d](const wgmma_accumulators& other) { return other.d == d; });
  if (sums == queue.accumulators.end()) {
    queue.accumulators.push_back({d, std::vector<float>(d, d + columns / 2), 0});
    sums = queue.accumulators.end() - 1;
    for (int i = 0; i < columns / 2; ++i) std::memcpy(d + i, &wgmma_queue::kPoison, sizeof(float));
  }
  ++sums->requests;
  const moment issued = now();
  queue.requests.push_back({d, columns, a, {a[0], a[1], a[2], a[3]}, descriptor, where, issued, *issued.known});
}

void gpu::wgmma_commit() {
  wgmma_queue& queue = current_->products;
  queue.groups.push_back(queue.requests.size() - queue.committed);
  queue.committed = queue.requests.size();
}

void gpu::wgmma_wait(size_t pending_groups, const site& where) {
  const size_t index = static_cast<size_t>(current_->index / kWarpgroupSize);
  if (index >= waiting_for_wgmma_.size()) {
    raise_divergence(fault_kind::warp_divergence, -1, {}, where, "the CTA ends before the warpgroup does");
  }
  std::vector<int>& waiting = waiting_for_wgmma_[index];
  waiting.push_back(current_->index);
  if (waiting.size() < kWarpgroupSize) {
    block("wgmma_wait", false, where);
    return;
  }

  warpgroup threads;
  for (size_t i = 0; i < threads.size(); ++i) threads[i] = &threads_[index * kWarpgroupSize + i];
  for (const thread_state* thread : threads) {
    if (thread != current_ && thread->waits_at != where) {
      raise_divergence(fault_kind::warp_divergence, thread->index, thread->waits_at, where,
                       "a warpgroup waits in two places");
    }
  }
  thread_state* const last = current_;
  while (last->products.groups.size() > pending_groups) {
    for (size_t left = last->products.groups.front(); left > 0; --left) multiply_oldest(threads);
    for (thread_state* thread : threads) {
      if (!thread->products.groups.empty()) thread->products.groups.pop_front();
    }
  }
  for (const int thread : waiting) {
    threads_[static_cast<size_t>(thread)].warp->runnable |= 1u << (thread % kWarpSize);
  }
  waiting.clear();
}

/// The 16 bytes at `offset` of operand B, on behalf of one thread of each warp: written, fenced and passed on by a
/// barrier before the request, and not overwritten since.
void gpu::read_operand(const warpgroup& threads, const wgmma_request& request, size_t offset, uint8_t* bytes) {
  constexpr size_t kUnit = 16;
  for (size_t i = 0; i < threads.size(); i += kWarpSize) {
    thread_state& thread = *threads[i];
    moment issued = thread.products.requests.front().issued;
    issued.known = &thread.products.requests.front().known;
    fault_report report{fault_kind::shared_out_of_bounds};
    report.offset = static_cast<int64_t>(offset);
    report.bytes = kUnit;
    if (!shared_.contains(offset, kUnit) || !shared_.explain_read(offset, kUnit, issued, &report)) {
      raise_of(thread, std::move(report), request.where);
    }
    for (size_t byte = offset; byte < offset + kUnit; ++byte) {
      const int writer = thread_of(shared_.writer(byte));
      const std::vector<stamp>& fences = threads_[static_cast<size_t>(writer)].proxy_fences;
      const size_t needed = shared_.fences_before_write(byte);
      if (needed < fences.size() && !is_concurrent(fences[needed], issued)) continue;
      report.kind = fault_kind::proxy_fence_missing;
      report.offset = static_cast<int64_t>(byte);
      report.other_thread = writer;
      report.detail = "the other side wrote byte " + std::to_string(byte);
      raise_of(thread, std::move(report), request.where);
    }
    thread_state* const last = std::exchange(current_, &thread);
    shared_.note_async_read(offset, kUnit, now());
    current_ = last;
  }
  std::memcpy(bytes, shared_.content(offset), kUnit);
}

void gpu::multiply_oldest(const warpgroup& threads) {
  for (const thread_state* thread : threads) {
    const auto& requests = thread->products.requests;
    const wgmma_request& mine = current_->products.requests.front();
    if (requests.empty() || requests.front().where != mine.where || requests.front().descriptor != mine.descriptor ||
        requests.front().columns != mine.columns) {
      raise_divergence(fault_kind::warp_divergence, thread->index, {}, mine.where,
                       "the threads of a warpgroup ask for different products");
    }
  }
  const wgmma_request request = threads[0]->products.requests.front();
  const swizzled_operand operand(request.descriptor);
  if (!operand.known) raise(fault_report{fault_kind::invalid_descriptor}, request.where);
  ++totals_.warp_operations;

  float a[kRows][kDepth];
  std::vector<float> b(static_cast<size_t>(kDepth * request.columns));  // a row for each k
  std::vector<float> d(static_cast<size_t>(kRows * request.columns));
  for (int row = 0; row < request.columns; ++row) {
    for (int unit = 0; unit < 2; ++unit) {
      uint8_t bytes[16];
      read_operand(threads, request, operand.address(row, unit), bytes);
      for (int i = 0; i < 8; ++i)
        b[static_cast<size_t>((8 * unit + i) * request.columns + row)] = to_float(bytes + 2 * i);
    }
  }
  const auto sum_of = [&](int thread, int i) -> float& {
    return d[static_cast<size_t>(row_of(thread, i) * request.columns + column_of(thread, i))];
  };
  std::array<wgmma_accumulators*, kWarpgroupSize> sums;
  for (int thread = 0; thread < kWarpgroupSize; ++thread) {
    wgmma_queue& queue = threads[static_cast<size_t>(thread)]->products;
    const wgmma_request& mine = queue.requests.front();
    if (!std::equal(mine.a_content.begin(), mine.a_content.end(), mine.a)) {
      raise_of(*threads[static_cast<size_t>(thread)], fault_report{fault_kind::wgmma_registers_touched}, mine.where);
    }
    for (int i = 0; i < 4; ++i) {
      const int k = thread % 4 * 2 + i / 2 * 8;
      const auto* halves = reinterpret_cast<const uint8_t*>(&mine.a_content[static_cast<size_t>(i)]);
      a[row_of(thread, 2 * i)][k] = to_float(halves);
      a[row_of(thread, 2 * i)][k + 1] = to_float(halves + 2);
    }
    sums[static_cast<size_t>(thread)] =
        &*std::find_if(queue.accumulators.begin(), queue.accumulators.end(),
                       [&](const wgmma_accumulators& other) { return other.d == mine.d; });
    for (int i = 0; i < request.columns / 2; ++i) {
      sum_of(thread, i) = sums[static_cast<size_t>(thread)]->values[static_cast<size_t>(i)];
    }
  }
  for (int row = 0; row < kRows; ++row) {
    float* const sum = &d[static_cast<size_t>(row * request.columns)];
    for (int k = 0; k < kDepth; ++k) {
      const float* const column = &b[static_cast<size_t>(k * request.columns)];
      for (int j = 0; j < request.columns; ++j) sum[j] += a[row][k] * column[j];
    }
  }
  for (int thread = 0; thread < kWarpgroupSize; ++thread) {
    wgmma_queue& queue = threads[static_cast<size_t>(thread)]->products;
    wgmma_accumulators& mine = *sums[static_cast<size_t>(thread)];
    const size_t count = mine.values.size();
    for (size_t i = 0; i < count; ++i) mine.values[i] = sum_of(thread, static_cast<int>(i));
    if (--mine.requests == 0) {
      if (is_touched(mine.d, count)) {
        raise_of(*threads[static_cast<size_t>(thread)], fault_report{fault_kind::wgmma_registers_touched},
                 queue.requests.front().where);
      }
      std::copy(mine.values.begin(), mine.values.end(), mine.d);
      queue.accumulators.erase(queue.accumulators.begin() + (&mine - queue.accumulators.data()));
    }
    queue.requests.pop_front();
    --queue.committed;
  }
}

}  // namespace q4fuse_emulator
