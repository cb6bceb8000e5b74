#include "emulator/runtime/global_memory.hpp"

#include <sys/mman.h>

#include <new>
#include <stdexcept>

namespace q4fuse_emulator {
namespace {

constexpr size_t kPage = 4096;

/// Page-rounded size of a reservation: one page of nothing on each side of the buffer.
size_t reserved_bytes(size_t bytes) { return (bytes + 4 * kPage) / kPage * kPage; }

void* reservation_of(const uint8_t* base) {
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(base) / kPage - 1) * kPage);
}

}  // namespace

allocation& global_memory::allocate(size_t bytes, size_t misalignment, std::string label) {
  if (misalignment >= kPage) throw std::invalid_argument("misalignment of a page or more");
  void* reserved = mmap(nullptr, reserved_bytes(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) throw std::bad_alloc();
  auto created = std::make_unique<allocation>();
  created->base = static_cast<uint8_t*>(reserved) + kPage + misalignment;
  created->bytes = bytes;
  ++allocated_;
  created->label = label.empty() ? "buffer " + std::to_string(allocated_) : std::move(label);
  created->content.assign(bytes, 0xFF);
  created->sector_read_launch.resize(bytes / kSectorBytes + 1);
  created->sector_write_launch.resize(bytes / kSectorBytes + 1);
  auto& slot = allocations_[reinterpret_cast<uintptr_t>(created->base)];
  slot = std::move(created);
  return *slot;
}

void global_memory::release(const void* base) {
  const allocation& gone = at(base);
  munmap(reservation_of(gone.base), reserved_bytes(gone.bytes));
  recent_.fill(nullptr);
  allocations_.erase(reinterpret_cast<uintptr_t>(base));
}

allocation* global_memory::find_slowly(const void* address, size_t bytes) {
  auto next = allocations_.upper_bound(reinterpret_cast<uintptr_t>(address));
  if (next == allocations_.begin()) return nullptr;
  allocation* found = std::prev(next)->second.get();
  if (!found->contains(address, bytes)) return nullptr;
  recent_[next_recent_++ % recent_.size()] = found;
  return found;
}

const allocation* global_memory::nearest(const void* address) const {
  if (allocations_.empty()) return nullptr;
  const auto next = allocations_.upper_bound(reinterpret_cast<uintptr_t>(address));
  if (next == allocations_.begin()) return next->second.get();
  const allocation* below = std::prev(next)->second.get();
  if (next == allocations_.end()) return below;
  const allocation* above = next->second.get();
  const int64_t past_end = below->offset_of(address) - static_cast<int64_t>(below->bytes);
  return past_end <= -above->offset_of(address) ? below : above;
}

allocation& global_memory::at(const void* base) {
  const auto found = allocations_.find(reinterpret_cast<uintptr_t>(base));
  if (found == allocations_.end()) throw std::invalid_argument("no allocation begins at this address");
  return *found->second;
}

}  // namespace q4fuse_emulator
