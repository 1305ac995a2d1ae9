"""A trained reward model or policy as files, in formats that others can read.

    adapter/            of LoRA: peft's own format; of another adapter:
                        adapter.safetensors, numbers by block name
    head.safetensors    head [k], mean [hidden], whitening [hidden, k], float64
                        (of a reward model)
    model.json          task, base, adapter settings, layout, the caller's description

Guarantees: a loaded model gives the values that the saved one gave, bit for bit on the
same machine; the same vector gives the same bytes; no file names a local path; numbers
of an adapter that nobody trains are those of the public seed, or loading fails.

Does not: contain the base, which is an asset of its own; write atomically (a run
folder is complete when its report is there).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from fedpref.core.types import Block, Float
from fedpref.errors import FedprefError, IntegrityError, OutputError, SetupError
from fedpref.models.adapters import KINDS, Adapter, AnyAdapter
from fedpref.models.bases import Base, load_base
from fedpref.models.features import FeatureMap
from fedpref.models.placement import Adapted
from fedpref.models.policy import PolicyModel
from fedpref.models.reward import HEAD, RewardModel
from fedpref.models.trained import Trained, parameters_at

Found = dict[str, Float]
Model = TypeVar("Model", bound=Trained)

VERSION = 1
PEFTS = "adapter_model.safetensors"
OWN = "adapter.safetensors"
PREFIX = "base_model.model."  # of peft's names


def save(
    model: Trained, vector: Float, folder: Path, description: Mapping[str, Any]
) -> None:
    """Write the model as it is at ``vector``; its own vector stays as it was.

    Args:
        model: a reward model or a policy.
        vector: ``[size]``.
        folder: made where missing; files of an earlier save are replaced.
        description: anything that JSON can hold, kept in ``model.json``.

    Raises:
        OutputError: the folder cannot be written.
    """
    values = parameters_at(model.layout, model.start, vector)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(model, RewardModel):
            mapped = model.features_map
            maps = {"mean": mapped.mean, "whitening": mapped.whitening}
            data = to_bytes({HEAD: values[HEAD], **maps})
            (folder / "head.safetensors").write_bytes(data)
        if model.adapted is not None:
            _save_adapter(model, model.adapted, values, folder / "adapter")
        _write_json(folder / "model.json", _settings(model) | {"about": description})
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"model folder = {folder}: cannot be written ({error}); "
            "free some space or choose another folder"
        ) from error


def base_of(folder: Path) -> str:
    """Name of the frozen base that a saved model needs; errors as :func:`load`."""
    return str(_read_settings(folder)["base"])


def load(folder: Path, base_folder: Path) -> RewardModel:
    """Rebuild a saved reward model; its vector is zero *at the saved parameters*.

    Args:
        folder: what :func:`save` wrote.
        base_folder: the frozen base that the model was trained on.

    Raises:
        SetupError: a file is not there.
        IntegrityError: a file is not what it says, or does not fit the base.
    """

    def build(base: Base, adapter: AnyAdapter | None, found: Found) -> RewardModel:
        features = FeatureMap(found.pop("mean"), found.pop("whitening"))
        return RewardModel(base, features, adapter, start=found)

    return _load(folder, base_folder, "reward", build)


def load_policy(folder: Path, base_folder: Path) -> PolicyModel:
    """Rebuild a saved policy; otherwise as :func:`load`."""

    def build(base: Base, adapter: AnyAdapter | None, found: Found) -> PolicyModel:
        if adapter is None:
            raise ValueError("a policy without an adapter")
        return PolicyModel(base, adapter, start=found)

    return _load(folder, base_folder, "policy", build)


def _load(
    folder: Path,
    base_folder: Path,
    task: str,
    build: Callable[[Base, AnyAdapter | None, Found], Model],
) -> Model:
    settings = _read_settings(folder)
    found = settings.get("task", "reward")
    if found != task:
        raise IntegrityError(f"{folder}: task = {found!r}, must be {task!r}")
    try:
        adapter = _adapter(settings["adapter"])
        tensors = _tensors(folder, adapter, task)
        base = load_base(
            base_folder,
            name=str(settings["base"]),
            dtype=getattr(torch, str(settings["dtype"])),
            policy=task == "policy",
        )
        model = build(base, adapter, tensors)
        saved = tuple(
            Block(str(b["name"]), tuple(b["shape"]), float(b["scale"]))
            for b in settings["layout"]
        )
        _check_frozen(model, tensors)
    except SetupError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, FedprefError) as error:
        raise IntegrityError(
            f"model folder = {folder}: does not fit together with the base "
            f"{base_folder.name} ({type(error).__name__}: {error})"
        ) from error
    if model.layout.blocks != saved:
        raise IntegrityError(
            f"model folder = {folder}: the layout in model.json is not that of the "
            "adapter; was a file replaced?"
        )
    return model


def _check_frozen(model: Trained, tensors: Mapping[str, Float]) -> None:
    """What nobody trains is drawn again from the seed, and must be what was saved."""
    for name, parameter in model.adapted.frozen if model.adapted else ():
        if not np.array_equal(tensors[name], parameter.detach().double().numpy()):
            raise ValueError(f"{name} is not what adapter.seed gives")


def _settings(model: Trained) -> dict[str, Any]:
    kinds = {kind: name for name, kind in KINDS.items()}
    adapter = model.adapter
    return {
        "version": VERSION,
        "task": "reward" if isinstance(model, RewardModel) else "policy",
        "base": model.base.name,
        "dtype": str(model.base.dtype).removeprefix("torch."),
        "adapter": {"kind": kinds[type(adapter)]} | asdict(adapter)
        if adapter
        else None,
        "layout": [
            {"name": b.name, "shape": list(b.shape), "scale": b.scale}
            for b in model.layout.blocks
        ],
    }


def _save_adapter(
    model: Trained, adapted: Adapted, values: Mapping[str, Float], folder: Path
) -> None:
    """For LoRA, what peft's ``save_pretrained`` writes, without its model card.

    Not the method itself: it writes sets in an order of the process, and looks for the
    base model on a hub by name.
    """
    folder.mkdir(exist_ok=True)
    dtype = np.dtype(str(model.base.dtype).removeprefix("torch."))
    tensors = {name: values[name].astype(dtype) for name, _ in adapted.parameters}
    tensors |= {name: p.detach().numpy() for name, p in adapted.frozen}
    if adapted.peft is None:
        (folder / OWN).write_bytes(to_bytes(tensors))
        return
    named = {PREFIX + name: value for name, value in tensors.items()}
    data = to_bytes(named, metadata={"format": "pt"})
    (folder / PEFTS).write_bytes(data)
    config = adapted.peft.peft_config["default"].to_dict()
    config["inference_mode"] = True
    _write_json(folder / "adapter_config.json", config)


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, default=sorted)
    path.write_text(text + "\n", encoding="utf-8")


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(f"model folder = {folder}: no model.json there") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error})") from error
    version = settings.get("version") if isinstance(settings, dict) else None
    if version != VERSION:
        raise IntegrityError(f"{path}: version = {version}, must be {VERSION}")
    if not isinstance(settings.get("base"), str):
        raise IntegrityError(f"{path}: base is missing, or not a name")
    return dict(settings)


def _adapter(settings: Mapping[str, Any] | None) -> AnyAdapter | None:
    if settings is None:
        return None
    given = dict(settings)
    kind = KINDS[given.pop("kind", "lora")]
    if "targets" in given:
        given["targets"] = tuple(given["targets"])
    return kind(**given)


def _tensors(folder: Path, adapter: AnyAdapter | None, task: str) -> Found:
    paths = [folder / "head.safetensors"] if task == "reward" else []
    if adapter:
        name = PEFTS if isinstance(adapter, Adapter) else OWN
        paths.append(folder / "adapter" / name)
    tensors: dict[str, Any] = {}
    for path in paths:
        try:
            tensors |= load_file(path)
        except FileNotFoundError as error:
            raise SetupError(f"{path}: is not there") from error
        except (OSError, SafetensorError) as error:
            raise IntegrityError(f"{path}: cannot be read ({error})") from error
    return {
        name.removeprefix(PREFIX): np.asarray(value, dtype=np.float64)
        for name, value in tensors.items()
    }
