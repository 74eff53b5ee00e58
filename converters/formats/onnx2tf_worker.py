"""Runs onnx2tf in a process of its own: `model.onnx` of the current directory becomes `out/` there.

    python -P onnx2tf_worker.py BATCH

BATCH is 0 for one of any size. A program, run as a file: it imports nothing of this package.
"""

import sys


def main() -> None:
    import onnx2tf

    onnx2tf.convert(
        input_onnx_file_path="model.onnx",
        output_folder_path="out",
        output_signaturedefs=True,
        copy_onnx_input_output_names_to_tflite=True,
        non_verbose=True,
        batch_size=int(sys.argv[1]) or None,
    )


if __name__ == "__main__":
    main()
