"""Attention, whole.

Owns: which of torch's many names mean it. May not touch: the products that it is made of.
"""

from __future__ import annotations

from clino.graph._build import BOOL, WORK, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import broadcast


@fold("scaled_dot_product_attention")
def attention(
    f: Context,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
) -> Value:
    """softmax(q kᵀ scale + mask) v. Heads of k and v may be fewer, as with enable_gqa."""
    if dropout_p:
        raise ExportError(f"found attention with a dropout of {dropout_p} in evaluation mode, expected none")
    mask = attn_mask
    if mask is not None and mask.type not in (BOOL, WORK):
        mask = f.cast(mask, WORK)
    if query.rank < 3:
        shape = [1] * (3 - query.rank)
        lifted = [f.reshaped(part, [*shape, *f.lazy(part)]) for part in (query, key, value)]
        found = attention(f, lifted[0], lifted[1], lifted[2], mask, dropout_p, is_causal, scale)
        return f.squeeze(found, list(range(3 - query.rank)))
    lead = query.sizes[:-2] if key.rank == query.rank else broadcast(query.sizes[:-2], key.sizes[:-2])
    sizes = (*lead, query.sizes[-2], value.sizes[-1])
    return f.one("attention", [query, key, value, mask], WORK, sizes, causal=bool(is_causal), scale=scale)


@fold("_scaled_dot_product_flash_attention_for_cpu")
def flash_for_cpu(
    f: Context,
    query: Value,
    key: Value,
    value: Value,
    dropout_p: float,
    is_causal: bool,
    attn_mask: Value | None,
    scale: float | None,
) -> list[Value | None]:
    """The same by the name of a kernel."""
    return [attention(f, query, key, value, attn_mask, dropout_p, is_causal, scale), None]


@fold("_scaled_dot_product_attention_math")
def math_attention(
    f: Context,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
) -> list[Value | None]:
    """The same by the name of a kernel."""
    return [attention(f, query, key, value, attn_mask, dropout_p, is_causal, scale), None]
