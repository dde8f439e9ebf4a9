#include "checkpoint/manifest.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "checkpoint/file_hash.h"
#include "core/error.h"
#include "tests/checkpoint/sealed_text.h"
#include "tests/checkpoint/small_save.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using testing::changed;
using ::testing::HasSubstr;
using testing::sealed;
using ::testing::StartsWith;

/// A manifest as it would be written.
Manifest whole_manifest() {
  Manifest manifest = testing::small_manifest(3);
  for (RankFile& file : manifest.rank_files) {
    file.bytes = 5000 + file.elements;
    file.hash = {7, static_cast<uint64_t>(file.elements)};
    file.payload = {4096, 4300, 4600};
  }
  manifest.extra_files = {{"config.yaml", 12, {5, 6}}, {"master.h5", 0, {8, 9}}};
  return manifest;
}

std::string refusal(const std::string& text) {
  try {
    (void)decode_manifest(text, "M");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_data);
    return error.problem();
  }
  return "taken";
}

TEST(Manifest, ComesBackAsItWas) {
  Manifest manifest = whole_manifest();
  EXPECT_EQ(decode_manifest(encode(manifest), "M"), manifest);
  manifest.parent_step.reset();
  manifest.dtype = DType::fp64;
  manifest.seed = UINT64_MAX;
  manifest.run_id = "name with \"quotes\" and ünïcode";
  for (RankFile& file : manifest.rank_files) file.payload = {1000, 2000, 3000};
  EXPECT_EQ(decode_manifest(encode(manifest), "M"), manifest);
  manifest.moments = false;
  for (TensorDigest& digest : manifest.digests) digest[1] = digest[2] = 0;
  for (RankFile& file : manifest.rank_files) file.payload = {1000, 0, 0};
  EXPECT_EQ(decode_manifest(encode(manifest), "M"), manifest);
}

TEST(Manifest, SumsItsFiles) { EXPECT_EQ(whole_manifest().bytes(), 5017 + 5025 + 12); }

TEST(Manifest, IsTheTextThatTheFormatSays) {
  EXPECT_EQ(
      encode(whole_manifest()),
      sealed(
          R"({"format":1,"min_reader":1,"run_id":"small","step":3,"consumed_samples":48,"parent_step":2,"seed":"fedcba9876543210","layout":{"dp":2,"tp":1,"pp":1,"virtual_stages":1,"zero_stage":1},"dtype":"fp32","moments":true,"trainer":{"loss_scale":65536.0},"config_hash":"00000000000000010000000000000002","tokenizer_hash":"00000000000000030000000000000004",
"tensors":[
{"name":"layers.0.query.weight","shape":[5,7],"digests":["000000000000000b","000000000000000c","000000000000000d"]},
{"name":"layers.0.gain","shape":[6],"digests":["0000000000000015","0000000000000016","0000000000000017"]}],
"rank_files":[
{"name":"rank_00000.h5","bytes":5017,"hash":"00000000000000070000000000000011","elements":17,"payload":[4096,4300,4600],"segments":[[0,0,0,2,7,0],[0,2,0,1,3,14]]},
{"name":"rank_00001.h5","bytes":5025,"hash":"00000000000000070000000000000019","elements":25,"payload":[4096,4300,4600],"segments":[[0,2,3,1,4,0],[0,3,0,2,7,4],[1,0,0,6,1,18]]}],
"extra_files":[
{"name":"config.yaml","bytes":12,"hash":"00000000000000050000000000000006"},
{"name":"master.h5","bytes":0,"hash":"00000000000000080000000000000009"}])"));
}

TEST(Manifest, EveryFlippedBitAndEveryCutIsNoticed) {
  const std::string text = encode(whole_manifest());
  for (size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_NE(refusal(damaged), "taken") << "bit " << bit;
  }
  for (size_t length = 0; length < text.size(); ++length) ASSERT_NE(refusal(text.substr(0, length)), "taken") << length;
  EXPECT_NE(refusal(text + "\n"), "taken");
}

TEST(Manifest, SkipsKeysThatANewerMinorVersionAdds) {
  const std::string text = encode(whole_manifest());
  std::string newer = changed(text, "\"format\":1", "\"format\":2,\"novel\":[{\"a\":[1,[2]]},null,-1.5]");
  newer = changed(newer, "\"elements\":17", "\"elements\":17,\"novel\":{}");
  EXPECT_EQ(decode_manifest(newer, "M"), whole_manifest());
}

TEST(Manifest, SaysWhatOnlyANewerProgramReads) {
  // Nothing else need be as it is today.
  for (const char* text :
       {R"({"format":2,"min_reader":2)", R"({"min_reader":18446744073709551615,"rank_files":[{"segments":["x"]}])"}) {
    try {
      (void)decode_manifest(sealed(text), "M");
      FAIL() << text;
    } catch (const NewerFormat& error) {
      EXPECT_THAT(error.problem(), StartsWith("M: it needs a reader of format"));
    }
  }
}

TEST(Manifest, RefusesEverythingThatIsNotAsItMustBe) {
  const std::string text = encode(whole_manifest());
  struct Case {
    const char* from;
    const char* to;
    const char* says;
  };
  const Case cases[] = {
      {"\"step\":3,", "", "it has no step"},
      {"\"step\":3", "\"step\":-3", "step is -3"},
      {"\"step\":3", "\"step\":9223372036854775808", "no integer of 63 bits"},
      {"\"step\":3", "\"step\":3.0", "no integer of 63 bits"},
      {"\"step\":3", "\"step\":3,\"step\":3", "key step appears twice"},
      {"\"format\":1", "\"format\":0", "min_reader is 1, beyond 1 … 0"},
      {"fedcba9876543210", "FEDCBA9876543210", "lower-case"},
      {"fedcba9876543210", "-edcba9876543210", "lower-case"},
      {"\"dp\":2", "\"dp\":2147483648", "dp is 2147483648"},
      {"fp32", "bf16", "neither fp32 nor fp64"},
      {"\"moments\":true", "\"moments\":1", "neither true nor false"},
      {"{\"loss_scale\":65536.0}", "[]", "trainer: no object"},
      {"layers.0.gain", "layers.0.query.weight", "layers.0.query.weight: named twice"},
      {"layers.0.gain", "", "no plain name"},
      {"layers.0.gain", "a\\u0000b", "no plain name"},
      {"layers.0.gain", "a\\u001b[31m", "no plain name"},
      {"[5,7]", "[]", "wrong rank"},
      {"[5,7]", "[5,7,1,1,1]", "wrong rank"},
      {"[5,7]", "[0,7]", "an extent is 0"},
      {"[5,7]", "[4294967296,4294967296]", "its shape overflows"},
      {"[5,7]", "[9223372036854775807]", "the tensors' elements overflow"},
      {"\"000000000000000b\",", "", "a wrong number of digests"},
      {"rank_00001.h5", "../rank_00001.h5", "no plain file name"},
      {"rank_00001.h5", "/etc/passwd", "no plain file name"},
      {"rank_00001.h5", "..", "no plain file name"},
      {"rank_00001.h5", "rank_00000.h5", "rank_00000.h5: named twice"},
      {"rank_00001.h5", "rank_00000.sum", "rank_00000.sum: named twice"},
      {"rank_00001.h5", "rank_00000.bin", "rank_00000.sum: named twice"},
      {"config.yaml", "MANIFEST.json", "MANIFEST.json: named twice"},
      {"\"bytes\":12", "\"bytes\":9223372036854775807", "bytes is 9223372036854775807"},
      {"\"bytes\":5017", "\"bytes\":4667", "payload is 4600, beyond 0 … 4599"},
      {"\"elements\":17", "\"elements\":9223372036854775807", "elements is"},
      {"[4096,4300,4600]", "[4096,4300]", "payload is not three numbers"},
      {"[4096,4300,4600]", "[4096,4160,4600]", "its arrays lie over each other"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7]", "not six numbers"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,0,0]", "not six numbers"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,-1]", "not six numbers"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,9223372036854775808]", "not six numbers"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,\"0\"]", "not six numbers"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,[0]]", "not six numbers"},
      {"[0,0,0,2,7,0]", "{}", "not six numbers"},
      {"[0,0,0,2,7,0]", "0", "not six numbers"},
      {"[0,0,0,2,7,0]", "[4294967296,0,0,2,7,0]", "not six numbers"},
      {"[0,0,0,2,7,0]", "[2,0,0,2,7,0]", "a segment's tensor is not there"},
      {"[0,0,0,2,7,0]", "[0,4,0,2,7,0]", "a segment is not in its tensor"},
      {"[0,0,0,2,7,0]", "[0,0,1,2,7,0]", "a segment is not in its tensor"},
      {"[0,0,0,2,7,0]", "[0,9223372036854775807,0,2,7,0]", "a segment is not in its tensor"},
      {"[0,0,0,2,7,0]", "[0,0,0,9223372036854775807,9223372036854775807,0]", "a segment is not in its tensor"},
      {"[0,0,0,2,7,0]", "[0,0,0,0,7,0]", "a segment is not in its tensor"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,9223372036854775807]", "a segment is not in the file's arrays"},
      {"[0,0,0,2,7,0]", "[0,0,0,3,7,0]", "a segment is not in the file's arrays"},
      {"[0,0,0,2,7,0]", "[0,0,0,2,7,1]", "segments lie over each other"},
      {"[[0,0,0,2,7,0],[0,2,0,1,3,14]]", "null", "segments is no list"},
      {",\"segments\":[[0,0,0,2,7,0],[0,2,0,1,3,14]]", "", "it has no segments"},
  };
  for (const Case& test : cases)
    EXPECT_THAT(refusal(changed(text, test.from, test.to)), HasSubstr(test.says)) << test.from << " → " << test.to;
  EXPECT_THAT(refusal(sealed("[{}")), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal(sealed("{\"a\":tru")), HasSubstr("not JSON"));
  EXPECT_EQ(refusal(""), "M: it does not end with its hash: cut off, or no manifest");
}

TEST(Manifest, IsReadFromARegularFileOnly) {
  const ScratchDir scratch;
  const auto code = [&] {
    try {
      (void)read_manifest(scratch.path());
      return ErrorCode{};
    } catch (const Error& error) {
      return error.code();
    }
  };
  const auto path = scratch / Manifest::kFileName;
  EXPECT_EQ(code(), ErrorCode::input_missing);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);  // opening it would wait for ever
  EXPECT_EQ(code(), ErrorCode::bad_data);
  std::filesystem::remove(path);
  test::write_file(scratch / "elsewhere", encode(whole_manifest()));
  std::filesystem::create_symlink("elsewhere", path);
  EXPECT_EQ(code(), ErrorCode::bad_data);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(code(), ErrorCode::bad_data);
  std::filesystem::remove(path);
  test::write_file(path, encode(whole_manifest()));
  EXPECT_EQ(read_manifest(scratch.path()), whole_manifest());
}

}  // namespace
}  // namespace trident
