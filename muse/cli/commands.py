"""The commands of `muse`: where each is, so that one is run without reading the others."""

from typing import NamedTuple


class CommandRow(NamedTuple):
    """A command, or a group of commands: its function is in a module, and its help begins so."""

    name: str
    module: str
    help: str
    is_group: bool = False


COMMANDS = (
    CommandRow(
        "init",
        "muse.cli.init",
        "Make a repository. A repository that is there already stays as it is, but for --any-domain.",
    ),
    CommandRow(
        "status",
        "muse.cli.status",
        "Say what was changed here, and what others did in the session that is not here yet.",
    ),
    CommandRow(
        "record",
        "muse.cli.record",
        "Record what was changed in files here, and bring what others did meanwhile into them.",
    ),
    CommandRow(
        "watch",
        "muse.cli.watch",
        "Record what is saved in a directory, by whatever program, and bring what others do into its files.",
    ),
    CommandRow("commit", "muse.cli.commit", "Carry a session's pending ops into history."),
    CommandRow(
        "log", "muse.cli.log", "List commits, the newest first, each before the commits it builds on."
    ),
    CommandRow(
        "show",
        "muse.cli.show",
        "Show one commit: its author, its time, and what it changed since its first parent.",
    ),
    CommandRow(
        "diff",
        "muse.cli.diff",
        "Show what differs from the session to the files here, or from commit A to commit B (default: HEAD).",
    ),
    CommandRow(
        "verify", "muse.cli.verify.command", "Check every hash, every link, every log and every signature."
    ),
    CommandRow(
        "prove",
        "muse.cli.prove",
        "Prove that an op, by its actor, is in a commit; or check such a proof, offline.",
    ),
    CommandRow(
        "blame",
        "muse.cli.blame",
        "Tell which actor made each note or line of a file, and which changed it last.",
    ),
    CommandRow(
        "undo",
        "muse.cli.undo",
        "Take ops of a session back, with new ops that leave the later work of others as it is.",
    ),
    CommandRow("repair", "muse.cli.repair", "Mend what 'muse verify' finds with what another replica has."),
    CommandRow("gc", "muse.cli.gc", "Remove what a crash left behind and nothing needs."),
    CommandRow(
        "checkout",
        "muse.cli.checkout",
        "Bring the files here to a commit. Files that no commit has stay as they are.",
    ),
    CommandRow(
        "clone",
        "muse.cli.clone",
        "Make a replica of a repository in a new directory: its sessions, branches and files.",
    ),
    CommandRow(
        "pull", "muse.cli.pull", "Bring another replica's ops and commits here, and the files up to date."
    ),
    CommandRow(
        "push",
        "muse.cli.push",
        "Bring the ops and commits of this replica to another, and its files up to date.",
    ),
    CommandRow("demo", "muse.cli.demo.command", "Write Bach's prelude live: four agents, a reviser."),
    CommandRow("replay", "muse.cli.replay.command", "Make something again, live, from its edits."),
    CommandRow(
        "serve",
        "muse.cli.serve",
        "Serve the sessions of a repository over HTTP, WebSocket and Server-Sent Events.",
    ),
    CommandRow(
        "session",
        "muse.cli.session.command",
        "Live sessions: list, show, append, tail, and mend.",
        is_group=True,
    ),
    CommandRow(
        "branch",
        "muse.cli.branch.command",
        "Lines of commits: list, make, switch and delete branches.",
        is_group=True,
    ),
    CommandRow(
        "key", "muse.cli.key", "Signing keys: make one, trust others', list the trusted.", is_group=True
    ),
    CommandRow(
        "coord",
        "muse.cli.coord.command",
        "Reservations and intents: reserve, release, renew, intent, list, forecast, prune.",
        is_group=True,
    ),
    CommandRow("token", "muse.cli.token", "Tokens for 'muse serve': made, listed, revoked.", is_group=True),
)
