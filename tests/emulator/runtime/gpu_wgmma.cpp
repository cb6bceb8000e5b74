// Asynchronous products of a warpgroup.

#include "emulator/runtime/gpu.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace q4fuse_emulator {

namespace {

/// Row and column of accumulator `i` of a thread.
int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8; }
int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

bool is_touched(const wgmma_accumulators& sums) {
  const std::vector<uint32_t> poison(sums.values.size(), wgmma_queue::kPoison);
  return std::memcmp(sums.d, poison.data(), poison.size() * sizeof(uint32_t)) != 0;
}

}  // namespace

void gpu::raise_of(const thread_state& thread, fault_report report, const site& where) {
  current_ = &threads_[static_cast<size_t>(thread.index)];
  raise(std::move(report), where);
}

void gpu::wgmma(const wgmma_product& product, void* d, const uint32_t* a, const site& where) {
  wgmma_queue& queue = current_->products;
  const bool first_of_group = queue.requests.size() == queue.committed;
  if (first_of_group && !queue.fenced) raise(fault_report{fault_kind::register_fence_missing}, where);
  queue.fenced = false;
  auto sums = std::find_if(queue.accumulators.begin(), queue.accumulators.end(),
                           [d](const wgmma_accumulators& other) { return other.d == d; });
  if (sums == queue.accumulators.end()) {
    queue.accumulators.push_back({d, product.type, std::vector<uint32_t>(product.accumulators()), 0});
    sums = queue.accumulators.end() - 1;
    const std::vector<uint32_t> poison(product.accumulators(), wgmma_queue::kPoison);
    std::memcpy(sums->values.data(), d, poison.size() * sizeof(uint32_t));
    std::memcpy(d, poison.data(), poison.size() * sizeof(uint32_t));
  } else if (sums->type != product.type || sums->values.size() != product.accumulators()) {
    fault_report report{fault_kind::register_fence_missing};
    report.detail = "only products of one shape may follow each other in the same accumulators";
    raise(std::move(report), where);
  }
  ++sums->requests;
  std::array<uint32_t, 4> a_content{};
  if (a != nullptr) std::copy_n(a, a_content.size(), a_content.begin());
  const moment issued = now();
  queue.requests.push_back({product, d, a, a_content, where, issued, *issued.known});
}

void gpu::wgmma_commit() {
  wgmma_queue& queue = current_->products;
  queue.groups.push_back(queue.requests.size() - queue.committed);
  queue.committed = queue.requests.size();
}

void gpu::wgmma_wait(size_t pending_groups, const site& where) {
  const int group = thread_index() / kWarpgroupSize;
  const int groups_of_cta = request_.threads / kWarpgroupSize;
  if (group >= groups_of_cta) {
    raise_divergence(fault_kind::warp_divergence, -1, {}, where, "the CTA ends before the warpgroup does");
  }
  std::vector<int>& waiting = waiting_for_wgmma_[static_cast<size_t>(current_->rank * groups_of_cta + group)];
  waiting.push_back(current_->index);
  if (waiting.size() < kWarpgroupSize) {
    block("wgmma_wait", false, where);
    return;
  }

  warpgroup threads;
  const auto first = static_cast<size_t>(current_->rank * request_.threads + group * kWarpgroupSize);
  for (size_t i = 0; i < threads.size(); ++i) threads[i] = &threads_[first + i];
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

/// Raises a fault unless whoever wrote each of the bytes has passed a proxy fence since, in the reader's past.
void gpu::require_proxy_fences(size_t offset, size_t bytes, const moment& reader, const site& where) {
  for (size_t byte = offset; byte < offset + bytes; ++byte) {
    const int writer = thread_of(shared_.writer(byte));
    const std::vector<stamp>& fences = threads_[static_cast<size_t>(writer)].proxy_fences;
    const size_t needed = shared_.fences_before_write(byte);
    if (needed < fences.size() && !is_concurrent(fences[needed], reader)) continue;
    fault_report report{fault_kind::proxy_fence_missing};
    report.offset = static_cast<int64_t>(byte);
    report.bytes = static_cast<int>(bytes);
    report.other_thread = writer;
    report.detail = "the other side wrote byte " + std::to_string(byte);
    raise(std::move(report), where);
  }
}

/// The 16 bytes at `offset` of an operand, on behalf of one thread of each warp: written, fenced and passed on by a
/// barrier before the request, and not overwritten since.
void gpu::read_unit(const warpgroup& threads, const site& where, size_t offset, uint8_t* bytes) {
  constexpr size_t kUnit = wgmma_product::kUnit;
  for (size_t i = 0; i < threads.size(); i += kWarpSize) {
    thread_state& thread = *threads[i];
    moment issued = thread.products.requests.front().issued;
    issued.known = &thread.products.requests.front().known;
    fault_report report{fault_kind::shared_out_of_bounds};
    report.offset = static_cast<int64_t>(offset);
    report.bytes = kUnit;
    if (!shared_.contains(offset, kUnit, thread.rank) || !shared_.explain_read(offset, kUnit, issued, &report)) {
      raise_of(thread, std::move(report), where);
    }
    thread_state* const last = std::exchange(current_, &thread);
    require_proxy_fences(offset, kUnit, issued, where);
    shared_.note_async_read(offset, kUnit, now());
    current_ = last;
  }
  std::memcpy(bytes, shared_.content(offset), kUnit);
}

/// `rows` rows of an operand in shared memory, 32 bytes each. A descriptor counts from where the CTA's own begins.
std::vector<uint8_t> gpu::read_operand(const warpgroup& threads, const site& where, uint64_t descriptor, int rows) {
  const swizzled_operand operand(descriptor);
  if (!operand.known) raise(fault_report{fault_kind::invalid_descriptor}, where);
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * wgmma_product::kRowBytes));
  for (int row = 0; row < rows; ++row) {
    for (int unit = 0; unit < 2; ++unit) {
      read_unit(threads, where, cta_offset(threads[0]->rank) + operand.address(row, unit),
                &bytes[static_cast<size_t>(row * wgmma_product::kRowBytes + unit * wgmma_product::kUnit)]);
    }
  }
  return bytes;
}

/// Operand A in the threads' registers: a[0] and a[1] are four bytes of rows g and g + 8, a[2] and a[3] those 16 bytes
/// further on.
std::vector<uint8_t> gpu::gather_operand(const warpgroup& threads) {
  std::vector<uint8_t> bytes(wgmma_product::kRows * wgmma_product::kRowBytes);
  for (const thread_state* thread : threads) {
    const wgmma_request& mine = thread->products.requests.front();
    if (!std::equal(mine.a_content.begin(), mine.a_content.end(), mine.a)) {
      raise_of(*thread, fault_report{fault_kind::wgmma_registers_touched}, mine.where);
    }
    const int index = thread->index % request_.threads % kWarpgroupSize;
    for (int i = 0; i < 4; ++i) {
      const int byte = index % 4 * 4 + i / 2 * wgmma_product::kUnit;
      std::memcpy(&bytes[static_cast<size_t>(row_of(index, 2 * i) * wgmma_product::kRowBytes + byte)],
                  &mine.a_content[static_cast<size_t>(i)], 4);
    }
  }
  return bytes;
}

void gpu::multiply_oldest(const warpgroup& threads) {
  for (const thread_state* thread : threads) {
    const auto& requests = thread->products.requests;
    const wgmma_request& mine = current_->products.requests.front();
    if (requests.empty() || requests.front().where != mine.where || !(requests.front().product == mine.product)) {
      raise_divergence(fault_kind::warp_divergence, thread->index, {}, mine.where,
                       "the threads of a warpgroup ask for different products");
    }
  }
  const wgmma_product product = threads[0]->products.requests.front().product;
  const site where = threads[0]->products.requests.front().where;
  ++totals_.warp_operations;
  const std::vector<uint8_t> b = read_operand(threads, where, product.b, product.columns);
  const std::vector<uint8_t> a =
      product.a ? read_operand(threads, where, *product.a, wgmma_product::kRows) : gather_operand(threads);

  std::vector<uint32_t> d(static_cast<size_t>(wgmma_product::kRows * product.columns));
  const auto sum_of = [&](const thread_state& thread, size_t i) -> uint32_t& {
    const int index = thread.index % request_.threads % kWarpgroupSize;
    const int at = static_cast<int>(i);
    return d[static_cast<size_t>(row_of(index, at) * product.columns + column_of(index, at))];
  };
  std::array<wgmma_accumulators*, kWarpgroupSize> sums;
  for (size_t t = 0; t < threads.size(); ++t) {
    wgmma_queue& queue = threads[t]->products;
    sums[t] = &*std::find_if(queue.accumulators.begin(), queue.accumulators.end(),
                             [&](const wgmma_accumulators& other) { return other.d == queue.requests.front().d; });
    for (size_t i = 0; i < sums[t]->values.size(); ++i) sum_of(*threads[t], i) = sums[t]->values[i];
  }
  multiply(product, a.data(), b.data(), d.data());
  for (size_t t = 0; t < threads.size(); ++t) {
    wgmma_queue& queue = threads[t]->products;
    wgmma_accumulators& mine = *sums[t];
    for (size_t i = 0; i < mine.values.size(); ++i) mine.values[i] = sum_of(*threads[t], i);
    if (--mine.requests == 0) {
      if (is_touched(mine)) raise_of(*threads[t], fault_report{fault_kind::wgmma_registers_touched}, where);
      std::memcpy(mine.d, mine.values.data(), mine.values.size() * sizeof(uint32_t));
      queue.accumulators.erase(queue.accumulators.begin() + (&mine - queue.accumulators.data()));
    }
    queue.requests.pop_front();
    --queue.committed;
  }
}

}  // namespace q4fuse_emulator
