"""Which model is advised: conditions leave some out, and of the others published retrieval decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from roco_search.errors import InputError
from roco_search.models.catalogue import costs, registry
from roco_search.models.catalogue.advice import Advice, Wanted, advise, commercial_use, comparable
from roco_search.models.catalogue.archive import export_model, import_model
from roco_search.models.catalogue.overview import list_models
from roco_search.models.compiling.autotune import Autotune, Measured

CT_AND_MR = {"CT": 700, "MR": 200}


@pytest.fixture(autouse=True)
def machine(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that embeds 50 images a second with roco-mini and has 32 GB, so that times are the same everywhere."""
    monkeypatch.setattr(costs, "speed_of_mini", lambda: 50.0)
    monkeypatch.setattr(costs, "machine_memory", lambda: 32 * 10**9)


def ask(modalities: dict[str, int] = CT_AND_MR, images: int = 1000, **wanted: object) -> Advice:
    return advise(images, modalities, "roco-mini", Wanted(**wanted))  # type: ignore[arg-type]


def reasons(advice: Advice) -> dict[str, str]:
    return {found.name: found.left_out for found in advice.candidates}


def test_the_best_published_retrieval_in_a_large_pool_wins() -> None:
    found = ask()
    assert found.take and (found.take.name, found.take.pool) == ("pmc-vit-l-448", 8785)
    assert found.take.recall_at_10 == pytest.approx((67.48 + 67.91) / 2, abs=0.05)
    assert "67.7 % among 8,785" in found.why[0] and "No licence is stated" in found.why[1]
    assert found.commands == ["roco model pull pmc-vit-l-448", "roco index --reembed --model pmc-vit-l-448"]
    order = [candidate.name for candidate in found.candidates]
    assert order.index("clip-roco") < order.index("biomedclip"), "91 % of 495 is no match for 23 % of 8,176"
    assert set(order[-2:]) == {"unimed", "chexzero"}, "what cannot be had comes last"
    assert not set(order) & {"clip", "siglip2"}, "baselines are no advice"


def test_a_licence_leaves_others_out() -> None:
    found = ask(commercial=True)
    assert found.take and (found.take.name, found.take.licence) == ("biomedclip", "MIT")
    assert "a large pool" in found.why[0] and "Med-MIR" in found.why[0]
    why = reasons(found)
    assert why["pmc-vit-l-448"] == "no licence is stated"
    assert why["medpmc"] == why["roco-mini"] == "not for commercial use"
    assert why["medsiglip"] == "terms of its own"
    assert reasons(ask(licences=["mit"]))["medpmc"] == "another licence"
    taken = ask(licences=["cc-by-nc-sa 4.0"]).take
    assert taken and taken.name == "medpmc"
    with pytest.raises(InputError, match=r"No model has the licence 'GPL'; those that are stated: .*MIT"):
        ask(licences=["GPL"])


@pytest.mark.parametrize(
    ("licence", "allows"),
    [("MIT", True), ("apache-2.0", True), ("CC BY 4.0", True), ("cc-by-sa-4.0", True), ("CC BY-NC-SA 4.0", False),
     ("cc-by-nc-4.0", False), ("research-only", False), ("Health AI Developer Foundations terms", None), (None, None),
     ("limited", None)],
)  # fmt: skip
def test_which_licences_allow_commercial_use(licence: str | None, allows: bool | None) -> None:
    assert commercial_use(licence) is allows


def test_time_memory_and_modalities_leave_models_out(monkeypatch: pytest.MonkeyPatch) -> None:
    few_hours = ask(images=100_000, hours=1)
    assert few_hours.take and few_hours.take.name == "roco-mini" and not few_hours.commands
    assert reasons(few_hours)["pmc-vit-l-448"] == "takes more than 1 hours"
    ultrasound = reasons(ask({"US": 90, "CT": 10}))
    assert ultrasound["medsiglip"] == "made for other modalities" and not ultrasound["biomedclip"]
    assert not reasons(ask({"CR": 90}))["medsiglip"]
    monkeypatch.setattr(costs, "machine_memory", lambda: 4 * 10**9)
    small = ask()
    assert reasons(small)["pmc-vit-l"] == "needs more memory than there is"
    assert small.take and small.take.name == "clip-roco"
    assert ask(hours=1e-6).take is None
    with pytest.raises(InputError, match="hours"):
        ask(hours=float("nan"))


@pytest.mark.parametrize(("tower", "size"), [("ViT-B/32", 224), ("ViT-B/16", 224), ("ViT-L/14", 448)])
def test_operations_are_those_of_the_layers(tower: str, size: int) -> None:
    kind, _, patch = tower.partition("/")
    width, blocks = {"ViT-B": (768, 12), "ViT-L": (1024, 24)}[kind]
    with torch.device("meta"):
        config = CLIPVisionConfig(hidden_size=width, num_hidden_layers=blocks, num_attention_heads=width // 64,
                                  intermediate_size=4 * width, image_size=size, patch_size=int(patch))  # fmt: skip
        model = CLIPVisionModel(config)
    tokens = (size // int(patch)) ** 2 + 1
    linear = sum(tokens * m.in_features * m.out_features for m in model.modules() if isinstance(m, torch.nn.Linear))
    attention = blocks * 2 * tokens**2 * width
    convolution = tokens * sum(p.numel() for n, p in model.named_parameters() if "patch_embedding" in n)
    assert costs.operations(tower, size) == pytest.approx(linear + attention + convolution, rel=1e-3)
    assert costs.operations("RN50", 224) is None


def test_a_speed_that_was_measured_here_is_taken_as_it_is(clip_folder: Path, tmp_path: Path) -> None:
    import_model(export_model(clip_folder, tmp_path / "small.zip").file, "small")
    (small,) = [model for model in list_models() if model.name == "small"]
    estimated, measured = costs.rate(small, 50.0)
    assert estimated and not measured
    assert costs.rate(small, 25.0)[0] == pytest.approx(estimated / 2)
    checkpoint = registry.find("small")
    Autotune(checkpoint, lambda pixels: pixels)._write({"onnxruntime": Measured(12.5, 0.0, 1.0)})
    assert costs.rate(small, 50.0) == (12.5, True)
    mini = next(model for model in list_models() if model.name == "roco-mini")
    assert costs.rate(mini, 50.0) == (50.0, True)


def test_a_figure_stands_for_the_directions_of_its_pool() -> None:
    figures = registry.entries()["clip-roco"].retrieval
    assert comparable(figures) == (23.3, 8176, "ROCO, test; its publisher's")
    assert comparable([replace(figure, pool=None) for figure in figures]) is None
    assert comparable(registry.entries()["open-pmc"].retrieval) is None, "recall@200 is another figure"
