"""llama.cpp through its C functions, for the scripts beside this one.

`libraries` is a folder with libllama and one libggml-cpu-LEVEL.so for each level of instructions, as the npm package
@node-llama-cpp/linux-x64 has them (npm pack @node-llama-cpp/linux-x64@3.22.1, then bins/linux-x64 of what it holds),
or the shared library of PyPI xllamacpp (built for AVX2 with FMA), which has all of it in one file.
"""

import ctypes
import pathlib
import time

import numpy as np

# What BLIP2_KERNELS names, as the package's builds are called: AVX2; AVX-512 without and with VNNI; with bf16 too.
LEVELS = {"avx2": "haswell", "avx512": "skylakex", "avx512-vnni": "icelake", "avx512-bf16": "zen4"}
Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Params(ctypes.Structure):
    """Parameters by value, larger than any version's; only defaults are used."""

    _fields_ = [("words", ctypes.c_uint32 * 256)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


def _open(libraries, level):
    libraries = pathlib.Path(libraries)
    if libraries.is_file():
        return ctypes.CDLL(str(libraries), ctypes.RTLD_GLOBAL)
    found = {}
    for name in ("ggml-base", "ggml.v", "llama.v"):
        found[name] = ctypes.CDLL(str(next(libraries.glob(f"lib{name}*"))), ctypes.RTLD_GLOBAL)
    load = found["ggml.v"].ggml_backend_load
    load.argtypes, load.restype = [ctypes.c_char_p], ctypes.c_void_p
    if not load(str(libraries / f"libggml-cpu-{LEVELS[level]}.so").encode()):
        raise SystemExit(f"{libraries}: no build for {level}")
    return found["llama.v"]


class Llama:
    """A GGUF file in a context of 512 tokens. One level of instructions a process."""

    def __init__(self, libraries, model, threads, level="avx512-bf16"):
        lib = self.lib = _open(libraries, level)
        self.quiet = Log(lambda level, text, data: None)
        lib.llama_log_set(self.quiet, None)
        for name in ("model_default_params", "context_default_params"):
            getattr(lib, f"llama_{name}").restype = Params
        for name in ("model_load_from_file", "init_from_model", "model_get_vocab", "get_memory"):
            getattr(lib, f"llama_{name}").restype = ctypes.c_void_p
        lib.llama_get_logits.restype = ctypes.POINTER(ctypes.c_float)
        lib.llama_batch_init.restype = lib.llama_batch_get_one.restype = Batch
        lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
        lib.llama_init_from_model.argtypes = [ctypes.c_void_p, Params]
        self.model = lib.llama_model_load_from_file(str(model).encode(), lib.llama_model_default_params())
        self.context = lib.llama_init_from_model(self.model, lib.llama_context_default_params())
        self.vocab = ctypes.c_void_p(lib.llama_model_get_vocab(ctypes.c_void_p(self.model)))
        self.size = lib.llama_vocab_n_tokens(self.vocab)
        self.context = ctypes.c_void_p(self.context)
        self.length = lib.llama_n_ctx(self.context)
        lib.llama_set_n_threads(self.context, threads, threads)
        lib.llama_decode.argtypes = [ctypes.c_void_p, Batch]

    def tokenize(self, text):
        """Ids without special tokens around them; special tokens written out are plain text."""
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 16))()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), ids, len(ids), False, False)
        return list(ids[:count])

    def clear(self):
        self.lib.llama_memory_clear(ctypes.c_void_p(self.lib.llama_get_memory(self.context)), True)

    def losses(self, ids):
        """The losses in nats of all tokens but the first, which begin a context of their own."""
        self.clear()
        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        if self.lib.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama.cpp: cannot decode")
        logits = np.ctypeslib.as_array(self.lib.llama_get_logits(self.context), (len(ids), self.size)).astype(np.float64)
        self.lib.llama_batch_free(batch)
        peak = logits.max(-1, keepdims=True)
        totals = np.log(np.exp(logits - peak).sum(-1)) + peak[:, 0]
        return totals[:-1] - logits[np.arange(len(ids) - 1), ids[1:]]

    def decode_rate(self, tokens=32, prompt=8, rounds=3):
        """Tokens a second of one row, the best of some rounds."""
        best = 0
        for _ in range(rounds):
            self.clear()
            self._feed([1] * prompt)
            start = time.perf_counter()
            for _ in range(tokens):
                self._feed([100])
            best = max(best, tokens / (time.perf_counter() - start))
        return best

    def _feed(self, ids):
        array = (ctypes.c_int32 * len(ids))(*ids)
        if self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(array, len(ids))) != 0:
            raise SystemExit("llama.cpp: cannot decode")
        self.lib.llama_get_logits(self.context)
