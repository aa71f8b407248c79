"""The compiler: exports both towers to ONNX, quantises the text tower to 8 bits, checks each against torch, keeps them.

A command calls `prepare` once per model. It warns instead of failing, because queries are answered without its results
too, only more slowly.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roco_search.errors import RocoError
from roco_search.models.cache import private_folder
from roco_search.models.compiling.towers import (
    Compiled,
    Form,
    Texts,
    Tower,
    beside,
    folder_of,
    give_weights,
    options,
    session,
)
from roco_search.system.files import set_mode, sha256, sync, temporary_folder, write_file
from roco_search.system.seals import Seal

if TYPE_CHECKING:
    from roco_search.models.checkpoint import Checkpoint

TOKENIZER = "tokenizer.json"
FAITHFUL = {"fp32": 0.9999, "int8": 0.999}
"""The least cosine similarity to torch in fp32 with which a form is kept, over every probe."""

PROBES = (
    "chest X-ray",
    "pleural effusion",
    "axial CT of the abdomen with contrast",
    "T2-weighted MRI of the brain showing a mass in the left temporal lobe with surrounding oedema",
    "ultrasound of the gallbladder with stones",
    "mammogram, craniocaudal view",
    "normal",
    "no finding",
    "fracture of the distal radius",
    "coronary angiogram: stenosis of the left anterior descending artery",
    "a lateral radiograph of the lumbar spine of a 54-year-old woman after a fall",
    "PET-CT, whole body, lymphoma under treatment, FDG uptake in mediastinal lymph nodes",
)

logger = logging.getLogger("roco")


def prepare(checkpoint: Checkpoint, tell: Callable[[str], None] = lambda _: None) -> bool:
    """Make what the cache lacks of a checkpoint; True if everything that can be compiled is there.

    Parameters
    ----------
    checkpoint
        The model.
    tell
        Is given a sentence before work that takes a while.
    """
    try:
        with _quiet():
            return _prepare(checkpoint, tell)
    except OSError as error:
        logger.warning("The cache cannot be written (%s), so queries will start more slowly.", error.strerror)
    except RocoError:
        raise
    except Exception as error:  # torch, onnx and onnxruntime raise what they like at a model that is new to them
        logger.warning(
            "%s cannot be compiled (%s); torch is used, which starts more slowly.",
            checkpoint.name,
            type(error).__name__,
        )
    return False


def _prepare(checkpoint: Checkpoint, tell: Callable[[str], None]) -> bool:
    fingerprint = checkpoint.fingerprint
    folder = folder_of(fingerprint)
    if _sound(fingerprint, "text", "int8") or (folder / "text-int8.refused").exists():
        return True
    private_folder(folder)
    if beside(checkpoint, "text"):
        source, texts = _embedded(checkpoint)
    else:
        tell(f"Compiling {checkpoint.name} once, so that queries start at once …")
        source, texts = _exported(checkpoint)
    _small_text(checkpoint, source, texts)
    return True


def _sound(fingerprint: str, tower: Tower, form: Form) -> bool:
    found = Compiled.find(fingerprint, tower, form)
    if found is not None and found.check():
        return True
    manifest = folder_of(fingerprint) / f"{tower}-{form}.json"
    if manifest.exists():
        logger.warning("The compiled %s tower was damaged; it is made again.", tower)
        with suppress(OSError):
            manifest.unlink()
    return False


Run = Callable[[dict[str, np.ndarray]], np.ndarray]


def _embedded(checkpoint: Checkpoint) -> tuple[tuple[Path, dict[str, str]], Texts]:
    """Return the graph beside the weights, which was compared with torch when it was released."""
    from roco_search.models.checkpoint import read_json

    length = int(read_json(checkpoint.directory / "tokenizer_config.json")["model_max_length"])
    texts = Texts(max_length=length, pad_id=0, pad_to_max=False, masked=True)
    _keep_tokenizer(folder_of(checkpoint.fingerprint), checkpoint.directory / TOKENIZER)
    return (checkpoint.directory / "text.onnx", {}), texts


def _exported(checkpoint: Checkpoint) -> tuple[tuple[Path, dict[str, str]], Texts]:
    """Export both towers from torch; keep those that equal it; return the text tower's graph."""
    from roco_search.models.compiling.export import export_tower, load_for_export
    from roco_search.models.torch_encoder import TorchEncoder

    encoder = TorchEncoder(checkpoint, "cpu", "fp32")
    model = load_for_export(checkpoint)
    folder = folder_of(checkpoint.fingerprint)
    texts = _texts(encoder, folder)
    inputs: dict[Tower, dict[str, np.ndarray]] = {"text": dict(encoder.prepare_texts(list(PROBES)))}
    if encoder.preprocessing is not None:
        inputs["image"] = {"pixel_values": encoder.preprocessing(_pictures())}
    expected = {"text": encoder.encode_texts(list(PROBES))}
    if "image" in inputs:
        expected["image"] = encoder.encode_images(_pictures())
    for tower, given in inputs.items():
        with temporary_folder(folder / "tower") as staged:
            traced = {name: array[:2] for name, array in given.items()}
            graph = staged / f"{tower}-fp32.onnx"
            weights = export_tower(model, tower, traced, checkpoint.tensors, graph)
            run = _runner(graph, weights, checkpoint)
            cosine = _least(run(given), expected[tower])
            if cosine < FAITHFUL["fp32"]:
                raise ValueError("the compiled tower does not equal torch")
            _keep(checkpoint, tower, "fp32", cosine, graph, weights, texts if tower == "text" else None)
    found = Compiled.find(checkpoint.fingerprint, "text", "fp32")
    assert found is not None
    return (folder / "text-fp32.onnx", found.weights), texts


def _small_text(checkpoint: Checkpoint, source: tuple[Path, dict[str, str]], texts: Texts) -> None:
    """Make the text tower in 8 bits, and keep it if it is faithful."""
    from roco_search.models.compiling.quantise import optimised, quantise
    from roco_search.models.tokenizer import WORDS, TextTokenizer, write_table

    graph, weights = source
    folder = folder_of(checkpoint.fingerprint)
    tokenizer = TextTokenizer.from_file(
        folder / TOKENIZER, max_length=texts.max_length, pad_id=texts.pad_id, pad_to_max=texts.pad_to_max
    )
    ids, mask = tokenizer(PROBES)
    given = {"input_ids": ids, "attention_mask": mask} if texts.masked else {"input_ids": ids}
    with temporary_folder(folder / "tower") as staged:
        ready, small = staged / "ready.onnx", staged / "text-int8.onnx"
        optimised(graph, ready, lambda chosen: give_weights(chosen, weights, checkpoint.tensors))
        quantise(ready, small)
        exact = session(ready, options(ready=True)).run(None, given)[0]
        cosine = _least(session(small, options(ready=True)).run(None, given)[0], exact)
        if cosine < FAITHFUL["int8"]:
            write_file(folder / "text-int8.refused", f"{cosine}\n")
            return
        words = [staged / WORDS] if write_table(folder / TOKENIZER, staged / WORDS) else []
        _keep(checkpoint, "text", "int8", cosine, small, {}, texts, words)


def small_image(checkpoint: Checkpoint, *, threads: int | None = None) -> Any:
    """Return a session of the image tower with weights and activations in 8 bits, made now if it is not there yet.

    Weights have a scale a channel, activations one a call. Only products of matrices are rounded, so that it is of use
    for transformers; how faithful it is, the caller has to measure.

    Raises
    ------
    ValueError
        If the tower has no product that could be rounded.
    Exception
        Whatever onnxruntime raises.
    """
    from roco_search.models.compiling.quantise import optimised, quantise_dynamically

    if (found := Compiled.find(checkpoint.fingerprint, "image", "dynamic")) is not None:
        return found.open(checkpoint.tensors, threads=threads)
    graph, weights = beside(checkpoint, "image"), dict[str, str]()
    folder = private_folder(folder_of(checkpoint.fingerprint))
    if graph is None:
        exact = Compiled.find(checkpoint.fingerprint, "image", "fp32")
        if exact is None:
            raise ValueError("the image tower is not compiled")
        graph, weights = exact.folder / next(iter(exact.hashes)), exact.weights
    with temporary_folder(folder / "tower") as staged, _quiet():
        ready, small = staged / "ready.onnx", staged / "image-dynamic.onnx"
        optimised(graph, ready, lambda chosen: give_weights(chosen, weights, checkpoint.tensors))
        quantise_dynamically(ready, small)
        _keep(checkpoint, "image", "dynamic", float("nan"), small, {}, None)
    found = Compiled.find(checkpoint.fingerprint, "image", "dynamic")
    assert found is not None
    return found.open(checkpoint.tensors, threads=threads)


def _texts(encoder: Any, folder: Path) -> Texts:
    """Keep the checkpoint's tokenizer as one file, and make sure that it gives what transformers' own gives."""
    from roco_search.models.tokenizer import TextTokenizer

    ids, mask = encoder._tokenizer(list(PROBES))
    own = getattr(encoder._tokenizer, "tokenizer", None)
    backend = getattr(own, "backend_tokenizer", own)
    max_length = int(encoder._tokenizer.max_length)
    pad_id = int(getattr(own, "pad_token_id", None) or 0)
    pad_to_max = getattr(encoder._tokenizer, "padding", True) == "max_length"
    if backend is None:
        raise ValueError("the tokenizer cannot be kept as one file")
    with temporary_folder(folder / "tokenizer") as scratch:
        backend.save(str(scratch / TOKENIZER))
        _keep_tokenizer(folder, scratch / TOKENIZER)
    texts = Texts(max_length, pad_id, pad_to_max, masked=mask is not None)
    again, mask_again = TextTokenizer.from_file(
        folder / TOKENIZER, max_length=max_length, pad_id=pad_id, pad_to_max=pad_to_max
    )(PROBES)
    if not np.array_equal(ids, again) or (mask is not None and not np.array_equal(mask, mask_again)):
        raise ValueError("the tokenizer cannot be kept as one file")
    return texts


def _keep_tokenizer(folder: Path, source: Path) -> None:
    write_file(folder / TOKENIZER, source.read_bytes())


def _keep(
    checkpoint: Checkpoint,
    tower: Tower,
    form: Form,
    cosine: float,
    graph: Path,
    weights: dict[str, str],
    texts: Texts | None,
    beside: Sequence[Path] = (),
) -> None:
    """Move a finished tower from the staging folder into its place; the manifest comes last."""
    folder = folder_of(checkpoint.fingerprint)
    files = [file for file in (graph, graph.with_name(f"{graph.name}.data"), *beside) if file.exists()]
    for file in files:
        set_mode(file)
        sync(file)
        file.replace(folder / file.name)
    names = [file.name for file in files] + ([TOKENIZER] if tower == "text" else [])
    hashes = {name: sha256(folder / name) for name in names}
    seals = {name: Seal.put_on(folder / name) for name in names}
    Compiled(folder, checkpoint.fingerprint, tower, form, cosine, seals, hashes, weights, texts).write()


def _runner(graph: Path, weights: dict[str, str], checkpoint: Checkpoint) -> Run:
    chosen = options()
    opened = session(graph, chosen, give_weights(chosen, weights, checkpoint.tensors))
    return lambda given: np.asarray(opened.run(None, given)[0])


def _least(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found * expected).sum(axis=1).min())


def _pictures() -> list[np.ndarray]:
    """Return pictures with something in them, of several shapes: uint8 ``(height, width, 3)``."""
    random = np.random.default_rng(0)
    shapes = ((256, 256), (300, 200), (180, 320), (224, 224))
    pictures = []
    for height, width in shapes:
        y, x = np.mgrid[0:height, 0:width]
        wave = 90 + 60 * np.sin(x / random.uniform(5, 40)) * np.cos(y / random.uniform(5, 40))
        noisy = wave[:, :, None] + random.normal(scale=20, size=(height, width, 3))
        pictures.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return pictures


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of itself off the console."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal", "onnxscript", "onnx_ir")]
    before = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loggers:
            one.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for one, level in zip(loggers, before, strict=True):
                one.setLevel(level)
