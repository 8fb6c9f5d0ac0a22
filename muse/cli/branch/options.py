"""What commands on branches share."""

from typing import Annotated

import typer

BranchArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the branch.", show_default=False)
]
