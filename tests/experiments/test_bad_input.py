"""Mistakes a user makes: each ends in one line that names the argument, and in its exit code.

2 usage or configuration, 3 data, 4 checkpoint, 5 numbers, 6 resources; in under five seconds.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen_jax.training.identity import body, sealed

SECONDS = 5.0

TRAINING = {
    "unknown dataset": ("--dataset moonz", 2, "dataset='moonz' did you mean 'moons' digits"),
    "a pattern as a dataset": ("--dataset folder:PATH", 2, "dataset='folder:PATH' pattern"),
    "malformed TFDS name": ("--dataset tfds:a;b", 2, "dataset='tfds:a;b' expected tfds:NAME"),
    "unknown path": ("--path cosin", 2, "path='cosin' did you mean 'cosine' sub_vp"),
    "unknown sampler": ("--stepper hein", 2, "stepper='hein' did you mean 'heun' ddim"),
    "unknown prediction": ("--prediction epsilon", 2, "prediction='epsilon' eps velocity"),
    "unknown weighting": ("--weighting minsnr", 2, "weighting='minsnr' 'min_snr' bound"),
    "unknown time density": ("--time-density normal", 2, "time_density='normal' logit_normal"),
    "unknown network": ("--network.name unnet", 2, "network.name='unnet' 'unet' dit"),
    "unknown dtype": ("--network.dtype float16", 2, "network.dtype='float16' bfloat16"),
    "zero width": ("--network.width 0", 2, "network.width=0 [2,"),
    "negative depth": ("--network.depth -1", 2, "network.depth=-1 [1,"),
    "odd width": ("--network.name dit --network.width 30", 2, "width=30 multiple of 4"),
    "dropout of two": ("--network.dropout 2", 2, "network.dropout=2.0 [0, 1]"),
    "zero patch": ("--network.name dit --network.patch 0", 2, "network.patch=0 [1,"),
    "image network on points": (
        "--dataset moons --network.name unet",
        2,
        "network.name='unet' needs images 'moons' points",
    ),
    "negative steps": ("--steps -5", 2, "steps=-5 [1,"),
    "zero batch": ("--batch-size 0", 2, "batch_size=0 [1,"),
    "batch above the set": ("--batch-size 5000", 2, "batch_size=5000 above"),
    "zero log_every": ("--log-every 0", 2, "log_every=0 [1,"),
    "zero save_every": ("--save-every 0", 2, "save_every=0 [1,"),
    "keep nothing": ("--keep 0", 2, "keep=0 [1,"),
    "negative sample_every": ("--sample-every -1", 2, "sample_every=-1 [0,"),
    "negative seed": ("--seed -1", 2, "seed=-1 [0,"),
    "no devices": ("--cpu-devices 0", 2, "cpu_devices=0 [1,"),
    "a million devices": ("--cpu-devices 1000000", 2, "cpu_devices=1000000 [1, 256]"),
    "bare name of a folder": ("--dataset same", 2, "dataset='same' folder:same?"),
    "bare name of a picture": ("--dataset same/a.png", 2, "dataset='same/a.png' file:same/a.png?"),
    "bare name of a text": ("--dataset afile", 2, "dataset='afile' text:afile?"),
    "images of nothing": ("--dataset binarized:", 2, "dataset='binarized:': NAME='' digits"),
    "images of points": ("--dataset mutated:moons", 2, "dataset='mutated:moons': NAME='moons'"),
    "negative learning rate": ("--learning-rate -1e-3", 2, "learning_rate=-0.001 (0,"),
    "infinite learning rate": ("--learning-rate inf", 2, "learning_rate=inf finite"),
    "learning rate that is no number": ("--learning-rate nan", 2, "learning_rate=nan (0,"),
    "decay above one": ("--ema-decay 1.5", 2, "ema_decay=1.5 [0, 1]"),
    "negative label dropout": ("--label-dropout -0.1", 2, "label_dropout=-0.1 [0, 1]"),
    "zero sampling steps": ("--sampling-steps 0", 2, "sampling_steps=0 [1,"),
    "missing folder": ("--dataset folder:nowhere", 3, "nowhere' does not exist"),
    "no folder": ("--dataset folder:", 3, "dataset='folder:' names no folder"),
    "empty folder": ("--dataset folder:empty", 3, "empty' holds no images"),
    "unreadable image": ("--dataset folder:unreadable", 3, "b.png' cannot be read"),
    "unequal images": ("--dataset folder:unequal", 3, "differ in size folder:PATH@64"),
    "missing TFDS set": ("--dataset kmnist", 3, "'kmnist' not found TFDS_DATA_DIR pip install"),
    "directory below a file": ("--directory afile/run", 6, "directory= afile/run' written"),
    "another configuration": (
        "--directory RUN --path vp",
        2,
        "config.path: 'cosine' -> 'vp' --allow-changed path",
    ),
    "another seed": ("--directory RUN --seed 1", 2, "config.seed: 0 -> 1"),
    "a damaged configuration": ("--directory DAMAGED_CONFIG", 4, "config.json is damaged"),
}
"""Command line of `experiments.diffusion` -> exit code and words of the line on stderr."""

OTHERS = {
    "unknown coupling": (
        "flow_matching --coupling sinkhorm",
        2,
        "coupling='sinkhorm' 'sinkhorn' paired",
    ),
    "a start that sees another time": (
        "flow_map --from RUN",
        2,
        "noise_input='log_snr' noise_input='angle' something else",
    ),
    "a start that predicts something else": (
        "flow_matching --from RUN",
        2,
        "prediction='v' prediction='velocity'",
    ),
    "no teacher": ("flow_map --distil", 2, "distil=True needs from=RUN"),
    "a teacher that sees another time": (
        "flow_map --from RUN --distil",
        2,
        "noise_input='log_snr'",
    ),
    "counts of codes by labels": (
        "vqvae --prior counts --conditional",
        2,
        "conditional=True prior='transformer'",
    ),
    "guidance that is learnt without hidden labels": (
        "flow_map --guidance 2 --label-dropout 0",
        2,
        "guidance=2.0 condition_dropout",
    ),
    "classifier of points": ("classifier --dataset moons", 2, "dataset='moons' no labelled images"),
    "narrow classifier": ("classifier --widths 2", 2, "widths=2 [4,"),
    "no weights for a folder": ("classifier --dataset folder:same", 2, "folder:same' noise"),
    "no run": ("sample nowhere", 2, "nowhere' holds no run config.json"),
    "a folder without a run": ("sample empty", 2, "empty' holds no run config.json"),
    "nothing to sample": ("sample GUIDE", 2, "'classifier' not among diffusion"),
    "broken run": ("sample DAMAGED_CONFIG", 4, "config.json is damaged"),
    "half a configuration": ("sample HALF_CONFIG", 4, "config.json is damaged data"),
    "a run of fit alone": ("sample OF_FIT", 2, "of training.fit restore_state"),
    "foreign option": ("sample ODD_CONFIG", 2, "unknown fields ['wings']"),
    "unknown stored path": ("sample ODD_PATH", 2, "path='cosin' did you mean 'cosine'"),
    "no checkpoint": ("sample NO_CHECKPOINT", 4, "holds no checkpoint"),
    "damaged checkpoint": ("sample DAMAGED --checkpoint 4", 4, "damaged SHA-256"),
    "unknown step": ("sample RUN --checkpoint 3", 4, "no step 3 saved: [2, 4]"),
    "no samples": ("sample RUN --num 0", 2, "num=0 [1,"),
    "zero steps of sampling": ("sample RUN --steps 0", 2, "steps=0 [1,"),
    "no such sampler": ("sample RUN --stepper ddmi", 2, "stepper='ddmi' 'ddpm' rk4"),
    "no such grid": ("sample RUN --grid karas", 2, "grid='karas' 'karras' uniform"),
    "no such path": ("sample RUN --path vpp", 2, "path='vpp' 'vp' linear"),
    "label out of range": ("sample RUN --label 10", 2, "label=10 [0, 9]"),
    "negative label": ("sample RUN --label -1", 2, "label=-1 [0, 9]"),
    "label without labels": ("sample POINTS --label 3", 2, "label=3 '8gaussians' no labels"),
    "guidance without labels": ("sample POINTS --guidance 2", 2, "guidance=2.0 needs a model"),
    "guidance that is no number": ("sample RUN --guidance nan", 2, "guidance=nan"),
    "score for a coupling": (
        "sample POINTS --stepper euler_maruyama",
        2,
        "stepper needs the score coupling ddim",
    ),
    "wrong suffix": ("sample RUN --output a.jpg", 2, "output='a.jpg' .png .npz"),
    "output onto a folder": ("sample RUN --output folder.png", 2, "output='folder.png' no file"),
    "output onto a device": ("sample RUN --output null.png", 2, "output='null.png' no file"),
    "output in a place to be read": ("sample RUN --output /proc/a.png", 6, "'/proc/a.png' written"),
    "animation onto a folder": (
        "sample RUN --animate --output folder2.png",
        2,
        "output='folder2.gif' no file",
    ),
    "a billion samples": ("sample RUN --num 1000000000", 2, "num=1000000000 [1, 10000000]"),
    "evaluation that cannot be written": ("evaluate SEALED", 2, "evaluation.json' no file"),
    "output below a file": ("sample RUN --output afile/a.png", 6, "output='afile/a.png' written"),
    "autoguide alone": ("sample RUN --autoguide 2", 2, "autoguide=2 guidance other than 1"),
    "autoguide by itself": ("sample RUN --autoguide 4 --guidance 2", 2, "autoguide=4 [0, 3]"),
    "autoguide not saved": ("sample RUN --autoguide 1 --guidance 2", 4, "no step 1 saved"),
    "classifier_only alone": (
        "sample RUN --classifier-only",
        2,
        "classifier_only needs classifier",
    ),
    "not a classifier": ("sample RUN --classifier RUN", 2, "'diffusion' not among classifier"),
    "classifier elsewhere": ("sample RUN --classifier empty", 2, "empty' holds no run"),
    "classifier of other data": (
        "sample POINTS --classifier GUIDE",
        2,
        "classifier= 'digits' '8gaussians'",
    ),
    "everything hidden": ("palette --hidden 1", 2, "hidden=1.0 hides all 8 rows"),
    "texture of points": ("texture --dataset moons", 2, "dataset='moons' no images"),
    "missing texture": ("texture --dataset file:no.png", 3, "'no.png' does not exist"),
    "more components than points": ("mixture --components 3000", 2, "components=3000 batch_size"),
    "unknown method": ("mixture --method mm", 2, "method='mm' em gradient"),
    "unknown image model": ("pca --kind pcca", 2, "kind='pcca' 'ppca' gaussian"),
    "zero rank": ("pca --rank 0", 2, "rank=0 [1,"),
    "sampler of a mixture": ("sample MIXTURE --stepper ddim", 2, "stepper='ddim' 'mixture'"),
    "guidance of a mixture": ("sample MIXTURE --guidance 2", 2, "guidance=2.0 'mixture'"),
    "label of a mixture": ("sample MIXTURE --label 3", 2, "label=3 'mixture'"),
    "classifier of a mixture": ("sample MIXTURE --classifier GUIDE", 2, "classifier= 'mixture'"),
    "animated mixture": ("sample MIXTURE --animate", 2, "animate=True 'mixture'"),
    "penalty of began": (
        "gan --loss began --architecture autoencoder --penalty wgan_gp",
        2,
        "loss='began' takes no penalty penalty='wgan_gp'",
    ),
    "weight of no penalty": (
        "gan --penalty none --penalty-weight 10",
        2,
        "penalty_weight=10.0 without a penalty",
    ),
    "no penalty now and then": ("gan --penalty none --remedy lazy", 2, "lazy_interval=8 without"),
    "no latents": ("vae --latent 0", 2, "latent=0 [1,"),
    "option of other variants": (
        "vae --variant iwae --beta 4",
        2,
        "beta=4.0 not read by variant='iwae' vae, factor",
    ),
    "grey values as two": (
        "vae --likelihood bernoulli",
        2,
        "likelihood='bernoulli' 'digits' binarized:digits",
    ),
    "codebook above the data": (
        "vqvae --batch-size 2 --codes 999",
        2,
        "codes=999 larger first batch has 32",
    ),
    "more labels than there are": (
        "few_labels --labels 100000",
        2,
        "labels=100000 allowed: 10",
    ),
    "more axes than there are": ("pca --dataset moons --rank 2", 2, "rank=2 [1, 1]"),
    "momentum without an end": ("gan --beta1 1", 2, "beta1=1.0 [0, 0.9999]"),
    "a look at one sample": ("gan --watch 1", 2, "watch=1 [10,"),
    "a look at more than there are": ("gan --watch 100000", 2, "watch=100000 [10,"),
    "more halvings than pixels": ("glow --levels 9", 2, "levels=9 [1, 4]"),
    "one halving too many": ("glow --levels 4", 2, "levels=4 does not fit images height 1"),
    "endless halvings": ("pix2pix --dataset thick:digits --levels 99", 2, "levels=99 [1, 3]"),
    "no width of a flow": ("flow --hidden 0", 2, "hidden=0 [1,"),
    "no width of a GAN": ("gan --widths 0", 2, "widths=0 [1,"),
    "no rate of a part": ("stylegan --mapping-rate nan", 2, "mapping_rate=nan (0,"),
    "a million layers": ("flow --layers 1000000", 2, "layers=1000000 [1, 1000]"),
    "endless levels of a U-Net": (
        "diffusion --network.name unet --network.depth 999",
        2,
        "network.depth=999 [1, 4]",
    ),
    "no codes": ("vqvae --codes 0", 2, "codes=0 [1,"),
    "half a pair": (
        "cyclegan --dataset domains:digits+",
        2,
        "dataset='domains:digits+': NAME='' digits",
    ),
    "no step of annealing": ("ebm --leapfrog-step 0", 2, "leapfrog_step=0.0 (0,"),
    "no width": ("ffjord --hidden 0", 2, "hidden=0 [1,"),
    "few labels of none": ("few_labels --labels 3", 2, "labels=3 [10,"),
    "imputation of a mixture": ("imputation MIXTURE", 2, "'mixture' not among vae"),
    "too few to measure": ("evaluate RUN --num 3", 2, "num=3 [10,"),
    "negative likelihood": ("evaluate RUN --likelihood -1", 2, "likelihood=-1 [0,"),
    "importance samples of a density": (
        "evaluate RUN --importance-samples 5",
        2,
        "importance_samples=5 'diffusion'",
    ),
    "downstream of points": ("evaluate POINTS --downstream 5", 2, "downstream=5 images labels"),
    "zero steps of a likelihood": (
        "evaluate RUN --likelihood-steps 0",
        2,
        "likelihood_steps=0 [1,",
    ),
    "zero steps of evaluation": ("evaluate RUN --steps 0", 2, "steps=0 [1,"),
}
"""The same for the other commands, which come first."""

USAGE = {
    "unknown option": ("diffusion --stepps 3", "--stepps"),
    "wrong type": ("diffusion --steps many", "many"),
    "no value": ("diffusion --steps", "--steps"),
    "no run given": ("sample", "run:"),
}
"""What tyro refuses, in a box of several lines: exit code 2."""


@pytest.fixture(scope="module")
def places(digits_run, points_run, guide_run, mixture_run, elsewhere):
    """Folders with something wrong, and runs, by the names used in the tables."""
    grey = lambda size: Image.fromarray(np.zeros((size, size), np.uint8))
    for folder in ("empty", "unreadable", "unequal", "same"):
        Path(folder).mkdir()
    Path("afile").write_text("")
    Path("folder.png").mkdir()
    Path("folder2.gif").mkdir()
    Path("null.png").symlink_to("/dev/null")
    for folder, sides in (("unreadable", (8, None)), ("unequal", (8, 9)), ("same", (8, 8))):
        for name, side in zip("ab", sides):
            path = Path(folder) / f"{name}.png"
            path.write_bytes(b"not a picture") if side is None else grey(side).save(path)
    names = ("DAMAGED", "DAMAGED_CONFIG", "HALF_CONFIG", "ODD_CONFIG", "ODD_PATH", "NO_CHECKPOINT")
    names += ("SEALED", "OF_FIT")
    broken = {name: Path(name).absolute() for name in names}
    for path in broken.values():
        shutil.copytree(digits_run, path)
    (broken["DAMAGED_CONFIG"] / "config.json").write_text('{"experiment": "diff')
    half = sealed({"experiment": "diffusion", "config": {}})
    (broken["HALF_CONFIG"] / "config.json").write_text(json.dumps(half))
    of_fit = sealed({"fit": {"batch_size": 32, "steps": 60}})
    (broken["OF_FIT"] / "config.json").write_text(json.dumps(of_fit))
    for name, field, value in (("ODD_CONFIG", "wings", 2), ("ODD_PATH", "path", "cosin")):
        stored = json.loads((broken[name] / "config.json").read_text())
        stored["config"][field] = value
        (broken[name] / "config.json").write_text(json.dumps(sealed(body(stored), stored)))
    shutil.rmtree(broken["NO_CHECKPOINT"] / "checkpoints")
    (broken["SEALED"] / "evaluation.json").mkdir()
    state = broken["DAMAGED"] / "checkpoints" / "4" / "state"
    largest = max(state.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    runs = {"RUN": digits_run, "POINTS": points_run, "GUIDE": guide_run, "MIXTURE": mixture_run}
    return {**runs, **broken}


def refused(ended, code, words):
    """The exit code, one line, every word of the table in it."""
    assert ended.code == code, ended.err
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    assert [word for word in words.split() if word not in lines[0]] == [], lines[0]


def filled(line, places):
    return [places.get(word, word) for word in line.split()]


@pytest.mark.parametrize("mistake", TRAINING)
def test_training(command, places, small, tmp_path, monkeypatch, mistake):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    line, code, words = TRAINING[mistake]
    words_given = filled(line, places)
    options = [*small, "--steps", 4, "--save-every", 2, "--directory", tmp_path / "run"]
    begun = time.process_time()
    refused(command("diffusion", *options, *words_given), code, words)
    assert time.process_time() - begun < SECONDS
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("mistake", OTHERS)
def test_other_commands(command, places, mistake):
    line, code, words = OTHERS[mistake]
    name, *given = filled(line, places)
    begun = time.process_time()
    refused(command(name, *given), code, words)
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("mistake", USAGE)
def test_usage(command, mistake):
    line, word = USAGE[mistake]
    ended = command(*line.split())
    assert ended.code == 2
    assert word in ended.err
    assert "Traceback" not in ended.err


def test_only_damaged_checkpoints(command, places, tmp_path):
    """Without a step the older one serves, with a warning; when all are damaged, an error."""
    run = tmp_path / "run"
    shutil.copytree(places["DAMAGED"], run)
    ended = command("sample", run, "--num", 4, "--steps", 2)
    assert ended.code == 0, ended.err
    assert "samples of step 2" in ended.out
    assert "warning" in ended.err
    (run / "checkpoints" / "2" / "manifest.json").unlink()
    ended = command("sample", run, "--num", 4, "--steps", 2)
    assert ended.code == 4
    assert ended.err.splitlines()[-1].startswith("error: ")
    assert "[2, 4] are damaged" in ended.err


def test_a_loss_that_diverges_is_named(command, small, tmp_path):
    words = ("--steps", 200, "--learning-rate", 1e30, "--directory", tmp_path / "run")
    ended = command("diffusion", *small, *words)
    assert ended.code == 5, ended.err
    last = ended.err.splitlines()[-1]
    assert "loss" in last
    assert "not finite at step" in last


def test_a_change_that_is_named_is_accepted(command, places, small, tmp_path):
    """With the very words of the refusal; the run is at its last step, so nothing is trained."""
    run = tmp_path / "run"
    shutil.copytree(places["RUN"], run)
    again = ("--steps", 4, "--save-every", 2, "--directory", run, "--ema-decay", 0.5)
    refusal = command("diffusion", *small, *again)
    assert refusal.code == 2
    words = refusal.err.split("accept it: ")[1].split(",")[0].split()
    assert words == ["--allow-changed", "ema_decay"]
    ended = command("diffusion", *small, *again, *words)
    assert ended.code == 0, ended.err
    assert json.loads((run / "config.json").read_text())["config"]["ema_decay"] == 0.5


def test_debug_shows_the_traceback(command):
    assert "Traceback" in command("diffusion", "--path", "cosin", "--debug").err


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        (("diffusion", "--dataset", "moonz"), 2, "moonz"),
        (("diffusion", "--dataset", "folder:empty"), 3, "empty"),
        (("sample", "nowhere"), 2, "nowhere"),
    ],
)
def test_whole_command_in_five_seconds(places, words, code, word):
    """Python's start and jax's import included; processor time, which other work can stretch: the
    least of three tries counts."""
    root = str(Path(__file__).parents[2])
    line = [sys.executable, "-m", f"experiments.{words[0]}", *words[1:]]
    environment = {**os.environ, "PYTHONPATH": root}
    spent = SECONDS
    for _ in range(3):
        before = os.times()
        ended = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=60)
        after = os.times()
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        assert ended.returncode == code
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert word in ended.stderr
        if spent < SECONDS:
            break
    assert 0 < spent < SECONDS
