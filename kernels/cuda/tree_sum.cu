#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tree_sum.h"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

/// The sources and the additions, small enough to be a kernel's argument.
struct Program {
  const void* sources[kMostTreeSources];
  int16_t terms[kMostTreeSources][4];
  int8_t term_counts[kMostTreeSources];
  int8_t results[kMostTreeSources];
  int additions;
};
static_assert(sizeof(Program) < 4000, "kernels have 4 KiB of arguments");

template <class T, int kSize>
__device__ __forceinline__ Group<T, kSize> operator+(const Group<T, kSize>& a, const Group<T, kSize>& b) {
  Group<T, kSize> sum;
#pragma unroll
  for (int k = 0; k < kSize; ++k) sum.values[k] = a.values[k] + b.values[k];
  return sum;
}

/// Runs the program for group `i`. `temporaries`: this thread's, kThreads apart.
template <class G>
__device__ __forceinline__ G run(const Program& program, int64_t i, G* temporaries) {
  const auto operand = [&](int term) {
    return term < 0 ? temporaries[(-1 - term) * kThreads] : static_cast<const G*>(program.sources[term])[i];
  };
  G sum;
  for (int step = 0; step < program.additions; ++step) {
    const int16_t* terms = program.terms[step];
    const int count = program.term_counts[step];
    // All operands are on their way before the first is needed.
    const G first = operand(terms[0]), second = operand(terms[1]);
    if (count == 4) {
      const G third = operand(terms[2]), fourth = operand(terms[3]);
      sum = (first + second) + (third + fourth);
    } else if (count == 3) {
      const G third = operand(terms[2]);
      sum = (first + second) + third;
    } else {
      sum = first + second;
    }
    if (step + 1 < program.additions) temporaries[program.results[step] * kThreads] = sum;
  }
  return sum;
}

/// The whole groups, and by the first block what is left. Each element is read and written by one thread: `out` may be
/// a source.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    tree_sum_kernel(const __grid_constant__ Program program, T* out, int64_t count) {
  using G = Group<T, kSize>;
  using One = Group<T, 1>;
  extern __shared__ __align__(16) unsigned char shared[];
  const int64_t groups = count / kSize, i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < groups) reinterpret_cast<G*>(out)[i] = run(program, i, reinterpret_cast<G*>(shared) + threadIdx.x);
  if (kSize == 1 || blockIdx.x > 0) return;
  __syncthreads();  // the temporaries of the groups are no longer needed
  const int64_t rest = groups * kSize + threadIdx.x;
  if (rest < count)
    reinterpret_cast<One*>(out)[rest] = run(program, rest, reinterpret_cast<One*>(shared) + threadIdx.x);
}

Program program_of(std::span<const std::byte* const> sources, std::span<const TreeAddition> additions) {
  TRIDENT_CHECK(sources.size() <= kMostTreeSources && additions.size() <= kMostTreeSources);
  Program program{};
  std::copy(sources.begin(), sources.end(), program.sources);
  for (const TreeAddition& addition : additions) {
    const int step = program.additions++;
    TRIDENT_CHECK(addition.term_count >= 2 && addition.term_count <= 4);
    for (size_t term = 0; term < addition.terms.size(); ++term)
      program.terms[step][term] = static_cast<int16_t>(addition.terms[term]);
    program.term_counts[step] = static_cast<int8_t>(addition.term_count);
    program.results[step] = static_cast<int8_t>(-1 - addition.result);
  }
  return program;
}

template <class T, int kSize>
void launch(const Stream& stream, const Program& program, int64_t count, std::byte* out) {
  const int8_t* results = program.results;
  const int temporaries = 1 + *std::max_element(results, results + program.additions);
  TRIDENT_CHECK(temporaries <= 12);  // of a tree of more than 2^12 leaves otherwise; 48 KiB
  const size_t shared_bytes = static_cast<size_t>(temporaries) * kThreads * kSize * sizeof(T);
  const auto blocks = static_cast<unsigned>(std::max<int64_t>(1, divide_up<int64_t>(count / kSize, kThreads)));
  tree_sum_kernel<T, kSize>
      <<<blocks, kThreads, shared_bytes, queue_of(stream)>>>(program, reinterpret_cast<T*>(out), count);
}

}  // namespace

void tree_sum(const Stream& stream, DType dtype, std::span<const std::byte* const> sources,
              std::span<const TreeAddition> additions, int64_t count, std::byte* out) {
  const Program program = program_of(sources, additions);
  const bool wide = aligned({out}) && std::all_of(sources.begin(), sources.end(),
                                                  [](const std::byte* source) { return aligned({source}); });
  if (dtype == DType::fp64)
    wide ? launch<double, 2>(stream, program, count, out) : launch<double, 1>(stream, program, count, out);
  else
    wide ? launch<float, 4>(stream, program, count, out) : launch<float, 1>(stream, program, count, out);
  check_launch("tree_sum");
}

}  // namespace trident::cuda
