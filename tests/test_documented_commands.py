"""Every command of Evergreen that a page, the Dockerfile, a help text or a message shows is one that Evergreen takes."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from monitoring.cli.main import VERBS, evergreen
from monitoring.cli.options import InputFile
from tests.documented import ROOT, blocks, commands, ours
from tests.patience import until
from training.__main__ import main as training

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SHELLS = {"", "sh", "bash"}
CODE = sorted(path for package in ("training", "service", "monitoring", "examples") for path in (ROOT / package).rglob("*.py"))
CONTEXT = click.Context(evergreen, info_name="evergreen")


@pytest.fixture(autouse=True)
def without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the files that pages name, which are their readers'."""
    monkeypatch.setattr(InputFile, "convert", lambda _self, value, _parameter, _context: Path(value))


def shown(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, and what its systemd units start."""
    shell = [line for block in blocks(page) if block.language in SHELLS for line in block.text.splitlines()]
    return shell + re.findall(r"^ExecStart=(.+)$", page.read_text(), re.MULTILINE)


def of_evergreen(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Return what the lines run of Evergreen."""
    mentioning = [line for line in lines if re.search(r"\bevergreen\b|python -m", line) and not line.startswith(("{", "bikes:"))]
    return [run for line in mentioning for words in commands(line) if (run := ours(words)) is not None]


IN_BLOCKS = [(page.name, *run) for page in PAGES for run in of_evergreen(shown(page))]
IN_THE_DOCKERFILE = [
    ("Dockerfile", *run) for run in of_evergreen(re.findall(r"^# +(docker .+?)(?: {2,}.*)?$", (ROOT / "Dockerfile").read_text(), re.M))
]


def examples() -> list[tuple[str, str, list[str]]]:
    """Return the examples of all help texts."""
    tops = [evergreen.get_command(CONTEXT, verb) for verb in VERBS]
    leaves = [leaf for top in tops for leaf in (top, *(top.commands.values() if isinstance(top, click.Group) else ()))]
    lines = [line for leaf in leaves if leaf for line in re.findall(r"Example: (.+)", leaf.help or "")]
    return [("help", *run) for run in of_evergreen(lines)]


def mentions() -> list[tuple[str, str]]:
    """Return what stands behind `evergreen` in code voice on a page or in a text of the code, with where it stands."""
    on_pages = [(page.name, words) for page in PAGES for words in re.findall(r"`evergreen ([a-z][^`\n]*)`", page.read_text())]
    texts = [
        (path.name, node.value)
        for path in CODE
        if "evergreen " in (code := path.read_text())  # few do, and parsing all takes seconds of each worker
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    in_code = [(name, words) for name, text in texts for words in re.findall(r"(?:`|: )evergreen ([a-z][^`'\n;,)]*)", text)]
    return sorted({*on_pages, *in_code})


@pytest.mark.parametrize(("where", "module", "arguments"), [*IN_BLOCKS, *IN_THE_DOCKERFILE, *examples()])
def test_a_command_that_is_shown_is_taken(where: str, module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(module, arguments, capsys) is None


@pytest.mark.parametrize(("where", "words"), mentions())
def test_a_command_that_is_mentioned_has_its_verb_options_and_arguments(where: str, words: str) -> None:
    command, rest = walk([word.strip("[].") for word in shlex.split(words)])
    known = {option for parameter in (*command.params, *evergreen.params) for option in (*parameter.opts, "--help")}

    assert [word for word in rest if word.startswith("-") and word not in known] == []
    assert len(places(command, rest)) <= sum(
        len(rest) if each.nargs < 0 else each.nargs for each in command.params if each.param_type_name == "argument"
    )


def places(command: click.Command, words: list[str]) -> list[str]:
    """Return the words that are neither options nor their values."""
    with_value = {name for each in command.params if isinstance(each, click.Option) and not each.is_flag for name in each.opts}
    return [word for before, word in zip(["", *words], words, strict=False) if not word.startswith("-") and before not in with_value]


def test_commands_are_shown_on_the_pages_that_tell_how_to_run() -> None:
    pages = {where for where, _, _ in [*IN_BLOCKS, *IN_THE_DOCKERFILE]}

    assert pages >= {"README.md", "deployment.md", "Dockerfile"}
    assert len(mentions()) > 20


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("monitoring.cli", ["train", "model.yaml", "--promote"]),
        ("monitoring.cli", ["serve"]),
        ("monitoring.cli", ["keys", "create", "--name", "shop"]),
        ("training", ["model.yaml", "--promote"]),
        ("service", ["--port", "80"]),
    ],
)
def test_a_command_that_is_not_there_is_noticed(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(module, arguments, capsys) is not None


def refusal(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """Return why a module would not take its arguments; nothing of it is run."""
    if module == "training":
        with pytest.raises(SystemExit):
            training(["--help"])
        known = set(re.findall(r"--?[a-z-]+", capsys.readouterr().out))
        return next((f"no {word}" for word in arguments if word.startswith("-") and word not in known), None)
    if module in ("service", "monitoring"):
        return f"{module} takes no arguments" if arguments else None
    try:
        _, words, _ = evergreen.make_parser(CONTEXT).parse_args(list(arguments))
        command, rest = walk(words)
        command.make_context(command.name, rest, parent=CONTEXT)
    except click.ClickException as error:
        return error.message
    return None


def walk(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that words name, and the words behind it."""
    name, *rest = words or [""]
    command = evergreen.get_command(CONTEXT, name)
    if command is None:
        raise click.UsageError(f"there is no verb {name!r}")
    if isinstance(command, click.Group) and rest and rest[0] in command.commands:
        return command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("code", [0, 130], ids=["up", "the demo, or up while it trains"])
@pytest.mark.parametrize(("target", "program"), [("run", "evergreen"), ("demo", "python")])
def test_ctrl_c_ends_make_without_an_error(tmp_path: Path, target: str, program: str, code: int) -> None:
    stand_in = tmp_path / "bin" / program
    stand_in.parent.mkdir()
    stand_in.write_text(
        f"#!{sys.executable}\nimport signal, sys\ntry:\n    print('up', flush=True)\n    signal.pause()\n"
        f"except KeyboardInterrupt:\n    print('stopped', flush=True)\n    sys.stdin.read()\n    sys.exit({code})\n"
    )
    stand_in.chmod(0o755)
    ready = ["-o", f"{tmp_path}/.ready", "-o", "examples/bikes/history.csv.gz"]
    command = ["make", target, f"VENV={tmp_path}", *ready]

    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, preexec_fn=heeds_ctrl_c, **pipes) as make:
        assert make.stdin is not None
        assert make.stdout is not None
        first = make.stdout.readline()
        os.killpg(make.pid, signal.SIGINT)
        # make hears of it before its child is gone, as with what takes a moment to stop: else it may wait for one it has buried
        until(lambda: not has_pending(make.pid, signal.SIGINT), "make hears of Ctrl-C")
        make.stdin.close()
        rest = make.stdout.read()

    assert (first, rest) == ("up\n", "stopped\n")
    assert make.returncode in (-signal.SIGINT, 130)


def has_pending(pid: int, number: int) -> bool:
    """Return whether a signal was sent to a process that has not yet heard of it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(int(mask, 16) >> (number - 1) & 1 for mask in re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", status))


def heeds_ctrl_c() -> None:
    """Let a child end by SIGINT and hear of its children, where the tests run in the background or under `timeout`, too."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
