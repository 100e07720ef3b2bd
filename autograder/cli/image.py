"""`autograder release image`: the image that students work in, and the one that submissions are graded in."""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from autograder.cli.options import config_option


@click.command()
@click.option("--light", is_flag=True, help="Build on a small base image without CUDA.")
@click.option(
    "--base",
    help="Base image to build on; docs/docker.md lists what it must have. Default: as in the Dockerfile, or a small "
    "one with --light.",
)
@click.option(
    "--build-arg",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Build argument of the Dockerfile, such as PIP_EXTRA_INDEX_URL=…; may be given several times.",
)
@click.option(
    "--save", is_flag=True, help="Write the students' image as a_env_vN.tar, with its checksum beside it."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("dist"),
    help="Folder that --save writes to. Default: dist.",
)
@config_option
def image(
    light: bool,
    base: str | None,
    arguments: Sequence[str],
    save: bool,
    out: Path,
    config_file: Path,
) -> None:
    """Build the course's image from the Dockerfile.

    The image for students contains the reference, so run `autograder release ref` first. The image for grading does
    not contain it.
    """
    from autograder import config
    from autograder.release import image as images

    started = time.monotonic()
    folder = Path(config.load(config_file).folder)
    names = images.Names(images.version(folder), light)
    images.build(folder, names, base=base, arguments=arguments, say=_say)
    _say(f"to grade in this image: autograder grade --sandbox docker --image {names.sandbox}")
    if save:
        archive = images.save(names, out)
        _say(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB, and {archive.name}.sha256")
    _say(f"{time.monotonic() - started:.0f} s")


def _say(line: str) -> None:
    click.echo(line, err=True)
