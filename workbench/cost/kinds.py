"""Which kind of work each of torch's operators is, and which operators a runtime folds into others."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

_NAMES = {
    "conv": "convolution convolution_overrideable",
    "linear": "addmm mm linear",
    "matmul": "bmm baddbmm addbmm mv dot",
    "attention": (
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_fused_attention_overrideable "
        "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention scaled_dot_product_attention"
    ),
    "norm": (
        "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit native_group_norm "
        "native_layer_norm batch_norm instance_norm rms_norm _fused_rms_norm linalg_vector_norm"
    ),
    "pool": (
        "max_pool2d_with_indices max_pool3d_with_indices max_pool1d max_pool2d avg_pool1d avg_pool2d avg_pool3d "
        "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d "
        "mean sum amax amin max min argmax var var_mean std"
    ),
    "activation": (
        "relu relu_ hardtanh hardtanh_ relu6 relu6_ hardswish hardswish_ hardsigmoid hardsigmoid_ sigmoid sigmoid_ "
        "silu silu_ gelu gelu_ leaky_relu leaky_relu_ elu elu_ celu selu tanh tanh_ prelu _prelu_kernel clamp clamp_ "
        "clamp_min clamp_min_ clamp_max clamp_max_ softplus mish mish_ threshold threshold_ log_sigmoid_forward glu"
    ),
    "add": "add add_ sub sub_ rsub mul mul_ div div_ addcmul maximum minimum where",
    "elementwise": (
        "_softmax _log_softmax _safe_softmax pow pow_ square rsqrt rsqrt_ sqrt sqrt_ exp exp_ log neg abs sin cos "
        "erf floor round reciprocal masked_fill masked_fill_ eq ne gt ge lt le logical_not bitwise_not lerp "
        "upsample_nearest1d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa upsample_linear1d upsample_trilinear3d grid_sampler_2d"
    ),
    # The runtime moves the elements to another place.
    "copy": (
        "cat stack roll flip constant_pad_nd reflection_pad1d reflection_pad2d replication_pad2d replication_pad1d "
        "permute transpose slice select index_select index gather embedding chunk split split_with_sizes unbind "
        "unsafe_split unsafe_split_with_sizes unsafe_chunk "
        "tile repeat pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col col2im tril triu "
        "slice_scatter select_scatter index_put copy copy_ unfold narrow movedim"
    ),
    # Another view of the same elements, at no cost.
    "reshape": (
        "view _unsafe_view reshape _reshape_alias flatten unflatten t expand squeeze unsqueeze clone alias detach "
        "contiguous native_dropout dropout _to_copy as_strided as_strided_ lift_fresh view_as expand_as "
        # buffers that are filled afterwards
        "new_zeros new_ones new_full new_empty zeros_like ones_like full_like empty_like zero_ fill_"
    ),
}
#: The kind of each operator; one that is missing is "other": it is listed, and counts no arithmetic.
KINDS: dict[Any, str] = {
    getattr(aten, name): kind for kind, names in _NAMES.items() for name in names.split() if hasattr(aten, name)
}
#: Operators with several results that all carry data; of every other only the first does.
MULTIPLE = frozenset("split split_with_sizes chunk unbind unsafe_split unsafe_split_with_sizes unsafe_chunk".split())
#: Operators whose result is a part of what they are given.
PARTS = MULTIPLE | {"slice", "select", "narrow"}
#: Functions of torch that run a recurrent layer over all its steps.
RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
#: Those that run one of its steps.
CELLS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})
#: Operators that make zeros.
BLANK = frozenset({"zeros", "new_zeros", "zeros_like"})
#: Operators that take whole axes together, which their second argument names; all of them where it names none.
REDUCTIONS = frozenset(
    "mean sum amax amin max min argmax var std prod _softmax _log_softmax _safe_softmax linalg_vector_norm".split()
)
