"""What a client fetched is kept in bounded memory."""

from muse.client.fetched import Fetched


def test_what_was_asked_for_longest_ago_is_fetched_again() -> None:
    fetched: list[str] = []
    kept: Fetched[str] = Fetched(10)

    def get(name: str, size: int = 4) -> str:
        def fetch() -> tuple[str, int]:
            fetched.append(name)
            return name.upper(), size

        return kept.get(name, fetch)

    assert [get("a"), get("b"), get("a"), get("c")] == ["A", "B", "A", "C"]
    assert [get("a"), get("b")] == ["A", "B"]
    assert fetched == ["a", "b", "c", "b"]


def test_one_that_is_larger_than_all_there_is_room_for_pushes_out_no_other() -> None:
    fetched: list[str] = []
    kept: Fetched[str] = Fetched(10)

    def get(name: str, size: int) -> None:
        def fetch() -> tuple[str, int]:
            fetched.append(name)
            return name, size

        kept.get(name, fetch)

    for name, size in (("a", 10), ("large", 11), ("a", 10), ("large", 11)):
        get(name, size)
    assert fetched == ["a", "large", "large"]
