"""Rates of this machine: which are used, and that measured ones, and only those, are kept."""

from __future__ import annotations

import json
import math
import platform
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ndconv
from ndconv._form import cache
from ndconv._machine import calibration as _calibration
from ndconv._machine import profile as _profile
from ndconv._machine.profile import built_in, profile_of
from ndconv._machine.rates import BUILT_IN
from ndconv._programs.rates import ProductRate, Rates
from ndconv._programs.steps import Product

NAMES = [*json.loads(BUILT_IN.read_text())]
CPU = torch.device("cpu")


def forget() -> None:
    _profile._profile.cache_clear()
    cache.clear()


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of measured rates, in an empty folder; measuring takes no time and ignores other load."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_profile, "granted", lambda device: 1.0)
    monkeypatch.setattr(_calibration, "_SECONDS", 0.0)
    monkeypatch.setattr(_calibration, "_CPU", _calibration._CPU._replace(buffers=(2**18, 2**19)))
    forget()
    yield tmp_path / "ndconv" / "cpu.json"
    forget()


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_profile_says_where_it_is_from_and_has_all_rates(name: str) -> None:
    found = built_in("cpu", name)
    assert found.name == f"built-in ({name})"
    assert found.origin.startswith(("measured on ", "derived from "))
    assert {"float32", "float64"} <= set(found.rates.products)
    for rates in found.rates.products.values():
        assert {"blas", "batch"} <= set(rates)
    values = [getattr(found.rates, each) for each in Rates.__dataclass_fields__ if each != "products"]
    assert min(values) >= 0
    assert found.rates.cached <= found.rates.streamed
    assert len(str(found).splitlines()) < 60  # half a page


def test_torch_says_which_kind_of_processor_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    intel = {"cpu_name": "Intel Xeon", "avx512_bf16": False}
    for machine, vectors, said, mkl, expected in (
        ("x86_64", "AVX2", intel, True, "avx2"),
        ("x86_64", "DEFAULT", intel, True, "avx2"),
        ("x86_64", "AVX512", intel, True, "avx512"),
        ("x86_64", "AVX512", intel | {"avx512_bf16": True}, True, "avx512_bf16"),
        ("x86_64", "AVX512", intel | {"avx512_bf16": True, "amx_bf16": True}, True, "amx"),
        ("x86_64", "AVX512", {"cpu_name": "AMD EPYC"}, True, "avx512_amd"),
        ("x86_64", "AVX512", {"cpu_name": "AMD EPYC", "avx512_bf16": True}, True, "avx512_bf16_amd"),
        ("x86_64", "AVX512", {"cpu_name": "AMD EPYC"}, False, "avx512"),
        ("x86_64", "AVX512", None, True, "avx512"),
        ("arm64", "DEFAULT", None, False, "neon"),
        ("aarch64", "SVE256", {}, False, "neon"),
    ):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda vectors=vectors: vectors)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda mkl=mkl: mkl)
        cpu = SimpleNamespace() if said is None else SimpleNamespace(get_capabilities=lambda said=said: said)
        monkeypatch.setattr(torch, "cpu", cpu)
        assert built_in("cpu").name == f"built-in ({expected})"
        assert ndconv.Profile.built_in().kind == ndconv.Profile.built_in("cpu").kind == expected
        assert built_in("cuda").name == "built-in (cuda)"
        monkeypatch.undo()


def test_what_is_measured_is_kept_and_forgotten(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = profile_of("cpu")
    assert usual.name.startswith("built-in")
    plan = ndconv.plan((1, 2, 8), (3, 2, 3))
    assert f"\nprofile {usual.name}, {usual.origin.split()[0]}\n" in str(plan)
    found = ndconv.calibrate()
    shown = capsys.readouterr().out
    assert found.name == "measured"
    assert "measured" in shown
    assert usual.name in shown
    assert kept.exists()
    assert not [*kept.parent.glob("*.part")]
    measured = f"\nprofile measured {json.loads(kept.read_text())['date']}\n"
    assert measured in str(ndconv.plan((1, 2, 8), (3, 2, 3)))
    forget()  # as in another process
    again = profile_of("cpu")
    assert (again.name, again.origin) == (found.name, found.origin)
    assert _profile._as_json(again.rates) == _profile._as_json(found.rates)
    assert ndconv.calibrate("cpu", reset=True).name == usual.name
    assert not kept.exists()
    assert measured not in str(ndconv.plan((1, 2, 8), (3, 2, 3)))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_busy_machine_is_told(share: float, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the CPU time that the threads of a product got."""
    begun = time.perf_counter()
    spent = share * torch.get_num_threads()
    monkeypatch.setattr(_profile, "granted", _calibration.granted)
    monkeypatch.setattr(time, "process_time", lambda: spent * (time.perf_counter() - begun))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ndconv.calibrate()
    told = [str(each.message) for each in caught]
    assert [each.startswith("calibrate: 1 threads had 50% of their cores") for each in told] == [True] * (share < 1)
    assert kept.exists()


def test_another_process_uses_it_by_its_file_alone(kept: Path) -> None:
    """And two processes with one profile make the same plan."""
    ndconv.calibrate()
    code = "import ndconv, torch; torch.set_num_threads(1); print(ndconv.plan((8, 16, 20, 20), (32, 16, 3, 3)))"
    first, second = (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2))
    assert "profile measured" in first.stdout
    assert first.stdout == second.stdout
    assert first.returncode == second.returncode == 0


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_clock_says_gives_rates_that_can_be_kept(
    seed: int, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, now = random.Random(seed), 0.0

    def clock() -> float:
        nonlocal now
        now += chance.choice((0.0, 1e-7, chance.random() * 10.0 ** chance.randint(-7, 0)))
        return now

    monkeypatch.setattr(time, "perf_counter", clock)
    assert str(ndconv.calibrate()) == str(profile_of("cpu"))
    rates = profile_of("cpu").rates
    numbers = [getattr(rates, each) for each in Rates.__dataclass_fields__ if each != "products"]
    numbers += [each for libraries in rates.products.values() for rate in libraries.values() for each in rate]
    assert kept.exists()
    assert all(0.0 <= each < math.inf for each in numbers)


def damaged(kept: Path) -> Iterator[tuple[str, str]]:
    """Unusable files, and the message about each."""
    stored = json.loads(kept.read_text())
    for text in ("", "{", "[]", "{}", json.dumps(stored | {"rates": {}}), json.dumps(stored | {"rates": {"call": 1}})):
        yield text, "cannot be read"
    rates = stored["rates"] | {"products": {"float32": {"blas": {"speed": 1}}}}
    yield json.dumps(stored | {"rates": rates}), "cannot be read"
    yield json.dumps(stored | {"rates": stored["rates"] | {"call": "much"}}), "cannot be read"
    yield json.dumps(stored | {"rates": stored["rates"] | {"call": -1.0}}), "cannot be read"
    for name, other in (("torch", "1.0"), ("threads", 1000), ("processor", "another")):
        machine = stored["machine"] | {name: other}
        yield json.dumps(stored | {"machine": machine}), f"of another machine: {name} {other!r}, not "


def test_a_file_that_does_not_serve_gives_one_warning_and_the_built_in_rates(kept: Path) -> None:
    ndconv.calibrate()
    for text, said in damaged(kept):
        kept.write_text(text)
        forget()
        with pytest.warns(UserWarning, match="calibrate: .*cpu.json") as caught:
            assert profile_of("cpu").name.startswith("built-in")
        assert said in str(caught[0].message)
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ndconv.functional.conv1d(torch.ones(1, 1, 8), torch.ones(1, 1, 3))


def test_nothing_is_measured_behind_a_users_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(_calibration, "_least", refused)
    for clock in ("perf_counter", "monotonic", "process_time", "thread_time", "time"):
        monkeypatch.setattr(time, clock, refused)
    x, w = torch.randn(2, 3, 9, requires_grad=True), torch.randn(4, 3, 3, requires_grad=True)
    ndconv.functional.conv1d(x, w).sum().backward()
    ndconv.plan(x, w)


@pytest.mark.parametrize("where", ["meta", "nowhere"])
def test_a_device_without_numbers_is_refused(where: str, kept: Path) -> None:
    with pytest.raises(RuntimeError):
        ndconv.calibrate(where)
    assert not kept.parent.exists()


def test_the_command(kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ndconv.__main__ import main

    monkeypatch.setattr(sys, "argv", ["ndconv", "calibrate", "--device", "cpu"])
    assert main() == 0
    assert kept.exists()
    monkeypatch.setattr(sys, "argv", ["ndconv", "calibrate", "--reset"])
    assert main() == 0
    assert not kept.exists()
    for arguments in (["calibrate", "--device", "meta"], [], ["measure"]):
        monkeypatch.setattr(sys, "argv", ["ndconv", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
    assert "device must be one that holds numbers" in capsys.readouterr().err


def test_a_fit_finds_the_rates_that_times_are_made_of() -> None:
    rate = ProductRate(0.02, 0.0, 0.0, 0.1, 0.05, 40.0, 3000.0)
    for library, shapes in _calibration._CPU.products.items():
        products = [Product(*shape, "blas") for shape in shapes]
        found = _calibration._fitted(products, [rate.nanoseconds(product) for product in products])
        each = rate.each if library == "batch" else 0.0
        assert found == pytest.approx(rate._replace(each=each, narrow=found.narrow), rel=1e-6)
    # Times that would want a negative part get none.
    times = [max(1.0, rate.nanoseconds(product) - 4000) for product in products]
    assert min(_calibration._fitted(products, times)) >= 0
