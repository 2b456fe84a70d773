"""`castline chat`: a conversation with a package."""

import sys
from typing import Annotated

import typer

from castline.cli.engine import (
    BackendOption,
    PackageArgument,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    open_engine,
)
from castline.cli.output import note
from castline.errors import DataError

_HELP = "/reset forgets the conversation, /exit or Ctrl-D leaves; Ctrl-C stops an answer"


def chat_command(
    package: PackageArgument,
    system: Annotated[str | None, typer.Option(help="What the model is told first.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    temperature: TemperatureOption = 0.0,
    top_k: TopKOption = 0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = 0,
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Talk to a model, as its chat template has it. Reads lines from standard input."""
    from castline.compile.chat import Chat, Message

    chat = Chat(package)
    engine = open_engine(package, backend, threads)
    context = engine.info()["max_context"]
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    messages = list(opening)
    if sys.stdin.isatty():
        note(f"{package.name}: {_HELP}")
    while (line := _read_line()) is not None:
        if line == "/exit":
            return
        if line == "/reset":
            messages = list(opening)
            continue
        if not line.strip():
            continue
        messages.append({"role": "user", "content": line})
        ids = chat.prompt_ids(messages)
        if len(ids) >= context:
            raise DataError(
                f"the conversation has {len(ids)} tokens, but the context is {context}; start again, or use /reset"
            )
        said: list[str] = []

        def show(_: int, text: str, said: list[str] = said) -> None:
            said.append(text)
            sys.stdout.write(text)
            sys.stdout.flush()

        try:
            engine.generate(
                ids,
                max_tokens=max_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                callback=show,
            )
        except KeyboardInterrupt:
            note("stopped")
        print(flush=True)
        messages.append({"role": "assistant", "content": "".join(said)})


def _read_line() -> str | None:
    """One line of the user's; None at the end."""
    if sys.stdin.isatty():
        try:
            return input("> ")
        except EOFError:
            print()
            return None
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
