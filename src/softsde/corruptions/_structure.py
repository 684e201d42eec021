"""What a corruption promises about its operators, for others to build on."""

import dataclasses

Range = tuple[float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Structure:
    r"""Promises about a family $C(\theta)$; what is not promised may not be assumed.

    A promise holds at every level of `level_range`. One that follows from another is
    filled in: a family that is diagonal in an orthonormal basis, with real eigenvalues,
    is symmetric and commutes across levels; a positive semi-definite one is symmetric.

    !!! example

        ```python
        structure = ss.corruptions.HeatBlur((28, 28, 1)).structure
        assert structure.commuting and structure.positive_semidefinite
        ```
    """

    #: The orthonormal basis in which all levels are diagonal: `"pixel"`, `"dct"`,
    #: `"fourier"`, `"every"` for multiples of the identity, another name for a basis
    #: of your own, or `None`. Equal names mean the same basis.
    basis: str | None = None
    #: $C(\theta)^\top = C(\theta)$.
    symmetric: bool = False
    #: Symmetric, with $\langle x, C(\theta) x\rangle \ge 0$.
    positive_semidefinite: bool = False
    #: $C(\theta) C(\theta') = C(\theta') C(\theta)$ for all pairs of levels.
    commuting: bool = False
    #: Whether $C(\theta)$ has a derivative in $\theta$: `True`, `False` (it jumps,
    #: and `apply_dot` refuses) or `None`, nobody has said.
    differentiable: bool | None = None
    #: Least and greatest level, `None` where there is no bound.
    level_range: Range = (None, None)
    #: A level at which $C(\theta) = I$, where one is known.
    identity_level: float | None = None
    #: The shape of the samples that it was made for; `None` for any.
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
        # `object.__setattr__`: the way to finish a frozen dataclass.
        object.__setattr__(self, "symmetric", symmetric)
        object.__setattr__(self, "commuting", self.commuting or diagonal)


def common_structure(members: list[Structure], *, product: bool) -> Structure:
    """What can be promised of a product, or of a convex combination, of families.

    All members take the same level. Multiples of the identity are set aside first: they
    commute with everything. Of what is left, operators of two families are known to
    commute only when both are diagonal in one basis; on that rest symmetry and
    positivity of a product, and commutation of either across levels.
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
            f"{sorted(shapes)}. Make them all for one."
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
            f"These corruptions share no range of levels: theirs are {ranges}. Wrap "
            "one in `Relevel` to give it levels of its own."
        )
    return low, high
