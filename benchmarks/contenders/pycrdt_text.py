"""pycrdt alone: editing traces replayed with a document an agent, in memory."""

from muse.cli.replay.script import Edit, Script


def replay_script(script: Script) -> list[str]:
    """Perform the steps of a script that edits one text; return the text as each agent has it at the end.

    Each agent has in view what the step's parents had, as the op log's replicas do. An update is handed on
    as the bytes that its author made.
    """
    from pycrdt import Doc, Text, TransactionEvent  # noqa: PLC0415 - named as missing if it cannot be had

    updates: list[bytes] = []
    seen: list[bytes] = []

    def note(event: TransactionEvent) -> None:
        seen.append(event.update)

    actors = list(dict.fromkeys(step.actor_id for step in script.steps))
    documents = {actor: Doc(client_id=rank) for rank, actor in enumerate(actors, 1)}
    texts = {actor: document.get("text", type=Text) for actor, document in documents.items()}
    in_view: dict[str, set[int]] = {actor: set() for actor in actors}
    subscriptions = [document.observe(note) for document in documents.values()]

    def take_in(actor: str, parents: tuple[int, ...] | range) -> None:
        known, missing = in_view[actor], []
        to_see = [place for place in parents if place not in known]
        while to_see:
            place = to_see.pop()
            if place not in known:
                known.add(place)
                missing.append(place)
                to_see += [parent for parent in script.steps[place].parents if parent not in known]
        for place in sorted(missing):
            documents[actor].apply_update(updates[place])

    for place, step in enumerate(script.steps):
        take_in(step.actor_id, step.parents)
        text = texts[step.actor_id]
        seen.clear()
        with documents[step.actor_id].transaction():
            for change in step.changes:
                if isinstance(change, Edit):
                    for position, deleted, inserted in change.patches:
                        if deleted:
                            del text[position : position + deleted]
                        if inserted:
                            text.insert(position, inserted)
                else:
                    text.insert(0, change.content.decode()) if change.content else None
        updates.append(seen[-1] if seen else b"\0\0")
        in_view[step.actor_id].add(place)
    for actor in actors:
        take_in(actor, range(len(script.steps)))
    del subscriptions
    return [str(text) for text in texts.values()]
