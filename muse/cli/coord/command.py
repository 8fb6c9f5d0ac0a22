"""`muse coord`: reserve addresses for a while, say what will be done, see what would collide, clear away."""

from muse.cli.coord.forecast import forecast
from muse.cli.coord.intent import intent
from muse.cli.coord.list import list_command
from muse.cli.coord.prune import prune
from muse.cli.coord.release import release
from muse.cli.coord.renew import renew
from muse.cli.coord.reserve import reserve
from muse.cli.shared.options import command_group

app = command_group("Reservations and intents: reserve, release, renew, intent, list, forecast, prune.")
app.command("reserve")(reserve)
app.command("renew")(renew)
app.command("release")(release)
app.command("intent")(intent)
app.command("list")(list_command)
app.command("forecast")(forecast)
app.command("prune")(prune)
