"""Values as text."""

import pytest

from perdure.reporting.formats import value_text


@pytest.mark.parametrize(
    ("reprs", "text"),
    [
        ("<class 'torch.optim.adam.Adam'>", "Adam"),
        ("<class '__main__.build.<locals>.Net'>", "Net"),
        ("<function relu at 0x7f0a5e5a3d90>", "relu"),
        ("<function build.<locals>.relu at 0x7f0a5e5a3d90>", "relu"),
        ("<built-in function abs>", "abs"),
        ("<function <lambda> at 0x7f0a5e5a3d90>", "<function <lambda> at 0x7f0a5e5a3d90>"),
        ("ReLU(inplace=True)", "ReLU(inplace=True)"),
    ],
)
def test_classes_and_functions_are_their_names(reprs, text):
    assert value_text({"$py": reprs}) == text
