#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace trident {
namespace {

using ::testing::HasSubstr;

std::string length_field(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

std::string file_of(const std::string& json, size_t data_bytes) {
  return length_field(json.size()) + json + std::string(data_bytes, 'x');
}

SafetensorsHeader parse(const std::string& bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), bytes.size(), "m.safetensors");
}

struct Case {
  std::string name;
  std::string bytes;
  std::string expected;  ///< part of the message
};

void PrintTo(const Case& value, std::ostream* stream) { *stream << value.name; }

/// A header with one tensor "t" whose body is given, over 8 data bytes.
Case tensor(const std::string& name, const std::string& body, const std::string& expected) {
  return {name, file_of("{\"t\":" + body + "}", 8), expected};
}

Case header(const std::string& name, const std::string& json, size_t data_bytes, const std::string& expected) {
  return {name, file_of(json, data_bytes), expected};
}

/// {dtype, shape, data_offsets} written out.
std::string body(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string f32(const std::string& name, const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":" + body("\"F32\"", shape, offsets);
}

std::vector<Case> file_cases() {
  const std::string good = file_of("{" + f32("t", "[2]", "[0,8]") + "}", 8);
  return {{"empty_file", "", "has 0 bytes"},
          {"seven_bytes", std::string(7, '\0'), "has 7 bytes"},
          {"no_header", length_field(0), "byte 8: the header is not a JSON object"},
          {"length_past_end", length_field(3) + "{}", "header length is 3, but only 2 bytes follow"},
          {"length_over_limit", length_field(100'000'001) + "{}", "expected at most 100000000"},
          {"length_2_63", length_field(uint64_t{1} << 63) + "{}", "header length is 9223372036854775808"},
          {"length_all_ones", length_field(UINT64_MAX) + "{}", "header length is 18446744073709551615"},
          {"data_cut", good.substr(0, good.size() - 1), "do not lie in the data section of 7 bytes"},
          {"data_too_long", good + "y", "tensors end at data byte 8, expected 9"},
          {"header_cut", length_field(20) + good.substr(8, 20) + "xxxxxxxx", "the header is not JSON"},
          {"data_without_tensors", file_of("{}", 1), "tensors end at data byte 0, expected 1"},
          {"nul_in_header", file_of(std::string("{}\0\0", 4), 0), "byte 10: the header is not a JSON object"},
          {"byte_order_mark", file_of("\xef\xbb\xbf{}", 0), "byte 8: the header is not a JSON object"},
          {"leading_space", file_of(" {}", 0), "byte 8: the header is not a JSON object"},
          {"pickle", std::string("\x80\x02}q\x00X\x01\x00\x00\x00tq\x01s.\x00", 15), "header length is"},
          {"zip", "PK\x03\x04" + std::string(40, 'a'), "header length is"}};
}

std::vector<Case> json_cases() {
  const std::string t = f32("t", "[2]", "[0,8]");
  std::string deep = R"({"t":{"dtype":"F32","shape":)" + std::string(200000, '[');
  std::string deep_objects;
  for (int i = 0; i < 50000; ++i) deep_objects += R"({"a":)";
  return {header("array", "[]", 0, "byte 8: the header is not a JSON object"),
          header("string", "\"a\"", 0, "not a JSON object"),
          header("not_json", "{hello}", 0, "byte 9: the header is not JSON"),
          header("trailing_text", "{} x", 0, "the header is not JSON"),
          header("two_objects", "{}{}", 0, "the header is not JSON"),
          header("trailing_comma", "{" + t + ",}", 8, "the header is not JSON"),
          header("comment", "{/* */}", 0, "the header is not JSON"),
          header("bad_utf8_name", "{" + f32("\xff\xfe", "[2]", "[0,8]") + "}", 8, "the header is not JSON"),
          header("control_in_name", "{" + f32("a\nb", "[2]", "[0,8]") + "}", 8, "the header is not JSON"),
          header("deep_arrays", deep, 8, "shape has an array"),
          header("deep_objects", deep_objects, 0, "field a is unknown"),
          header("duplicate_name", "{" + t + "," + t + "}", 8, "tensor name t appears twice"),
          header("duplicate_name_escaped", "{" + t + "," + f32("\\u0074", "[2]", "[0,8]") + "}", 8, "appears twice"),
          header("duplicate_empty_tensors", "{" + f32("e", "[0]", "[0,0]") + "," + f32("e", "[0]", "[0,0]") + "}", 0,
                 "tensor name e appears twice"),
          header("metadata_list", R"({"__metadata__":[]})", 0, "entry is an array"),
          header("metadata_number", R"({"__metadata__":{"a":1}})", 0, "value of a is 1, expected a string"),
          header("metadata_null", R"({"__metadata__":{"a":null}})", 0, "value of a is null"),
          header("metadata_nested", R"({"__metadata__":{"a":{}}})", 0, "value of a is an object"),
          header("metadata_duplicate", R"({"__metadata__":{"a":"1","a":"2"}})", 0, "key a appears twice"),
          header("metadata_twice", R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__ appears twice")};
}

std::vector<Case> tensor_cases() {
  return {tensor("null_entry", "null", "tensor t: entry is null"),
          tensor("number_entry", "3", "tensor t: entry is 3"),
          tensor("list_entry", "[]", "tensor t: entry is an array"),
          tensor("empty_entry", "{}", "tensor t: dtype is missing"),
          tensor("no_shape", R"({"dtype":"F32","data_offsets":[0,8]})", "shape is missing"),
          tensor("no_offsets", R"({"dtype":"F32","shape":[2]})", "data_offsets is missing"),
          tensor("no_dtype", R"({"shape":[2],"data_offsets":[0,8]})", "dtype is missing"),
          tensor("unknown_field", R"({"dtype":"F32","strides":[1]})", "field strides is unknown"),
          tensor("field_twice", R"({"dtype":"F32","dtype":"F32"})", "field dtype appears twice"),
          tensor("dtype_lower_case", body("\"f32\"", "[2]", "[0,8]"), "dtype is f32, expected one such as F32"),
          tensor("dtype_empty", body("\"\"", "[2]", "[0,8]"), "dtype is , expected"),
          tensor("dtype_number", body("32", "[2]", "[0,8]"), "dtype is 32, expected a string"),
          tensor("dtype_list", body("[\"F32\"]", "[2]", "[0,8]"), "dtype is an array"),
          tensor("dtype_too_wide", body("\"F64\"", "[2]", "[0,8]"), "hold 8 bytes, expected 16 for F64 [2]"),
          tensor("dtype_too_narrow", body("\"BF16\"", "[2]", "[0,8]"), "hold 8 bytes, expected 4 for BF16 [2]"),
          tensor("packed_half_byte", body("\"F4\"", "[15]", "[0,8]"), "does not fill whole bytes"),
          tensor("shape_null", body("\"F32\"", "null", "[0,8]"), "shape has null"),
          tensor("shape_number", body("\"F32\"", "2", "[0,8]"), "shape has 2"),
          tensor("shape_object", body("\"F32\"", "{}", "[0,8]"), "shape has an object"),
          tensor("shape_nested", body("\"F32\"", "[[2]]", "[0,8]"), "shape has an array"),
          tensor("shape_negative", body("\"F32\"", "[-2]", "[0,8]"), "shape has -2"),
          tensor("shape_minus_zero", body("\"F32\"", "[-0]", "[0,8]"), "shape has 0"),
          tensor("shape_float", body("\"F32\"", "[2.0]", "[0,8]"), "shape has 2.0"),
          tensor("shape_exponent", body("\"F32\"", "[2e0]", "[0,8]"), "shape has 2e0"),
          tensor("shape_text", body("\"F32\"", "[\"2\"]", "[0,8]"), "shape has \"2\""),
          tensor("shape_true", body("\"F32\"", "[true]", "[0,8]"), "shape has true"),
          tensor("shape_beyond_63_bits", body("\"F32\"", "[9223372036854775808]", "[0,8]"), "does not fit 63 bits"),
          tensor("shape_beyond_64_bits", body("\"F32\"", "[18446744073709551618]", "[0,8]"), "shape has 184467440737"),
          tensor("shape_wraps", body("\"F32\"", "[4611686018427387904,4]", "[0,8]"), "does not fit 63 bits"),
          tensor("shape_wraps_to_zero", body("\"U8\"", "[4294967296,4294967296]", "[0,8]"), "does not fit 63 bits"),
          tensor("shape_wraps_behind_zero", body("\"F32\"", "[0,4611686018427387904,4]", "[0,0]"), "fit 63 bits"),
          tensor("shape_of_65_dims",
                 body(
                     "\"F32\"",
                     "[2" +
                         [] {
                           std::string ones;
                           for (int i = 0; i < 64; ++i) ones += ",1";
                           return ones;
                         }() +
                         "]",
                     "[0,8]"),
                 "more than 64 dimensions"),
          tensor("shape_mismatch", body("\"F32\"", "[3]", "[0,8]"), "hold 8 bytes, expected 12 for F32 [3]"),
          tensor("zero_dim_with_bytes", body("\"F32\"", "[0,2]", "[0,8]"), "hold 8 bytes, expected 0"),
          tensor("scalar_with_two", body("\"F32\"", "[]", "[0,8]"), "hold 8 bytes, expected 4 for F32 []"),
          tensor("offsets_empty", body("\"F32\"", "[2]", "[]"), "data_offsets has 0 numbers"),
          tensor("offsets_one", body("\"F32\"", "[2]", "[0]"), "data_offsets has 1 numbers"),
          tensor("offsets_three", body("\"F32\"", "[2]", "[0,8,8]"), "more than 2 numbers"),
          tensor("offsets_negative", body("\"F32\"", "[2]", "[-8,0]"), "data_offsets has -8"),
          tensor("offsets_float", body("\"F32\"", "[2]", "[0,8.0]"), "data_offsets has 8.0"),
          tensor("offsets_text", body("\"F32\"", "[2]", "[\"0\",8]"), "data_offsets has \"0\""),
          tensor("offsets_swapped", body("\"F32\"", "[2]", "[8,0]"), "[8, 0] do not lie"),
          tensor("offsets_past_end", body("\"F32\"", "[2]", "[4,12]"), "[4, 12] do not lie"),
          tensor("offsets_huge", body("\"F32\"", "[2]", "[18446744073709551608,18446744073709551615]"), "do not lie"),
          tensor("offsets_object", body("\"F32\"", "[2]", "{\"a\":0}"), "data_offsets has an object"),
          tensor("offsets_number", body("\"F32\"", "[2]", "8"), "data_offsets has 8")};
}

std::vector<Case> tiling_cases() {
  const auto two = [](const std::string& first, const std::string& second) {
    return "{" + f32("a", "[2]", first) + "," + f32("b", "[2]", second) + "}";
  };
  return {header("same_range", two("[0,8]", "[0,8]"), 8, "overlap"),
          header("overlap_by_four", two("[0,8]", "[4,12]"), 12, "tensor b: data_offsets begin at 4, expected 8"),
          header("overlap_listed_backwards", two("[4,12]", "[0,8]"), 12, "tensor a: data_offsets begin at 4"),
          header("hole_between", two("[0,8]", "[9,17]"), 17, "begin at 9, expected 8 (a hole between tensors)"),
          header("hole_at_start", two("[4,12]", "[12,20]"), 20, "tensor a: data_offsets begin at 4, expected 0"),
          header("hole_at_end", two("[0,8]", "[8,16]"), 24, "tensors end at data byte 16, expected 24"),
          header("empty_tensor_inside_another", "{" + f32("a", "[2]", "[0,8]") + "," + f32("e", "[0]", "[4,4]") + "}",
                 8, "tensor e"),
          header("empty_tensor_past_end", "{" + f32("a", "[2]", "[0,8]") + "," + f32("e", "[0]", "[9,9]") + "}", 8,
                 "do not lie")};
}

class Malformed : public ::testing::TestWithParam<Case> {};

TEST_P(Malformed, IsRefusedWithFileAndReason) {
  try {
    static_cast<void>(parse(GetParam().bytes));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_data);
    EXPECT_THAT(error.what(), HasSubstr("m.safetensors, "));
    EXPECT_THAT(error.what(), HasSubstr(GetParam().expected));
    EXPECT_LT(std::strlen(error.what()), 1000U);
  }
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(File, Malformed, ::testing::ValuesIn(file_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Json, Malformed, ::testing::ValuesIn(json_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Tensor, Malformed, ::testing::ValuesIn(tensor_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Tiling, Malformed, ::testing::ValuesIn(tiling_cases()), case_name);

TEST(WellFormed, EmptyTensorsAndAnyOrderAreAccepted) {
  const std::string json = "{" + f32("b", "[2]", "[8,16]") + "," + f32("e", "[0,3]", "[8,8]") + "," +
                           f32("a", "[2]", "[0,8]") + "," + f32("z", "[0]", "[16,16]") + "}   ";
  const SafetensorsHeader found = parse(file_of(json, 16));
  std::vector<std::string> names;
  for (const TensorInfo& tensor : found.tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ::testing::ElementsAre("a", "e", "b", "z"));
  EXPECT_EQ(found.tensors[2].offset, 8 + json.size() + 8);
}

TEST(WellFormed, PackedTypesFillWholeBytes) {
  const SafetensorsHeader found = parse(file_of("{\"t\":" + body("\"F6_E2M3\"", "[4,4]", "[0,12]") + "}", 12));
  EXPECT_EQ(found.tensors.at(0).bytes, 12U);
}

TEST(WellFormed, EveryPrefixOfAGoodFileIsRefused) {
  const std::string good = file_of("{" + f32("a", "[1]", "[0,4]") + "," + f32("b", "[3]", "[4,16]") + "}", 16);
  EXPECT_EQ(parse(good).tensors.size(), 2U);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(static_cast<void>(parse(good.substr(0, size))), Error) << size;
}

}  // namespace
}  // namespace trident
