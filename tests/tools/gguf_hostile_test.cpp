// Bad files: each ends with one line that says what is wrong, and nothing is read past the end.

#include "tools/gguf_bytes.hpp"

#include <gtest/gtest.h>

#include <ostream>

namespace q4fuse_test {
namespace {

constexpr uint64_t kHuge = ~uint64_t{0};
constexpr uint32_t kStringType = 8;
constexpr uint32_t kArrayType = 9;

struct hostile_case {
  const char* name;
  std::string bytes;
  const char* message;  ///< part of what the reader must say
};
void PrintTo(const hostile_case& value, std::ostream* out) { *out << value.name; }

gguf_bytes header(uint64_t tensor_count, uint64_t metadata_count) {
  return gguf_bytes().raw("GGUF").u32(3).u64(tensor_count).u64(metadata_count);
}
/// A file with this one metadata entry.
std::string with_metadata(const gguf_bytes& metadata) { return make_gguf({{}}, 144, metadata, 1); }
/// A file with these dims and plenty of data.
std::string with_dims(std::vector<uint64_t> dims, uint32_t type = kQ4_0) {
  return make_gguf({{"w", std::move(dims), type, 0}}, 1024);
}

gguf_bytes nested_arrays(int depth) {
  gguf_bytes metadata;
  metadata.text("deep").u32(kArrayType);
  for (int i = 1; i < depth; ++i) metadata.u32(kArrayType).u64(1);
  return metadata.u32(0).u64(0);
}

std::vector<hostile_case> hostile_cases() {
  const gguf_bytes twice = gguf_bytes().text("a").u32(0).raw("x").text("a").u32(0).raw("x");
  return {
      {"Empty", "", "truncated: magic number needs 4 bytes, the file has 0 left"},
      {"Text", "hello, this is no model", "not a GGUF file"},
      {"OldFormat", "ggjt\3\0\0\0" + std::string(64, '\0'), "not a GGUF file"},
      {"Version0", make_gguf({{}}, 144, {}, 0, 0), "GGUF version 0, only 2 and 3"},
      {"Version1", make_gguf({{}}, 144, {}, 0, 1), "GGUF version 1, only 2 and 3"},
      {"Version4", make_gguf({{}}, 144, {}, 0, 4), "GGUF version 4, only 2 and 3"},
      {"BigEndian", make_gguf({{}}, 144, {}, 0, 0x03000000), "big-endian GGUF"},
      {"TensorCountHuge", header(kHuge, 0).data(), "18446744073709551615 tensors do not fit"},
      {"TensorCountOneTooMany", header(2, 0).raw(make_gguf({{}}, 0).substr(24, 41)).data(), "2 tensors do not fit"},
      {"MetadataCountHuge", header(1, kHuge).data(), "18446744073709551615 metadata entries do not fit"},
      {"KeyHuge", header(0, 1).u64(kHuge).raw(std::string(32, 'k')).data(),
       "metadata key is 18446744073709551615 bytes"},
      {"KeyPastTheEnd", header(0, 1).u64(60000).raw(std::string(32, 'k')).data(), "truncated: metadata key"},
      {"StringHuge", with_metadata(gguf_bytes().text("s").u32(kStringType).u64(kHuge)), "truncated: metadata string"},
      {"ArrayHuge", with_metadata(gguf_bytes().text("a").u32(kArrayType).u32(4).u64(kHuge)), "elements does not fit"},
      // 4 * count wraps to 0 in 64 bits.
      {"ArraySizeWraps", with_metadata(gguf_bytes().text("a").u32(kArrayType).u32(4).u64(uint64_t{1} << 62)),
       "elements does not fit"},
      {"ArrayOfStringsHuge", with_metadata(gguf_bytes().text("a").u32(kArrayType).u32(kStringType).u64(1 << 30)),
       "elements does not fit"},
      {"ArrayOfArraysHuge", with_metadata(gguf_bytes().text("a").u32(kArrayType).u32(kArrayType).u64(kHuge)),
       "elements does not fit"},
      {"ArraysNestedTooDeep", with_metadata(nested_arrays(1000)), "nested more than 4 deep"},
      {"MetadataTypeUnknown", with_metadata(gguf_bytes().text("a").u32(13)), "unknown metadata type 13"},
      {"ElementTypeUnknown", with_metadata(gguf_bytes().text("a").u32(kArrayType).u32(99).u64(0)),
       "unknown element type 99"},
      {"DuplicateKey", make_gguf({{}}, 144, twice, 2), "duplicate metadata key 'a'"},
      {"AlignmentOfWrongType", with_metadata(gguf_bytes().text("general.alignment").u32(10).u64(32)), "not a uint32"},
      {"AlignmentZero", with_metadata(gguf_bytes().text("general.alignment").u32(4).u32(0)), "not a power of two"},
      {"AlignmentOdd", with_metadata(gguf_bytes().text("general.alignment").u32(4).u32(24)), "not a power of two"},
      {"AlignmentPastTheEnd", with_metadata(gguf_bytes().text("general.alignment").u32(4).u32(1u << 31)),
       "end beyond the file"},
      {"NameTooLong", make_gguf({{std::string(65, 'n')}}, 144), "tensor name is 65 bytes long, at most 64"},
      {"NoDims", with_dims({}), "has 0 dimensions, expected 1 to 4"},
      {"FiveDims", with_dims({32, 1, 1, 1, 1}), "has 5 dimensions, expected 1 to 4"},
      {"DimZero", with_dims({32, 0}), "a dimension is 0"},
      {"DimNegative", with_dims({kHuge - 31, 1}), "product of its dimensions overflows"},
      {"DimsProductWrapsTo0", with_dims({uint64_t{1} << 32, uint64_t{1} << 32}), "product of its dimensions overflows"},
      {"DimsProductPastInt64", with_dims({32, 1, uint64_t{1} << 29, uint64_t{1} << 29}), "dimensions overflows"},
      {"BytesPastInt64", with_dims({uint64_t{1} << 61, 1}, kF32), "size in bytes overflows"},
      {"KNotAMultipleOf32", with_dims({48, 2}), "k = 48 is not a multiple of 32, the block size of Q4_0"},
      {"KNotAMultipleOf256", with_dims({288, 1}, kQ4_K), "k = 288 is not a multiple of 256, the block size of Q4_K"},
      {"TypeRemoved", with_dims({32, 1}, 4), "unknown type 4"},
      {"TypeUnknown", with_dims({32, 1}, 0xFFFFFFFF), "unknown type 4294967295"},
      {"OffsetMisaligned", make_gguf({{"w", {32, 1}, kQ4_0, 16}}, 144),
       "offset 16 is not a multiple of the alignment 32"},
      {"OffsetBeyondTheFile", make_gguf({{"w", {32, 1}, kQ4_0, 1 << 20}}, 144), "end beyond the file, which has 144"},
      {"OffsetPlusBytesWraps", make_gguf({{"w", {32, 2}, kQ4_0, kHuge - 31}}, 144), "end beyond the file"},
      {"DataOneByteShort", make_gguf({{}}, 143),
       "144 bytes at offset 0 of the data end beyond the file, which has 143"},
      {"NoData", make_gguf({{}}, 0), "end beyond the file, which has 0"},
      {"DuplicateTensor", make_gguf({{}, {"w", {32, 1}, kQ4_0, 160}}, 512), "tensor 'w': duplicate name"},
      {"SameOffset", make_gguf({{"a"}, {"b"}}, 512), "overlap"},
      {"OverlapByOneBlock", make_gguf({{"late", {32, 1}, kQ4_0, 128}, {"early"}}, 512),
       "tensors 'early' and 'late' overlap"},
      {"NameWithEscapes", make_gguf({{"\x1B[2J", {48, 2}}}, 144), "'\\x1B[2J'"},
  };
}

class GgufHostile : public ::testing::TestWithParam<hostile_case> {};

TEST_P(GgufHostile, EndsWithOneLineThatSaysWhy) {
  const std::string message = parse_error(GetParam().bytes);
  EXPECT_NE(message.find(GetParam().message), std::string::npos) << "it says: " << message;
  EXPECT_EQ(message.find("test.gguf: "), 0u) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(, GgufHostile, ::testing::ValuesIn(hostile_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace q4fuse_test
