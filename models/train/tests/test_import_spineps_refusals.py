"""The import of SPINEPS' weights refuses hostile, damaged and unfitting files, in a sentence that says what to do.

Run: python -m pytest models/train/tests     (needs requirements.txt and tests/reference-nets.txt)
"""

import io
import json
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spineps_archives as archives
import torch
from import_spineps import Refused, pickled
from import_spineps.__main__ import FAILED, REFUSED, main


def refusal(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence that refuses `folder`; nothing was written."""
    assert main([str(folder), "--out", str(out)]) == REFUSED
    assert list(out.iterdir()) == []
    text = capsys.readouterr().err
    assert text.startswith("refused: ") and "Traceback" not in text
    return text


class Runs:
    """Pickled, it asks the reader to call a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "system"),
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
        (torch.load, "torch.serialization.load"),
    ],
)
def test_no_code_of_a_checkpoint_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], legacy: bool, function: Callable[..., Any], name: str
) -> None:
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    path = tmp_path / "instance" / "sub-weights.ckpt"
    marker = tmp_path / "was-run"
    command = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w')"}.get(function, str(marker))
    content = torch.load(path, weights_only=False)
    content["callbacks"] = Runs(function, command)
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    text = refusal(tmp_path / "instance", tmp_path / "out", capsys)
    assert name in text and "nothing was run" in text and "sub-weights.ckpt" in text
    assert not marker.exists()
    # The trap is a real one.
    if function in (os.system, eval):
        pickle.loads(pickle.dumps(Runs(function, command)))
        assert marker.exists()


def test_every_allowed_name_is_ours(tmp_path: Path) -> None:
    """No pickle reaches a function of torch or numpy, whose own readers are not made for hostile input."""
    for name, thing in pickled._ALLOWED.items():
        assert isinstance(thing, str) or thing.__module__ == pickled.__name__ or thing in (set, tuple), name


@pytest.mark.parametrize("change", [{"offset": -4}, {"strides": (-1,)}, (None, {"shape": (9, 9)})])
def test_a_checked_tensor_stays_as_it_was_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any
) -> None:
    """A pickle may set attributes of what it made: a tensor could then reach beyond its storage."""
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    path = tmp_path / "instance" / "sub-weights.ckpt"
    content = torch.load(path, weights_only=False)
    storage = torch.zeros(4).storage()
    plain = (torch._utils._rebuild_tensor_v2, (storage, 0, (4,), (1,), False, OrderedDict()))
    content["state_dict"]["network.final_conv.bias"] = Runs(*plain[:1], *plain[1])
    torch.save(content, path)
    assert main([str(tmp_path / "instance"), "--out", str(tmp_path / "plain")]) == 0
    content["state_dict"]["network.final_conv.bias"].call = (*plain, change)
    torch.save(content, path)
    assert "is not a checkpoint that torch wrote" in refusal(tmp_path / "instance", tmp_path / "out", capsys)


def test_damaged_pickles_are_refused(tmp_path: Path) -> None:
    """Any change of any byte gives an object or a sentence, never another error."""
    archives.semantic(tmp_path / "T2w")
    with zipfile.ZipFile(tmp_path / "T2w" / "fold_0" / "checkpoint_final.pth") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        whole = archive.read(name)
    draw = random.Random(5)
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 1, 3])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            pickled.load(io.BytesIO(bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])), "x")
            outcomes[True] += 1
        except Refused:
            outcomes[False] += 1
    assert min(outcomes.values()) > 20


def test_damaged_legacy_files_are_refused(tmp_path: Path) -> None:
    archives.instance(tmp_path / "instance", 8, 1, [8, 8, 8], legacy=True)
    path = tmp_path / "instance" / "sub-weights.ckpt"
    whole = path.read_bytes()
    draw = random.Random(6)
    for _ in range(40):
        data = bytearray(whole)
        # The pickles are at the front; the numbers behind them may be anything.
        data[draw.randrange(40_000)] = draw.randrange(256)
        path.write_bytes(data)
        assert main([str(tmp_path / "instance"), "--out", str(tmp_path / "out")]) in (0, REFUSED)


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
    """The zip again, each member changed, or left out where `change` gives none."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, change(name, archive.read(name))) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "compression", "wanted"),
    [
        (lambda name, data: data, zipfile.ZIP_DEFLATED, "was packed again"),
        (lambda name, data: None if name.endswith("data.pkl") else data, zipfile.ZIP_STORED, "not a torch checkpoint"),
        (lambda name, data: None if name.endswith("data/0") else data, zipfile.ZIP_STORED, "lacks its member data/"),
        (lambda name, data: data[:-4] if "/data/" in name else data, zipfile.ZIP_STORED, "it is damaged"),
        (lambda name, data: b"big" if name.endswith("version") else data, zipfile.ZIP_STORED, ""),
    ],
)
def test_damaged_zips_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable, compression: int, wanted: str
) -> None:
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    rewrite(tmp_path / "instance" / "sub-weights.ckpt", change, compression)
    if wanted:
        assert wanted in refusal(tmp_path / "instance", tmp_path / "out", capsys)
    else:
        assert main([str(tmp_path / "instance"), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        ("import_spineps.checkpoint.MAX_FILE_BYTES", "more than any SPINEPS checkpoint"),
        ("import_spineps.checkpoint.MAX_MEMBERS", "members, more than any SPINEPS checkpoint"),
        ("import_spineps.checkpoint.MAX_PICKLE_BYTES", "describes itself in"),
        ("import_spineps.release.MAX_JSON_BYTES", "inference_config.json has"),
    ],
)
def test_limits_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, limit: str, wanted: str
) -> None:
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    monkeypatch.setattr(limit, 10)
    assert wanted in refusal(tmp_path / "instance", tmp_path / "out", capsys)


# --- files that do not fit ---


def change_state(path: Path, key: str, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=False)
    change(content[key])
    torch.save(content, path)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            lambda state: state.pop("decoder.transpconvs.1.weight"),
            ["decoder.transpconvs.1.weight is missing, shape [16, 8, 1, 2, 2] needed"],
        ),
        (
            lambda state: state.update({"decoder.seg_layers.1.bias": torch.zeros(14)}),
            ["decoder.seg_layers.1.bias has shape [14], [15] needed"],
        ),
        (
            lambda state: state.update({"decoder.seg_layers.0.bias": torch.zeros(14)}),
            ["decoder.seg_layers.0.bias has shape [14], [15] needed (a deep-supervision head"],
        ),
        (lambda state: state.update(extra=torch.zeros(2, 3)), ["extra [2, 3] has no place in the network"]),
        (
            lambda state: state.update({"decoder.seg_layers.1.bias": torch.zeros(15, dtype=torch.int64)}),
            ["holds int64, float32 or float16 needed"],
        ),
        (lambda state: state["decoder.seg_layers.1.bias"].fill_(float("nan")), ["are not finite"]),
        (
            lambda state: state.update({"encoder.stages.0.0.convs.0.all_modules.0.bias": torch.ones(8)}),
            ["encoder.stages.0.0.convs.0.all_modules.0.bias [8] differs from encoder.stages.0.0.convs.0.conv.bias [8]"],
        ),
        (
            lambda state: [state.update({f"module.{name}": state.pop(name)}) for name in list(state)],
            ["encoder.stages.0.0.convs.0.conv.weight is missing", "more", "another release folder"],
        ),
    ],
)
def test_tensors_that_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable, wanted: list[str]
) -> None:
    archives.semantic(tmp_path / "T2w")
    change_state(tmp_path / "T2w" / "fold_0" / "checkpoint_final.pth", "network_weights", change)
    text = refusal(tmp_path / "T2w", tmp_path / "out", capsys)
    assert "does not fit the PlainConvUNet of plans.json, configuration 3d_fullres" in text
    for part in wanted:
        assert part in text


def test_a_checkpoint_of_another_net_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    path = tmp_path / "instance" / "sub-weights.ckpt"
    change_state(
        path, "state_dict", lambda state: state.update({"network.init_conv.weight": torch.zeros(4, 1, 7, 7, 7)})
    )
    assert "[4, 1, 7, 7, 7]" in refusal(tmp_path / "instance", tmp_path / "out", capsys)
    change_state(path, "state_dict", lambda state: state.update({"loss.weight": torch.zeros(1)}))
    assert "loss.weight in state_dict, outside of network." in refusal(tmp_path / "instance", tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            lambda table: table["opt"].__dict__.update(backbone="RESNET18"),
            "the backbone 'RESNET18', we import DENSENET169",
        ),
        (lambda table: table["opt"].__dict__.update(final_size=(152, 168)), "final_size is (152, 168), three sides"),
        (lambda table: table["group_2_n_channel"].update(VERT=25), "the head VERT with 25 outputs, we know 24"),
        (lambda table: table.pop("group_2_n_channel"), "no hyper_parameters with opt and group_2_n_channel"),
        (lambda table: table["group_2_n_channel"].update(NEW=3), "classification_heads.NEW.0.weight is missing"),
        (
            lambda table: table["group_2_n_channel"].pop("VT13"),
            "classification_heads.VT13.0.weight [512, 1024] has no place",
        ),
    ],
)
def test_hyper_parameters_that_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable, wanted: str
) -> None:
    archives.labelling(tmp_path / "labels", "DENSENET121", (32, 32, 32))
    (path,) = (tmp_path / "labels").rglob("*.ckpt")
    with archives.options_class():
        change_state(path, "hyper_parameters", change)
    assert wanted in refusal(tmp_path / "labels", tmp_path / "out", capsys)


def test_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "is no folder: unpack the archive" in refusal(tmp_path / "absent", out, capsys)
    (tmp_path / "empty").mkdir()
    assert "has 0 files inference_config.json, one is expected" in refusal(tmp_path / "empty", out, capsys)
    archives.semantic(tmp_path / "T2w", folds=2)
    for name, wanted in (
        ("plans.json", "has no plans.json: unpack the whole archive"),
        ("dataset.json", "has no dataset.json: unpack the whole archive"),
        ("fold_1", "has no fold_1/checkpoint_final.pth, but inference_config.json lists this fold"),
    ):
        (tmp_path / "T2w" / name).rename(tmp_path / "away")
        assert wanted in refusal(tmp_path / "T2w", out, capsys)
        (tmp_path / "away").rename(tmp_path / "T2w" / name)
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    (tmp_path / "instance" / "sub-weights.ckpt").unlink()
    assert "has 0 files *weights*.ckpt, one is expected" in refusal(tmp_path / "instance", out, capsys)


def test_a_wrapped_release_and_the_best_checkpoint_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives.semantic(tmp_path / "T2w_v1.0.9" / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    fold = tmp_path / "T2w_v1.0.9" / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_best.pth")
    assert main([str(tmp_path / "T2w_v1.0.9"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "T2w_v1.0.9-fold0.onnx").is_file()
    assert "no checkpoint_final.pth, checkpoint_best.pth was taken" in capsys.readouterr().out


def test_an_out_that_is_a_file_is_our_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archives.instance(tmp_path / "instance", 8, 1, [16, 16, 16])
    (tmp_path / "out").write_text("")
    assert main([str(tmp_path / "instance"), "--out", str(tmp_path / "out")]) == FAILED
    assert capsys.readouterr().err.startswith("failed: ")


@pytest.mark.parametrize(
    ("file", "change", "wanted"),
    [
        ("inference_config", lambda c: c["labels"].pop("14"), "the network has 1 to 14"),
        ("inference_config", lambda c: c["labels"].update({"14": "Coccyx"}), "names the structure 'Coccyx'"),
        ("inference_config", lambda c: c.update(modeltype="transformer"), "modeltype 'transformer'"),
        ("inference_config", lambda c: c.update(available_folds=0), "available_folds"),
        ("inference_config", lambda c: c.update(available_folds=["../x"]), "available_folds ['../x']"),
        ("inference_config", lambda c: c.update(model_expected_orientation=["P", "A", "R"]), "not three axes"),
        ("dataset", lambda d: d["labels"].update(spine=[1, 2]), "regions are not imported"),
        ("plans", lambda p: p["configurations"]["base"].update(patch_size=[64, 64]), "only 3-D is imported"),
        (
            "plans",
            lambda p: p["configurations"]["base"].update(patch_size=[4, 15, 24]),
            "does not divide by its strides (4)",
        ),
        ("plans", lambda p: p["configurations"]["base"].update(inherits_from="base"), "no usable configuration 'base'"),
        ("plans", lambda p: p["configurations"]["base"].update(previous_stage="3d_lowres"), "half of a cascade"),
        ("plans", lambda p: _kwargs(p).update(squeeze_excitation=True), "squeeze_excitation in its architecture"),
        ("plans", lambda p: _kwargs(p).update(norm_op="torch.nn.BatchNorm3d"), "norm_op = 'BatchNorm3d'"),
        ("plans", lambda p: _kwargs(p).update(norm_op_kwargs={"eps": 1e-3, "affine": True}), "norm_op_kwargs"),
    ],
)
def test_plans_that_we_cannot_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, change: Callable, wanted: str
) -> None:
    archives.semantic(tmp_path / "T2w", residual=True)
    path = tmp_path / "T2w" / f"{file}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert wanted in refusal(tmp_path / "T2w", tmp_path / "out", capsys)


def _kwargs(plans: dict[str, Any]) -> dict[str, Any]:
    return plans["configurations"]["base"]["architecture"]["arch_kwargs"]


NONSENSE = [None, -1, True, 10**400, float("inf"), "x", [], {}, [["x"]], [10**9] * 3]


@pytest.mark.parametrize("residual", [False, True])
def test_any_spoiled_value_of_a_file_is_a_sentence(tmp_path: Path, residual: bool) -> None:
    """Each value of each JSON file replaced by some nonsense: refused, or without effect, never a traceback."""
    archives.semantic(tmp_path / "T2w", residual=residual)
    refused = 0
    draw = random.Random(7)
    for name in ("plans", "dataset", "inference_config"):
        path = tmp_path / "T2w" / f"{name}.json"
        whole = path.read_text()
        for place in places(json.loads(whole)):
            for nonsense in draw.sample(NONSENSE, 3):
                content = json.loads(whole)
                holder = content
                for key in place[:-1]:
                    holder = holder[key]
                holder[place[-1]] = nonsense
                path.write_text(json.dumps(content))
                outcome = main([str(tmp_path / "T2w"), "--out", str(tmp_path / "out")])
                assert outcome in (0, REFUSED), (name, place, nonsense)
                refused += outcome == REFUSED
        path.write_text(whole)
        path.write_bytes(b"\xff{")
        assert main([str(tmp_path / "T2w"), "--out", str(tmp_path / "out")]) == REFUSED
        path.write_text(whole)
    assert refused > 150


def places(value: Any) -> list[list[Any]]:
    """The path to each value inside `value`."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [path for key, inner in items for path in [[key], *([key, *rest] for rest in places(inner))]]
