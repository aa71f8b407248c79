"""Measure an encoder on the pairs that were held out: search, zero-shot classes, retrieval.

    python scripts/roco_mini/evaluate.py DATA/dev [--model MODEL]

Precision at 10 and the zero-shot accuracies use every image; retrieval uses the written captions of MedPix, where
a tie with a different caption counts against the model and the identical caption of another image as found.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from roco_search.training.pairs import Pair, read_imagefolder

from roco_search import load_encoder, open_image
from roco_search.evaluation import ranks, shuffled_32
from roco_search.models import Encoder
from roco_search.models.allocator import keep_freed_memory

QUERIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "chest X-ray": ("XR", ("chest",)),
    "brain MRI": ("MR", ("brain", "head")),
    "abdominal CT": ("CT", ("abdomen",)),
    "breast ultrasound": ("US", ("breast",)),
    "coronary angiogram": ("OTHER", ("heart",)),
}
MODALITIES = {
    "XR": ("X-ray", "radiograph", "chest X-ray", "X-ray of the hand"),
    "CT": ("CT", "CT scan", "computed tomography", "axial CT"),
    "MR": ("MRI", "magnetic resonance imaging", "MR image", "T2 weighted MRI"),
    "US": ("ultrasound", "sonogram", "ultrasonography"),
    "OTHER": ("coronary angiogram", "X-ray angiography", "angiogram"),
}
BODY_PARTS = {
    "abdomen": ("abdomen", "abdominal"),
    "breast": ("breast",),
    "chest": ("chest", "lungs"),
    "hand": ("hand", "hand X-ray"),
    "head": ("brain", "head", "head and neck"),
    "heart": ("heart", "coronary"),
    "lung": ("lung ultrasound",),
    "musculoskeletal": ("musculoskeletal", "knee", "shoulder", "bones and joints"),
    "pelvis": ("pelvis", "pelvic"),
    "spine": ("spine", "spinal", "lumbar spine"),
}
PLANES = {plane: (f"{plane} view", f"{plane} CT", f"{plane} MRI") for plane in ("axial", "sagittal", "coronal")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="roco-mini")
    args = parser.parse_args()
    keep_freed_memory()
    encoder = load_encoder(args.model)
    pairs = read_imagefolder(args.data)
    images = np.concatenate(
        [
            encoder.encode_images([next(open_image(pair.image)).pixels for pair in pairs[i : i + 64]])
            for i in range(0, len(pairs), 64)
        ]
    )
    print(json.dumps(measure(encoder, pairs, images), indent=2))


def measure(encoder: Encoder, pairs: Sequence[Pair], images: np.ndarray) -> dict[str, object]:
    """Every figure of this script, for embeddings float32 ``(len(pairs), dim)``."""
    modality = [pair.columns["modality"] for pair in pairs]
    body = [pair.columns["body_part"] for pair in pairs]
    medpix = [i for i, pair in enumerate(pairs) if pair.columns["source"] == "medpix2"]
    planes = {i: str(pairs[i].columns["labels"][1]).lower() for i in medpix}
    is_plane = [i for i in medpix if planes[i] in PLANES]

    def accuracy(labels: Mapping[str, Sequence[str]], rows: Sequence[int], truth: Callable[[int], str]) -> float:
        predicted = classify(encoder, labels, images[list(rows)])
        return float(np.mean([p == truth(i) for p, i in zip(predicted, rows, strict=True)]))

    def region(i: int) -> str:
        return {"brain": "head", "head and neck": "head"}.get(body[i], body[i])

    everything = range(len(pairs))
    return {
        "precision_at_10": {
            query: precision_at_10(
                encoder,
                images,
                query,
                [m == want and b in parts for m, b in zip(modality, body, strict=True)],
            )
            for query, (want, parts) in QUERIES.items()
        },
        "modality_accuracy": accuracy(MODALITIES, everything, lambda i: modality[i]),
        "ct_or_mr_accuracy_medpix": accuracy({m: MODALITIES[m] for m in ("CT", "MR")}, medpix, lambda i: modality[i]),
        "body_part_accuracy_all": accuracy(BODY_PARTS, everything, region),
        "body_part_accuracy_medpix": accuracy(BODY_PARTS, medpix, region),
        "plane_accuracy_medpix": accuracy(PLANES, is_plane, lambda i: planes[i]),
        "retrieval_medpix": retrieval(encoder, [pairs[i].caption for i in medpix], images[medpix]),
    }


def precision_at_10(encoder: Encoder, images: np.ndarray, query: str, right: Sequence[bool]) -> float:
    scores = images @ encoder.encode_texts([query])[0]
    return float(np.mean(np.asarray(right)[np.argsort(-scores, kind="stable")[:10]]))


def classify(encoder: Encoder, labels: Mapping[str, Sequence[str]], images: np.ndarray) -> list[str]:
    """The label whose prompts' mean direction is nearest."""
    means = np.stack([encoder.encode_texts(list(prompts)).mean(0) for prompts in labels.values()])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return [list(labels)[i] for i in (images @ means.T).argmax(1)]


def retrieval(encoder: Encoder, captions: Sequence[str], images: np.ndarray) -> dict[str, float]:
    """Recall in both directions over the pool, and among 32; an identical caption counts as found."""
    texts = encoder.encode_texts(captions)
    out = {"n": float(len(captions))}
    for name, queries, candidates in (("image_to_text", images, texts), ("text_to_image", texts, images)):
        found = ranks(queries, candidates, captions, "any")
        out |= {f"{name}_recall@{k}": float((found <= k).mean()) for k in (1, 5, 10)}
    return out | shuffled_32(images, texts, captions)


if __name__ == "__main__":
    main()
