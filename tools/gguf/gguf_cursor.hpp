#pragma once

#include "gguf/gguf_file.hpp"

#include <cstdint>
#include <istream>
#include <string>

namespace q4fuse_tools {

/// Reads the little-endian numbers and strings of a GGUF header one after the other, never past the end of the file.
class gguf_cursor {
 public:
  gguf_cursor(std::istream& stream, uint64_t size, const std::string& path);

  uint64_t position() const { return position_; }
  /// Bytes that may still be taken.
  uint64_t remaining() const { return limit_ - position_; }

  uint32_t u32(const char* what) { return static_cast<uint32_t>(number(4, what)); }
  uint64_t u64(const char* what) { return number(8, what); }
  std::string text(uint64_t longest, const char* what);
  void skip(uint64_t bytes, const char* what);
  /// Steps over a metadata value.
  void skip_value(uint32_t type) { skip_value(type, 0); }

  [[noreturn]] void fail(const std::string& message) const;

 private:
  uint64_t number(int bytes, const char* what);
  void skip_value(uint32_t type, int depth);
  void skip_array(int depth);
  void require(uint64_t bytes, const char* what) const;

  std::istream& stream_;
  const std::string& path_;
  uint64_t size_;
  uint64_t limit_;
  uint64_t position_ = 0;
};

/// Numbers of the metadata types that have a fixed size or need a treatment of their own.
inline constexpr uint32_t kMetadataUint32 = 4;

}  // namespace q4fuse_tools
