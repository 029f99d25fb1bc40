"""The `seqebm` command. It only parses arguments and calls the library."""

from __future__ import annotations

import sys

import click

from seqebm.cli.denoising import denoise
from seqebm.cli.learning import evaluate, train
from seqebm.cli.making import data
from seqebm.cli.showing import demo, render, sample


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seqebm")
def cli() -> None:
    """Probabilistic sequence models centred on energy-based models."""


for command in (data, train, evaluate, sample, denoise, render, demo):
    cli.add_command(command)


def main() -> None:
    """Run the command: exit code 0, or 2 with one line on stderr for what the user got wrong."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        _fail(error.format_message())
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        _fail(" ".join(str(error).split()))
    except (click.Abort, KeyboardInterrupt):
        print("seqebm: interrupted", file=sys.stderr)
        sys.exit(130)
    except RuntimeError as error:
        if not any(word in str(error) for word in ("allocate", "overflow", "too big")):
            raise
        _fail(f"not enough memory: {str(error).splitlines()[0]}")


def _fail(message: str) -> None:
    print(f"seqebm: {message}", file=sys.stderr)
    sys.exit(2)
