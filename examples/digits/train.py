"""Trains the network that reads handwritten digits, and writes it down.

    python3 -m venv .venv && .venv/bin/pip install scikit-learn==1.9.1
    .venv/bin/python train.py

It writes network/weights.json, and dataset/heldout.csv: the images that the
network has not seen. Both are kept in the repository, so only a change of the
network needs Python. The data are scikit-learn's bundled digits (1,797 images
of 8x8 pixels with values from 0 to 16).
"""

import json
import pathlib

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = pathlib.Path(__file__).parent
HELD_OUT = 400
SCALE = 16.0
DECIMALS = 4


def main():
    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        digits.data, digits.target, test_size=HELD_OUT, random_state=1, stratify=digits.target
    )
    network = MLPClassifier(hidden_layer_sizes=(64,), alpha=0.01, max_iter=400, random_state=1)
    network.fit(train_x / SCALE, train_y)
    print(f"accuracy on {len(test_y)} held-out images: {network.score(test_x / SCALE, test_y):.4f}")

    write_weights(network, HERE / "network" / "weights.json")
    write_images(test_x, test_y, HERE / "dataset" / "heldout.csv")


def write_weights(network, path):
    layers = [
        # One row of weights for each neuron, one line for each row.
        {"weights": rounded(weights.T), "bias": rounded(bias)}
        for weights, bias in zip(network.coefs_, network.intercepts_)
    ]
    text = json.dumps({"scale": SCALE, "layers": layers}, separators=(",", ":"))
    path.write_text(text.replace("],[", "],\n[").replace("},{", "},\n{") + "\n")


def rounded(numbers):
    return (numbers.round(DECIMALS) + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0


def write_images(images, labels, path):
    lines = (
        ",".join(str(int(n)) for n in [label, *image]) for label, image in zip(labels, images)
    )
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
