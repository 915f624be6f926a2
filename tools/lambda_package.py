"""Builds what Lambda gets: ``python -m tools.lambda_package click|api DIRECTORY``.

`sam build` calls it through the Makefile's build-... targets, with the directory to fill. It

- installs the locked wheels for Lambda's platform, whatever this machine is;
- copies the modules of `app` that the entry points import, and nothing else: no tests, no engine;
- compiles the pages' templates and languages ahead for the click function (`rendering.py`);
- leaves out what never runs there (most of botocore's service descriptions, type stubs);
- ends with bytecode that stays valid. `sam package` sets every date to 1980 and /var/task cannot
  be written, so without *unchecked* bytecode each cold start compiles everything anew.

Functions with the same package are built once; the result is kept under `.aws-sam`.
"""

import ast
import builtins
import pprint
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from app.approvals.language_files import load_languages
from app.aws_lambda.rendering import MEMBERS, RUNTIME, module_name
from app.errors import SignoffError
from app.templating import environment, shipped_directory

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON = "3.11"  #: the Runtime in template.yaml: bytecode is of one version of Python only
PLATFORM = "manylinux2014_x86_64"
KEPT = REPOSITORY / ".aws-sam" / "packages"

ENTRY_POINTS = {
    "click": ("app.aws_lambda.click",),
    "api": (
        "app.aws_lambda.api",
        "app.aws_lambda.respond",
        "app.aws_lambda.signoff",
        "app.aws_lambda.sweep",
        "app.approvals.compat.worker",  # a process of its own
    ),
}
#: files beside modules
DATA = ("app/amazon_roots.pem",)
#: installed and never read: of cffi, PyNaCl needs the compiled part only
UNUSED = ("bin", "cffi", "pycparser", "boto3/data", "boto3/examples", "dateutil/zoneinfo")
PAGES = (
    "pages/decide.html",
    "pages/form.html",
    "pages/afterwards.html",
    "pages/layout.html",
    "pages/style.css",
)
#: the services whose descriptions stay in botocore
SERVICES = frozenset({"sesv2"})


class CannotBuild(SignoffError):
    """The package cannot be built."""


def build(kind: str, directory: Path) -> None:
    """Fill *directory* with the package *kind*."""
    kept = KEPT / f"{kind}-{_fingerprint(kind)}"
    if not kept.exists():
        draft = kept.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _install(kind, draft)
        _copy_modules(ENTRY_POINTS[kind], draft)
        _add_templates(kind, draft)
        _trim(draft)
        _compile(draft)
        for former in set(KEPT.glob(f"{kind}-*")) - {draft}:
            shutil.rmtree(former, ignore_errors=True)
        draft.rename(kept)
    shutil.copytree(kept, directory, dirs_exist_ok=True)


def _lock(kind: str) -> Path:
    return REPOSITORY / "locks" / f"lambda-{kind}.txt"


def _fingerprint(kind: str) -> str:
    """What changes when anything changes that goes into the package."""
    digest = sha256(PYTHON.encode())
    sources = [_lock(kind), Path(__file__)]
    for directory in (REPOSITORY / "app", shipped_directory()):
        sources += sorted(p for p in directory.rglob("*") if p.suffix != ".pyc" and p.is_file())
    for path in sources:
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _install(kind: str, directory: Path) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes"]
    wheels = ["--platform", PLATFORM, "--python-version", PYTHON, "--only-binary", ":all:"]
    where = ["--target", str(directory), "--requirement", str(_lock(kind))]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels, *where])
    if done.returncode:
        raise CannotBuild(f"pip cannot install {_lock(kind).name}.")


def _copy_modules(entry_points: Iterable[str], directory: Path) -> None:
    sources = [module_path(module) for module in sorted(imported(entry_points))]
    for source in (*sources, *(REPOSITORY / name for name in DATA)):
        target = directory / source.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def imported(entry_points: Iterable[str]) -> set[str]:
    """All modules of `app` that *entry_points* import, directly or not, and their packages."""
    found: set[str] = set()
    waiting = list(entry_points)
    while waiting:
        name = waiting.pop()
        if name in found or not module_path(name).exists():
            continue
        found.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += _imports(ast.parse(module_path(name).read_bytes()))
    return found


def module_path(module: str) -> Path:
    """Where the source of *module* is, or would be."""
    path = REPOSITORY.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("app."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "app":
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imports(node)


def _add_templates(kind: str, directory: Path) -> None:
    if kind == "click":
        compile_templates(directory / "app" / "compiled_templates")
    else:
        shutil.copytree(shipped_directory(), directory / "app" / "templates")


def compile_templates(directory: Path) -> None:
    """Write the pages' templates and all languages as modules of a package in *directory*.

    Raises:
        CannotBuild: a template uses what the click function's renderer does not have.
    """
    directory.mkdir(parents=True)
    (directory / "__init__.py").write_text('"""Made by tools/lambda_package.py."""\n')
    jinja = environment()
    for name in PAGES:
        source = jinja.loader.get_source(jinja, name)[0] if jinja.loader else ""
        _, _, code = jinja.compile(source, name, name, raw=True).partition("\n")
        module = f"from app.aws_lambda.rendering import {', '.join(RUNTIME)}\n{code}\n"
        members = set(re.findall(r"\benvironment\.(\w+)", code))
        includes = ".new_context(" in code
        if includes or _unknown_names(module) or not members <= MEMBERS:
            raise CannotBuild(
                f"templates/{name} uses what pages on Lambda cannot have: filters, tests, macros, "
                "loop variables or includes. Values, conditions, loops and blocks are there."
            )
        (directory / f"{module_name(name)}.py").write_text(module)
    languages = {tag: asdict(one) for tag, one in load_languages().by_tag.items()}
    text = pprint.pformat(languages, width=100)
    (directory / "languages.py").write_text(f"LANGUAGES = {text}\n")


def _unknown_names(source: str) -> set[str]:
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            known |= {node.name, *(argument.arg for argument in node.args.args)}
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.name for alias in node.names}
    return {node.id for node in names} - known


def _trim(directory: Path) -> None:
    for pattern in ("*.pyi", "*.dist-info/RECORD"):
        for path in directory.rglob(pattern):
            path.unlink()
    for name in UNUSED:
        shutil.rmtree(directory / name, ignore_errors=True)
    for service in directory.glob("botocore/data/*/"):
        if service.name not in SERVICES:
            shutil.rmtree(service)


def _compile(directory: Path) -> None:
    python = sys.executable if sys.version.startswith(PYTHON + ".") else f"python{PYTHON}"
    options = ["-m", "compileall", "-q", "-j", "0", "-s", str(directory), "-p", "/var/task"]
    unchecked = ["--invalidation-mode", "unchecked-hash"]
    others = [str(path) for path in directory.iterdir() if path.name != "app"]
    for places in (["app"], ["-b", *others]):
        done = subprocess.run([python, *options, *unchecked, *places], cwd=directory)
        if done.returncode:
            raise CannotBuild("The package cannot be compiled.")
    for path in directory.rglob("*.py"):
        # Of libraries, bytecode is enough: a third of the package.
        if path.relative_to(directory).parts[0] != "app":
            path.unlink()


def main() -> None:
    """Build one package; a reason and exit status 1 if it cannot be."""
    try:
        build(sys.argv[1], Path(sys.argv[2]))
    except (CannotBuild, FileNotFoundError) as exc:
        sys.exit(f"lambda_package: {exc}")


if __name__ == "__main__":
    main()
