"""What tests of networks share: small models that are trained within seconds, once for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest_models import recipe_of


def pytest_collection_modifyitems(items):
    """Skip everything here, with the reason, where there is no torch."""
    from importlib.util import find_spec

    lacking = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    for item in items:
        if lacking and Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skip(reason=f"{' and '.join(lacking)} not installed: pip install .[networks]"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small networks gain nothing from more, and lose to colleagues on the same machine."""
    from importlib.util import find_spec

    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)


SMALL = {"hidden": 48, "layers": 3, "components": 2, "token": 16, "context": 32, "depth": 1, "heads": 2}


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """A folder with models of a few seconds' training: any protocol (two members), 16 b-values, and spatial ones."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = tmp_path_factory.mktemp("models")
        _train_small_models(folder)
        return folder
    from filelock import FileLock

    # The processes of one run share the models: the first to come trains them, the others wait or begin later.
    folder = tmp_path_factory.getbasetemp().parent / "models"
    trained = folder / "trained"
    with FileLock(f"{folder}.lock"):
        if not trained.exists():
            folder.mkdir(exist_ok=True)
            _train_small_models(folder)
            trained.touch()
    return folder


def _train_small_models(folder):
    from ivimcore.networks import zoo
    from ivimcore.networks.modelling import train

    train(recipe_of("anyprotocol", {"steps": 120, "groups": 6, "batch": 192, "members": 2, "warmup": 20, "every": 120},
                    id="small_any", architecture={"kind": "anyprotocol", "options": SMALL}), folder)  # fmt: skip
    train(recipe_of("mlp_supervised_brain16", {"steps": 1000, "rate": 3e-3, "schedule": "cosine", "batch": 256,
                                               "members": 2}, id="small_mlp", normalisation="b0", S0=[1, 1],
                    noise={"snr": [100, 100]}), folder)  # fmt: skip
    short = {"steps": 60, "batch": 4, "rate": 3e-3, "warmup": 5, "every": 60}
    maps = {"kind": ["patch_uni", "mask_uni"], "size": 15}
    train(recipe_of("natten_7_brain16", short, ("start",), id="small_natten", distribution=maps,
                    architecture={"kind": "natten", "options": {"windows": [3, 5], "width": 16}}), folder)  # fmt: skip
    train(recipe_of("unet_brain16", short, id="small_unet", distribution={**maps, "size": 16, "kind": "mask_uni"},
                    architecture={"kind": "unet", "options": {"channels": 8}}), folder)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(zoo.VARIABLE, str(folder))
        patch.setattr(zoo, "bundled_folder", lambda: None)
        options = {**SMALL, "width": 16, "looks": 2, "windows": [5, 5]}
        train(recipe_of("anyprotocol_spatial", {**short, "steps": 80}, id="small_spatial", start="small_any",
                        distribution={"kind": "findings", "size": 16},
                        architecture={"kind": "anyprotocol_spatial", "options": options}), folder)  # fmt: skip


@pytest.fixture
def models(small_models, monkeypatch):
    """The small models, found by the program."""
    from ivimcore.networks import zoo

    monkeypatch.setenv(zoo.VARIABLE, str(small_models))
    monkeypatch.setattr(zoo, "bundled_folder", lambda: None)
    return small_models
