"""ATen names that no graph can have, and why.

Owns: the reasons. May not touch: names that have a fold.
"""

from __future__ import annotations

from clino.graph._fold._table import refuse

refuse(
    "which is random, expected a forward without chance in evaluation mode",
    "rand",
    "randn",
    "randperm",
    "rand_like",
    "randn_like",
    "randint",
    "randint.low",
    "randint_like",
    "bernoulli",
    "bernoulli.p",
    "multinomial",
    "normal_functional",
    "uniform",
    "rrelu_with_noise",
)
refuse(
    "whose result has a size that depends on elements, expected shapes that depend on shapes alone",
    "nonzero",
    "nonzero_static",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "repeat_interleave.Tensor",
    "bincount",
)
refuse(
    "which reads a number from a tensor, expected a forward whose shapes and branches depend on shapes alone",
    "_local_scalar_dense",
    "item",
    "equal",
    "is_nonzero",
)
refuse(
    "which has complex numbers, expected real ones: write sine and cosine out",
    "_fft_c2r",
    "angle",
)
refuse(
    "which depends on how a tensor lies in memory, expected views by shape",
    "sym_storage_offset",
    "sym_stride.int",
    "sym_is_contiguous",
    "atan2.out",
)
refuse(
    "which is a backward: expected a forward alone, without torch.autograd.grad in it",
    "_adaptive_avg_pool2d_backward",
    "avg_pool2d_backward",
    "convolution_backward",
    "embedding_dense_backward",
    "max_pool2d_with_indices_backward",
    "native_group_norm_backward",
    "native_layer_norm_backward",
)
refuse(
    "of which clino knows only gathers of rows: expected an embedding, and a sum or mean of its rows",
    "_embedding_bag",
)
refuse("which changes a tensor in place, expected a functional program", "resize_", "resize_as_", "set_")
refuse(
    "for which clino has no operator: give the model in another form, or measure its weights alone",
    "linalg_inv_ex",
    "linalg_solve_ex",
    "_linalg_solve_ex.result",
    "linalg_qr",
    "_linalg_svd",
    "_linalg_eigh",
    "linalg_cholesky_ex",
    "linalg_lu_factor_ex",
    "cummax",
    "cummin",
    "logcumsumexp",
    "_ctc_loss",
    "lgamma",
    "digamma",
    "_upsample_bilinear2d_aa.vec",
    "_upsample_bicubic2d_aa.vec",
    "max_unpool2d",
)
refuse(
    "which is quantised, expected floating-point weights: measure the model before it is quantised",
    "quantize_per_tensor",
)
