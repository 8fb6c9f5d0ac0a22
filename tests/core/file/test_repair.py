"""A log with a changed byte takes its ops in again, and only the damage that they replace is cleared."""

from pathlib import Path

from muse.core.op_log import OpLog


def test_an_op_whose_line_has_a_changed_byte_anywhere_comes_in_again_and_the_damage_goes(
    tmp_path: Path,
) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "code", {"op": "insert", "text": text}) for text in ("one", "two")]
    path = tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl"
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with OpLog(tmp_path, "jam") as log:
            assert log.append_many(entries) == (whole[place : place + 1] != b"\n"), place
            log.repair(only_replaced=True)
            assert list(log.damages()) == [], place
            assert log.read_all() == entries, place


def test_a_damaged_line_whose_op_does_not_come_again_stays(tmp_path: Path) -> None:
    with OpLog(tmp_path, "jam") as log:
        entries = [log.record("ada", "code", {"op": "insert", "text": text}) for text in ("one", "two")]
    path = tmp_path / ".muse" / "op_log" / "jam" / "ops.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"one"', b'"onf"').replace(b'"two"', b'"twp"'))
    with OpLog(tmp_path, "jam") as log:
        log.append(entries[1])
        log.repair(only_replaced=True)
        assert [damage.op_id for damage in log.damages()] == [entries[0]["op_id"]]
        assert log.repair(only_replaced=True).side_file == ""
