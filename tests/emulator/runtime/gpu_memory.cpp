// Checked memory accesses and asynchronous copies of the running thread.

#include "emulator/runtime/gpu.hpp"

#include <algorithm>
#include <utility>

namespace q4fuse_emulator {

void gpu::raise(fault_report report, const site& where) const {
  report.cta = cta_;
  report.thread = current_->index;
  report.where = where;
  if (report.other_thread >= 0 && report.other_cta < 0) report.other_cta = cta_;
  throw fault(std::move(report));
}

void gpu::refuse_shared_address(const void* address, size_t bytes, size_t alignment, const site& where) const {
  const size_t offset = shared_.offset_of(address);
  const bool inside = shared_.contains(offset, bytes, current_->rank);
  fault_report report{inside ? fault_kind::misaligned_access : fault_kind::shared_out_of_bounds};
  report.offset = static_cast<int64_t>(offset);
  report.bytes = static_cast<int>(bytes);
  report.detail = inside ? "needs a multiple of " + std::to_string(alignment)
                         : "the launch asked for " + std::to_string(shared_.bytes()) + " bytes";
  raise(std::move(report), where);
}

void gpu::refuse_read(size_t offset, size_t bytes, const site& where) const {
  fault_report report{};
  shared_.explain_read(offset, bytes, now(), &report);
  refuse_in_flight(std::move(report), bytes, where);
}

void gpu::refuse_write(size_t offset, size_t bytes, const site& where) const {
  fault_report report{};
  shared_.explain_write(offset, bytes, now(), &report);
  refuse_in_flight(std::move(report), bytes, where);
}

void gpu::refuse_in_flight(fault_report report, size_t bytes, const site& where) const {
  report.bytes = static_cast<int>(bytes);
  if (report.kind == fault_kind::async_read_before_wait || report.kind == fault_kind::async_overwrite) {
    const auto byte = static_cast<size_t>(report.offset);
    for (const copy_in_flight& copy : threads_[static_cast<size_t>(report.other_thread)].copies) {
      if (byte - copy.offset < copy.bytes) report.other_where = copy.where;
    }
  }
  raise(std::move(report), where);
}

allocation& gpu::checked_allocation(const void* address, size_t bytes, size_t alignment, const site& where) {
  allocation* target = global.find(address, bytes);
  const bool aligned = reinterpret_cast<uintptr_t>(address) % alignment == 0;
  if (target != nullptr && aligned) return *target;

  fault_report report{target == nullptr ? fault_kind::global_out_of_bounds : fault_kind::misaligned_access};
  report.bytes = static_cast<int>(bytes);
  report.buffer = "unallocated memory";
  if (const allocation* nearest = target != nullptr ? target : global.nearest(address)) {
    report.buffer = nearest->label;
    report.offset = nearest->offset_of(address);
    report.detail = target == nullptr ? "the buffer has " + std::to_string(nearest->bytes) + " bytes"
                                      : "needs a multiple of " + std::to_string(alignment);
  }
  raise(std::move(report), where);
}

const uint8_t* gpu::global_read(const void* address, size_t bytes, size_t alignment, const site& where) {
  allocation& source = checked_allocation(address, bytes, alignment, where);
  const int64_t offset = source.offset_of(address);
  if (!current_->dependencies_done) check_dependency(source, source.last_write_launch, offset, bytes, where);
  if (source.last_write_launch == totals_.launches) check_global_race(source, offset, bytes, where);
  source.last_read_launch = totals_.launches;
  source.moved.read += static_cast<int64_t>(bytes);
  source.moved.sector_bytes_read += touch_sectors(source.sector_read_launch, totals_.launches, offset, bytes);
  return source.content.data() + offset;
}

uint8_t* gpu::global_write(void* address, size_t bytes, size_t alignment, const site& where) {
  allocation& target = checked_allocation(address, bytes, alignment, where);
  const int64_t offset = target.offset_of(address);
  if (!current_->dependencies_done) {
    check_dependency(target, std::max(target.last_read_launch, target.last_write_launch), offset, bytes, where);
  }
  if (target.writers.empty()) target.writers.resize(target.bytes);
  check_global_race(target, offset, bytes, where);
  std::fill_n(target.writers.begin() + offset, bytes, uint64_t{cta_serial_} << 32 | now().now);
  target.last_write_launch = totals_.launches;
  target.moved.written += static_cast<int64_t>(bytes);
  target.moved.sector_bytes_written += touch_sectors(target.sector_write_launch, totals_.launches, offset, bytes);
  return target.content.data() + offset;
}

void gpu::check_global_race(const allocation& target, int64_t offset, size_t bytes, const site& where) const {
  const moment m = now();
  for (int64_t i = offset; i < offset + static_cast<int64_t>(bytes); ++i) {
    const uint64_t writer = target.writers[static_cast<size_t>(i)];
    const auto serial = static_cast<uint32_t>(writer >> 32);
    if (serial < first_serial_) continue;
    if (serial == cta_serial_ && !is_concurrent(static_cast<stamp>(writer), m)) continue;
    fault_report report{fault_kind::global_race};
    report.offset = i;
    report.bytes = static_cast<int>(bytes);
    report.buffer = target.label;
    report.other_cta = (static_cast<int64_t>(serial) - first_serial_) * request_.cluster_ctas;
    report.other_thread = thread_of(static_cast<stamp>(writer));
    report.detail = "the other side wrote byte " + std::to_string(i);
    raise(std::move(report), where);
  }
}

void gpu::check_dependency(const allocation& target, int64_t other_launch, int64_t offset, size_t bytes,
                           const site& where) const {
  if (other_launch < first_unfinished_launch_ || other_launch == totals_.launches) return;
  fault_report report{fault_kind::early_dependent_access};
  report.offset = offset;
  report.bytes = static_cast<int>(bytes);
  report.buffer = target.label;
  report.detail = "launch " + std::to_string(other_launch) + " of the program uses it and may still be running";
  raise(std::move(report), where);
}

bool gpu::fill(void* base, size_t pitch, int value, size_t row_bytes, size_t rows) {
  synchronize();
  for (size_t row = 0; row < rows; ++row) {
    const uint8_t* begin = static_cast<const uint8_t*>(base) + row * pitch;
    allocation* target = global.find(begin, row_bytes);
    if (target == nullptr) return false;
    std::fill_n(target->content.begin() + target->offset_of(begin), row_bytes, static_cast<uint8_t>(value));
    target->moved.written += static_cast<int64_t>(row_bytes);
  }
  return true;
}

void gpu::async_commit() {
  current_->groups.push_back(current_->copies.size() - current_->committed);
  current_->committed = current_->copies.size();
}

void gpu::async_wait(size_t pending_groups) {
  size_t done = 0;
  while (current_->groups.size() > pending_groups) {
    done += current_->groups.front();
    current_->groups.pop_front();
  }
  current_->committed -= done;
  land_copies(done);
}

void gpu::land_copies(size_t count) {
  auto& copies = current_->copies;
  const moment written = now();
  for (size_t i = 0; i < count; ++i) {
    const copy_in_flight& copy = copies[i];
    if (copy.source != nullptr) {
      std::copy_n(copy.source, copy.bytes, shared_.content(copy.offset));
    } else {
      std::fill_n(shared_.content(copy.offset), copy.bytes, uint8_t{0});
    }
    shared_.land(copy.offset, copy.bytes, written);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace q4fuse_emulator
