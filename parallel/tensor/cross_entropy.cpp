#include "parallel/tensor/cross_entropy.h"

#include "kernels/cross_entropy.h"

namespace trident {

TokenLosses vocabulary_parallel_losses(Context& context, const TensorParallel& tp, const Tensor& logits,
                                       const Tensor& labels, int64_t first_column, int64_t vocabulary) {
  const DType dtype = accumulation_dtype(logits.dtype());
  const int64_t rows = logits.rows(), parts = tp.comm.size();
  TokenLosses result{context.activations.allocate({rows}, dtype), context.activations.allocate({rows}, dtype)};
  const Tensor all = context.activations.allocate({parts, rows, 3}, dtype);
  Tensor mine = all.slice(tp.comm.rank(), 1);
  cross_entropy_statistics(context.stream, logits, labels, first_column, mine);
  tp.comm.all_gather(mine, all);
  cross_entropy_losses(context.stream, all, labels, vocabulary, result.losses, result.lse);
  return result;
}

}  // namespace trident
