#include "gguf/gguf_file.hpp"

#include "gguf/gguf_cursor.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>
#include <system_error>
#include <utility>

namespace q4fuse_tools {
namespace {

constexpr gguf_type kTypes[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},
};

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kOldestVersion = 2;   // version 1 had 32-bit counts
constexpr uint32_t kNewestVersion = 3;
constexpr uint64_t kLongestKey = 65535;
constexpr uint64_t kLongestName = 64;
constexpr uint32_t kMostDims = 4;
constexpr uint32_t kDefaultAlignment = 32;
// Length of a name, number of dims, one dim, type, offset.
constexpr uint64_t kSmallestTensorInfo = 8 + 4 + 8 + 4 + 8;
// Length of a key, type, one byte of value.
constexpr uint64_t kSmallestMetadata = 8 + 4 + 1;
// Sizes leave here as int64.
constexpr uint64_t kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

const gguf_type* find_type(uint32_t id) {
  const auto* type =
      std::find_if(std::begin(kTypes), std::end(kTypes), [id](const gguf_type& t) { return t.id == id; });
  return type == std::end(kTypes) ? nullptr : type;
}

/// product *= factor, or false when the product is past int64. The factor is not 0.
bool multiply(uint64_t& product, uint64_t factor) {
  if (product > kLargest / factor) return false;
  product *= factor;
  return true;
}

void check_version(const gguf_cursor& cursor, uint32_t version) {
  if (version >= kOldestVersion && version <= kNewestVersion) return;
  // A small number seen from the wrong end has only its high bytes set.
  if (version != 0 && (version & 0xFFFF) == 0) cursor.fail("big-endian GGUF, only little-endian is supported");
  cursor.fail("GGUF version " + std::to_string(version) + ", only 2 and 3 are supported");
}

/// Steps over the metadata and returns the one value that the layout depends on.
uint64_t read_alignment(gguf_cursor& cursor, uint64_t count) {
  uint32_t alignment = kDefaultAlignment;
  std::set<std::string> keys;
  for (uint64_t i = 0; i < count; ++i) {
    std::string key = cursor.text(kLongestKey, "metadata key");
    const uint32_t type = cursor.u32("metadata type");
    if (key == "general.alignment") {
      if (type != kMetadataUint32) cursor.fail("general.alignment is not a uint32");
      alignment = cursor.u32("general.alignment");
      if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        cursor.fail("general.alignment is " + std::to_string(alignment) + ", not a power of two");
      }
    } else {
      cursor.skip_value(type);
    }
    if (const auto [at, is_new] = keys.insert(std::move(key)); !is_new) {
      cursor.fail("duplicate metadata key " + in_quotes(*at));
    }
  }
  return alignment;
}

gguf_tensor read_tensor_info(gguf_cursor& cursor) {
  gguf_tensor tensor;
  tensor.name = cursor.text(kLongestName, "tensor name");
  const uint32_t dims = cursor.u32("number of dimensions");
  if (dims < 1 || dims > kMostDims) {
    cursor.fail("tensor " + in_quotes(tensor.name) + " has " + std::to_string(dims) + " dimensions, expected 1 to 4");
  }
  for (uint32_t i = 0; i < dims; ++i) tensor.dims.push_back(cursor.u64("dimension"));
  const uint32_t type = cursor.u32("tensor type");
  tensor.type = find_type(type);
  if (tensor.type == nullptr)
    cursor.fail("tensor " + in_quotes(tensor.name) + " has unknown type " + std::to_string(type));
  tensor.offset = cursor.u64("tensor offset");
  return tensor;
}

std::unique_ptr<std::istream> open(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw gguf_error(path + ": no such file");
  // A folder opens but cannot be read, and a pipe would block or cannot seek.
  if (!std::filesystem::is_regular_file(status)) throw gguf_error(path + ": not a regular file");
  auto stream = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*stream) throw gguf_error(path + ": cannot be opened");
  return stream;
}

}  // namespace

int64_t gguf_tensor::n() const {
  return std::accumulate(dims.begin() + 1, dims.end(), int64_t{1},
                         [](int64_t product, uint64_t dim) { return product * static_cast<int64_t>(dim); });
}

std::string in_quotes(std::string_view name) {
  std::string text = "'";
  for (const char c : name) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof(escaped), "\\x%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      text += escaped;
    }
  }
  return text + "'";
}

gguf_file::gguf_file(const std::string& path) : gguf_file(open(path), path) {}

gguf_file::gguf_file(std::unique_ptr<std::istream> stream, std::string path)
    : stream_(std::move(stream)), path_(std::move(path)) {
  const std::streamoff end = stream_->seekg(0, std::ios::end).tellg();
  if (end < 0 || !stream_->seekg(0)) fail("cannot seek");
  size_ = static_cast<uint64_t>(end);
  read_header();
}

void gguf_file::fail(const std::string& message) const { throw gguf_error(path_ + ": " + message); }

void gguf_file::read_header() {
  gguf_cursor cursor(*stream_, size_, path_);
  if (cursor.u32("magic number") != kMagic) fail("not a GGUF file: it does not begin with 'GGUF'");
  version_ = cursor.u32("version");
  check_version(cursor, version_);
  const uint64_t tensor_count = cursor.u64("tensor count");
  const uint64_t metadata_count = cursor.u64("metadata count");
  if (metadata_count > cursor.remaining() / kSmallestMetadata) {
    cursor.fail(std::to_string(metadata_count) + " metadata entries do not fit the file");
  }
  const uint64_t alignment = read_alignment(cursor, metadata_count);
  if (tensor_count > cursor.remaining() / kSmallestTensorInfo) {
    cursor.fail(std::to_string(tensor_count) + " tensors do not fit the file");
  }
  for (uint64_t i = 0; i < tensor_count; ++i) tensors_.push_back(read_tensor_info(cursor));
  place_tensors((cursor.position() + alignment - 1) / alignment * alignment, alignment);
}

void gguf_file::place_tensors(uint64_t data_begin, uint64_t alignment) {
  std::set<std::string_view> names;
  for (gguf_tensor& tensor : tensors_) {
    const std::string which = "tensor " + in_quotes(tensor.name) + ": ";
    if (!names.insert(tensor.name).second) fail(which + "duplicate name");
    uint64_t elements = 1;
    for (const uint64_t dim : tensor.dims) {
      if (dim == 0) fail(which + "a dimension is 0");
      if (!multiply(elements, dim)) fail(which + "the product of its dimensions overflows");
    }
    if (tensor.dims[0] % tensor.type->block_elements != 0) {
      fail(which + "k = " + std::to_string(tensor.dims[0]) + " is not a multiple of " +
           std::to_string(tensor.type->block_elements) + ", the block size of " + tensor.type->name);
    }
    tensor.bytes = elements / tensor.type->block_elements;
    if (!multiply(tensor.bytes, tensor.type->block_bytes)) fail(which + "its size in bytes overflows");
    if (tensor.offset % alignment != 0) {
      fail(which + "offset " + std::to_string(tensor.offset) + " is not a multiple of the alignment " +
           std::to_string(alignment));
    }
    const uint64_t data_bytes = size_ - std::min(size_, data_begin);
    if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset) {
      fail(which + std::to_string(tensor.bytes) + " bytes at offset " + std::to_string(tensor.offset) +
           " of the data end beyond the file, which has " + std::to_string(data_bytes));
    }
    tensor.offset += data_begin;
  }

  std::vector<const gguf_tensor*> by_offset;
  for (const gguf_tensor& tensor : tensors_) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const gguf_tensor& previous = *by_offset[i - 1];
    if (by_offset[i]->offset < previous.offset + previous.bytes) {
      fail("tensors " + in_quotes(previous.name) + " and " + in_quotes(by_offset[i]->name) + " overlap (at byte " +
           std::to_string(by_offset[i]->offset) + ")");
    }
  }
}

const gguf_tensor& gguf_file::find_q4_0(const std::string& name) const {
  const auto tensor =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const gguf_tensor& t) { return t.name == name; });
  if (tensor == tensors_.end()) fail("no tensor " + in_quotes(name));
  if (!tensor->is_q4_0()) fail("tensor " + in_quotes(name) + " is " + tensor->type->name + ", not Q4_0");
  return *tensor;
}

std::vector<uint8_t> gguf_file::read(const gguf_tensor& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  stream_->clear();
  stream_->seekg(static_cast<std::streamoff>(tensor.offset));
  if (!stream_->read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()))) {
    fail("tensor " + in_quotes(tensor.name) + ": cannot read its " + std::to_string(tensor.bytes) + " bytes");
  }
  return bytes;
}

}  // namespace q4fuse_tools
