"""The damage of a log, in lines for people."""

from collections.abc import Iterable

from muse.cli.shared.output import Output, count_of
from muse.core.op_log import Damage


def print_damages(output: Output, damages: Iterable[Damage]) -> None:
    """Print damage for people: where it is, and what is known of it."""
    for damage in damages:
        op = f", op {damage.op_id}" if damage.op_id else ""
        output.line(
            f"{damage.kind} at byte {damage.offset} (line {damage.line}{op}), "
            f"{count_of(damage.length, 'byte')}: {damage.reason}"
        )
