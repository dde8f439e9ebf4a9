"""The three GPT-2 models that the comparison trains: sizes, and floating-point operations of a token."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    batch: int  # sequences a step
    steps: int  # timed in one sample, after WARM_UP
    recompute: str  # Trident's; "selective" saves a tenth of L's memory and costs no time there, 2 % on S

    @property
    def tokens(self):
        """Tokens of a step."""
        return self.context * self.batch

    @property
    def flops_per_token(self):
        """Six for every weight of a matrix, the head's included, and attention as if no score were masked."""
        weights = self.layers * 12 * self.width**2 + self.vocabulary * self.width
        return 6 * weights + 12 * self.layers * self.context * self.width


WARM_UP = 2  # steps at the start of a process that are not timed

MODELS = {
    model.name: model
    for model in (
        Model("S", 4, 256, 4, 1024, 128, 16, 30, "none"),
        Model("M", 6, 512, 8, 8192, 256, 8, 6, "selective"),
        Model("L", 12, 768, 12, 50304, 256, 4, 3, "selective"),
    )
}

LEARNING_RATE = 1e-4
BETAS = (0.9, 0.95)
EPS = 1e-8
WEIGHT_DECAY = 0.1
