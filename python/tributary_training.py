"""What a training says about itself, and an example: dense layers with relu between them, softmax cross-entropy, SGD."""
import dataclasses
import gzip
import struct

import numpy as np


@dataclasses.dataclass
class Work:
    """What a training has to say about itself (section 9)."""

    samples: int
    weight: int
    steps: float
    loss: float


class DenseTrainer:
    def __init__(self, images, labels, seed=1):
        self.images, self.labels = images, labels
        self.random = np.random.default_rng(seed)

    def __call__(self, model, plan):
        tensors = list(model.values())
        layers = list(zip(tensors[::2], tensors[1::2]))
        # A dense layer is weight (outputs x inputs) and bias (outputs).
        if len(tensors) % 2 or any(w.ndim != 2 or b.shape != w.shape[:1] for w, b in layers):
            raise ValueError(f"not a model of dense layers: {[(n, t.shape) for n, t in model.items()]}")
        batch = int(plan.get("train.batch", 10))
        rate = float(plan.get("train.lr", 0.05)) * float(plan.get("train.lr_decay", 1)) ** int(plan["version"])
        order = np.concatenate([self.random.permutation(len(self.images))
                                for _ in range(int(plan.get("train.epochs", 1)))])
        most = int(plan.get("train.max_samples", 0))
        order = order[:most] if most else order
        batch = batch or len(order)
        losses = [self.step(layers, order[at:at + batch], rate) for at in range(0, len(order), batch)]
        return Work(len(order), len(self.images), len(losses), float(np.mean(losses)))

    def step(self, layers, chosen, rate):
        inputs, labels = [self.images[chosen]], self.labels[chosen]
        for i, (w, b) in enumerate(layers):
            x = inputs[-1] @ w.T + b
            inputs.append(np.maximum(x, 0) if i < len(layers) - 1 else x)
        scores = inputs.pop()
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        rows = np.arange(len(chosen))
        loss = -np.log(np.maximum(p[rows, labels], 1e-30)).mean()
        p[rows, labels] -= 1
        gradient = p / len(chosen)
        for (w, b), x in zip(reversed(layers), reversed(inputs)):
            below = (gradient @ w) * (x > 0)
            w -= rate * (gradient.T @ x)
            b -= rate * gradient.sum(axis=0)
            gradient = below
        return loss


def read_idx(folder, name):
    for path, opener in ((folder / name, open), (folder / (name + ".gz"), gzip.open)):
        if path.exists():
            with opener(path, "rb") as file:
                data = file.read()
            dims = struct.unpack_from(f">{data[3]}I", data, 4)
            return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(dims)
    raise SystemExit(f"neither {folder / name} nor {name}.gz is there; --data names a folder with MNIST's files")
