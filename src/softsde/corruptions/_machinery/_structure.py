"""The promises of a corruption about its operators, for others to build on."""

import dataclasses

Range = tuple[float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Structure:
    r"""Promises about a family $C(\theta)$. Code may assume what is promised, no more.

    A promise holds at every level of `level_range`. Promises that follow from others
    are filled in: a family that is diagonal in an orthonormal basis, with real
    eigenvalues, is symmetric and commutes across levels; a positive semi-definite
    family is symmetric. [`softsde.corruptions.check`][] tries them.

    **Fields:**

    - `basis`: the orthonormal basis in which all levels are diagonal: `"pixel"`,
        `"dct"`, `"fourier"`, `"every"` for multiples of the identity, another name for
        a basis of your own, or `None`. Equal names mean the same basis. `"every"` is
        what makes a family a scaling, $C(\theta) = \alpha(\theta) I$; its `eigenvalues`
        are then one scalar.
    - `symmetric`: $C(\theta)^\top = C(\theta)$.
    - `positive_semidefinite`: symmetric, with $\langle x, C(\theta) x\rangle \ge 0$.
    - `commuting`: $C(\theta) C(\theta') = C(\theta') C(\theta)$ for all pairs of
        levels.
    - `differentiable`: whether $C(\theta)$ has a derivative in $\theta$. `True`;
        `False`, it jumps, and `apply_dot` raises an error; `None`, not known.
    - `level_range`: the least and the greatest level, `None` where there is no bound.
    - `identity_level`: a level at which $C(\theta) = I$, or `None`.
    - `shape`: the shape of the samples that the family was made for, `None` for any.

    !!! example

        ```python
        structure = ss.corruptions.HeatBlur((28, 28, 1)).structure
        assert structure.commuting and structure.positive_semidefinite
        ```
    """

    basis: str | None = None
    symmetric: bool = False
    positive_semidefinite: bool = False
    commuting: bool = False
    differentiable: bool | None = None
    level_range: Range = (None, None)
    identity_level: float | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self):
        low, high = self.level_range
        if low is not None and high is not None and not low < high:
            raise ValueError(
                f"`Structure` got `level_range={self.level_range}`; expected the "
                "least level before the greatest, `None` for no bound."
            )
        diagonal = self.basis is not None
        symmetric = self.symmetric or diagonal or self.positive_semidefinite
        # `object.__setattr__` is the way to finish a frozen dataclass.
        object.__setattr__(self, "symmetric", symmetric)
        object.__setattr__(self, "commuting", self.commuting or diagonal)


def common_structure(members: list[Structure], *, product: bool) -> Structure:
    """The promises that hold for a product, or a convex combination, of families.

    All members take the same level. Multiples of the identity commute with everything,
    so they are set aside first. Operators of two other families are known to commute
    only if both families are diagonal in one basis. Without that, a product promises
    neither symmetry nor positivity, and neither a product nor a combination promises
    that its levels commute.
    """
    others = [member for member in members if member.basis != "every"]
    bases = {member.basis for member in others}
    if not others:
        basis = "every"
    else:
        basis = others[0].basis if len(bases) == 1 else None
    together = basis is not None or len(others) == 1
    known = together or not product
    promised = [member.differentiable for member in members]
    if all(promised):
        differentiable = True
    else:
        differentiable = False if False in promised else None
    identities = {member.identity_level for member in members}
    shapes = {member.shape for member in members if member.shape is not None}
    if len(shapes) > 1:
        raise ValueError(
            f"These corruptions were made for samples of different shapes, "
            f"{sorted(shapes)}. Make them all for one shape."
        )
    return Structure(
        basis=basis,
        symmetric=known and all(m.symmetric for m in members),
        positive_semidefinite=known and all(m.positive_semidefinite for m in members),
        commuting=together and all(m.commuting for m in members),
        differentiable=differentiable,
        level_range=_intersection([member.level_range for member in members]),
        identity_level=identities.pop() if len(identities) == 1 else None,
        shape=shapes.pop() if shapes else None,
    )


def _intersection(ranges: list[Range]) -> Range:
    lows = [low for low, _ in ranges if low is not None]
    highs = [high for _, high in ranges if high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and not low < high:
        raise ValueError(
            f"These corruptions share no range of levels: their ranges are {ranges}. "
            "Wrap one in `Relevel` to give it levels of its own."
        )
    return low, high
