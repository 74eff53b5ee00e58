"""The list of pins of a tool follows what packages need, without what the tool does not use."""

import pin_tool

REPORT = {
    name: {"name": name, "version": f"{n}.0", "requires_dist": needs}
    for n, (name, needs) in enumerate(
        {
            "tool": ["Big_One>=1", "docs; extra == 'docs'", "old; python_version < '3'"],
            "big-one": ["small", "unused"],
            "small": [],
            "unused": ["also-unused"],
            "also-unused": [],
            "docs": [],
            "old": [],
        }.items()
    )
}


def test_what_is_needed_here_is_followed_and_what_is_unused_is_not():
    assert pin_tool.followed(["tool==0.0"], REPORT, {"unused"}) == {"tool", "big-one", "small"}


def test_a_smaller_package_stands_for_another_where_it_has_wheels():
    lines = pin_tool.lines({"big-one", "small"}, REPORT, {"big-one": "big-cpu"})
    assert lines == [
        f"big-cpu==1.0 ; {pin_tool.X86}",
        f"big-one==1.0 ; {pin_tool.OTHERS}",
        "small==2.0",
    ]


def test_its_head_is_the_command():
    words = ["tool==1.0", *(f"package-number-{n}" for n in range(20))]
    first, *rows = pin_tool.head(words)
    assert first.startswith("# ")
    assert max(map(len, rows)) <= 120
    text = " ".join(row.removeprefix("#").removesuffix("\\").strip() for row in rows)
    assert text.split() == ["python", "scripts/pin_tool.py", *words]
