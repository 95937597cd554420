#!/usr/bin/python3
"""Samples a second of a training step in PyTorch, one thread: torch_train.py MODEL BATCH SECONDS.

Prints the best of several rounds. The models are those of shared/learn/models.c."""
import sys
import time

import torch
from torch import nn

MODELS = {
    "2nn": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)),
    "cnn-small": lambda: nn.Sequential(
        nn.Conv2d(1, 12, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(12, 24, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(384, 10)),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(32, 64, 5, padding=2),
        nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10)),
}


def main():
    name, batch, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = MODELS[name]()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    loss_of = nn.CrossEntropyLoss()
    images = torch.randn(batch * 8, 1, 28, 28)
    labels = torch.randint(0, 10, (batch * 8,))

    def steps(count):
        for i in range(count):
            at = i % 8 * batch
            optimiser.zero_grad()
            loss_of(model(images[at:at + batch]), labels[at:at + batch]).backward()
            optimiser.step()

    steps(5)
    start = time.perf_counter()
    steps(5)
    count = max(5, int(0.1 * seconds * 5 / (time.perf_counter() - start)))
    best = 0.0
    for _ in range(10):
        start = time.perf_counter()
        steps(count)
        best = max(best, count * batch / (time.perf_counter() - start))
    print("%.1f" % best)


main()
