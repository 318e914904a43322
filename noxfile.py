"""The front door: `nox` tests, `nox -l` lists everything else, `nox -s NAME -- ARGS` passes ARGS on."""

import base64
import hashlib
import os
import platform
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"  # uv does not see a torch that pip is told to find on disk
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests(cpu)"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
LEVELS = ("quick", "standard", "full")

(TORCH,) = nox.project.dependency_groups(PYPROJECT, "torch")
TORCH = os.environ.get("NDCONV_TORCH", TORCH)  # for a nightly build
(OLDEST_TORCH,) = (d.replace(">=", "==") for d in PYPROJECT["project"]["dependencies"] if d.startswith("torch>="))

# Variables that hide a processor's newer instructions from torch itself, from oneDNN and from MKL.
HIDING = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "sse": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
# Tests of all that can depend on the processor: rounding, layouts, the library of a product.
ARITHMETIC = [f"tests/test_{name}.py" for name in ("dtypes", "lowerings", "matmul", "precision")]
ARITHMETIC += ["tests/test_memory.py::test_channels_last_is_kept"]

# The schemas of files that other tools read.
SCHEMAS = {
    "github-workflows": ".github/workflows/*.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "dependabot": ".github/dependabot.yml",
    "citation-file-format": "CITATION.cff",
}

# Python for browsers: the docs run the library's integer code in it.
PYODIDE = "314.0.7"
PYODIDE_INTEGRITY = "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
"""npm's SHA-512."""
PYODIDE_FILES = [f"pyodide{end}" for end in (".mjs", ".asm.mjs", ".asm.wasm", "-lock.json")]
PYODIDE_FILES += ["python_stdlib.zip", "package.json"]

SMOKE = """
import importlib.metadata, importlib.resources
import torch, ndconv.functional

x, w = (torch.randint(-4, 5, shape).double().requires_grad_() for shape in [(2, 3, 8, 7), (4, 3, 3, 2)])
ours, theirs = (lib.functional.conv2d(x, w, stride=2, padding=1) for lib in (ndconv, torch.nn))
assert torch.equal(ours, theirs)
assert all(map(torch.equal, *(torch.autograd.grad(y.square().sum(), (x, w)) for y in (ours, theirs))))
assert importlib.metadata.version("ndconv") == ndconv.__version__
assert importlib.resources.files("ndconv").joinpath("py.typed").is_file()
print("ndconv", ndconv.__version__, "works from", ndconv.__path__[0])
"""


def group(*names: str) -> tuple[str, ...]:
    """Return the requirements of dependency groups; pip itself reads them only since 25.1."""
    return nox.project.dependency_groups(PYPROJECT, *names)


def provide(session: nox.Session, *groups: str, device: str = "cpu", torch: str = TORCH, package: str = ".") -> None:
    """Install the package with the one torch to use; skip the session if that torch lacks the device."""
    session.install("-e", package, torch, *group(*groups))
    if device == "cuda":
        seen = session.run("python", "-c", "import torch; print(torch.cuda.is_available())", silent=True, log=False)
        if not str(seen).rstrip().endswith("True"):
            session.skip("torch sees no CUDA device on this machine.")


@nox.session
@nox.parametrize(
    "python,torch,device",
    [
        # These two name no Python, and so take nox's own: on a GPU machine --no-venv is enough.
        nox.param(None, TORCH, "cpu", id="cpu", tags=["quick"]),
        nox.param(None, TORCH, "cuda", id="cuda", tags=["cuda"]),
        *(
            nox.param(python, torch, "cpu", id=f"py{python}-{torch.replace('==', '')}-cpu", tags=["full"])
            for python, torch in [(PYTHONS[0], OLDEST_TORCH), *((python, TORCH) for python in PYTHONS)]
        ),
    ],
)
def tests(session: nox.Session, torch: str, device: str) -> None:
    """Run the tests and every doctest."""
    provide(session, "test", device=device, torch=torch)
    selection = ["-m", "not compiler"] if torch == OLDEST_TORCH else []
    session.run("python", "-m", "pytest", "--device", device, *selection, *session.posargs)


@nox.session
@nox.parametrize("device", [nox.param("cpu", id="cpu", tags=["standard"]), nox.param("cuda", id="cuda", tags=["cuda"])])
def gradcheck(session: nox.Session, device: str) -> None:
    """Check derivatives alone, exactly, by a finite difference of step 1."""
    provide(session, "test", device=device)
    session.run("python", "-m", "pytest", "-m", "gradcheck", "--device", device, *session.posargs)


@nox.session
@nox.parametrize(
    "device,level",
    [
        *(nox.param("cpu", level, id=f"cpu-{level}", tags=[level]) for level in LEVELS),
        # One level under the tag is enough: each level contains the one before it.
        *(nox.param("cuda", level, id=f"cuda-{level}", tags=["cuda"] * (level == "standard")) for level in LEVELS),
    ],
)
def matrix(session: nox.Session, device: str, level: str) -> None:
    """Prove the matrix of cases by equality: `python -m ndconv.testing`."""
    provide(session, device=device, package=".[testing]")
    session.run("python", "-m", "ndconv.testing", "--device", device, "--level", level, *session.posargs)


@nox.session
@nox.parametrize(
    "newest,quick",
    [
        *(nox.param([name], False, id=name, tags=["standard"]) for name in HIDING),
        nox.param([*HIDING], True, id="quick"),
    ],
)
def isa(session: nox.Session, newest: list[str], quick: bool) -> None:
    """Test as on an older processor, with newer instructions hidden, so that results do not depend on the machine."""
    if platform.machine() not in ("x86_64", "AMD64"):
        session.skip("These instructions are those of x86.")
    provide(session, "test", package=".[testing]")
    for name in newest:
        # Inductor would reuse cached code for other instructions.
        env = {**HIDING[name], "TORCHINDUCTOR_CACHE_DIR": f"{session.create_tmp()}/{name}"}
        if quick:
            session.run("python", "-m", "ndconv.testing", env=env)
        session.run("python", "-m", "pytest", *(ARITHMETIC if quick else []), *session.posargs, env=env)


@nox.session
def distributed(session: nox.Session) -> None:
    """Compare the results of 2, 3 and 4 processes over gloo with those of one."""
    provide(session, "test")
    files = [f"tests/across_processes{name}.py" for name in ("", "_layers", "_models")]
    session.run("python", "-m", "pytest", *files, *session.posargs)


@nox.session
def oracle(session: nox.Session) -> None:
    """Check the oracle itself, the NumPy loop, against JAX."""
    provide(session, "oracle")
    session.run("python", "-m", "pytest", "tests/against_jax.py", *session.posargs)


@nox.session
def clients(session: nox.Session) -> None:
    """Use ndconv with other packages: models before and after `convert`, tools, statistics."""
    provide(session, "clients")
    arguments = "-o", "python_files=against_*.py", "-o", "filterwarnings=", "tests/clients"
    session.run("python", "-m", "pytest", *arguments, *(session.posargs or ["--results", "docs/results/clients.json"]))


@nox.session
def peers(session: nox.Session) -> None:
    """Run the peers' own tests, and torch's documented examples, with ndconv's functions in place of theirs."""
    provide(session, "peers")
    session.run("python", "-m", "pytest", "-o", "python_files=against_*.py", "tests/peers", *session.posargs)
    with tempfile.TemporaryDirectory() as sources:
        pinned = [requirement for requirement in group("peers") if requirement.startswith(("einconv==", "unfoldNd=="))]
        how = "--no-binary", ":all:", "--no-deps", "--no-build-isolation", "--quiet", "--dest", sources
        session.run("python", "-m", "pip", "download", *how, *pinned)
        for archive in sorted(Path(sources).glob("*.tar.gz")):
            shutil.unpack_archive(archive, sources)
        env = {"PYTHONPATH": str(Path.cwd())}
        for folder in sorted(path for path in Path(sources).iterdir() if path.is_dir()):
            with session.chdir(folder):
                session.run("python", "-m", "pytest", "-q", "-rsx", "-p", "tests.peers.instead", "test", env=env)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the code in the ways mutmut knows, and see that the matrix finds it; takes an hour."""
    provide(session, "mutation")
    session.run("python", "-m", "tests.mutation", *session.posargs)


@nox.session
@nox.parametrize("device", ["cpu", "cuda"], ids=["cpu", "cuda"])
def bench(session: nox.Session, device: str) -> None:
    """Measure time and memory against torch."""
    provide(session, "bench", device=device)
    session.run("python", "-m", "benchmarks.run", "--device", device, *session.posargs)


@nox.session
@nox.parametrize("device", ["cpu", "cuda"], ids=["cpu", "cuda"])
def planner(session: nox.Session, device: str) -> None:
    """Compare the planner's expected times with measured ones, and its picks with the best."""
    provide(session, "bench", device=device)
    session.run("python", "-m", "benchmarks.planner", "--device", device, *session.posargs)


@nox.session
@nox.parametrize("device", ["cpu", "cuda"], ids=["cpu", "cuda"])
def statistics(session: nox.Session, device: str) -> None:
    """Compare statistics of gradients with other ways to compute them."""
    provide(session, "bench", device=device)
    session.run("python", "-m", "benchmarks.statistics", "--device", device, *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Train a LeNet on real handwritten digits, once with torch's convolution and once with ours."""
    provide(session, "demo")
    session.run("python", "-m", "benchmarks.demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, check the formatting, and check the workflows."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")
    session.run("zizmor", "--offline", "--quiet", "--persona", "pedantic", ".github")
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, Path().glob(files)))


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check the types, strictly."""
    provide(session, "typecheck")
    session.run("mypy", *session.posargs)


def fetch_pyodide(session: nox.Session, target: Path) -> None:
    """Put Pyodide, and the wheels that the page *Try it* needs, into a folder of the site."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    packed = Path(session.create_tmp())
    if not shutil.which("npm"):
        session.error("npm is needed to fetch Pyodide; on Debian: apt-get install npm")
    session.run("npm", "pack", f"pyodide@{PYODIDE}", f"--pack-destination={packed}", "--silent", external=True)
    archive = packed / f"pyodide-{PYODIDE}.tgz"
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != PYODIDE_INTEGRITY:
        session.error(f"{archive.name} should have the SHA-512 {PYODIDE_INTEGRITY}, but has {found}")
    with tarfile.open(archive) as package:
        for name in PYODIDE_FILES:
            member = package.extractfile(f"package/{name}")
            assert member is not None
            (target / name).write_bytes(member.read())
    session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={target}", ".", "opt_einsum")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the docs into docs/_build/html; a broken example or reference, or a page that needs a network, fails."""
    provide(session, "docs", package=".[testing]")
    for made in ("_build", "api", "gallery", "guides", "mathematics"):
        shutil.rmtree(f"docs/{made}", ignore_errors=True)  # sphinx-gallery skips unchanged scripts
    fetch_pyodide(session, Path("docs/_generated/extra/browser"))
    for builder in ("html", "doctest"):
        session.run("sphinx-build", "-n", "-W", "--keep-going", "-b", builder, "docs", f"docs/_build/{builder}")
    remote = re.compile(r'<(?:script|link)\b[^>]*\b(?:src|href)="(?:https?:)?//')
    if pages := [str(page) for page in Path("docs/_build/html").rglob("*.html") if remote.search(page.read_text())]:
        session.error(f"These pages load something from the network: {', '.join(pages)}")


@nox.session(requires=["docs"])
def docs_browser(session: nox.Session) -> None:
    """Open every page of the docs in a real browser, and use the page *Try it*; needs Debian's chromium or the like."""
    provide(session, "docs_browser")
    session.run(
        # With the options and fixtures of browser tests instead of those of all other tests.
        *("python", "-m", "pytest", "--noconftest", "-p", "tests.browsing", "-o", "addopts=", "-o", "filterwarnings="),
        *("tests/docs_browser.py", "tests/try_browser.py", *session.posargs),
    )


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, and use the wheel in a clean environment far from the sources."""
    session.install(*group("build"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    (wheel,) = Path("dist").resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as clean, session.chdir(clean):
        session.run("python", "-m", "venv", "--without-pip", "env")
        session.run("python", "-m", "pip", "--python", "env", "install", "--quiet", str(wheel), TORCH)
        session.run("env/bin/python", "-I", "-c", SMOKE, external=True)
