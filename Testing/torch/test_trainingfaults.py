"""What may go wrong in a training: losses that are no number, full disks, small GPUs, and weights of strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from refusal import refused

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from conftest_models import SHORT, recipe_of, trainer  # noqa: E402

from ivimcore.errors import GpuMemoryError, InputError  # noqa: E402
from ivimcore.networks import checkpoint, modelling, sampling, tasks, training  # noqa: E402
from ivimcore.networks.build import load  # noqa: E402
from ivimcore.networks.cards import ModelCard, write_card  # noqa: E402
from ivimcore.networks.modelling import train  # noqa: E402


def test_a_loss_that_is_no_number_stops_with_the_last_good_weights_and_says_why(tmp_path):
    work = trainer(tmp_path)
    real = work.task.loss
    work.task.loss = lambda *batch: real(*batch) * (torch.nan if work.step == 45 and work.task.network.training else 1)
    result = work.run()
    assert "no number at step 45" in result.ended
    assert all(torch.isfinite(value).all() for value in result.weights.values())


def test_a_loss_that_is_no_number_from_the_start_is_an_error(tmp_path):
    work = trainer(tmp_path)
    work.task.loss = lambda *batch: work.task.network(batch[0]).sum() * torch.nan
    refused(work.run, "no number from the start")


def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    monkeypatch.setattr(training, "SAVE_EVERY", 0)
    refused(trainer(tmp_path).run, "make room on the disk and resume")


def test_too_little_room_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(modelling, "ROOM", 2**62)
    refused(lambda: train(recipe_of("mlp_supervised_paper1", SHORT), tmp_path), "make room on the disk")


def test_a_gpu_without_memory_gets_smaller_parts_and_then_the_person_is_asked(tmp_path):
    work = trainer(tmp_path)

    def with_memory_for(most, work):
        real = work.task.loss

        def loss(*batch):
            if len(batch[0]) > most and work.task.network.training:
                raise torch.cuda.OutOfMemoryError("out of memory")
            return real(*batch)

        work.task.loss = loss
        return work

    told = []
    with_memory_for(20, work).run(lambda report: told.append(report.note))
    assert "4 parts" in told[0]
    refused(with_memory_for(0, trainer(tmp_path)).run, "choose a smaller 'batch'")
    with pytest.raises(GpuMemoryError):  # a window offers the processor
        with_memory_for(0, trainer(tmp_path)).run()


def test_a_gpu_without_memory_for_the_validation_measures_it_in_parts(tmp_path):
    work, whole = trainer(tmp_path), trainer(tmp_path)
    real = work.task.loss

    def loss(*batch):
        if len(batch[0]) > 700 and not work.task.network.training:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return real(*batch)

    work.task.loss = loss
    assert work.check() == pytest.approx(whole.check(), rel=1e-5)
    assert work.parts == 8


def test_that_a_batch_is_cut_is_told_once(tmp_path, monkeypatch):
    from ivimcore.jobs.training import TrainingJob, run_training

    monkeypatch.setattr(
        modelling, "train",
        lambda recipe, out, minutes, resume, measured, tell, *rest: [
            tell(training.Progress(0, 1, step, 9, 1.0, 1.0, 5.0, "the batch is cut into 2 parts")) for step in (3, 6, 9)
        ] and ModelCard(tmp_path, {"id": "x"}),
    )
    events = []
    run_training(TrainingJob("mlp_supervised_paper1", str(tmp_path)), events.append)
    assert [event["text"] for event in events if event["event"] == "warning"] == ["The batch is cut into 2 parts."]


def test_a_full_disk_at_the_end_leaves_the_old_model_whole_and_can_be_resumed(tmp_path, monkeypatch):
    recipe = recipe_of("mlp_supervised_paper1", {**SHORT, "steps": 20})
    train(recipe, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / recipe.id).iterdir()}
    write = Path.write_bytes

    def full(path, data):
        write(path, data[:100])
        raise OSError(28, "No space left on device")

    longer = recipe_of("mlp_supervised_paper1", {**SHORT, "steps": 40})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        refused(lambda: train(longer, tmp_path), "make room, resume")
    left = {path.name: path.read_bytes() for path in (tmp_path / recipe.id).iterdir() if path.name != modelling.WORK}
    assert left == before
    assert train(longer, tmp_path, resume=True).training["steps"] == [40]


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / checkpoint.FILE).write_bytes(b"\x80\x04nonsense")
    refused(lambda: trainer(tmp_path).resume(), "train without --resume")


def test_files_that_are_no_tissue_are_refused(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(lambda: sampling.load_patients(tmp_path / "p.npy"), "cannot be read")
    np.save(tmp_path / "p.npy", np.zeros((3, 3)))
    refused(lambda: sampling.load_patients(tmp_path / "p.npy"), "not a table")
    with pytest.raises(InputError, match="Unknown distribution"):
        sampling.distribution({"kind": "magic"}, {}, tmp_path)


def tampered(card, change):
    """Rewrite the weights of a card, with the right checksum."""
    import hashlib

    from safetensors.torch import load as read_tensors
    from safetensors.torch import save as save_tensors

    tensors = read_tensors(card.weights_path.read_bytes())
    change(tensors)
    data = save_tensors(tensors)
    card.weights_path.write_bytes(data)
    about = {"file": card.weights["file"], "sha256": hashlib.sha256(data).hexdigest()}
    return write_card(card.folder, {**card.content, "weights": about})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["0.body.0.weight"].fill_(torch.nan), "no numbers"),
        (lambda t: t.update({"0.body.0.weight": torch.zeros(1, 3, 3)}), "where the card wants (1, 11, 64)"),
        (lambda t: t.update({"0.body.0.weight": t["0.body.0.weight"].double()}), "do not fit"),
        (lambda t: t.pop("0.body.0.bias"), "missing"),
        (lambda t: t.update({"0.more": torch.zeros(1)}), "more than its architecture"),
    ],
)
def test_weights_that_do_not_fit_the_card_are_refused_with_the_reason(change, words, tmp_path):
    card = train(recipe_of("mlp_supervised_paper1", {**SHORT, "steps": 20}), tmp_path)
    refused(lambda: load(tampered(card, change)), words)


def test_a_series_needs_labels_that_it_has(tmp_path):
    with pytest.raises(InputError, match="no known truth"):
        tasks.make_task(recipe_of("mlp_supervised_paper1"), 1, torch.ones(200, 11))
