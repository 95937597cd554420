#!/usr/bin/python3
# timeout: 120
"""Data sets with users of their own run by two keys, plan.data.set and plan.model, split by user."""
import pathlib
import re
import struct
import sys
import tempfile

import harness
from harness import case, check, same


def run(data_set, model, path="", plan__data__partition="natural", **plan):
    """A tree of three devices that trains for some versions; the best accuracy."""
    cloud = harness.cloud(data__path=path, plan__data__set=data_set, plan__model=model,
                          plan__data__partition=plan__data__partition, plan__data__devices=3, **plan)
    edge = harness.edge(cloud)
    device = harness.devices(edge, count=3, data__path=path)
    daemons = (cloud, edge, device)
    harness.start_tree(*daemons)
    for daemon in daemons:
        same(daemon.wait_exit(), 0, f"exit status of {daemon.name}")
    check(device.logged(r" data_open .*dataset=\"?" + data_set.split("(")[0]), "the device's data set")
    return cloud.one("SELECT max(accuracy) FROM evaluations WHERE run_id = (SELECT max(run_id) FROM runs)")  # a store for all


@case
def test_synthetic():
    """synthetic(1, 1) with softmax learns, each device with users of its own"""
    accuracy = run("synthetic(1, 1)", "softmax", plan__stop__versions=20, plan__train__max_samples=300)
    check(accuracy > 0.5, f"accuracy {accuracy} after 20 versions")


@case
def test_csv():
    """a CSV file described in the plan: regression, its accuracy is the share of variance explained"""
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/houses.csv", "w", encoding="ascii") as file:
            file.write("who,size,rooms,price\n")
            for i in range(900):
                size, rooms = i * 37 % 101, i * 53 % 7
                file.write(f"owner{i % 9},{size},{rooms},{3 * size + 20 * rooms}\n")
        accuracy = run("csv(houses.csv, target=price, features=size rooms, user=who)", "softmax", folder,
                       plan__stop__versions=30, plan__train__max_samples=300)
    check(accuracy > 0.95, f"{accuracy} of the variance explained after 30 versions")


@case
def test_shakespeare():
    """speeches in a folder: char-gru learns the next character, each device with roles of its own"""
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/input.txt", "w", encoding="ascii") as file:
            for i in range(240):
                file.write(f"Role {i % 6}:\nto be or not to be, to be or not.\n\n")
        accuracy = run("shakespeare(8, 3)", "char-gru", folder, plan__stop__versions=30,
                       plan__train__max_samples=300, plan__train__lr=0.5, plan__train__clip=5)
    check(accuracy > 0.4, f"{accuracy} of the next characters right after 30 versions")


def put_idx(folder, name, dims, values):
    """An IDX file of bytes: 00 00 08 RANK, the dimensions, the values."""
    with open(f"{folder}/{name}-idx{len(dims)}-ubyte", "wb") as file:
        file.write(struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims) + bytes(values))


@case
def test_documented():
    """the examples of docs/config.md, Data of your own: both are good configs, and learn"""
    text = (pathlib.Path(__file__).parents[2] / "docs/config.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(plan:.*?)```", text.split("### Data of your own")[1], re.DOTALL)
    same(len(examples), 2, "examples")
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/meter.csv", "w", encoding="ascii") as file:
            file.write("time,hour,site,wind,temperature,level\n")
            for i in range(1600):
                hour, wind = i * 7 % 24, "NESW"[i * 11 % 4]
                level = (hour < 6 or hour > 17) + (wind in "NE")
                file.write(f"{i},{hour},site {i // 160},{wind},{'NA' if i % 50 == 0 else 20 - 8 * level + i % 3},{level}\n")
        for split, count in (("train", 600), ("t10k", 90)):
            labels = [i % 3 for i in range(count)]
            put_idx(folder, f"{split}-images", (count, 8, 12),
                    [200 if x // 4 == label else (i + x) % 5 for i, label in enumerate(labels) for y in range(8) for x in range(12)])
            put_idx(folder, f"{split}-labels", (count,), labels)
        for example in examples:
            path = pathlib.Path(folder, "cloud.yaml")
            path.write_text(f"role: cloud\ndata.path: {folder}\n{example}", encoding="utf-8")
            status, _, err = harness.run("tributary", "config", "check", path)
            same((status, err), (0, ""), "the check of an example")
            dumped = harness.run("tributary", "config", "dump", path)[1]
            word = {key: re.search(rf"^ +{key}: (.*?)(?: +#.*)?$", dumped, re.MULTILINE)[1].strip("\"'") for key in ("set", "model", "partition")}
            accuracy = run(word["set"], word["model"], folder, plan__data__partition=word["partition"], plan__stop__versions=30,
                           plan__train__max_samples=300)
            check(accuracy > 0.9, f"{word}: accuracy {accuracy}")


sys.exit(harness.main())
