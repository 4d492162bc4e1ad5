#pragma once

#include <cstdint>
#include <filesystem>

#include "blip2/search/picture_index.h"

namespace blip2 {

// Writes an index for other programs, in the layout of the Python package clip-retrieval, which has
// one vector a picture:
//   img_emb/img_emb_0.npy            [n, E] f32: the mean of a picture's vectors, of length 1
//   img_queries/img_queries_0.npy    with_queries: all its vectors [n, Q, E], f16
//   metadata/metadata_0.jsonl        a line a picture: image_path, paths, caption and what else is
//                                    known; examples/clip_retrieval makes Parquet files of them
// with at most a million pictures a file, in the order of their numbers. Vectors are those of the
// index's bytes. Returns the number of pictures. Error if `folder` holds files; Interrupted after a
// signal.
std::int64_t write_clip_retrieval_layout(const PictureIndex& index,
                                         const std::filesystem::path& folder, bool with_queries);

}  // namespace blip2
