#include "gguf/gguf_cursor.hpp"

#include <algorithm>

namespace q4fuse_tools {
namespace {

// A sparse file can claim any size for free: without a limit of its own, a header of a terabyte of zeros would be read
// to its end. Real ones, vocabulary included, stay below 32 MiB.
constexpr uint64_t kLongestHeader = uint64_t{256} << 20;

constexpr uint32_t kMetadataString = 8;
constexpr uint32_t kMetadataArray = 9;
constexpr int kDeepestArray = 4;

/// Bytes of a metadata value by its type: u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64. A string is at
/// least its length, an array its element type and count.
constexpr uint64_t kSmallestValue[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
constexpr uint32_t kMetadataTypes = sizeof(kSmallestValue) / sizeof(kSmallestValue[0]);

}  // namespace

gguf_cursor::gguf_cursor(std::istream& stream, uint64_t size, const std::string& path)
    : stream_(stream), path_(path), size_(size), limit_(std::min(size, kLongestHeader)) {}

void gguf_cursor::fail(const std::string& message) const {
  throw gguf_error(path_ + ": " + message + " (at byte " + std::to_string(position_) + ")");
}

void gguf_cursor::require(uint64_t bytes, const char* what) const {
  if (bytes <= remaining()) return;
  const std::string needs = std::string(what) + " needs " + std::to_string(bytes) + " bytes, ";
  if (bytes <= size_ - position_) fail(needs + "past the longest header of " + std::to_string(kLongestHeader));
  fail("truncated: " + needs + "the file has " + std::to_string(size_ - position_) + " left");
}

uint64_t gguf_cursor::number(int bytes, const char* what) {
  require(static_cast<uint64_t>(bytes), what);
  unsigned char raw[8] = {};
  if (!stream_.read(reinterpret_cast<char*>(raw), bytes)) fail(std::string("cannot read ") + what);
  position_ += static_cast<uint64_t>(bytes);
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t{raw[i]} << (8 * i);
  return value;
}

std::string gguf_cursor::text(uint64_t longest, const char* what) {
  const uint64_t length = u64(what);
  if (length > longest) {
    fail(std::string(what) + " is " + std::to_string(length) + " bytes long, at most " + std::to_string(longest) +
         " are allowed");
  }
  require(length, what);
  std::string value(length, '\0');
  if (!stream_.read(value.data(), static_cast<std::streamsize>(length))) fail(std::string("cannot read ") + what);
  position_ += length;
  return value;
}

void gguf_cursor::skip(uint64_t bytes, const char* what) {
  require(bytes, what);
  if (!stream_.ignore(static_cast<std::streamsize>(bytes))) fail(std::string("cannot read ") + what);
  position_ += bytes;
}

void gguf_cursor::skip_value(uint32_t type, int depth) {
  if (type >= kMetadataTypes) fail("unknown metadata type " + std::to_string(type));
  if (type == kMetadataString) {
    skip(u64("length of a metadata string"), "metadata string");
  } else if (type == kMetadataArray) {
    skip_array(depth + 1);
  } else {
    skip(kSmallestValue[type], "metadata value");
  }
}

void gguf_cursor::skip_array(int depth) {
  if (depth > kDeepestArray) fail("metadata arrays nested more than " + std::to_string(kDeepestArray) + " deep");
  const uint32_t type = u32("element type of a metadata array");
  if (type >= kMetadataTypes) fail("unknown element type " + std::to_string(type) + " of a metadata array");
  const uint64_t count = u64("count of a metadata array");
  if (count > remaining() / kSmallestValue[type]) {
    fail("metadata array of " + std::to_string(count) + " elements does not fit the file");
  }
  if (type != kMetadataString && type != kMetadataArray) return skip(count * kSmallestValue[type], "metadata array");
  for (uint64_t i = 0; i < count; ++i) skip_value(type, depth);
}

}  // namespace q4fuse_tools
