"""Imports point down the layer list, third-party libraries enter in one place, and files stay short."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "segstill"
LAYERS = [  # bottom first; parts of layer 1 never import each other
    {"arithmetic", "batch", "taps", "prototypes", "recipe", "chain_recipe", "stencil"},
    {"losses", "models", "data", "metrics", "optim", "batch_norm", "checkpoint", "recipes", "seeds", "verdict"},
    {"learner"},
    {
        "build",
        "environment",
        "run",
        "train",
        "evaluate",
        "cost",
        "health",
        "probe",
        "report",
        "compare",
        "footing",
        "demo",
        "seeding",
        "seed_masks",
        "seed_files",
        "recipe_files",
        "chain",
        "start",
        "start_text",
        "localise",
        "affinities",
        "export",
        "tiling",
        "predictor",
        "predict",
        "app",
    },
    {"progress", "flags", "tables", "cli"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
MAY_IMPORT_BESIDE = {rank for rank, _ in enumerate(LAYERS)} - {1}
LIBRARIES = {  # where a third-party library may enter
    "torch": set(RANK),
    "numpy": {"data", "report"},
    "torchvision": {"data", "models"},
    "PIL": {"data", "report"},
    "scipy": {"data"},
    "pycocotools": {"data"},
    "timm": {"models"},
    "transformers": {"models"},
    "segmentation_models_pytorch": {"models"},
    "executorch": {"export"},
    "onnx": {"export"},
    "onnxscript": {"export"},
    "onnxruntime": {"export"},
    "av": {"data"},
    "gradio": {"app"},
    "starlette": {"app"},
    "accelerate": {"train", "evaluate", "affinities"},
    "torchmetrics": {"metrics"},
    "safetensors": {"checkpoint", "models"},
    "matplotlib": {"report"},
    "tyro": {"cli"},
    "rich": {"cli", "progress", "tables"},
}
FILES = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__")]


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def part_of(path: Path) -> str:
    return name(path).split("/")[0]


def imports(path: Path) -> set[tuple[str, ...]]:
    """Every module that `path` imports, as a tuple of names from its root, however the import is spelled."""
    package = ("segstill", *path.relative_to(PACKAGE).parent.parts)
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found |= {(*base, alias.name) for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_down(path):
    here = part_of(path)
    for module in imports(path):
        if module[0] == "segstill" and module[1] != here:
            there = RANK[module[1]]
            assert there < RANK[here] or (there == RANK[here] and there in MAY_IMPORT_BESIDE), (
                f"{here} imports {module}"
            )


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_library_enters_in_one_place(path):
    import sys

    for module in imports(path):
        if module[0] != "segstill" and module[0] not in sys.stdlib_module_names:
            assert part_of(path) in LIBRARIES[module[0]], f"{name(path)} imports {module[0]}"


def test_losses_and_models_know_nothing_of_each_other():
    """Rule 2: a loss never sees a model, only tap names."""
    for path in FILES:
        others = {"losses": "models", "models": "losses"}.get(part_of(path))
        assert not [module for module in imports(path) if module[:2] == ("segstill", others)]


@pytest.mark.parametrize("path", [*PACKAGE.rglob("*.py"), *PACKAGE.parent.glob("tests/**/*.py")], ids=str)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 300
