"""The result of `check`."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Finding:
    """One property in a [`softsde.corruptions.Report`][].

    **Fields:**

    - `passed`: `True`, `False`, or `None` if the property is not promised or could not
        be measured.
    - `measured`: the size of the deviation relative to the sample; `None` if it was not
        measured or is no number (shape, dtype).
    - `tolerance`: the largest deviation that passes, or `None`.
    - `detail`: what was measured and, after a failure, how to mend it.
    """

    passed: bool | None
    measured: float | None
    tolerance: float | None
    detail: str


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of [`softsde.corruptions.check`][], one `Finding` for each property.

    `str(report)` is a table.

    **Fields:**

    - `name`, `levels`, `identity_level`: the class that was checked, the levels at
        which it was tried, and the level at which it should be the identity.
    - `shape`, `dtype`: `apply` returns the shape and the dtype of its input.
    - `linear`: `C(x - 3y) = C(x) - 3 C(y)`.
    - `identity`: `C(theta) x = x` at `identity_level`.
    - `symmetric`: `<C x, y> = <x, C y>`, where it is promised.
    - `adjoint`: `<C x, y> = <x, adjoint(y)>`, where the family has an `adjoint` of its
        own or does not promise symmetry.
    - `positive`: no eigenvalue is negative, where it is promised.
    - `commuting`: two levels commute, where it is promised.
    - `basis`: the basis is orthonormal, and in it `C` multiplies by `eigenvalues`,
        where a basis is promised.
    - `differentiable`: `C` does not jump between the levels unless the structure says
        so, and an `apply_dot` of the family's own is the derivative of `apply`.
    """

    name: str
    levels: tuple[float, ...]
    identity_level: float
    shape: Finding
    dtype: Finding
    linear: Finding
    identity: Finding
    symmetric: Finding
    adjoint: Finding
    positive: Finding
    commuting: Finding
    basis: Finding
    differentiable: Finding

    @property
    def findings(self) -> dict[str, Finding]:
        """The findings by name, in the order in which they are judged."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {k: value for k, value in values.items() if isinstance(value, Finding)}

    @property
    def passed(self) -> bool:
        """Tells whether no property failed."""
        return all(f.passed is not False for f in self.findings.values())

    def raise_if_failed(self) -> None:
        """Raises an error that names the first property that failed.

        **Raises:** `ValueError`.
        """
        for name, finding in self.findings.items():
            if finding.passed is False:
                raise ValueError(failure(self.name, name, finding))

    def __str__(self) -> str:
        levels = ", ".join(f"{level:.4g}" for level in self.levels)
        lines = [f"{self.name} at the levels {levels}"]
        words = {True: "passed", False: "FAILED", None: "-"}
        for name, finding in self.findings.items():
            numbers = ""
            if finding.measured is not None:
                numbers = f"{finding.measured:.1e}"
                if finding.tolerance is not None:
                    numbers += f" (up to {finding.tolerance:.1e})"
            lines.append(
                f"  {name:<15}{words[finding.passed]:<8}{numbers:<24}{finding.detail}"
            )
        return "\n".join(lines)


#: The names of the findings.
FINDINGS = tuple(
    field.name for field in dataclasses.fields(Report) if field.type is Finding
)


def failure(owner: str, name: str, finding: Finding) -> str:
    return f"`{owner}` failed the check of `{name}`: {finding.detail}"
