"""`muse session`: look at logs, append to them, follow them, check and mend them."""

from muse.cli.session.accept import accept
from muse.cli.session.append import append
from muse.cli.session.archive import archive
from muse.cli.session.check import check
from muse.cli.session.conflicts import conflicts
from muse.cli.session.graph.command import graph
from muse.cli.session.list import list_command
from muse.cli.session.merge import merge
from muse.cli.session.policy import policy
from muse.cli.session.proposals import proposals
from muse.cli.session.recover import recover
from muse.cli.session.reject import reject
from muse.cli.session.repair import repair
from muse.cli.session.restore import restore
from muse.cli.session.show import show
from muse.cli.session.sync import sync
from muse.cli.session.tail import tail
from muse.cli.shared.options import command_group

app = command_group("Live sessions: list, show, append, tail, and mend.")
app.command("list")(list_command)
app.command("show")(show)
app.command("append")(append)
app.command("tail")(tail)
app.command("graph")(graph)
app.command("conflicts")(conflicts)
app.command("sync")(sync)
app.command("merge")(merge)
app.command("policy")(policy)
app.command("proposals")(proposals)
app.command("accept")(accept)
app.command("reject")(reject)
app.command("archive")(archive)
app.command("restore")(restore)
app.command("check")(check)
app.command("repair")(repair)
app.command("recover")(recover)
