#include "kernels/gemm_tuning.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>

#include "core/error.h"
#include "kernels/cuda/tune_gemms.h"

namespace trident {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr int64_t kLargestSize = int64_t{1} << 40;

[[noreturn]] void throw_malformed(const std::string& problem) {
  throw Error(ErrorCode::bad_data, "kernels/gemm_tuning", "choices of matrix products: " + problem,
              "delete them; the next run times them again");
}

std::optional<GemmForm> parse_form(std::string_view text) {
  for (const GemmForm form : {GemmForm::nn, GemmForm::nt, GemmForm::tn}) {
    if (text == to_string(form)) return form;
  }
  return std::nullopt;
}

std::optional<DType> parse_dtype(std::string_view text) {
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
    if (text == to_string(dtype)) return dtype;
  }
  return std::nullopt;
}

DeviceKind parse_device(const Json& entry) {
  const std::string device = entry.value("device", "cpu");
  if (device != "cpu" && device != "cuda") throw_malformed("device is " + device + ", expected cpu or cuda");
  return device == "cpu" ? DeviceKind::cpu : DeviceKind::cuda;
}

int64_t parse_size(const Json& entry, const char* name) {
  const auto size = entry.at(name).get<int64_t>();
  if (!entry.at(name).is_number_integer() || size < 1 || size > kLargestSize) {
    throw_malformed(fmt::format("{} is {}, expected 1 to {}", name, entry.at(name).dump(), kLargestSize));
  }
  return size;
}

GemmKey parse_key(const Json& entry) {
  const auto form = parse_form(entry.at("form").get_ref<const std::string&>());
  const auto dtype = parse_dtype(entry.at("dtype").get_ref<const std::string&>());
  if (!form) throw_malformed("form is " + entry.at("form").dump() + ", expected nn, nt or tn");
  if (!dtype) throw_malformed("dtype is " + entry.at("dtype").dump() + ", expected fp64, fp32 or bf16");
  return {*form,  parse_size(entry, "m"),     parse_size(entry, "n"), parse_size(entry, "k"),
          *dtype, entry.value("bias", false), parse_device(entry),    entry.value("fp8", false)};
}

}  // namespace

std::string_view to_string(GemmForm form) {
  switch (form) {
    case GemmForm::nn: return "nn";
    case GemmForm::nt: return "nt";
    case GemmForm::tn: return "tn";
  }
  return "?";
}

std::string GemmKey::to_string() const {
  return fmt::format("{} {}x{}x{} {}{}{}{}", trident::to_string(form), m, n, k, trident::to_string(dtype),
                     bias ? " bias" : "", device == DeviceKind::cuda ? " cuda" : "", fp8 ? " fp8" : "");
}

GemmChoices GemmChoices::parse(std::string_view json) {
  GemmChoices choices;
  try {
    const Json document = Json::parse(json);
    if (document.at("version") != kVersion) {
      throw_malformed(fmt::format("version is {}, expected {}", document.at("version").dump(), kVersion));
    }
    for (const Json& entry : document.at("choices")) {
      const auto& library = entry.at("library").get_ref<const std::string&>();
      if (library.empty()) throw_malformed("an entry names no library");
      choices.set(parse_key(entry), library);
    }
  } catch (const Json::exception& problem) {
    throw_malformed(problem.what());
  }
  return choices;
}

std::string GemmChoices::to_json() const {
  std::string text = fmt::format("{{\"version\": {}, \"choices\": [", kVersion);
  const char* separator = "\n";
  for (const auto& [key, library] : table_) {
    text += fmt::format(
        R"({}{{"form": "{}", "m": {}, "n": {}, "k": {}, "dtype": "{}"{}{}{}, "library": {}}})", separator,
        trident::to_string(key.form), key.m, key.n, key.k, trident::to_string(key.dtype),
        key.bias ? R"(, "bias": true)" : "", key.device == DeviceKind::cuda ? R"(, "device": "cuda")" : "",
        key.fp8 ? R"(, "fp8": true)" : "", Json(library).dump(-1, ' ', true, Json::error_handler_t::replace));
    separator = ",\n";
  }
  return text + "\n]}\n";
}

const std::string* GemmChoices::find(const GemmKey& key) const {
  const auto entry = table_.find(key);
  return entry == table_.end() ? nullptr : &entry->second;
}

void GemmChoices::add_missing(const GemmChoices& other) { table_.insert(other.table_.begin(), other.table_.end()); }

void follow_gemm_choices(const Stream& stream, const GemmChoices& choices) {
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return stream.attach(std::make_shared<GemmState>(choices));
    case DeviceKind::cuda: return cuda::follow_gemm_choices(stream, choices);
  }
}

GemmChoices tune_gemms(const Stream& stream, const GemmProducts& products, const GemmChoices& known,
                       std::chrono::milliseconds budget) {
  if (stream.device().kind == DeviceKind::cuda) return cuda::tune_gemms(stream, products, known, budget);
  return tune_gemms(products, known, budget);
}

}  // namespace trident
