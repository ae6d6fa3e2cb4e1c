"""Makes a plan of a question: which parameter leads, by which walks, and what the others let through.

The parameter expected to see the fewest resources leads. One that has no index (a role, :contains) leads nothing: asked
alone it is refused, since it would read the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence

from directory.fhir import queries
from directory.fhir.conditions import EVERYTHING, Branch, Meaning, all_of, any_of, changed, none_of
from directory.fhir.criteria import meanings
from directory.fhir.names import Type, key_of
from directory.fhir.outcome import invalid, too_costly
from directory.fhir.parameters import Criterion, Question, token
from directory.fhir.queries import Condition, Walk
from directory.fhir.walking import Plan

# Of each type: all its resources, by when they changed, those that left; and their id in a condition.
_ALL: dict[Type, tuple[Walk, Walk, Walk]] = {
    Type.PRACTITIONER: (queries.PERSONS, queries.PERSONS_CHANGED, queries.PERSONS_GONE),
    Type.ROLE: (queries.ROLES, queries.ROLES_CHANGED, queries.ROLES_GONE),
    Type.ORGANIZATION: (queries.PLACES, queries.PLACES_CHANGED, queries.PLACES_GONE),
    Type.SERVICE: (queries.SERVICES, queries.SERVICES_CHANGED, queries.SERVICES_GONE),
}
_LEADS_BY_DATE = 5


def plan(question: Question) -> Plan:
    """Raises Refusal: a value is not understood, or only reading everything would answer."""
    rest = [one for one in question.criteria if one.name not in {"active", "_lastUpdated"}]
    dates = [one for one in question.criteria if one.name == "_lastUpdated"]
    live, gone = _states([one for one in question.criteria if one.name == "active"])
    everybody, by_date, left = _ALL[question.type]
    branches: list[Branch] = []
    fits: list[Condition] = []
    others = [one for one in rest if one.name != "_id"]
    if live:
        meant = [(one, _ids(question.type, one) if one.name == "_id" else meanings(question.type, one)) for one in rest]
        changes = [changed(by_date.order[0], _single(one)) for one in dates]
        leading = _leading([values for _, values in meant])
        best = max((meaning.rank for meaning in leading), default=9)
        if dates and best > _LEADS_BY_DATE:
            leading = []
            branches = [Branch(by_date, tuple(changes))]
        elif leading:
            branches = _one_or_other(leading)
            fits += changes
        elif rest:
            names = ", ".join(sorted({one.written for one, _ in meant}))
            raise too_costly(f"{names}: ask for more, like a name, a place, an identifier or _lastUpdated.")
        else:
            branches = [Branch(everybody, ())]
        beside = [values for _, values in meant if values is not leading or not values[0].covers]
        branches = [_with(branch, fits, beside) for branch in branches]
    # Of what left only its id and its date are known.
    if gone and not others:
        keys = [Condition("g.key = ANY(?)", (_keys(question.type, one),)) for one in rest]
        branches.append(Branch(left, (*keys, *(changed("g.gone_at", _single(one)) for one in dates))))
    return branches


def _with(branch: Branch, fits: Sequence[Condition], beside: Sequence[list[Meaning]]) -> Branch:
    """A walk with what its rows must fit beside; what its own index can decide bounds it."""
    where, looked_at = list(branch.where), list(fits)
    for values in beside:
        if len(values) == 1 and values[0].column in branch.walk.order:
            where.append(values[0].inside)
        else:
            looked_at.append(any_of([value.fits for value in values]))
    return Branch(branch.walk, tuple(where), all_of(looked_at) if looked_at else EVERYTHING)


def _leading(meant: Sequence[list[Meaning]]) -> list[Meaning]:
    """The values of the parameter that leads; none when no parameter can."""
    able = [values for values in meant if all(value.branches for value in values)]
    return min(able, key=lambda values: max(value.rank for value in values), default=[])


def _one_or_other(values: Sequence[Meaning]) -> list[Branch]:
    """The walks of each value, without what those before it find."""
    branches: list[Branch] = []
    for place, value in enumerate(values):
        before = [none_of([earlier.fits for earlier in values[:place]])] if place else []
        branches += [Branch(branch.walk, (*branch.where, *before)) for branch in value.branches]
    return branches


def _states(asked: Sequence[Criterion]) -> tuple[bool, bool]:
    """Whether what is there is asked for, and what left."""
    live = gone = True
    for one in asked:
        codes = {token(value)[1] for value in one.values}
        if codes - {"true", "false"}:
            raise invalid("active is true or false.")
        live, gone = live and "true" in codes, gone and "false" in codes
    return live, gone


def _single(criterion: Criterion) -> str:
    if len(criterion.values) > 1:
        raise invalid("One date at a time.")
    return criterion.values[0]


def _ids(kind: Type, criterion: Criterion) -> list[Meaning]:
    column = _ALL[kind][0].key if kind is not Type.SERVICE else "md5(m.address)"
    keys: list[object] = list(_keys(kind, criterion))
    if kind is Type.ROLE:
        keys = [int(key) for key in _keys(kind, criterion)]
    fits = Condition(f"{column} = ANY(?)", (keys,))
    return [Meaning(fits, (Branch(_ALL[kind][0], (fits,)),), 0)]


def _keys(kind: Type, criterion: Criterion) -> list[str]:
    return [key for value in criterion.values if (key := row_key(kind, value)) is not None]


def row_key(kind: Type, made: str) -> str | None:
    """What the tables of what left know a resource by; None for an id that none of ours has."""
    if kind is Type.ROLE:
        return made if made.isascii() and made.isdigit() and len(made) <= 18 and made == str(int(made)) else None
    return made if kind is Type.SERVICE else key_of(made)
