"""Files drawn at random that were answered wrongly in silence, or accused; scripts/fuzz_valid_files.py draws more."""

import pytest
from support.lasting import full_for
from support.random_files import makers
from support.silence import case

MAKERS = makers()
# By number of the run with seed 1. What they were: a mask that is black but for a few pixels agreed with any way of
# feeding; deviations folded into the first kernel, and blue first over 255, were called faults of the graph; Keras
# could not write IS-Net's mask alone; a network whose blocks dilate otherwise lost that in a .pth.
# The maker stands beside the number: that of the run went by their order, and formats have come since.
QUICK = {0: "ours: pth"}
FULL = {
    34: "ours: keras",
    46: "onnx, of pixels, blue first",
    83: "openvino, scale_values",
    21: "openvino, scale_values",
    73: "ours: openvino",
    142: "coreml, a picture, RGB",
    207: "openvino, scale_values",
    232: "onnx, of pixels, blue first",
    238: "openvino, scale_values",
    294: "onnx, of pixels, blue first",
    300: "openvino, scale_values",
}


@pytest.mark.parametrize(("number", "name"), full_for([*QUICK.items(), *FULL.items()], *FULL.items()))
def test_it_agrees_or_says_why_not(number, name, tmp_path):
    found = case(f"1 {number}", name, MAKERS[name], tmp_path)
    assert {what: why for what, (outcome, why) in found.items() if outcome == "wrong"} == {}
