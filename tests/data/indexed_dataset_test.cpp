#include "data/indexed_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "tests/data/index_bytes.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::error_of;
using test::IndexBytes;
using test::packed;
using test::ScratchDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Three sequences (2, 3, 1 tokens) in two documents.
IndexBytes small_index() { return {.lengths = {2, 3, 1}, .pointers = {0, 4, 10}, .documents = {0, 1, 3}}; }
const std::vector<int64_t> small_tokens{10, 11, 20, 21, 22, 65535};

std::vector<int32_t> all_tokens(const IndexedDataset& data) {
  std::vector<int32_t> tokens(static_cast<size_t>(data.tokens()));
  data.read(0, tokens);
  return tokens;
}

TEST(IndexedDataset, IsOneStreamOfTokensUnderAnyOfItsNames) {
  const ScratchDir scratch;
  scratch.write("a.bin", packed<uint16_t>(small_tokens));
  scratch.write("a.idx", small_index().str());
  for (const char* name : {"a", "a.bin", "a.idx"}) {
    const IndexedDataset data(scratch / name);
    EXPECT_EQ(data.documents(), 2);
    EXPECT_THAT(all_tokens(data), ElementsAre(10, 11, 20, 21, 22, 65535));
    std::vector<int32_t> middle(3);
    data.read(1, middle);
    EXPECT_THAT(middle, ElementsAre(11, 20, 21));
  }
}

TEST(IndexedDataset, ReadsEveryIntegerDtype) {
  const std::vector<int64_t> tokens{0, 1, 127};
  struct Case {
    uint8_t code;
    int64_t size;
    std::string bin;
  };
  const std::vector<Case> cases{{1, 1, packed<uint8_t>(tokens)}, {2, 1, packed<int8_t>(tokens)},
                                {3, 2, packed<int16_t>(tokens)}, {4, 4, packed<int32_t>(tokens)},
                                {5, 8, packed<int64_t>(tokens)}, {8, 2, packed<uint16_t>(tokens)}};
  for (const auto& [code, size, bin] : cases) {
    const ScratchDir scratch;
    scratch.write("a.bin", bin);
    scratch.write("a.idx",
                  IndexBytes{.code = code, .lengths = {1, 2}, .pointers = {0, size}, .documents = {0, 2}}.str());
    EXPECT_THAT(all_tokens(IndexedDataset(scratch / "a")), ElementsAre(0, 1, 127)) << int{code};
  }
}

TEST(IndexedDataset, DocumentEndsAreFoundInAnyRange) {
  const ScratchDir scratch;
  // Documents of 2, 0, 3 (two sequences) and 1 tokens.
  scratch.write("a.bin", packed<uint16_t>(small_tokens));
  scratch.write("a.idx",
                IndexBytes{.lengths = {2, 1, 2, 1}, .pointers = {0, 4, 6, 10}, .documents = {0, 1, 1, 3, 4}}.str());
  const IndexedDataset data(scratch / "a");
  const std::vector<int64_t> ends{2, 5, 6};
  for (int64_t begin = 0; begin <= 6; ++begin) {
    for (int64_t end = begin; end <= 6; ++end) {
      std::vector<int64_t> expected;
      for (const int64_t position : ends) {
        if (position > begin && position <= end) expected.push_back(position);
      }
      std::vector<int64_t> found;
      data.document_ends(begin, end, found);
      EXPECT_EQ(found, expected) << begin << " to " << end;
    }
  }
}

TEST(IndexedDataset, RawUint16NeedsItsFullNameAndWholeTokens) {
  const ScratchDir scratch;
  scratch.write("raw.bin", packed<uint16_t>(small_tokens));
  const IndexedDataset data(scratch / "raw.bin");
  EXPECT_THAT(all_tokens(data), ElementsAre(10, 11, 20, 21, 22, 65535));
  std::vector<int64_t> ends;
  data.document_ends(0, 6, ends);
  EXPECT_THAT(ends, ElementsAre(6));
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "raw"); }), HasSubstr("raw.bin itself"));
  scratch.write("odd.bin", "abc");
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "odd.bin"); }), HasSubstr("odd.bin, byte 2"));
}

TEST(IndexedDataset, EmptyDataSetIsValid) {
  const ScratchDir scratch;
  scratch.write("a.bin", "");
  scratch.write("a.idx", IndexBytes{.lengths = {}, .pointers = {}, .documents = {0}}.str());
  EXPECT_EQ(IndexedDataset(scratch / "a").tokens(), 0);
}

TEST(IndexedDataset, TokensOutsideTheVocabularyAreNamedWhenRead) {
  const ScratchDir scratch;
  scratch.write("a.bin", packed<int32_t>({5, 99, 100, -1}));
  scratch.write("a.idx", IndexBytes{.code = 4, .lengths = {4}, .pointers = {0}, .documents = {0, 1}}.str());
  const IndexedDataset data(scratch / "a", 100);
  std::vector<int32_t> one(1);
  data.read(1, one);
  EXPECT_EQ(one[0], 99);
  EXPECT_THAT(error_of([&] { data.read(2, one); }), HasSubstr("a.bin, byte 8: token 2 is 100, expected 0 to 99"));
  EXPECT_THAT(error_of([&] { data.read(3, one); }), HasSubstr("byte 12: token 3 is -1"));
  EXPECT_THROW(data.read(4, one), Error);
  EXPECT_THROW(data.read(-1, one), Error);
}

TEST(IndexedDataset, WideTokensAreNotCutTo32Bits) {
  const ScratchDir scratch;
  scratch.write("a.bin", packed<int64_t>({(int64_t{1} << 32) + 7}));
  scratch.write("a.idx", IndexBytes{.code = 5, .lengths = {1}, .pointers = {0}, .documents = {0, 1}}.str());
  const IndexedDataset data(scratch / "a");
  std::vector<int32_t> one(1);
  EXPECT_THAT(error_of([&] { data.read(0, one); }), HasSubstr("token 0 is 4294967303"));
}

struct Broken {
  const char* name;
  std::function<std::string()> index;
  const char* message;
};

class BrokenIndex : public testing::TestWithParam<Broken> {};

template <class Change>
std::function<std::string()> changed(Change change) {
  return [change] {
    IndexBytes index = small_index();
    change(index);
    return index.str();
  };
}

TEST_P(BrokenIndex, IsRefusedWithOffsetAndReason) {
  const ScratchDir scratch;
  scratch.write("a.bin", packed<uint16_t>(small_tokens));
  scratch.write("a.idx", GetParam().index());
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "a"); }), HasSubstr(GetParam().message));
}

std::string name_of(const testing::TestParamInfo<Broken>& parameter) { return parameter.param.name; }

// Offsets: magic 0, version 9, dtype 17, counts 18 and 26, lengths 34, pointers 46, documents 70, end 94.
INSTANTIATE_TEST_SUITE_P(
    Fields, BrokenIndex,
    testing::Values(
        Broken{"Empty", [] { return std::string(); }, "byte 0: the file ends inside its header"},
        Broken{"Magic", changed([](auto& i) { i.magic[7] = 'x'; }), "byte 7: the file does not start with MMIDIDX"},
        Broken{"Version", changed([](auto& i) { i.version = 2; }), "byte 9: version is 2"},
        Broken{"Code", changed([](auto& i) { i.code = 9; }), "byte 17: dtype code is 9"},
        Broken{"Float", changed([](auto& i) { i.code = 7; }), "byte 17: dtype code 7 is float32"},
        Broken{"OtherDtype", changed([](auto& i) { i.code = 4; }), "byte 54: pointer of sequence 1 is 4, expected 8"},
        Broken{"NegativeLength", changed([](auto& i) { i.lengths[1] = -3; }), "byte 38: length of sequence 1 is -3"},
        Broken{"LongSequence", changed([](auto& i) { i.lengths[2] = 2; }), "byte 42: sequence 2 has 2 uint16 tokens"},
        Broken{"ShortSequence", changed([](auto& i) { i.lengths[2] = 0; }), "describe 10 bytes, but the .bin has 12"},
        Broken{"Pointer", changed([](auto& i) { i.pointers[2] = 8; }), "byte 62: pointer of sequence 2 is 8"},
        Broken{"HugePointer", changed([](auto& i) { i.pointers[1] = INT64_MAX; }), "byte 54: pointer of sequence 1"},
        Broken{"DocumentStart", changed([](auto& i) { i.documents[0] = 1; }),
               "byte 70: the document index starts at 1"},
        Broken{"DocumentBack", changed([](auto& i) { i.documents[1] = -1; }), "byte 78: entry 1 of the document index"},
        Broken{"DocumentFar", changed([](auto& i) { i.documents[1] = 4; }),
               "byte 78: entry 1 of the document index is 4"},
        Broken{"DocumentEnd", changed([](auto& i) { i.documents[2] = 2; }), "byte 86: the document index ends at 2"},
        Broken{"NoDocuments", changed([](auto& i) { i.documents.clear(); }), "byte 26: the document index is empty"},
        Broken{"Modes", [] { return small_index().str() + std::string(3, '\0'); }, "byte 94: a mode per sequence"},
        Broken{"Trailing", [] { return small_index().str() + "x"; }, "byte 94: 1 bytes follow"},
        Broken{"HugeCount", [] { return small_index().str(UINT64_MAX, 3); }, "byte 18: 18446744073709551615 sequences"},
        Broken{"WrapCount", [] { return small_index().str(uint64_t{1} << 62, 3); }, "byte 18: 4611686018427387904"},
        Broken{"HugeDocuments", [] { return small_index().str(3, uint64_t{1} << 61); }, "byte 26: 2305843009213693952"},
        Broken{"OffByOne", [] { return small_index().str(4, 3); }, "byte 94: the file ends here"}),
    name_of);

TEST(IndexedDataset, EveryTruncatedIndexIsRefused) {
  const ScratchDir scratch;
  scratch.write("a.bin", packed<uint16_t>(small_tokens));
  const std::string whole = small_index().str();
  for (size_t size = 0; size < whole.size(); ++size) {
    scratch.write("a.idx", whole.substr(0, size));
    EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "a"); }), HasSubstr("a.idx, byte ")) << size;
  }
}

TEST(IndexedDataset, TruncatedOrMissingBinIsRefused) {
  const ScratchDir scratch;
  scratch.write("a.idx", small_index().str());
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "a"); }), AllOf(HasSubstr("a.bin"), HasSubstr("No such file")));
  const std::string whole = packed<uint16_t>(small_tokens);
  for (size_t size = 0; size < whole.size(); ++size) {
    scratch.write("a.bin", whole.substr(0, size));
    EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "a"); }), HasSubstr("a.idx, byte ")) << size;
  }
  scratch.write("a.bin", whole + "xx");
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "a"); }), HasSubstr("the .bin has 14"));
}

TEST(IndexedDataset, FoldersAndMissingFilesAreErrors) {
  const ScratchDir scratch;
  std::filesystem::create_directory(scratch / "d.bin");
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "d.bin"); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of([&] { IndexedDataset(scratch / "none"); }), HasSubstr("none.idx: no such file"));
}

}  // namespace
}  // namespace trident
