#include "emulator/runtime/shared_memory.hpp"

#include <sys/mman.h>

#include <new>
#include <string>

namespace q4fuse_emulator {
namespace {

constexpr size_t kReservedBytes = 4 * 1024 * 1024;
/// The alignment that arch::shared_memory promises, and no more.
constexpr size_t kBaseAlignment = 1024;
constexpr size_t kShadowBytes = shared_memory::kCapacity * sizeof(stamp);

/// Zeroed memory that takes no space until it is touched: few launches have 32 warps or use all of shared memory.
void* reserve(size_t bytes, int protection) {
  void* memory = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

/// Room for a vector that begins at the last byte.
constexpr size_t kSlack = 64;

}  // namespace

shared_memory::shared_memory()
    : base_(static_cast<uint8_t*>(reserve(kReservedBytes, PROT_NONE)) + kReservedBytes / 2 + kBaseAlignment),
      content_(static_cast<uint8_t*>(reserve(kCapacity + kSlack, PROT_READ | PROT_WRITE))),
      writer_(static_cast<stamp*>(reserve(kShadowBytes + kSlack, PROT_READ | PROT_WRITE))),
      fences_(static_cast<stamp*>(reserve(kShadowBytes + kSlack, PROT_READ | PROT_WRITE))),
      readers_(static_cast<stamp*>(reserve(kMaxWarps * kShadowBytes + kSlack, PROT_READ | PROT_WRITE))) {}

shared_memory::~shared_memory() {
  munmap(base_ - kReservedBytes / 2 - kBaseAlignment, kReservedBytes);
  munmap(content_, kCapacity + kSlack);
  munmap(writer_, kShadowBytes + kSlack);
  munmap(fences_, kShadowBytes + kSlack);
  munmap(readers_, kMaxWarps * kShadowBytes + kSlack);
}

void shared_memory::clear_shadow() {
  madvise(writer_, kShadowBytes + kSlack, MADV_DONTNEED);
  madvise(readers_, kMaxWarps * kShadowBytes + kSlack, MADV_DONTNEED);
}

void shared_memory::land(size_t offset, size_t bytes, const moment& m) {
  for (size_t i = offset; i < offset + bytes; ++i) writer_[i] = m.now, fences_[i] = m.fences;
}

void shared_memory::note_async_read(size_t offset, size_t bytes, const moment& m) {
  for (size_t i = offset; i < offset + bytes; ++i) {
    stamp& reader = readers(m.warp)[i];
    reader = reader < m.warp_now ? sole_reader(m) : with_reader(reader, m);
  }
}

bool shared_memory::explain_read(size_t offset, size_t bytes, const moment& m, fault_report* report) const {
  for (size_t i = offset; i < offset + bytes; ++i) {
    const stamp writer = writer_[i];
    if (writer >= first_ && !is_concurrent(writer, m)) continue;
    if (report == nullptr) return false;
    report->offset = static_cast<int64_t>(i);
    if (writer < first_) {
      report->kind = fault_kind::shared_unwritten_read;
    } else {
      report->kind = writer >= kInFlight ? fault_kind::async_read_before_wait : fault_kind::shared_race;
      report->other_thread = thread_of(writer);
      report->detail = "the other side wrote byte " + std::to_string(i);
    }
    return false;
  }
  return true;
}

bool shared_memory::explain_write(size_t offset, size_t bytes, const moment& m, fault_report* report) const {
  for (size_t i = offset; i < offset + bytes; ++i) {
    const stamp writer = writer_[i];
    if (is_concurrent(writer, m)) {
      if (report == nullptr) return false;
      report->kind = writer >= kInFlight ? fault_kind::async_overwrite : fault_kind::shared_race;
      report->offset = static_cast<int64_t>(i);
      report->other_thread = thread_of(writer);
      report->detail = "the other side wrote byte " + std::to_string(i);
      return false;
    }
    for (int warp = 0; warp < warps_; ++warp) {
      const stamp readers_of_warp = readers(warp)[i];
      for (const stamp lane : {readers_of_warp >> 5 & 31, readers_of_warp & 31}) {
        const stamp reader = interval_of(readers_of_warp) | static_cast<stamp>(warp * kWarpSize) | lane;
        if (thread_of(reader) == thread_of(m.now) || m.known->contains(reader)) continue;
        if (report == nullptr) return false;
        report->kind = fault_kind::shared_race;
        report->offset = static_cast<int64_t>(i);
        report->other_thread = thread_of(reader);
        report->detail = "the other side read byte " + std::to_string(i);
        return false;
      }
    }
  }
  return true;
}

}  // namespace q4fuse_emulator
