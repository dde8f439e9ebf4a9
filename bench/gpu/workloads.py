"""The models whose step is timed: sizes, batch, and floating-point operations of a token."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    architecture: str  # gpt2 or llama
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    sequence: int
    batch: int  # sequences of a step, one microbatch

    @property
    def head_dim(self):
        return self.hidden // self.heads

    @property
    def tokens(self):
        """Tokens of a step."""
        return self.batch * self.sequence

    @property
    def multiplied(self):
        """Parameters that multiply: all but those looked up, which are positions and an embedding of its own."""
        hidden, kv = self.hidden, self.kv_heads * self.head_dim
        head = self.vocabulary * hidden
        if self.architecture == "llama":
            layer = hidden * (hidden + 2 * kv) + hidden * hidden + 3 * hidden * self.inner + 2 * hidden
            return self.layers * layer + head + hidden
        layer = 4 * hidden * hidden + 2 * hidden * self.inner + 9 * hidden + self.inner  # with biases and norms
        return self.layers * layer + head + 2 * hidden

    @property
    def flops_per_token(self):
        """Causal convention: 6N + 6LCT, so attention counts the half of the scores that is not masked."""
        return 6 * self.multiplied + 6 * self.layers * self.hidden * self.sequence


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("gpt2-124m", "gpt2", 12, 768, 3072, 12, 12, 50304, 1024, 64),
        Workload("gpt2-1558m", "gpt2", 48, 1600, 6400, 25, 25, 50304, 1024, 16),
        Workload("llama-8b-slice", "llama", 8, 4096, 14336, 32, 8, 128256, 8192, 2),
        Workload("tiny-gpt2", "gpt2", 2, 64, 256, 4, 4, 512, 64, 4),  # these two prove the programs, also without a GPU
        Workload("tiny-llama", "llama", 2, 64, 160, 4, 2, 512, 64, 4),
    )
}

LEARNING_RATE = 1e-4
BETAS = (0.9, 0.95)
EPS = 1e-8
WEIGHT_DECAY = 0.1
CLIP = 1.0
