#include "kernels/cpu/blas.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <random>
#include <thread>

#include "core/error.h"

namespace trident::cpu {
namespace {

template <class T>
struct Operands {
  Operands(GemmForm form, int64_t m, int64_t n, int64_t k, unsigned seed)
      : a(static_cast<size_t>(m * k)), b(static_cast<size_t>(n * k)), c(static_cast<size_t>(m * n)) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<double> uniform(-1.0, 1.0);
    for (auto* values : {&a, &b, &c}) {
      for (T& value : *values) value = static_cast<T>(uniform(generator));
    }
    call = {form, m, n, k, a.data(), form == GemmForm::tn ? m : k, b.data(), form == GemmForm::nt ? k : n, c.data(), n};
  }

  /// c as it should be after `call`, by the definition.
  std::vector<double> expected() const {
    std::vector<double> out;
    for (int64_t i = 0; i < call.m; ++i) {
      for (int64_t j = 0; j < call.n; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < call.k; ++p) {
          const T left = call.form == GemmForm::tn ? call.a[p * call.lda + i] : call.a[i * call.lda + p];
          const T right = call.form == GemmForm::nt ? call.b[j * call.ldb + p] : call.b[p * call.ldb + j];
          sum += static_cast<double>(left) * static_cast<double>(right);
        }
        const double old = call.beta == T(0) ? 0.0 : static_cast<double>(call.beta * call.c[i * call.ldc + j]);
        out.push_back(static_cast<double>(call.alpha) * sum + old);
      }
    }
    return out;
  }

  std::vector<T> a, b, c;
  GemmCall<T> call;
};

template <class T>
void expect_right(const BlasLibrary& library, Operands<T>& operands, double tolerance) {
  const auto expected = operands.expected();
  library.gemm(operands.call);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(std::abs(static_cast<double>(operands.c[i]) - expected[i]) <= tolerance)
        << library.name << " " << to_string(operands.call.form) << " element " << i << " is " << operands.c[i]
        << ", expected " << expected[i];
  }
}

constexpr GemmForm kForms[] = {GemmForm::nn, GemmForm::nt, GemmForm::tn};
constexpr int64_t kSizes[][3] = {{1, 1, 1}, {3, 5, 7}, {64, 64, 4}, {65, 33, 127}, {17, 300, 64}, {129, 1, 250}};

TEST(Blas, OpenBlasIsThereAndFirst) {
  ASSERT_FALSE(blas_libraries().empty());
  EXPECT_EQ(blas_libraries().front().name, "openblas");
  EXPECT_EQ(find_blas_library("openblas"), &blas_libraries().front());
  EXPECT_EQ(find_blas_library("abacus"), nullptr);
}

TEST(Blas, LeavesTheEnvironmentAsItWas) {
  const auto environment = [] {
    std::vector<std::string> values;
    for (const char* name : {"OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "BLIS_ARCH_TYPE", "BLIS_NUM_THREADS"}) {
      const char* const value = getenv(name);
      values.emplace_back(value != nullptr ? value : "(unset)");
    }
    return values;
  };
  setenv("OPENBLAS_NUM_THREADS", "7", 1);
  unsetenv("BLIS_NUM_THREADS");
  const auto before = environment();
  (void)blas_libraries();
  EXPECT_EQ(environment(), before);
}

TEST(Blas, EveryLibraryMultipliesEveryForm) {
  for (const auto& library : blas_libraries()) {
    for (const GemmForm form : kForms) {
      for (const auto& [m, n, k] : kSizes) {
        Operands<float> adding(form, m, n, k, 1);
        adding.call.alpha = 0.5f;
        adding.call.beta = 1.0f;
        expect_right(library, adding, 2e-5);
        Operands<float> overwriting(form, m, n, k, 2);
        std::fill(overwriting.c.begin(), overwriting.c.end(), std::nanf(""));
        expect_right(library, overwriting, 2e-5);
      }
    }
  }
}

TEST(Blas, OpenBlasMultipliesDoubles) {
  for (const GemmForm form : kForms) {
    for (const auto& [m, n, k] : kSizes) {
      Operands<double> operands(form, m, n, k, 3);
      operands.call.beta = 1.0;
      expect_right(blas_libraries().front(), operands, 1e-13);
    }
  }
}

TEST(Blas, SizesBeyondIntAreRefused) {
  GemmCall<float> call{GemmForm::nn, int64_t{1} << 31, 1, 1};
  EXPECT_THROW(blas_libraries().front().gemm(call), Error);
}

/// Calls the product again and again in several threads; returns how many results differ from the first.
int64_t different_results(const BlasLibrary& library, GemmForm form, int64_t size, int rounds) {
  Operands<float> first(form, size, size, size, 7);
  library.gemm(first.call);
  std::atomic<int64_t> different = 0;
  std::atomic<int> ready = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Operands<float> mine(form, size, size, size, 7);
      ++ready;
      while (ready < 4) std::this_thread::yield();
      for (int round = 0; round < rounds; ++round) {
        library.gemm(mine.call);
        if (mine.c != first.c) ++different;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return different;
}

// Small products meet in the libraries' allocation of work buffers, large ones in the buffers.
TEST(Blas, ManyThreadsAtOnceGetTheSameBits) {
  for (const auto& library : blas_libraries()) {
    for (const GemmForm form : kForms) {
      EXPECT_EQ(different_results(library, form, 5, 30000), 0) << library.name;
      EXPECT_EQ(different_results(library, form, 130, 100), 0) << library.name;
    }
  }
}

}  // namespace
}  // namespace trident::cpu
