#pragma once

// The shared-memory maps of all kernel families: the one place that knows offsets and sizes. The kernels carve with
// these functions, the plan checks legality with them, the launch asks for their total.

#include <q4fuse/detail/config.hpp>

#include <cuda_runtime_api.h>

#include <cstdint>

Q4FUSE_NAMESPACE_BEGIN
namespace detail Q4FUSE_HIDDEN {

/// A piece is what one weight row contributes to one pipeline stage: 8 blocks are the fewest whose start stays
/// 16-byte aligned along a row, and their 36-word stride spreads 8 rows over all 32 banks.
inline constexpr int kPieceBlocks = 8;
inline constexpr int kWeightBlockBytes = 18;
inline constexpr int kQ8_1BlockBytes = 36;   ///< a block of an activation tile for integer dots
inline constexpr int kFp16BlockBytes = 64;   ///< and for FP16 ones
inline constexpr int kQuantBlockBytes = 32;  ///< and of quants alone, their scales apart
inline constexpr int kScaleBytes = 2;        ///< a scale as the formats have it
inline constexpr int kWeightPieceBytes = kPieceBlocks * kWeightBlockBytes;
inline constexpr int kWarpSize = 32;

__host__ __device__ constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
__host__ __device__ constexpr int64_t ceil_div(int64_t value, int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

/// Bytes between two tokens of a tile with room for `blocks` blocks (rounded up to whole pairs). The stride in words is
/// 4 modulo 8, so that the word reads of 8 tokens x 4 lanes fall on 32 different banks, and 16-byte aligned.
__host__ __device__ constexpr int64_t activation_row_bytes(int64_t blocks, int block_bytes) {
  const int64_t words = round_up(blocks, 2) * (block_bytes / 4);
  return (words + (12 - words % 8) % 8) * 4;
}

/// Floats between two tokens of a partial-sum tile: 4 modulo 8 spreads the accumulator stores over the banks.
__host__ __device__ constexpr int partial_row_floats(int rows) { return rows + 4; }

/// A slice of k is whole pieces: those before slice `slice` of `slices`, which may have none.
__host__ __device__ constexpr int pieces_before(int slice, int slices, int64_t k_blocks) {
  const auto pieces = static_cast<unsigned>(ceil_div(k_blocks, kPieceBlocks));
  return static_cast<int>(pieces * static_cast<unsigned>(slice) / static_cast<unsigned>(slices));
}

struct weight_bound_layout {
  int64_t activations;  ///< rows of every token of the tile, over the CTA's k
  int64_t weights;      ///< one private ring of stages per warp
  int64_t partials;     ///< two buffers of partial sums of all warps, where warps share a row tile
  int64_t sums;         ///< of row tiles, until they are added to those of the CTAs that share k
  int64_t total;
};

/// Row tiles of a group whose sums are exchanged at once where CTAs share k.
inline constexpr int kExchangedTiles = 8;

/// Offsets in bytes. `warp_rows` weight rows a warp and stage, `piece_blocks` blocks of each, `tokens` the tokens that
/// are really there, `k_blocks` of all k, which `slices` CTAs share.
__host__ __device__ constexpr weight_bound_layout make_weight_bound_layout(int warps_n, int warps_k, int warp_rows,
                                                                           int piece_blocks, int stages, int64_t tokens,
                                                                           int64_t k_blocks, int slices,
                                                                           int block_bytes) {
  const int64_t warps = int64_t{warps_n} * warps_k;
  const int64_t partial_warps = warps_k == 1 ? 0 : warps;
  const int64_t slice_blocks =
      slices == 1 ? k_blocks : ceil_div(ceil_div(k_blocks, kPieceBlocks), slices) * kPieceBlocks;
  weight_bound_layout map{};
  map.weights = 0;
  map.partials = map.weights + warps * stages * warp_rows * piece_blocks * kWeightBlockBytes;
  map.sums = map.partials + 2 * partial_warps * tokens * partial_row_floats(warp_rows) * 4;
  map.activations = map.sums + (slices == 1 ? 0 : int64_t{kExchangedTiles} * warps_n * tokens * warp_rows * 4);
  map.total = map.activations + tokens * activation_row_bytes(slice_blocks, block_bytes);
  return map;
}

/// A piece of the activations of `tokens` tokens, quants and then scales, as a whole number of rows of quants.
__host__ __device__ constexpr int split_piece_bytes(int tokens) {
  return static_cast<int>(
      round_up(tokens * kPieceBlocks * (kQuantBlockBytes + kScaleBytes), kPieceBlocks * kQuantBlockBytes));
}

struct stream_k_layout {
  int64_t weights;      ///< one private ring of stages per warp
  int64_t partials;     ///< sums of row tiles that a warp leaves: one more than warps for every row tile but the first
  int64_t activations;  ///< pieces of all tokens of the tile, over the CTA's k
  int64_t total;
};

/// Row tiles of this family have 16 rows.
__host__ __device__ constexpr stream_k_layout make_stream_k_layout(int warps, int stages, int tile_m, int64_t k_blocks,
                                                                   int slices, int64_t round_tiles) {
  const int64_t pieces = ceil_div(ceil_div(k_blocks, kPieceBlocks), slices);
  stream_k_layout map{};
  map.weights = 0;
  map.partials = map.weights + int64_t{warps} * stages * 16 * kWeightPieceBytes;
  map.activations = map.partials + (warps + round_tiles - 1) * tile_m * 16 * 4;
  map.total = map.activations + pieces * split_piece_bytes(tile_m);
  return map;
}

/// Warps of a sliced-K kernel that share a row tile: one for each piece of k.
__host__ __device__ constexpr int warps_of_row_tile(int64_t k_blocks) {
  return k_blocks > 0 ? static_cast<int>(ceil_div(k_blocks, kPieceBlocks)) : 1;
}
/// Groups of so many warps, which have a row tile each at a time.
__host__ __device__ constexpr int row_tile_groups(int warps, int64_t k_blocks) {
  const int tile_warps = warps_of_row_tile(k_blocks);
  return tile_warps < warps ? warps / tile_warps : 1;
}

/// Bytes in which a piece of `tokens` tokens comes to the warp that holds it: their quants, and their scales.
__host__ __device__ constexpr int passed_piece_bytes(int tokens) {
  return tokens * kPieceBlocks * (kQuantBlockBytes + kScaleBytes);
}

/// Bytes between two rows of weights in a stage that holds whole rows, up to 16 pieces long. Words are 4 modulo 32, so
/// that the reads of 8 rows x 4 lanes fall on 32 different banks.
inline constexpr int kWholeRowBytes = 16 * kWeightPieceBytes + 16;

struct sliced_k_layout {
  int64_t weights;     ///< one private ring of stages per warp, or one of whole rows for all
  int64_t barriers;    ///< where CTAs convert for each other
  int64_t conversion;  ///< a piece of eight tokens per warp, or of the tile's where CTAs convert for each other
  int64_t partials;    ///< a slot for every warp and row tile of a round that it multiplies
  int64_t total;
};

/// Barriers of such a CTA: of each stage two, one of each warp, and one more.
__host__ __device__ constexpr int sliced_k_barriers(int warps, int stages) { return 2 * stages + warps + 1; }

/// Row tiles of this family have 16 rows, too. A turn of the groups takes no more slots than there are warps. Where
/// CTAs, `sharers`, convert for each other, sums take the place of what is converted.
__host__ __device__ constexpr sliced_k_layout make_sliced_k_layout(int warps, int stages, int tile_m, int sharers,
                                                                   int64_t slots) {
  const bool shares = sharers > 1;
  const int64_t conversion = warps * round_up(passed_piece_bytes(shares ? tile_m : 8), 256);
  const int64_t sums = slots * tile_m * 16 * 4;
  sliced_k_layout map{};
  map.weights = 0;
  map.barriers = map.weights + int64_t{stages} * 16 * (shares ? kWholeRowBytes : warps * kWeightPieceBytes);
  map.conversion = map.barriers + (shares ? round_up(sliced_k_barriers(warps, stages) * 8, 256) : 0);
  map.partials = map.conversion + (shares ? 0 : conversion);
  map.total = map.partials + (shares && conversion > sums ? conversion : sums);
  return map;
}

/// Two rings, of weight stages and of activation stages. Partial sums, where k is shared, take their place in the end.
struct tile_layout {
  int weights;
  int weight_stage;  ///< bytes: tile_n pieces
  int activations;
  int activation_stage;  ///< bytes: tile_m rows of one piece
  int total;
};

__host__ __device__ constexpr tile_layout make_tile_layout(int tile_n, int tile_m, int weight_stages,
                                                           int activation_stages, int block_bytes, bool shares_k) {
  tile_layout map{};
  map.weights = 0;
  map.weight_stage = tile_n * kWeightPieceBytes;
  map.activations = map.weights + weight_stages * map.weight_stage;
  map.activation_stage = tile_m * static_cast<int>(activation_row_bytes(kPieceBlocks, block_bytes));
  const int rings = map.activations + activation_stages * map.activation_stage;
  const int partials = shares_k ? tile_m * partial_row_floats(tile_n) * 4 : 0;
  map.total = rings > partials ? rings : partials;
  return map;
}

/// Where the scale of a token stands among those of its block: as the accumulators of wgmma want them, four at a time,
/// tokens 2t, 2t + 1, 8 + 2t and 9 + 2t of each 16.
__host__ __device__ constexpr int scale_place(int token) {
  return token / 16 * 16 + token % 8 / 2 * 4 + token % 16 / 8 * 2 + token % 2;
}

/// A stage of activations of the warpgroup family has rows of 128 bytes, as wgmma reads them: one pair of blocks of
/// halves, or two of quants.
inline constexpr int kWarpgroupRowBytes = 128;

/// And behind the rows, of quants, the scales of their blocks as floats: those of 64 tokens together, so that half of a
/// stage is two pieces. This is the place of the scale of a token and a block of the stage.
inline constexpr int kScaleTokens = 64;
inline constexpr int kTokenScaleBytes = kWarpgroupRowBytes / kQuantBlockBytes * 4;
__host__ __device__ constexpr int scale_offset(int block, int token) {
  return token / kScaleTokens * kScaleTokens * kTokenScaleBytes +
         (block * kScaleTokens + scale_place(token % kScaleTokens)) * 4;
}
__host__ __device__ constexpr int warpgroup_stage_pairs(int block_bytes) {
  return kWarpgroupRowBytes / (2 * block_bytes);
}
/// Room for copies of activations that are to be converted, bytes a token: three of two pairs of Q8_1 blocks, the
/// fewest that are whole units of 16 bytes, or two of two pairs of blocks of halves. Where CTAs convert for each other
/// they copy a part of the tokens each: further stages take some of that room. Groups of warps do not convert.
__host__ __device__ constexpr int warpgroup_copy_bytes(int block_bytes, int groups, int sharers) {
  if (groups > 1) return 0;
  if (sharers > 1) return 3 * 2 * kFp16BlockBytes;
  return warpgroup_stage_pairs(block_bytes) == 1 ? 3 * 4 * kQ8_1BlockBytes : 2 * 4 * kFp16BlockBytes;
}

struct warpgroup_layout {
  int activations;
  int activation_stages;
  int activation_stage;  ///< bytes: rows without padding, then the scales of their blocks, which exact dots alone need
  int copies;            ///< activations as they are in global memory
  int weights;
  int weight_stage;  ///< bytes: tile_n pieces
  int constant;      ///< eight rows that are the same everywhere, for exact dots
  int barriers;
  int total;
};

inline constexpr int kWarpgroupBarriers = 28;

/// `block_bytes` an activation block takes in a row; `groups` of warps take turns at the pieces; `sharers` CTAs convert
/// activations for each other. The sums of a tile whose k is shared, by groups or `cluster_k` CTAs, take the place of
/// the rings.
__host__ __device__ constexpr warpgroup_layout make_warpgroup_layout(int tile_n, int tile_m, int weight_stages,
                                                                     int block_bytes, int groups, int cluster_k,
                                                                     int sharers) {
  warpgroup_layout map{};
  const int scales = block_bytes == kQuantBlockBytes ? kTokenScaleBytes : 0;
  map.activations = 0;
  map.activation_stage = static_cast<int>(round_up(tile_m * (kWarpgroupRowBytes + scales), 1024));
  map.activation_stages = groups > 1                               ? 16
                          : warpgroup_stage_pairs(block_bytes) > 1 ? 2
                          : sharers == 1                           ? 3
                          : tile_n > 128                           ? 4
                                                                   : 6;
  map.copies = map.activations + map.activation_stages * map.activation_stage;
  map.constant =
      map.copies + static_cast<int>(round_up(tile_m * warpgroup_copy_bytes(block_bytes, groups, sharers), 1024));
  map.weights = map.constant + 1024;
  map.weight_stage = tile_n * kWeightPieceBytes;
  const int rings = map.weights + weight_stages * map.weight_stage;
  const int partials = groups * cluster_k > 1 ? groups * tile_m * partial_row_floats(tile_n) * 4 : 0;
  map.barriers = rings > partials ? rings : partials;
  map.total = map.barriers + kWarpgroupBarriers * 8;
  return map;
}

static_assert(activation_row_bytes(kPieceBlocks, kQ8_1BlockBytes) == 304, "76 words: 12 modulo 32");
static_assert(activation_row_bytes(kPieceBlocks, kFp16BlockBytes) == 528, "132 words: 4 modulo 32");

}  // namespace detail
Q4FUSE_NAMESPACE_END
