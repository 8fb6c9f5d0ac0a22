"""The options that several commands of `muse coord` have."""

from typing import Annotated

import typer

AddressesArgument = Annotated[
    list[str], typer.Argument(metavar="ADDRESS...", help="Each with all below it.", show_default=False)
]
ReservationArgument = Annotated[
    str, typer.Argument(metavar="RESERVATION", help="Its id.", show_default=False)
]
SecondsOption = Annotated[float, typer.Option("--ttl", metavar="SECONDS", help="How long it lasts from now.")]
BranchOption = Annotated[
    str | None, typer.Option("--branch", metavar="BRANCH", help="Default: the one HEAD names.")
]
RunOption = Annotated[
    str, typer.Option("--run", metavar="ID", help="The run it is part of. Default: the actor.")
]
OperationOption = Annotated[
    str, typer.Option("--operation", metavar="WORD", help="What will be done, in a word.")
]
