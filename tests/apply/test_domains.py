"""How entries go through their domain's plugin."""

import pytest

from muse.apply.domains import check_domain_op
from muse.core.op_log import make_op_entry
from muse.errors import DomainError


def test_an_op_is_checked_by_its_domain_and_passes_where_nobody_knows_the_domain() -> None:
    check_domain_op(make_op_entry("ada", "nobody-knows", {"op": "anything"}, 1))
    with pytest.raises(DomainError):
        check_domain_op(make_op_entry("ada", "music", {"op": "anything"}, 1))
