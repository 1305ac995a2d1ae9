"""A trained reward model as files, in formats that others can read.

    adapter/            peft's own format (where there is an adapter)
    head.safetensors    head [k], mean [hidden], whitening [hidden, k], float64
    model.json          base, adapter settings, layout, and the caller's description

Guarantees: a loaded model gives the scores that the saved one gave, bit for bit on the
same machine; the same vector gives the same bytes; no file names a local path.

Does not: contain the encoder, which is an asset of its own; write atomically (a run
folder is complete when its report is there).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from fedpref.core.types import Block, Float, Layout
from fedpref.errors import FedprefError, IntegrityError, OutputError, SetupError
from fedpref.models.adapters import Adapter
from fedpref.models.bases import load_base
from fedpref.models.features import FeatureMap
from fedpref.models.reward import HEAD, RewardModel, parameters_at

VERSION = 1
PREFIX = "base_model.model."  # of peft's names


def save(
    model: RewardModel, vector: Float, folder: Path, description: Mapping[str, Any]
) -> None:
    """Write the model as it is at ``vector``; its own vector stays as it was.

    Args:
        model: the reward model.
        vector: ``[size]``.
        folder: made where missing; files of an earlier save are replaced.
        description: anything that JSON can hold, kept in ``model.json``.

    Raises:
        OutputError: the folder cannot be written.
    """
    values = parameters_at(model.layout, model.start, vector)
    features = model.features_map
    tensors = {
        HEAD: values[HEAD],
        "mean": features.mean,
        "whitening": features.whitening,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "head.safetensors").write_bytes(to_bytes(tensors))
        if model.adapted is not None:
            _save_adapter(model, values, folder / "adapter")
        _write_json(folder / "model.json", _settings(model) | {"about": description})
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"model folder = {folder}: cannot be written ({error}); "
            "free some space or choose another folder"
        ) from error


def base_of(folder: Path) -> str:
    """Name of the frozen encoder that a saved model needs; errors as :func:`load`."""
    return str(_read_settings(folder)["base"])


def load(folder: Path, base_folder: Path) -> RewardModel:
    """Rebuild a saved model; its vector is zero *at the saved parameters*.

    Args:
        folder: what :func:`save` wrote.
        base_folder: the frozen encoder that the model was trained on.

    Raises:
        SetupError: a file is not there.
        IntegrityError: a file is not what it says, or does not fit the encoder.
    """
    settings = _read_settings(folder)
    try:
        adapter = _adapter(settings["adapter"])
        tensors = _tensors(folder, adapter)
        base = load_base(
            base_folder,
            name=str(settings["base"]),
            dtype=getattr(torch, str(settings["dtype"])),
        )
        features = FeatureMap(tensors.pop("mean"), tensors.pop("whitening"))
        model = RewardModel(base, features, adapter, start=tensors)
        saved = Layout(
            tuple(
                Block(str(b["name"]), tuple(b["shape"]), float(b["scale"]))
                for b in settings["layout"]
            )
        )
    except SetupError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, FedprefError) as error:
        raise IntegrityError(
            f"model folder = {folder}: does not fit together with the encoder "
            f"{base_folder.name} ({type(error).__name__}: {error})"
        ) from error
    if model.layout != saved:
        raise IntegrityError(
            f"model folder = {folder}: the layout in model.json is not that of the "
            "adapter; was a file replaced?"
        )
    return model


def _settings(model: RewardModel) -> dict[str, Any]:
    return {
        "version": VERSION,
        "base": model.base.name,
        "dtype": str(model.base.dtype).removeprefix("torch."),
        "adapter": asdict(model.adapter) if model.adapter else None,
        "layout": [
            {"name": b.name, "shape": list(b.shape), "scale": b.scale}
            for b in model.layout.blocks
        ],
    }


def _save_adapter(
    model: RewardModel, values: Mapping[str, Float], folder: Path
) -> None:
    """What peft's ``save_pretrained`` writes, without its model card.

    Not the method itself: it writes sets in an order that changes from one process to
    the next, and looks for the base model on a hub by name.
    """
    assert model.adapted is not None
    folder.mkdir(exist_ok=True)
    dtype = np.dtype(str(model.base.dtype).removeprefix("torch."))
    tensors = {PREFIX + k: v.astype(dtype) for k, v in values.items() if k != HEAD}
    data = to_bytes(tensors, metadata={"format": "pt"})
    (folder / "adapter_model.safetensors").write_bytes(data)
    config = model.adapted.peft.peft_config["default"].to_dict()
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
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error})") from error
    version = settings.get("version") if isinstance(settings, dict) else None
    if version != VERSION:
        raise IntegrityError(f"{path}: version = {version}, must be {VERSION}")
    return dict(settings)


def _adapter(settings: Mapping[str, Any] | None) -> Adapter | None:
    if settings is None:
        return None
    return Adapter(**{**settings, "targets": tuple(settings["targets"])})


def _tensors(folder: Path, adapter: Adapter | None) -> dict[str, Float]:
    paths = [folder / "head.safetensors"]
    if adapter:
        paths.append(folder / "adapter" / "adapter_model.safetensors")
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
