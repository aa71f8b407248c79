"""Checkpoints that were published for open_clip or as plain CLIP state dicts, rewritten in transformers' layout.

`clip` and `foreign` say, tensor by tensor, what becomes of a tower, in the terms of `plan`; `layout` reads an
``open_clip_config.json`` or a bare state dict; `weights` writes the new safetensors file; `modeling` is the model of
those that transformers has no class for. Source: open_clip 3.3, ``model.py``, ``transformer.py``, ``timm_model.py``,
``hf_model.py`` and ``transform.py``.
"""
