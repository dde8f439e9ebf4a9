#pragma once

#include <cstdint>

namespace trident::cpu {

/// A tile of attention scores, rows × columns, whose row r sees its first `visible + r` columns (causal mask; at least
/// none, at most all). Rows start `stride` elements apart, a multiple of kScoreAlignment, and are padded up to it.
template <class T>
struct ScoreTile {
  T* data = nullptr;
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t visible = 0;
};
inline constexpr int64_t kScoreAlignment = 16;  // elements; whole vectors may be read and written

// One step of the online softmax (Dao, "FlashAttention-2" (2023), algorithm 1, lines 9 and 10), row by row:
// scores become exp(score − new maximum), 0 where hidden; `maximum` and `sum` take the tile in; `correction` is
// exp(old − new maximum), by which what was summed before must be multiplied.
void online_softmax(const ScoreTile<float>& scores, float* maximum, float* sum, float* correction);
void online_softmax(const ScoreTile<double>& scores, double* maximum, double* sum, double* correction);

// Scores become probabilities P = exp(score − lse), 0 where hidden, and gradients of probabilities, in a tile of the
// same shape, become gradients of the products q·k: scale · P · (dP − delta).
void softmax_gradient(const ScoreTile<float>& scores, float* gradients, const float* lse, const float* delta,
                      float scale);
void softmax_gradient(const ScoreTile<double>& scores, double* gradients, const double* lse, const double* delta,
                      double scale);

// Row r is multiplied by factors[r].
void scale_rows(float* data, int64_t stride, int64_t rows, int64_t columns, const float* factors);
void scale_rows(double* data, int64_t stride, int64_t rows, int64_t columns, const double* factors);

// dots[r] = a[r] · b[r]
void row_dots(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t rows, int64_t columns,
              float* dots);
void row_dots(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int64_t rows, int64_t columns,
              double* dots);

}  // namespace trident::cpu
