"""Other ways to compute the body of the bundled model: ONNX Runtime and OpenVINO, in float32 and with 8-bit weights.

Each takes the place of the body's forward, as app/packed_body.py does; what comes after the body stays the same. The
packages are no requirement of the project: a way whose package is missing says so.

    onnxruntime, onnx         (24 + 9 MB to download)   exported by torch, 8-bit by onnxruntime.quantization
    openvino, and nncf for 8-bit weights (59 + 1 MB)    converted from torch by OpenVINO itself
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from app.packed_body import packed_body

Body = Callable[..., dict[str, Any]]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Bare(torch.nn.Module):
    """A BERT with three tensors in and one out, which exporters can follow."""

    def __init__(self, bert: torch.nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> Any:
        """(texts, tokens) three times -> (texts, tokens, width)."""
        given = dict(zip(INPUTS, (input_ids, attention_mask, token_type_ids), strict=True))
        return self.bert(**given).last_hidden_state


def bare(model: SentenceTransformer) -> tuple[Bare, tuple[torch.Tensor, ...]]:
    """The body and an example of what it takes."""
    features = model.preprocess(["two texts", "of which this one is the longer"])
    return Bare(model[0].auto_model).eval(), tuple(features[name] for name in INPUTS)


def instead(run: Callable[[dict[str, Any]], Any]) -> Body:
    """A forward of arrays by their names -> the token embeddings."""

    def body(features: dict[str, Any], **_: Any) -> dict[str, Any]:
        arrays = {name: features[name].numpy() for name in INPUTS}
        return {**features, "token_embeddings": torch.from_numpy(run(arrays))}

    return body


def onnx(model: SentenceTransformer, threads: int, small: bool = False) -> Body:
    """ONNX Runtime; `small` with dynamic quantization, 8-bit weights for each output."""
    import onnxruntime

    body, example = bare(model)
    axes = {name: {0: "texts", 1: "tokens"} for name in (*INPUTS, "tokens_out")}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the old one
        path = Path(folder) / "body.onnx"
        names = {"input_names": list(INPUTS), "output_names": ["tokens_out"]}
        torch.onnx.export(body, example, str(path), dynamic_axes=axes, dynamo=False, **names)
        if small:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(path, path.with_suffix(".8"), weight_type=QuantType.QInt8, per_channel=True)
            path = path.with_suffix(".8")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path.read_bytes(), options)
    return instead(lambda arrays: session.run(None, arrays)[0])


def openvino(model: SentenceTransformer, threads: int, small: bool = False) -> Body:
    """OpenVINO; `small` with 8-bit weights, and products in 8 bits where the processor has them."""
    import openvino as library

    body, example = bare(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = library.convert_model(body, example_input=example)
    options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if small:
        import nncf

        converted = nncf.compress_weights(converted, mode=nncf.CompressWeightsMode.INT8_SYM)
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 384
    options["INFERENCE_PRECISION_HINT"] = "f32"
    request = library.compile_model(converted, "CPU", options).create_infer_request()
    return instead(lambda arrays: next(iter(request.infer(arrays).values())).copy())


def packed(model: SentenceTransformer, _: int) -> Body:
    """The project's own."""
    body = packed_body(model)
    if body is None:
        raise RuntimeError("the packed model does not work here")
    return body


def transformers(model: SentenceTransformer, _: int) -> Body:
    """As it comes."""
    return model[0].forward


# name -> (how to make it, texts in a batch: without padding large ones cost nothing)
BACKENDS: dict[str, tuple[Callable[[SentenceTransformer, int], Body], int]] = {
    "transformers": (transformers, 8),
    "packed": (packed, 64),
    "onnx": (onnx, 8),
    "onnx-int8": (lambda model, threads: onnx(model, threads, small=True), 8),
    "openvino": (openvino, 8),
    "openvino-int8": (lambda model, threads: openvino(model, threads, small=True), 8),
}
