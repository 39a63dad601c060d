"""Every command and every block of code in README and docs works, and the site is built of them without a warning.

What happens to a block, in the order of its page, in a folder where all that it names is there (`data_of_docs.py`):

- `python` is executed; a page's blocks share their names, and those of `prelude` are given.
  One with a function recipe() is written to mine.py, too.
- Commands are expanded by bash, and each is called in this process, where its verb stands in
    RUN     as it stands; what it writes is what the next ones read;
    SHRUNK  as it stands, with flags behind it that make it take a second (`smaller`): one epoch, two images per step,
            small crops, no weights from other hosts.  Training as the recipes say takes minutes to days;
            A comparison of two recipes, too, with one seed; and a chain of a recipe file, but in README.md, which
            repeats tags.md;
    PARSED  by the real parser, up to the call of what does the work, which does not happen.  It is started in other
            tests: test_demo.py, test_compare.py, test_chain.py, test_app.py.
            So are longer comparisons, the chains of segstill, and commands in which "..." stands for flags;
  A run that a command names and that no command before it trained is trained by its recipe, SHRUNK.
- torchrun is parsed by its own parser, and the command behind it by ours.
- make: the target exists.  pip: the extras exist.  git and cd are not run: they make the folder that is there.
- pytest: the contract of all losses, with the loss that the page has made.
- `text` is shown only.  Any other kind of block, and any other program, is an error.
"""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from segstill.cli import chaining, main, running
from segstill.compare import check_equal_footing, with_baseline
from segstill.losses import LOSSES
from segstill.recipes import METHODS, RECIPES
from segstill.start_text import Machine

from .data_of_docs import furnish, prelude, smaller, smaller_chain, train_runs, write_weights
from .losses import test_contract, test_ignored
from .outcomes_of_docs import AFTERWARDS
from .pages_of_docs import PAGES, ROOT, Block, anchors, blocks, commands, links, sections
from .starts import call

RUN = {"list", "show", "check", "taps", "init", "seeds", "evaluate", "export", "predict", "report"}
SHRUNK = {"train"}
PARSED = {"demo", "chain", "compare", "app"}
WORKERS = [(running, name) for name in ("train", "run_main_demo", "run_weak_demo", "run_chain_demo", "compare")]
WORKERS += [(chaining, "plan"), (chaining, "run_chain")]
if trying := importlib.util.find_spec("segstill.cli.trying"):
    WORKERS += [(importlib.import_module(trying.name), "open_page")]


class Reached(Exception):  # noqa: N818  (nothing is wrong)
    """A command was understood, and its work would begin now."""


def parse(*args: str) -> None:
    """Run a verb up to its work."""

    def reach(*given, **_):
        if args[0] == "compare":
            check_equal_footing(with_baseline(given[0]))
        raise Reached

    with pytest.MonkeyPatch.context() as patch:
        for module, name in WORKERS:
            patch.setattr(module, name, reach)
        with pytest.raises(Reached):
            main([*args])


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    """A folder as the pages take it for granted, which pages get copies of; and the runs that were trained for them."""
    weights, folder = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("furnished")
    write_weights(weights)
    for file in weights.iterdir():
        (folder / file.name).symlink_to(file)
    furnish(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_runs(folder)
    return folder


class Reader:
    """Somebody who does what a page says, block by block, in a folder of its own.

    Args:
        page: its name.
        furnished: the folder to begin with.
        place: an empty folder.
    """

    def __init__(self, page: str, furnished: Path, place: Path):
        self.page, self.furnished = page, furnished
        self.names = prelude()
        self.variables = ""
        subprocess.run(["cp", "-r", "--no-dereference", f"{furnished}/.", place], check=True)
        os.chdir(place)

    def do(self, block: Block) -> None:
        """Do what a block says."""
        if block.kind == "python":
            exec(compile(block.text, "<the page>", "exec"), self.names)
            if "def recipe()" in block.text:
                Path("mine.py").write_text(block.text)
        elif block.kind == "sh":
            for words in commands(block.text, Path.cwd(), self.variables):
                getattr(self, words[0])(*words[1:])
        else:
            assert block.kind == "text", f"no kind of block that is known: {block}"
            assert not re.search(r"^(segstill|torchrun|import|from) ", block.text, re.M), block.text

    def segstill(self, verb: str, *given: str) -> None:
        """Run, shrink or parse a command, by its verb."""
        recipe = "camvid_small_student"
        args = [recipe if word == "RECIPE" else word for word in given]
        if "..." in args:
            self.stand_in("runs/camvid_small_teacher")
            parse(verb, args[0], *(word for word in args[1:] if word != "..."))
            return
        for word in args:
            self.stand_in(word)
        if verb in SHRUNK:
            if "--resume" in args and not Path(args[args.index("--run") + 1]).exists():
                call(verb, *(word for word in args if word != "--resume"), *smaller(args[0]))
            weights = ["--student.weights", "None"] if "imagenet" in args else []
            call(verb, *args, *smaller(args[0]), *weights)
        elif verb == "chain" and args[0].endswith(".py") and self.page != "README.md":
            again = ["--skip", "export", "report"] if Path("chains").exists() else []  # they are the longest by far
            call(verb, *args, *smaller_chain(args[0]), *again)
        elif verb == "compare" and len(recipes := [word for word in args if word in RECIPES]) == 2:
            call(verb, *args, *smaller(recipes[0]), "--seeds", "1")
        elif verb in RUN or "--plan" in args:
            call(verb, *args, *(["--weights", "None"] if verb == "init" else []))
        else:
            assert verb in PARSED, f"say in this file how segstill {verb} is tried"
            parse(verb, *args)

    def stand_in(self, word: str) -> None:
        """Train the run that a word means, unless it is there or is no name of a recipe's run."""
        name = word.removeprefix("runs/").partition("/")[0]
        if not word.startswith("runs/") or Path("runs", name).exists() or "_" not in name:
            return
        trained = self.furnished.parent / f"trained-{name}"
        if not trained.exists():
            classes = ("--data.classes", "background", "cat", "dog") if name.startswith("folder") else ()
            call("train", name, "--data.root", "DIR", *classes, *smaller(name), "--run", str(trained))
        Path("runs").mkdir(exist_ok=True)
        subprocess.run(["cp", "-r", trained, Path("runs", name)], check=True)

    def torchrun(self, *args: str) -> None:
        """Parse it, and what it is to start."""
        from torch.distributed.run import get_args_parser

        options = get_args_parser().parse_args([*args])
        assert (options.module, options.training_script) == (True, "segstill")
        words = ["camvid_small_student" if word == "RECIPE" else word for word in options.training_script_args]
        parse(*words)

    def make(self, target: str) -> None:
        """Look for the target."""
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)

    def pip(self, action: str, what: str) -> None:
        """Look for the extras."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        name, extras = re.fullmatch(r"(\.|segstill)(?:\[(.*)\])?", what).groups()
        assert (action, name in (".", project["name"])) == ("install", True)
        assert {*filter(None, (extras or "").split(","))} <= project["optional-dependencies"].keys()

    def git(self, *_: str) -> None:
        """Not run."""

    cd = git

    def python(self, *args: str) -> None:
        """Hold the loss that pytest is to choose against the contract of all losses."""
        assert args[:2] == ("-m", "pytest")
        assert (ROOT / args[2]).is_dir()
        tests = [test for module in (test_contract, test_ignored) for test in vars(module).values() if callable(test)]
        tests = [test for test in tests if [*inspect.signature(test).parameters] == ["name", "args"]]
        assert len(tests) > 10
        for test in tests:
            test(args[args.index("-k") + 1], {})


@pytest.fixture
def reader(page, furnished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("segstill.start.machine", lambda: Machine(1, 8.0, None, 0.0))
    before = dict(LOSSES), dict(METHODS)
    yield Reader(page, furnished, tmp_path)
    for table, kept in zip((LOSSES, METHODS), before, strict=True):
        table.clear()
        table.update(kept)


CASES = [(page, name, content) for page in PAGES for name, content in sections(page)]


@pytest.mark.parametrize(("page", "section", "content"), CASES, ids=[f"{p} {s}".strip() for p, s, _ in CASES])
def test_every_block_works(page, section, content, reader):
    reader.variables = "".join(block.text for block in blocks(page) if block.kind == "sh")
    for block in content:
        reader.do(block)
    if page in AFTERWARDS:
        AFTERWARDS[page](reader.names)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        place, _, anchor = link.partition("#")
        file = PAGES[page].parent / place if place else PAGES[page]
        assert file.exists(), link
        assert not anchor or anchor in anchors(file.name), link


def test_every_message_that_troubleshooting_quotes_is_one_of_ours():
    sources = "".join(path.read_text() for path in (ROOT / "segstill").rglob("*.py"))
    texts = re.sub(r'"\s*\n\s*f?"', "", sources)  # strings that go on in the next line
    page = PAGES["troubleshooting.md"].read_text()
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.M) + re.findall(
        r"`([^`]+)`", " ".join(re.findall(r"\*\*Seen\*\*:.*", page))
    )
    assert len(quoted) > 15
    for message in quoted:
        for part in message.split("..."):
            assert part.strip() in texts, message


def test_every_flag_that_a_page_names_exists(capsys):
    for verb in (
        "train demo_aicsd",
        "chain demo",
        "export",
        "predict",
        "seeds",
        "compare demo_kd",
        "init",
        "evaluate",
        "demo",
        "check",
        "app",
    ):
        with pytest.raises(SystemExit):
            main([*verb.split(), "--help"])
    known = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out)) | {"--help", "--run-path"}
    for page, path in PAGES.items():
        for code in re.findall(r"`([^`\n]+)`", path.read_text()):
            for flag in re.findall(r"(?<!\S)--[a-z][\w.-]*", code):
                free = ".args." in flag or flag.startswith(("--pairs.", "--class-map.", "--terms.", "--teacher-model."))
                assert free or flag in known, (page, flag)


def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for path in ROOT.glob("docs/*.md"):
        page = (tmp_path / path.with_suffix(".html").name).read_text()
        assert not re.search(r"<(script|img|link|iframe)\b[^>]*\b(src|href)=[\"']?(https?:)?//", page), path
        assert not re.search(r"<p>\||^- (?=.*</?(p|strong)>)", page, re.M), (
            f"{path}: a table or a list that is shown as text"
        )
