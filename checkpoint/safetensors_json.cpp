#include "checkpoint/safetensors_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_set>

#include "core/error.h"

namespace trident {
namespace {

constexpr size_t kMaxDims = 64;
constexpr size_t kNameShown = 200;

/// Follows the one shape a header may have, {name: {dtype, shape, data_offsets}}, and refuses anything else at once.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderHandler(uint64_t data_bytes, const std::string& file, SafetensorsHeader& header)
      : data_bytes_(data_bytes), file_(file), header_(header) {}

  bool null() override { return unexpected("null"); }
  bool boolean(bool value) override { return unexpected(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return unexpected(std::to_string(value)); }
  bool number_float(number_float_t /*value*/, const string_t& text) override { return unexpected(text); }
  bool binary(binary_t& /*value*/) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) return shape_dim(value);
    if (place_ == Place::offsets) return offset_value(value);
    return unexpected(std::to_string(value));
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = value;
      return true;
    }
    if (place_ != Place::dtype) return unexpected(fmt::format("\"{}\"", shown(value)));
    const auto dtype = safetensors_dtype(value);
    if (!dtype) fail(fmt::format("dtype is {}, expected one such as F32, BF16 or I64", shown(value)));
    tensor_.dtype = *dtype;
    place_ = Place::tensor;
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::metadata) {
      if (header_.metadata.contains(value)) fail(fmt::format("key {} appears twice", shown(value)));
      key_ = value;
    } else if (place_ == Place::tensor) {
      enter_field(value);
    } else {
      if (!names_.insert(value).second) {
        throw_bad(fmt::format("header: tensor name {} appears twice", shown(value)));
      }
      tensor_ = TensorInfo{};
      tensor_.name = value;
    }
    return true;
  }

  bool start_object(size_t /*elements*/) override {
    switch (place_) {
      case Place::outside: place_ = Place::top; return true;
      case Place::top:
        place_ = tensor_.name == "__metadata__" ? Place::metadata : Place::tensor;
        seen_ = {};
        offsets_.clear();
        return true;
      default: return unexpected("an object");
    }
  }

  bool end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(size_t /*elements*/) override {
    const bool begins_list = (place_ == Place::shape || place_ == Place::offsets) && !in_list_;
    if (!begins_list) return unexpected("an array");
    in_list_ = true;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offsets_.size() != 2) {
      fail(fmt::format("data_offsets has {} numbers, expected 2", offsets_.size()));
    }
    in_list_ = false;
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(size_t position, const std::string& /*token*/, const nlohmann::detail::exception& problem) override {
    throw_bad(
        fmt::format("byte {}: the header is not JSON: {}", 7 + std::max<size_t>(position, 1), shown(problem.what())));
  }

 private:
  enum class Place { outside, top, metadata, tensor, dtype, shape, offsets };
  struct Seen {
    bool dtype = false, shape = false, offsets = false;
  };

  static std::string shown(const std::string& text) {
    return text.size() <= kNameShown ? text : text.substr(0, kNameShown) + "...";
  }

  [[noreturn]] void throw_bad(const std::string& problem) const {
    throw Error(ErrorCode::bad_data, "checkpoint/safetensors", file_ + ", " + problem,
                "the file is damaged or not safetensors; copy or download it again");
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw_bad(fmt::format("tensor {}: {}", shown(tensor_.name), problem));
  }

  bool unexpected(const std::string& found) const {
    switch (place_) {
      case Place::outside: throw_bad(fmt::format("byte 8: header is {}, expected an object", found));
      case Place::top: fail(fmt::format("entry is {}, expected an object", found));
      case Place::metadata: fail(fmt::format("value of {} is {}, expected a string", shown(key_), found));
      case Place::tensor: fail(fmt::format("found {}, expected a field", found));
      case Place::dtype: fail(fmt::format("dtype is {}, expected a string", found));
      case Place::shape: fail(fmt::format("shape has {}, expected a list of whole numbers", found));
      case Place::offsets: fail(fmt::format("data_offsets has {}, expected a list of two whole numbers", found));
    }
    return false;
  }

  void enter_field(const std::string& field) {
    bool* seen = nullptr;
    if (field == "dtype") {
      place_ = Place::dtype;
      seen = &seen_.dtype;
    } else if (field == "shape") {
      place_ = Place::shape;
      seen = &seen_.shape;
    } else if (field == "data_offsets") {
      place_ = Place::offsets;
      seen = &seen_.offsets;
    } else {
      fail(fmt::format("field {} is unknown", shown(field)));
    }
    if (*seen) fail(fmt::format("field {} appears twice", field));
    *seen = true;
  }

  bool shape_dim(uint64_t value) {
    if (!in_list_) return unexpected(std::to_string(value));
    if (value > uint64_t{INT64_MAX}) fail(fmt::format("shape has {}, which does not fit 63 bits", value));
    if (tensor_.shape.size() == kMaxDims) fail(fmt::format("shape has more than {} dimensions", kMaxDims));
    tensor_.shape.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool offset_value(uint64_t value) {
    if (!in_list_) return unexpected(std::to_string(value));
    if (offsets_.size() == 2) fail("data_offsets has more than 2 numbers");
    offsets_.push_back(value);
    return true;
  }

  void finish_tensor() {
    if (!seen_.dtype) fail("dtype is missing");
    if (!seen_.shape) fail("shape is missing");
    if (!seen_.offsets) fail("data_offsets is missing");
    const uint64_t begin = offsets_[0];
    const uint64_t end = offsets_[1];
    if (begin > end || end > data_bytes_) {
      fail(fmt::format("data_offsets [{}, {}] do not lie in the data section of {} bytes", begin, end, data_bytes_));
    }
    const uint64_t expected = tensor_bytes(tensor_.dtype, tensor_.shape, file_ + ", tensor " + shown(tensor_.name));
    if (end - begin != expected) {
      fail(fmt::format("data_offsets [{}, {}] hold {} bytes, expected {} for {} {}", begin, end, end - begin, expected,
                       name_of(tensor_.dtype), format_shape(tensor_.shape)));
    }
    tensor_.offset = begin;
    tensor_.bytes = expected;
    header_.tensors.push_back(std::move(tensor_));
  }

  uint64_t data_bytes_;
  const std::string& file_;
  SafetensorsHeader& header_;
  Place place_ = Place::outside;
  bool in_list_ = false;
  Seen seen_;
  TensorInfo tensor_;
  std::vector<uint64_t> offsets_;
  std::string key_;
  std::unordered_set<std::string> names_;
};

}  // namespace

void parse_safetensors_json(std::span<const std::byte> text, uint64_t data_bytes, const std::string& file,
                            SafetensorsHeader& header) {
  const std::string_view json(reinterpret_cast<const char*>(text.data()), text.size());
  // The parser would skip a byte-order mark and take a NUL for the end of the text.
  const size_t nul = json.find('\0');
  if (json.empty() || json.front() != '{' || nul != std::string_view::npos) {
    const size_t at = nul == std::string_view::npos ? 0 : nul;
    throw Error(ErrorCode::bad_data, "checkpoint/safetensors",
                fmt::format("{}, byte {}: the header is not a JSON object padded with spaces", file, 8 + at),
                "the file is damaged or not safetensors; copy or download it again");
  }
  HeaderHandler handler(data_bytes, file, header);
  nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
}

}  // namespace trident
