"""The generation loop against a scripted session: what is fed, what comes out, when it stops."""

from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.errors import EngineError
from vl2_ros.flow.generate import generate
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.runtime.engine import LanguageStep

TOKENS = TokenIds.from_base(10)
DET = next(i for i, t in TOKENS.routing.items() if t == "[DET]")
GEN = next(i for i, t in TOKENS.routing.items() if t == "[GEN]")
VOCABULARY = 36


class ScriptedSession:
    """Wants the tokens of a script one after the other; hidden states are the positions."""

    def __init__(self, script, bad_logits=False):
        self.script = list(script)
        self.fed = []
        self.images = []
        self._bad = bad_logits
        self._position = 0
        self.most = 1000
        self.taken_back = 0

    def feed(self, input_ids, image_tokens=None, region_features=None, *, logit_count=1):
        self.fed.append(input_ids.tolist())
        self.images.append(image_tokens)
        shape = (logit_count, VOCABULARY)
        logits = np.full(shape, np.nan if self._bad else 0.0, dtype=np.float32)
        for row in () if self._bad else logits:
            row[self.script.pop(0)] = 1.0
        start = self._position
        self._position += len(input_ids)
        hidden = np.arange(start, self._position, dtype=np.float32)[:, None]
        return LanguageStep(logits, hidden)

    def accepts(self, count):
        return count <= self.most

    def take_back(self, count):
        self.taken_back = count
        self._position -= count


def run(session, max_new_tokens=20, tokens=TOKENS, **options):
    prompt = np.array([1, 5, 6], dtype=np.int64)
    return list(
        generate(
            session,
            prompt,
            tokens=tokens,
            num_embs=3,
            num_embs_gen=9,
            max_new_tokens=max_new_tokens,
            image_tokens="features",
            **options,
        )
    )


def test_end_token_stops_and_is_not_yielded():
    session = ScriptedSession([4, TOKENS.eos])
    assert [token.token_id for token in run(session)] == [4]
    assert session.fed == [[1, 5, 6], [4]]


@pytest.mark.parametrize("end", [2, 7, 9])
def test_every_end_token_stops(end):
    tokens = replace(TOKENS, more_ends=(7, 9))
    session = ScriptedSession([4, 8, end])
    assert [token.token_id for token in run(session, tokens=tokens)] == [4, 8]


def test_image_features_go_with_the_prompt_only():
    session = ScriptedSession([4, 3, TOKENS.eos])
    run(session)
    assert session.images == ["features", None, None]


def test_routing_token_and_slots_go_in_one_call_and_give_the_slot_states():
    session = ScriptedSession([DET, 4, TOKENS.eos])
    tokens = run(session)
    assert session.fed[1] == [DET, *TOKENS.slots[:3]]
    # The routing token sits at position 3, its slots at 4, 5, 6.
    assert tokens[0].slot_states.tolist() == [[4.0], [5.0], [6.0]]
    assert tokens[1].slot_states is None


def test_two_routes_in_one_answer_keep_their_own_states():
    session = ScriptedSession([DET, 4, DET, TOKENS.eos])
    first, _, second = run(session)
    assert first.slot_states[:, 0].tolist() == [4.0, 5.0, 6.0]
    assert second.slot_states[:, 0].tolist() == [9.0, 10.0, 11.0]


def test_generation_route_opens_its_own_number_of_slots():
    session = ScriptedSession([GEN, TOKENS.eos])
    (token,) = run(session)
    assert session.fed[1] == [GEN, *[TOKENS.slots[0]] * 9]
    assert len(token.slot_states) == 9


def test_limit_cuts_the_answer_and_the_last_token_is_not_fed():
    session = ScriptedSession([4, 3, 4, 3])
    assert [token.token_id for token in run(session, max_new_tokens=2)] == [4, 3]
    assert session.fed == [[1, 5, 6], [4]]


def test_an_answer_is_cut_where_the_cache_is_full():
    session = ScriptedSession([4, 3, 4, 3, 4])
    assert [token.token_id for token in run(session, most_past=4)] == [4, 3, 4]
    # The prompt has three positions, so these calls have caches of 0, 3 and 4.
    assert session.fed == [[1, 5, 6], [4], [3]]


def test_a_routing_token_that_has_no_room_for_its_slots_is_not_given():
    session = ScriptedSession([4, DET, 4])
    assert [token.token_id for token in run(session, most_past=3)] == [4]
    assert session.fed == [[1, 5, 6], [4]]


def test_routing_token_at_the_limit_still_gets_its_states():
    session = ScriptedSession([DET, 4])
    (token,) = run(session, max_new_tokens=1)
    assert token.slot_states.shape == (3, 1)


def test_logits_that_are_not_finite_raise():
    with pytest.raises(EngineError, match="expected finite"):
        run(ScriptedSession([], bad_logits=True))


SLOTS = list(TOKENS.slots[:3])
#: Logits at each position of [4, DET with its slots, 8]; those after DET and between slots count
#: for nothing.
WANTED = [4, DET, 0, 0, 0, 8]


def test_an_accepted_draft_is_one_call():
    session = ScriptedSession([*WANTED, TOKENS.eos])
    tokens = run(session, draft=[4, DET, 8])
    assert [token.token_id for token in tokens] == [4, DET, 8]
    assert session.fed == [[1, 5, 6, 4, DET, *SLOTS, 8]] and session.taken_back == 0
    assert tokens[1].slot_states[:, 0].tolist() == [5.0, 6.0, 7.0]
    assert all(token.is_drafted for token in tokens)


def test_decoding_goes_on_after_a_draft_that_is_too_short():
    session = ScriptedSession([*WANTED, 3, DET, TOKENS.eos])
    tokens = run(session, draft=[4, DET, 8])
    assert [token.token_id for token in tokens] == [4, DET, 8, 3, DET]
    assert session.fed[1:] == [[3], [DET, *SLOTS]] and session.taken_back == 0
    assert [token.is_drafted for token in tokens] == [True] * 3 + [False] * 2
    assert tokens[-1].slot_states[:, 0].tolist() == [11.0, 12.0, 13.0]


def test_decoding_goes_on_from_the_first_token_that_differs():
    session = ScriptedSession([4, 7, 0, 0, 0, 0, 0, DET, TOKENS.eos])
    tokens = run(session, draft=[4, DET, 8])
    assert [token.token_id for token in tokens] == [4, 7, DET]
    # DET, its slots and 8 are taken back, and 7 stands where DET stood.
    assert session.taken_back == 5 and session.fed[1:] == [[7], [DET, *SLOTS]]
    assert tokens[2].slot_states[:, 0].tolist() == [6.0, 7.0, 8.0]


def test_an_answer_that_ends_within_the_draft_takes_nothing_of_the_rest():
    session = ScriptedSession([4, TOKENS.eos, 0, 0, 0, 0, 0])
    assert [token.token_id for token in run(session, draft=[4, DET, 8])] == [4]
    assert len(session.fed) == 1


def test_the_limit_cuts_a_draft():
    session = ScriptedSession([4, DET, 0, 0, 0, 0, 0])
    assert [token.token_id for token in run(session, 2, draft=[4, DET, 8])] == [4, DET]
    assert session.fed == [[1, 5, 6, 4, DET, *SLOTS]]


def test_a_draft_that_the_engine_does_not_accept_is_not_fed():
    session = ScriptedSession([4, DET, 8, TOKENS.eos])
    session.most = 8
    tokens = run(session, draft=[4, DET, 8])
    assert [token.token_id for token in tokens] == [4, DET, 8]
    assert not any(token.is_drafted for token in tokens)
    assert session.fed[0] == [1, 5, 6]


def test_logits_that_are_not_finite_within_a_draft_raise():
    with pytest.raises(EngineError, match="expected finite"):
        run(ScriptedSession([], bad_logits=True), draft=[4])
