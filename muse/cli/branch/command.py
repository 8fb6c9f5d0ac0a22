"""The command group `muse branch`."""

from muse.cli.branch.create import create
from muse.cli.branch.delete import delete
from muse.cli.branch.list import list_command
from muse.cli.branch.switch import switch
from muse.cli.shared.options import command_group

app = command_group("Lines of commits: list, make, switch and delete branches.")
app.command("list")(list_command)
app.command("create")(create)
app.command("switch")(switch)
app.command("delete")(delete)
